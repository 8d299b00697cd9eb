// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// gateway asks a verifier as Envoy does.
type gateway struct {
	t          *testing.T
	connection *grpc.ClientConn
}

func newGateway(t *testing.T, address string, secured credentials.TransportCredentials) *gateway {
	t.Helper()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(secured))
	must(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return &gateway{t, connection}
}

// check returns the status code that a request with a key is answered with, and the scopes that go on to the service; 0 if
// no verifier answers.
func (g *gateway) check(text, required string) (code int, scopes string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
	defer cancel()
	response, err := auth.NewAuthorizationClient(g.connection).Check(ctx, &auth.CheckRequest{Attributes: &auth.AttributeContext{
		ContextExtensions: map[string]string{"required-scopes": required},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Method: http.MethodGet, Path: "/", Headers: map[string]string{"authorization": "Bearer " + text, "x-dgbot-scopes": "*"},
		}},
	}})
	if err != nil {
		return 0, ""
	}
	if denied := response.GetDeniedResponse(); denied != nil {
		return int(denied.GetStatus().GetCode()), ""
	}
	for _, option := range response.GetOkResponse().GetHeaders() {
		if option.GetHeader().GetKey() == "X-DGbot-Scopes" {
			scopes = option.GetHeader().GetValue()
		}
	}
	return http.StatusOK, scopes
}

func (g *gateway) serving(service string) bool {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
	defer cancel()
	health, err := grpc_health_v1.NewHealthClient(g.connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	return err == nil && health.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING
}

func TestEnvoyIsAnswered(t *testing.T) {
	p := newPlace(t)
	text := p.key("crm", "staging")
	address := freeAddress(t)
	v := startVerifier(t, "--grpc-bind-address="+address, "--drain-delay=3s")
	g := newGateway(t, address, insecure.NewCredentials())
	eventually(t, "gRPC health says that it serves", func() bool { return g.serving("envoy.service.auth.v3.Authorization") && g.serving("") })
	eventually(t, "the key is good", func() bool { code, _ := g.check(text, "conversations.read"); return code == http.StatusOK })
	if _, scopes := g.check(text, ""); scopes != "conversations.read" {
		t.Errorf("the service gets scopes %q", scopes)
	}
	if code, _ := g.check(text, "conversations.write"); code != http.StatusForbidden {
		t.Errorf("a scope that it has not: %d", code)
	}
	if code, _ := g.check("junk", ""); code != http.StatusUnauthorized {
		t.Errorf("junk: %d", code)
	}
	p.PatchKey("crm", `{"spec": {"state": "Revoked"}}`)
	eventually(t, "the revoked key is refused", func() bool { code, _ := g.check(text, ""); return code == http.StatusUnauthorized })

	must(t, syscall.Kill(v.ProcessNumber(), syscall.SIGTERM))
	eventually(t, "gRPC health says that it is about to stop", func() bool { return !g.serving("") })
	if code, _ := g.check(text, ""); code != http.StatusUnauthorized {
		t.Errorf("on the way to its end it answers %d", code)
	}
	v.ends()
}

func TestEnvoyIsAnsweredWithTLS(t *testing.T) {
	certFile, keyFile := writeCertificate(t, t.TempDir(), 1)
	address := freeAddress(t)
	startVerifier(t, "--grpc-bind-address="+address, "--tls-cert-file="+certFile, "--tls-key-file="+keyFile)
	pem, err := os.ReadFile(certFile)
	must(t, err)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	secured := newGateway(t, address, credentials.NewTLS(&tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}))
	eventually(t, "it serves with TLS", func() bool { return secured.serving("") })
	if newGateway(t, address, insecure.NewCredentials()).serving("") {
		t.Error("it serves without TLS as well")
	}
}

// TestServe_ClosesSilentConnections: clients that send nothing keep no other client from being answered.
func TestServe_ClosesSilentConnections(t *testing.T) {
	p := newPlace(t)
	text := p.key("crm", "staging")
	address := freeAddress(t)
	v := startVerifier(t, "--grpc-bind-address="+address)
	v.becomes("the key", text, http.StatusOK)
	g := newGateway(t, address, insecure.NewCredentials())
	eventually(t, "the key is good", func() bool { code, _ := g.check(text, ""); return code == http.StatusOK })

	hungUp := make(chan string)
	clients := 0
	for _, half := range []struct{ address, beginning string }{
		{v.Address, ""}, {v.Address, "POST /v1/verify HTTP/1.1\r\nAuthorization: Bearer "},
		{v.Address, "POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nAuthorization: Bearer " + text + "\r\n\r\n{"},
		{address, ""}, {address, "PRI * HTTP/2.0\r\n"},
	} {
		for range 40 {
			connection, err := net.Dial("tcp", half.address)
			must(t, err)
			_, err = connection.Write([]byte(half.beginning))
			must(t, err)
			clients++
			go func() {
				defer func() { _ = connection.Close() }()
				_ = connection.SetReadDeadline(time.Now().Add(within))
				buffer := make([]byte, 4096)
				for {
					if _, err := connection.Read(buffer); err != nil {
						if errors.Is(err, os.ErrDeadlineExceeded) {
							hungUp <- "the verifier did not hang up after " + half.beginning
						} else {
							hungUp <- ""
						}
						return
					}
				}
			}()
		}
	}
	for range 50 {
		if code, _ := v.verify(text); code != http.StatusOK {
			t.Fatalf("others are answered with %d", code)
		}
		if code, _ := g.check(text, ""); code != http.StatusOK {
			t.Fatalf("others are answered with %d over gRPC", code)
		}
	}
	for range clients {
		if complaint := <-hungUp; complaint != "" {
			t.Error(complaint)
		}
	}
}
