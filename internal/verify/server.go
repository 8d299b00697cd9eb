// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Options are what the flags say.
type Options struct {
	// HTTPBindAddress, GRPCBindAddress and MetricsBindAddress are addresses to listen on; "0" for none.
	HTTPBindAddress, GRPCBindAddress, MetricsBindAddress string
	// MetricsSecure serves metrics over TLS to those who may GET /metrics, as the manager does.
	MetricsSecure bool
	// Environments and Namespaces are those whose keys are known; empty for all.
	Environments, Namespaces []string
	Bound                    Bound
	// TLSCertFile and TLSKeyFile hold the server's certificate, and are read again when they change; empty for no TLS.
	TLSCertFile, TLSKeyFile string
	// MaxConnections is how many connections the HTTP and the gRPC listener accept at once, each; 0 to follow from the memory.
	MaxConnections int
	// DrainDelay is how long requests are still taken after the end was asked for: load balancers need a moment to learn of
	// it.
	DrainDelay time.Duration
	// UsageFlushInterval is how often uses are looked through for what is to be reported.
	UsageFlushInterval time.Duration
	// UsageResolution is how far apart two reports about one record are at least.
	UsageResolution time.Duration
	// UsageNamespace is where the Leases are by which verifiers say since when uses are tracked; Identity is who says it.
	UsageNamespace, Identity string
}

// minStaleness is the least bound that can be kept: see watchSpan.
const minStaleness = 5 * time.Second

// Validate returns what is wrong with the options.
func (o *Options) Validate() error {
	if o.Bound.MaxStaleness < minStaleness {
		return fmt.Errorf("--max-staleness is %s: want at least %s, or an API server at which nothing happens would count as gone", o.Bound.MaxStaleness, minStaleness)
	}
	if (o.TLSCertFile == "") != (o.TLSKeyFile == "") {
		return errors.New("--tls-cert-file and --tls-key-file belong together: give both or none")
	}
	if o.MaxConnections < 0 {
		return fmt.Errorf("--max-connections is %d: want a positive number, or 0 to let it follow from the memory limit", o.MaxConnections)
	}
	if o.DrainDelay < 0 || o.DrainDelay > time.Minute {
		return fmt.Errorf("--drain-delay is %s: want 0s to 1m", o.DrainDelay)
	}
	if o.UsageFlushInterval < 100*time.Millisecond || o.UsageFlushInterval > 5*time.Minute {
		return fmt.Errorf("--usage-flush-interval is %s: want 100ms to 5m", o.UsageFlushInterval)
	}
	if o.UsageResolution < time.Second || o.UsageResolution > 24*time.Hour || o.UsageResolution%time.Millisecond != 0 {
		return fmt.Errorf("--usage-resolution is %s: want 1s to 24h in whole milliseconds", o.UsageResolution)
	}
	return nil
}

// Limits of a connection. A request has a few kilobytes and its answer is made in microseconds: whoever needs longer holds a
// connection that others could use.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 10 * time.Second
	// idleTimeout is how long a connection without a request lasts: as short as gateways allow, so that connections of clients that only
	// hold them are soon free for others. A gateway must close its own earlier, or it sends a request over a connection that the
	// verifier is just closing, and answers its client with an error: the examples in config/integrations/gateways do so after 15 s. Not less than
	// that: a gateway with few requests would connect, and with TLS shake hands, for each of them.
	idleTimeout = 20 * time.Second
	maxHeader   = 64 << 10
	// shutdownTimeout is how long requests that are being answered may take at the end.
	shutdownTimeout = 10 * time.Second
)

// Run serves until the context ends, and then until the last request is answered. It fails where it cannot listen.
func Run(ctx context.Context, config *rest.Config, options Options, log logr.Logger) error {
	client, err := newRecordClient(config)
	if err != nil {
		return err
	}
	secrets, err := newSecretClient(config)
	if err != nil {
		return err
	}
	v, watchers := assemble(client, secrets, options, log)
	group, ctx := errgroup.WithContext(ctx)
	// Watching goes on until the last request is answered; then uses are reported once more.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	for _, w := range watchers {
		go w.run(watching)
	}
	go v.freshness.pulse.run(watching)
	go v.freshness.report(watching, log, options.Bound)
	go tuneCollector(watching, v.freshness.Synced)
	usage, err := options.reporter(config, client, v, log)
	if err != nil {
		return err
	}
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		usage.run(watching)
	}()

	certificate, err := options.certificate(ctx, group)
	if err != nil {
		return err
	}
	l := options.newLimits(v.metrics, log)
	if err := options.serve(ctx, group, log, l, httpListener, options.HTTPBindAddress, v.Handler(), secured(certificate, "http/1.1")); err != nil {
		return err
	}
	if err := options.serveGRPC(ctx, group, log, v, l, secured(certificate, "h2")); err != nil {
		return err
	}
	if err := options.serveMetrics(ctx, group, log, l, config, v, certificate); err != nil {
		return err
	}
	group.Go(func() error {
		<-ctx.Done()
		v.draining.Store(true)
		return nil
	})
	err = group.Wait()
	stop()
	<-reported
	return err
}

