// SPDX-License-Identifier: Apache-2.0

// Package serve answers requests from the index, over HTTP and Envoy's ext_authz, and serves metrics. It bounds the memory and the connections
// that clients can take.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// Options configure the listeners of a Server.
type Options struct {
	// HTTPBindAddress, GRPCBindAddress and MetricsBindAddress are addresses to listen on; "0" or empty for none.
	HTTPBindAddress, GRPCBindAddress, MetricsBindAddress string
	// MetricsSecure serves metrics over TLS to clients whose token may GET /metrics, as the manager does.
	MetricsSecure bool
	// TLSCertFile and TLSKeyFile name the files of the server's certificate, which is read again when they change; empty for no TLS.
	TLSCertFile, TLSKeyFile string
	// MaxConnections is the largest number of open connections of the HTTP and of the gRPC listener; 0 to derive it from the memory limit.
	MaxConnections int
	// DrainDelay is the time for which new requests are answered after the context ended, because load balancers notice the end late;
	// at most 1 minute.
	DrainDelay time.Duration
}

// Validate returns an error that names the first flag with an invalid value.
func (o *Options) Validate() error {
	if (o.TLSCertFile == "") != (o.TLSKeyFile == "") {
		return errors.New("--tls-cert-file and --tls-key-file belong together: give both or none")
	}
	if o.MaxConnections < 0 {
		return fmt.Errorf("--max-connections is %d: want a positive number, or 0 to let it follow from the memory limit", o.MaxConnections)
	}
	if o.DrainDelay < 0 || o.DrainDelay > time.Minute {
		return fmt.Errorf("--drain-delay is %s: want 0s to 1m", o.DrainDelay)
	}
	return nil
}

// Freshness decides whether the content of the index is recent enough to answer requests.
type Freshness interface {
	// Answers reports whether requests may be answered at a time.
	Answers(now time.Time) bool
	// Ready reports whether load balancers should send requests here.
	Ready(now time.Time) bool
	// Condition describes the freshness for the answer of /readyz.
	Condition(now time.Time) string
	// Complete reports whether the index had room for everything that it should hold.
	Complete() bool
}

// Server answers requests to verify keys and identities.
type Server struct {
	data     atomic.Pointer[Data]
	options  Options
	config   *rest.Config
	registry prometheus.Registerer
	all      prometheus.Gatherer
	metrics  *metrics
	now      func() time.Time
	log      logr.Logger
	// draining is set when the context ends: requests are still answered, and /readyz fails.
	draining atomic.Bool
}

// New returns a Server that answers from data. It registers its metrics in the registry and serves all metrics of a gatherer. With
// MetricsSecure, it reviews the tokens of their clients with the API server of config.
func New(options Options, data Data, config *rest.Config, registry prometheus.Registerer, all prometheus.Gatherer, log logr.Logger) *Server {
	s := &Server{options: options, config: config, registry: registry, all: all, metrics: newMetrics(registry), now: clock.RealClock{}.Now, log: log}
	s.Use(data)
	return s
}

// Use makes the Server answer from other data. A request that has been read completely when Use returns may be answered from the data before.
func (s *Server) Use(data Data) { s.data.Store(&data) }

// Limits of a connection. A request has a few kilobytes and its answer takes microseconds: a slower client holds a connection
// that others could use.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 10 * time.Second
	// idleTimeout is the time after which a connection without a request is closed: as short as gateways allow, so that connections of idle
	// clients are soon free for others. A gateway must close its connections earlier, or it sends a request over a connection that the
	// verifier is closing, and answers its client with an error: the examples in config/integrations/gateways close them after 15 s. A shorter time would
	// make a gateway with few requests connect, and with TLS shake hands, for each of them.
	idleTimeout = 20 * time.Second
	maxHeader   = 64 << 10
	// shutdownTimeout is the time that pending requests have when the server stops.
	shutdownTimeout = 10 * time.Second
)

// Start listens on all addresses, and serves in the group until the context ends and the last request is answered. It returns an error if an
// address or the certificate cannot be used.
func (s *Server) Start(ctx context.Context, group *errgroup.Group) error {
	certificate, err := s.options.certificate(ctx, group)
	if err != nil {
		return err
	}
	l := s.options.newLimits(s.registry, s.log)
	h := &host{group, l, s.options.DrainDelay, s.log}
	if err := h.serveHTTP(ctx, httpListener, s.options.HTTPBindAddress, s.Handler(), secured(certificate, "http/1.1")); err != nil {
		return err
	}
	if err := h.serveGRPC(ctx, s, secured(certificate, "h2")); err != nil {
		return err
	}
	if err := s.serveMetrics(ctx, h, certificate); err != nil {
		return err
	}
	group.Go(func() error {
		<-ctx.Done()
		s.draining.Store(true)
		return nil
	})
	return nil
}

// serveMetrics serves metrics, to a few scrapers at the same time: compressing an answer takes megabytes.
func (s *Server) serveMetrics(ctx context.Context, h *host, certificate getCertificate) error {
	metrics := promhttp.HandlerFor(s.all, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	if !s.options.MetricsSecure {
		return h.serveHTTP(ctx, metricsListener, s.options.MetricsBindAddress, metrics, nil)
	}
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	if certificate == nil {
		if certificate, err = selfSigned(); err != nil {
			return err
		}
	}
	return h.serveHTTP(ctx, metricsListener, s.options.MetricsBindAddress, newMetricsGuard(client, s.now, metrics), secured(certificate, "http/1.1"))
}

// host runs the servers of all protocols in a group, within the same limits.
type host struct {
	group      *errgroup.Group
	limits     *limits
	drainDelay time.Duration
	log        logr.Logger
}

type getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// certificate returns the source of the current certificate; nil for no TLS. The group watches the files of the certificate.
func (o *Options) certificate(ctx context.Context, group *errgroup.Group) (getCertificate, error) {
	if o.TLSCertFile == "" {
		return nil, nil
	}
	certificates, err := certwatcher.New(o.TLSCertFile, o.TLSKeyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert-file %s, --tls-key-file %s: %w", o.TLSCertFile, o.TLSKeyFile, err)
	}
	group.Go(func() error { return certificates.Start(ctx) })
	return certificates.GetCertificate, nil
}

// secured returns the TLS configuration for a protocol; nil if there is no certificate.
func secured(certificate getCertificate, protocol string) *tls.Config {
	if certificate == nil {
		return nil
	}
	return &tls.Config{GetCertificate: certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{protocol}}
}

// serveHTTP listens, and serves in the group until the context ends. It returns an error if it cannot listen.
func (h *host) serveHTTP(ctx context.Context, name, address string, handler http.Handler, secured *tls.Config) error {
	if address == "0" || address == "" {
		return nil
	}
	listener, err := h.limits.listen(ctx, name, address, h.log)
	if err != nil {
		return err
	}
	server := newHTTPServer(handler)
	listener = h.limits.serveHTTP1(server, listener, secured)
	h.group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	h.group.Go(func() error {
		h.drain(ctx)
		ending, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			return server.Close()
		}
		return nil
	})
	return nil
}

// newHTTPServer returns a server with the limits of a connection.
func newHTTPServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// Errors of single clients are not logged.
		ErrorLog: stdlog.New(io.Discard, "", 0),
	}
}

// drain returns when the server should stop accepting requests: drainDelay after the end of the context.
func (h *host) drain(ctx context.Context) {
	<-ctx.Done()
	time.Sleep(h.drainDelay)
}
