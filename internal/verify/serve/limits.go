// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"runtime"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"

	"dgbot.io/key-operator/internal/connlimit"
	"dgbot.io/key-operator/internal/listening"
)

// The listeners, as flags and metrics name them.
const (
	httpListener    = "http"
	grpcListener    = "grpc"
	metricsListener = "metrics"
)

// The parts of the memory limit. Clients cannot take the part of the records: TestVerifier_HoldsUnderAttack in test/attack measures it.
const (
	// unknownMemory replaces an unknown limit, in bytes.
	unknownMemory = 2 << 30
	// The shares are sixteenths of the memory limit: for unanswered requests in addition to the memory of each connection, and for the
	// connections of each listener. 4 are left for the process itself and for the records.
	sixteenths  = 16
	budgetShare = 1
	httpShare   = 7
	grpcShare   = 4
	// memoryPerHTTP and memoryPerGRPC are the largest memory of a connection in bytes, with its part of the garbage and of the system's socket
	// buffers, which count against the limit of a container. TestVerifier_ConnectionsFitTheirShare measures both: 203 KiB for HTTP over TLS
	// with an unfinished header, 587 KiB for gRPC over TLS with 100 streams with many headers, on busy processors. docs/benchmarks.md has the
	// other kinds.
	memoryPerHTTP = 224 << 10
	memoryPerGRPC = 768 << 10
	leastLimit    = 64
	mostLimit     = 8192
	// metricsLimit is the number of connections for metrics, which a few scrapers use.
	metricsLimit = 32
	// decodingShare is the memory limit, in bytes, for each gRPC message that is decoded at the same time. One of 64 KiB can describe over
	// 3 MiB of objects.
	decodingShare = 64 << 20
)

// limits bound the memory and the connections that clients can take.
type limits struct {
	memory int64
	// connections is --max-connections; 0 to derive it from the memory.
	connections int
	budget      *connlimit.Budget
	// decoding holds a place for each gRPC message that is decoded and answered.
	decoding chan struct{}
	registry prometheus.Registerer
}

func (o *Options) newLimits(registry prometheus.Registerer, log logr.Logger) *limits {
	memory, known := connlimit.MemoryLimit()
	if !known {
		memory = unknownMemory
	}
	l := limitsFor(memory, o.MaxConnections, registry)
	log.Info("Limits of what clients can take", "memoryLimit", memory, "memoryLimitKnown", known, "requestMemory", l.budget.Free(),
		"maxHTTPConnections", l.maximum(httpListener), "maxGRPCConnections", l.maximum(grpcListener))
	return l
}

func limitsFor(memory int64, connections int, registry prometheus.Registerer) *limits {
	places := max(2, min(int(memory/decodingShare), runtime.GOMAXPROCS(0)))
	l := &limits{
		memory: memory, connections: connections, budget: connlimit.NewBudget(int(memory * budgetShare / sixteenths)), decoding: make(chan struct{}, places), registry: registry,
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dgbot_verifier_request_memory_free_bytes",
		Help: "Memory left for unanswered requests, beside what each connection may take; at 0, connections with large requests wait.",
	}, func() float64 { return float64(l.budget.Free()) }))
	return l
}

// maximum returns the largest number of open connections of a listener.
func (l *limits) maximum(listener string) int {
	share, perConnection := int64(httpShare), int64(memoryPerHTTP)
	switch {
	case listener == metricsListener:
		return metricsLimit
	case l.connections > 0:
		return l.connections
	case listener == grpcListener:
		share, perConnection = grpcShare, memoryPerGRPC
	}
	return int(min(max(l.memory*share/sixteenths/perConnection, leastLimit), mostLimit))
}

// listen listens on the address that a flag names, for a bounded number of connections.
func (l *limits) listen(ctx context.Context, listener, address string, log logr.Logger) (net.Listener, error) {
	accepting, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, listening.Explain(listener+"-bind-address", address, err)
	}
	log.Info("Listening", "for", listener, "address", accepting.Addr().String())
	return l.bound(listener, accepting), nil
}

// bound limits the connections of a listener, and registers metrics of them.
func (l *limits) bound(listener string, accepting net.Listener) *connlimit.Listener {
	label := prometheus.Labels{"listener": listener}
	rejected := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_verifier_connections_rejected_total", ConstLabels: label,
		Help: "Connections closed at once, because the listener or the client had as many as it may.",
	})
	maximum := l.maximum(listener)
	bounded := connlimit.Listen(accepting, maximum, rejected.Inc)
	l.registry.MustRegister(rejected,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "dgbot_verifier_connections", ConstLabels: label, Help: "Open connections."},
			func() float64 { return float64(bounded.Open()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dgbot_verifier_max_connections", ConstLabels: label, Help: "Connections that may be open at once (--max-connections).",
		}, func() float64 { return float64(maximum) }))
	return bounded
}

// serveHTTP1 returns the listener for an HTTP server, with TLS if secured is not nil.
func (l *limits) serveHTTP1(server *http.Server, accepting net.Listener, secured *tls.Config) net.Listener {
	if secured != nil {
		accepting = tls.NewListener(accepting, secured)
	}
	return connlimit.HTTP1(server, accepting, l.budget)
}

// countingCredentials make the connections of a gRPC server count the memory of their streams, after the handshake.
type countingCredentials struct {
	credentials.TransportCredentials
	budget *connlimit.Budget
}

func (c countingCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	connection, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return connlimit.HTTP2(connection, c.budget), info, nil
}

func (c countingCredentials) Clone() credentials.TransportCredentials {
	return countingCredentials{c.TransportCredentials.Clone(), c.budget}
}
