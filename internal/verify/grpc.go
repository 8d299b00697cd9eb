// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"dgbot.io/key-operator/internal/listening"
)

// Limits of a connection. Envoy keeps a few, with many requests at once on each.
const (
	// maxMessage is the size in bytes from which on a request is an error: one that Envoy was told to send with the body has
	// more than headers.
	maxMessage = 1 << 20
	maxStreams = 4096
	// connectionAge is how long a connection lasts, so that those that outlive a rollout spread over the new verifiers.
	connectionAge = 30 * time.Minute
	deadAfter     = 20 * time.Second
)

// newGRPCServer returns a server of ext_authz and of gRPC's health protocol.
func (v *Verifier) newGRPCServer(secured *tls.Config, log logr.Logger) (*grpc.Server, *health.Server) {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(headerTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: shutdownTimeout, Time: deadAfter, Timeout: deadAfter,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: deadAfter / 2, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(survive(log)),
	}
	if secured != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(secured)))
	}
	server, healthy := grpc.NewServer(options...), health.NewServer()
	auth.RegisterAuthorizationServer(server, extAuthz{verifier: v})
	grpc_health_v1.RegisterHealthServer(server, healthy)
	v.reportHealth(healthy)
	return server, healthy
}

// survive makes a refusal of a panic, as net/http does: one request must not end all others. Its text is left out of the log,
// as it may quote what was sent.
func survive(log logr.Logger) grpc.UnaryServerInterceptor {
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

// reportHealth tells gRPC's health protocol what /readyz tells.
func (v *Verifier) reportHealth(healthy *health.Server) {
	serving := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if v.freshness.ready(v.now(), v.bound) {
		serving = grpc_health_v1.HealthCheckResponse_SERVING
	}
	for _, service := range []string{"", auth.Authorization_ServiceDesc.ServiceName} {
		healthy.SetServingStatus(service, serving)
	}
}

// serveGRPC listens at once, so that a wrong address is an error at the start, and answers until the context ends.
func (o *Options) serveGRPC(ctx context.Context, group *errgroup.Group, log logr.Logger, v *Verifier, secured *tls.Config) error {
	if o.GRPCBindAddress == "0" || o.GRPCBindAddress == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.GRPCBindAddress)
	if err != nil {
		return listening.Explain("grpc-bind-address", o.GRPCBindAddress, err)
	}
	log.Info("Listening", "for", "grpc", "address", listener.Addr().String())
	server, healthy := v.newGRPCServer(secured, log)
	group.Go(func() error { return server.Serve(listener) })
	group.Go(func() error {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				v.reportHealth(healthy)
			case <-ctx.Done():
				healthy.Shutdown()
				return nil
			}
		}
	})
	group.Go(func() error {
		o.drain(ctx)
		stopWithin(server, shutdownTimeout)
		return nil
	})
	return nil
}

// stopWithin lets requests that are being answered end, for so long.
func stopWithin(server *grpc.Server, span time.Duration) {
	late := time.AfterFunc(span, server.Stop)
	defer late.Stop()
	server.GracefulStop()
}
