// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// envoyConnections is how many connections questions share: Envoy has one for each of its threads.
const envoyConnections = 2

// grpcAsker asks as Envoy does.
type grpcAsker struct {
	client   auth.AuthorizationClient
	requests []*auth.CheckRequest
}

// askOverGRPC returns how to ask at an address, with each of the keys, and how to close the connections.
func askOverGRPC(address string, texts []string) (dial, func(), error) {
	requests := make([]*auth.CheckRequest, len(texts))
	for i, text := range texts {
		requests[i] = &auth.CheckRequest{Attributes: &auth.AttributeContext{
			Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
				Id: "6b1f3c0a", Method: "GET", Path: "/v1/conversations?limit=20", Host: "api.example.com", Scheme: "https", Protocol: "HTTP/1.1",
				Headers: map[string]string{
					":authority": "api.example.com", ":method": "GET", ":path": "/v1/conversations?limit=20", ":scheme": "https",
					"accept": "application/json", "accept-encoding": "gzip, deflate", "user-agent": "python-requests/2.32.3",
					"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https", "x-request-id": "6b1f3c0a", "authorization": "Bearer " + text,
				},
			}},
			ContextExtensions: map[string]string{"required-scopes": "conversations.read"},
		}}
	}
	var connections []*grpc.ClientConn
	closeAll := func() {
		for _, connection := range connections {
			_ = connection.Close()
		}
	}
	for range envoyConnections {
		connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		connections = append(connections, connection)
	}
	return func(_ context.Context, i int) (asker, error) {
		return &grpcAsker{auth.NewAuthorizationClient(connections[i%len(connections)]), requests}, nil
	}, closeAll, nil
}

func (a *grpcAsker) ask(ctx context.Context, i int) error {
	answer, err := a.client.Check(ctx, a.requests[i%len(a.requests)])
	if err == nil && answer.GetStatus().GetCode() != int32(codes.OK) {
		err = fmt.Errorf("the server answers a good key with code %d", answer.GetStatus().GetCode())
	}
	return err
}

// close leaves the connection to the others that share it.
func (a *grpcAsker) close() error { return nil }
