// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"context"
	"net"

	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
)

// Calls tells the connections of HTTP2 when grpc-go has ended the handler of a call. A client can reset a stream at once, while its
// handler still waits for a processor; without Calls it could start handlers faster than they end, without bound.
// Its Begin belongs into the server's tap handle, and it is one of the server's stats handlers.
type Calls struct{}

var _ stats.Handler = Calls{}

type callKey struct{}

// call is a stream with a handler.
type call struct {
	connection *http2Connection
	stream     uint32
}

// clientAddress leads from grpc-go's peer back to its connection.
type clientAddress struct {
	net.Addr
	connection *http2Connection
}

// Begin notes that a handler follows. It must be called where the stream was just opened, by the goroutine that reads the
// connection: the tap handle.
func (Calls) Begin(ctx context.Context) context.Context {
	client, ok := peer.FromContext(ctx)
	if !ok {
		return ctx
	}
	address, ok := client.Addr.(clientAddress)
	if !ok {
		return ctx
	}
	began := call{address.connection, address.connection.opened}
	began.connection.handle(began.stream)
	return context.WithValue(ctx, callKey{}, began)
}

// HandleRPC implements stats.Handler.
func (Calls) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if _, ok := event.(*stats.End); !ok {
		return
	}
	if ended, ok := ctx.Value(callKey{}).(call); ok {
		ended.connection.handled(ended.stream)
	}
}

// TagRPC implements stats.Handler.
func (Calls) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn implements stats.Handler.
func (Calls) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (Calls) HandleConn(context.Context, stats.ConnStats) {}