// reporter reports the uses that a verifier notices. One that knows some namespaces only does not vouch for environments.
func (o *Options) reporter(config *rest.Config, client rest.Interface, v *Verifier, log logr.Logger) (*reporter, error) {
	r := &reporter{
		index: v.index, client: client, metrics: v.metrics, log: log, interval: o.UsageFlushInterval, resolution: o.UsageResolution,
		limit: flowcontrol.NewTokenBucketRateLimiter(reportsPerSecond, reportsPerSecond), now: v.now, environments: o.Environments,
	}
	if len(o.Namespaces) > 0 {
		return r, nil
	}
	leases, err := coordinationclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	r.vouchers = &vouchers{
		leases: leases, holder: o.Identity, namespace: o.UsageNamespace, interval: o.UsageFlushInterval, now: v.now, complete: map[string]time.Time{},
	}
	return r, nil
}

// assemble makes a verifier and the watchers that feed it: one for the records of each namespace and environment, and one for
// the copies of HMAC secrets.
func assemble(client, secrets rest.Interface, options Options, log logr.Logger) (*Verifier, []*watcher) {
	every := func(names []string) []string {
		if len(names) == 0 {
			return []string{""}
		}
		return slices.Compact(slices.Sorted(slices.Values(names)))
	}
	var watchers []*watcher
	for _, namespace := range every(options.Namespaces) {
		for _, environment := range every(options.Environments) {
			watchers = append(watchers, &watcher{
				watched: recordKind, source: int32(len(watchers)), //nolint:gosec // a handful
				client: client, namespace: namespace, environment: environment, log: log, span: watchSpan(options.Bound.MaxStaleness),
			})
		}
	}
	now := clock.RealClock{}.Now
	v := &Verifier{
		index: &Index{}, freshness: newFreshness(len(watchers), now), bound: options.Bound, now: now,
		identities:        &identities{environments: options.Environments, namespaces: options.Namespaces},
		identityFreshness: newFreshness(1, now),
	}
	v.identityFreshness.pulse = v.freshness.pulse
	v.metrics = newMetrics(v)
	for _, w := range watchers {
		w.store, w.freshness, w.metrics = recordStore{v.index}, v.freshness, v.metrics
	}
	return v, append(watchers, &watcher{
		watched: secretKind, client: secrets, namespace: v1alpha1.IdentityNamespace, log: log, span: watchSpan(options.Bound.MaxStaleness),
		store: v.identities, freshness: v.identityFreshness, metrics: v.metrics,
	})
}

// serveMetrics serves metrics, with MetricsSecure over TLS to those who may read them.
func (o *Options) serveMetrics(ctx context.Context, group *errgroup.Group, log logr.Logger, l *limits, config *rest.Config, v *Verifier, certificate getCertificate) error {
	metrics := v.metrics.handler()
	if !o.MetricsSecure {
		return o.serve(ctx, group, log, l, metricsListener, o.MetricsBindAddress, metrics, nil)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if certificate == nil {
		if certificate, err = selfSigned(); err != nil {
			return err
		}
	}
	return o.serve(ctx, group, log, l, metricsListener, o.MetricsBindAddress, newMetricsGuard(client, v.now, metrics), secured(certificate, "http/1.1"))
}

type getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// certificate returns where the present certificate comes from; nil where there is to be no TLS.
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

// secured returns how to serve a protocol with TLS; nil where there is no certificate.
func secured(certificate getCertificate, protocol string) *tls.Config {
	if certificate == nil {
		return nil
	}
	return &tls.Config{GetCertificate: certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{protocol}}
}

// serve listens at once, so that a wrong address is an error at the start, and answers until the context ends.
func (o *Options) serve(ctx context.Context, group *errgroup.Group, log logr.Logger, l *limits, name, address string, handler http.Handler, secured *tls.Config) error {
	if address == "0" || address == "" {
		return nil
	}
	listener, err := l.listen(ctx, name, address, log)
	if err != nil {
		return err
	}
	server := newHTTPServer(handler)
	listener = l.serveHTTP1(server, listener, secured)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		o.drain(ctx)
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
		// What clients do wrong is not worth a line in the log for each of them.
		ErrorLog: stdlog.New(io.Discard, "", 0),
	}
}

// drain returns when no further request is to be taken: a while after the end was asked for.
func (o *Options) drain(ctx context.Context) {
	<-ctx.Done()
	time.Sleep(o.DrainDelay)
}
