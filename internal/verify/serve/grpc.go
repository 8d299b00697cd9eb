// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"runtime/debug"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/internal/connlimit"
)

// Limits of a connection. Envoy keeps a few connections, with many concurrent requests on each.
const (
	// maxMessage is the largest size of a request in bytes. The headers of one request are smaller; only an Envoy that is configured
	// to send bodies sends more.
	maxMessage = 64 << 10
	maxStreams = 100
	// connectionWindow is the flow control window of a connection in bytes. The budget bounds the memory for it.
	connectionWindow = 256 << 10
	// callTimeout is the largest time from the headers of a call to its end, also if the client sets a longer one. An answer takes
	// microseconds.
	callTimeout = 5 * time.Second
	// connectionAge is the largest age of a connection. It spreads the connections over all verifiers some time after a rollout.
	connectionAge = 30 * time.Minute
	deadAfter     = 20 * time.Second
)

// newGRPCServer returns a server of ext_authz and of gRPC's health protocol.
func (s *Server) newGRPCServer(secured *tls.Config, l *limits, log logr.Logger) (*grpc.Server, *health.Server) {
	transport := insecure.NewCredentials()
	if secured != nil {
		transport = credentials.NewTLS(secured)
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(connlimit.MaxHeaderList),
		// Fixed windows: by default grpc-go lets them grow up to 16 MiB for a client that fills them.
		grpc.StaticStreamWindowSize(maxMessage), grpc.StaticConnWindowSize(connectionWindow),
		// The connection has a buffer already, see connlimit.HTTP2.
		grpc.ReadBufferSize(0),
		grpc.ConnectionTimeout(headerTimeout), grpc.InTapHandle(boundCall), grpc.StatsHandler(connlimit.Calls{}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: idleTimeout, MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: shutdownTimeout, Time: deadAfter, Timeout: deadAfter,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: deadAfter / 2, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(recoverPanic(log)), grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
		grpc.Creds(countingCredentials{transport, l.budget}),
	)
	healthy := health.NewServer()
	server.RegisterService(l.decodeFew(&auth.Authorization_ServiceDesc), extAuthz{verifier: s})
	grpc_health_v1.RegisterHealthServer(server, healthy)
	s.reportHealth(healthy)
	return server, healthy
}

// endingMethods are the methods whose end grpc-go reports to the stats handler.
var endingMethods = map[string]bool{
	auth.Authorization_Check_FullMethodName: true, grpc_health_v1.Health_Check_FullMethodName: true,
	grpc_health_v1.Health_List_FullMethodName: true, grpc_health_v1.Health_Watch_FullMethodName: true,
}

// boundCall sets the deadline of a call without one, or with a later one: the rest of its message may never arrive. A watch of the health
// has no deadline; connectionAge ends its connection.
func boundCall(ctx context.Context, call *tap.Info) (context.Context, error) {
	if endingMethods[call.FullMethodName] {
		ctx = connlimit.Calls{}.Begin(ctx)
	}
	if call.FullMethodName == grpc_health_v1.Health_Watch_FullMethodName {
		return ctx, nil
	}
	if at, ok := ctx.Deadline(); ok && at.Sub(clock.RealClock{}.Now()) <= callTimeout {
		return ctx, nil
	}
	bounded, _ := withTimeout(ctx) // grpc-go cancels ctx at the end of the call, which stops the timer
	return bounded, nil
}

func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}

// recoverPanic denies a request whose handler panics, so that the process continues, as net/http does. The log does not contain the text
// of the panic, which may quote the request.
func recoverPanic(log logr.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (answer any, err error) {
		defer func() {
			if cause := recover(); cause != nil {
				log.Error(nil, "A defect of the verifier: the request is refused", "panic", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
				answer, err = deny(unready), nil
			}
		}()
		return next(ctx, request)
	}
}

// reportHealth sets the status of gRPC's health protocol to that of /readyz.
func (s *Server) reportHealth(healthy *health.Server) {
	serving := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if s.data.Load().first().Ready(s.now()) {
		serving = grpc_health_v1.HealthCheckResponse_SERVING
	}
	for _, service := range []string{"", auth.Authorization_ServiceDesc.ServiceName} {
		healthy.SetServingStatus(service, serving)
	}
}

// serveGRPC listens, and serves in the group until the context ends. It returns an error if it cannot listen.
func (h *host) serveGRPC(ctx context.Context, s *Server, secured *tls.Config) error {
	if s.options.GRPCBindAddress == "0" || s.options.GRPCBindAddress == "" {
		return nil
	}
	listener, err := h.limits.listen(ctx, grpcListener, s.options.GRPCBindAddress, h.log)
	if err != nil {
		return err
	}
	server, healthy := s.newGRPCServer(secured, h.limits, h.log)
	h.group.Go(func() error { return server.Serve(listener) })
	h.group.Go(func() error {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.reportHealth(healthy)
			case <-ctx.Done():
				healthy.Shutdown()
				return nil
			}
		}
	})
	h.group.Go(func() error {
		h.drain(ctx)
		stopWithin(server, shutdownTimeout)
		return nil
	})
	return nil
}

// stopWithin stops a server after its pending requests are answered, or after a time.
func stopWithin(server *grpc.Server, span time.Duration) {
	late := time.AfterFunc(span, server.Stop)
	defer late.Stop()
	server.GracefulStop()
}
