// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// encodedMessage is a message that is read and not yet decoded.
type encodedMessage []byte

// codec is gRPC's own codec, which in addition can leave a message encoded.
type codec struct{ encoding.CodecV2 }

func (c codec) Unmarshal(data mem.BufferSlice, into any) error {
	if message, ok := into.(*encodedMessage); ok {
		*message = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, into)
}

// decodeFew returns the service with a bound on the messages that are decoded and answered at the same time: a message can describe fifty
// times its size in empty objects. Messages are read without that bound, because clients may send them slowly.
func (l *limits) decodeFew(service *grpc.ServiceDesc) *grpc.ServiceDesc {
	bounded := *service
	bounded.Methods = slices.Clone(service.Methods)
	for i, method := range service.Methods {
		bounded.Methods[i].Handler = func(server any, ctx context.Context, read func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			var message encodedMessage
			if err := read(&message); err != nil {
				return nil, err
			}
			select {
			case l.decoding <- struct{}{}:
			case <-ctx.Done():
				return nil, status.FromContextError(ctx.Err()).Err()
			}
			defer func() { <-l.decoding }()
			return method.Handler(server, ctx, message.decode, interceptor)
		}
	}
	return &bounded
}

func (m encodedMessage) decode(into any) error {
	target, ok := into.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "want a protobuf message, have %T", into)
	}
	if err := proto.Unmarshal(m, target); err != nil {
		return status.Error(codes.Internal, "the message is not the protobuf message of this method")
	}
	return nil
}
