// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"dgbot.io/key-operator/test/controlplane"
)

// tlsName is the name that the examples in config/gateways want in the verifier's certificate.
const tlsName = "dgbot-verifier.dgbot-system.svc"

// startTLSVerifier runs a verifier with TLS, and returns the file of what its certificate is trusted by.
func startTLSVerifier(t *testing.T, args ...string) (v *verifier, trusted string) {
	t.Helper()
	certFile, keyFile := writeCertificate(t, t.TempDir(), 1)
	v = startVerifier(t, append(args, "--tls-cert-file="+certFile, "--tls-key-file="+keyFile)...)
	v.scheme, v.client.Transport = "https", &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return v, certFile
}

// writeCertificate writes a self-signed certificate with a serial number.
func writeCertificate(t *testing.T, folder string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{tlsName}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certFile, keyFile = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600))
	return certFile, keyFile
}

func TestTheCertificateIsReadAgain(t *testing.T) {
	folder := t.TempDir()
	certFile, keyFile := writeCertificate(t, folder, 1)
	v := startVerifier(t, "--tls-cert-file="+certFile, "--tls-key-file="+keyFile)
	serial := func() int64 {
		connection, err := tls.Dial("tcp", v.address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return 0
		}
		defer func() { _ = connection.Close() }()
		return connection.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	eventually(t, "it serves with TLS", func() bool { return serial() == 1 })
	writeCertificate(t, folder, 2)
	eventually(t, "it serves the new certificate", func() bool { return serial() == 2 })
	if code := v.get("/healthz"); code != http.StatusBadRequest {
		t.Errorf("without TLS: %d", code)
	}
	v.scheme, v.client.Transport = "https", &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	v.ready()
}

// TestTheEndIsGraceful: after SIGTERM a verifier says that it is not ready, and answers on for a while.
func TestTheEndIsGraceful(t *testing.T) {
	p := newPlace(t)
	text := p.key("crm", "staging")
	v := startVerifier(t, "--drain-delay=3s")
	v.becomes("the key", text, http.StatusOK)
	must(t, syscall.Kill(v.program.ProcessNumber(), syscall.SIGTERM))
	eventually(t, "it says that it is not ready", func() bool { return v.get("/readyz") == http.StatusServiceUnavailable })
	if code, _ := v.verify(text); code != http.StatusOK {
		t.Errorf("on the way to its end it answers %d", code)
	}
	v.ends()
}

func TestWrongFlagsAreToldInOneLine(t *testing.T) {
	for _, tc := range []struct{ flag, want string }{
		{"--max-staleness=1s", "--max-staleness is 1s: want at least 5s"}, {"--on-stale=maybe", "want deny or serve"},
		{"--tls-cert-file=x", "--tls-cert-file and --tls-key-file belong together"}, {"--environment=", "leave the flag out for all"},
		{"--drain-delay=1h", "--drain-delay is 1h0m0s: want 0s to 1m"}, {"extra", `unexpected argument "extra"`},
	} {
		command := exec.Command(filepath.Join(controlplane.Repository(), "bin", "verifier"), "--kubeconfig=/nowhere", tc.flag)
		out, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(out), tc.want) || strings.Contains(string(out), "goroutine") {
			t.Errorf("%s: %v, %s", tc.flag, err, out)
		}
	}
}

// TestMetricsHaveNoKeyInThem, and count.
func TestMetricsHaveNoKeyInThem(t *testing.T) {
	p := newPlace(t)
	text := p.key("crm", "staging")
	metrics := freeAddress(t)
	v := startVerifier(t, "--metrics-bind-address="+metrics)
	v.becomes("the key", text, http.StatusOK)
	if code, _ := v.verify("junk"); code != http.StatusUnauthorized {
		t.Errorf("junk: %d", code)
	}
	response, err := v.client.Get("http://" + metrics + "/metrics")
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	must(t, err)
	body := string(content)
	for _, want := range []string{`dgbot_verifier_answers_total{answer="good"} `, `dgbot_verifier_refusals_total{reason="malformed"} `, "dgbot_verifier_synced 1"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	alerts, err := os.ReadFile(filepath.Join(controlplane.Repository(), "config", "prometheus", "alerts.yaml"))
	must(t, err)
	read := regexp.MustCompile(`\bdgbot_verifier_[a-z_]+`).FindAllString(string(alerts), -1)
	if len(read) < 4 {
		t.Errorf("alerts read only %v", read)
	}
	for _, metric := range read {
		if !regexp.MustCompile(`(?m)^` + metric + `[ {]`).MatchString(body) {
			t.Errorf("an alert reads %s, which is not exported", metric)
		}
	}
	if id := strings.Split(text, "_")[2]; strings.Contains(body, id) {
		t.Error("the key's ID is in the metrics")
	}
}
