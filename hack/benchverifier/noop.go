// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/util/wait"

	"dgbot.io/key-operator/internal/testenv/process"
)

// noOpCommand makes this program serve answers that nothing was decided for, in a process of its own as the verifier is.
const noOpCommand = "no-op"

// serveNoOp answers over HTTP and gRPC, with the libraries that the verifier uses, until it is killed.
func serveNoOp(httpAddress, grpcAddress string) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", grpcAddress)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() {
		server := grpc.NewServer()
		auth.RegisterAuthorizationServer(server, admitAll{})
		failed <- server.Serve(listener)
	}()
	go func() {
		server := &http.Server{Addr: httpAddress, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusOK)
		})}
		failed <- server.ListenAndServe()
	}()
	return <-failed
}

// admitAll is Envoy's external authorization that lets everything pass.
type admitAll struct {
	auth.UnimplementedAuthorizationServer
}

// Check implements envoy.service.auth.v3.Authorization.
func (admitAll) Check(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
	return &auth.CheckResponse{Status: &status.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}}}, nil
}

// noOp is a running one.
type noOp struct {
	command    *exec.Cmd
	http, grpc string
}

func startNoOp(ctx context.Context) (*noOp, error) {
	n := &noOp{}
	for _, address := range []*string{&n.http, &n.grpc} {
		free, err := process.FreeAddress()
		if err != nil {
			return nil, err
		}
		*address = free
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	n.command = exec.CommandContext(ctx, self, noOpCommand, n.http, n.grpc) //nolint:gosec // this very program
	n.command.Stderr = os.Stderr
	if err := n.command.Start(); err != nil {
		return nil, err
	}
	err = wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.http)
		if err == nil {
			_ = connection.Close()
		}
		return err == nil, nil // it does not listen yet
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the no-op server does not listen: %w", err), n.stop())
	}
	return n, nil
}

func (n *noOp) stop() error {
	err := n.command.Process.Kill()
	_ = n.command.Wait() // that it was killed
	return err
}
