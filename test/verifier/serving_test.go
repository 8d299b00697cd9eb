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

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// tlsName is the name that the examples in config/integrations/gateways want in the verifier's certificate.
const tlsName = "dgbot-verifier.dgbot-system.svc"

// startTLSVerifier runs a verifier with TLS, and returns the file of what its certificate is trusted by.
func startTLSVerifier(t *testing.T, args ...string) (v *verifier, trusted string) {
	t.Helper()
	certFile, keyFile := writeCertificate(t, t.TempDir(), 1)
	v = startVerifier(t, append(args, "--tls-cert-file="+certFile, "--tls-key-file="+keyFile)...)
	v.Scheme, v.Client.Transport = "https", &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
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
		connection, err := tls.Dial("tcp", v.Address, &tls.Config{InsecureSkipVerify: true})
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
	v.Scheme, v.Client.Transport = "https", &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	v.ready()
}

// TestTheEndIsGraceful: after SIGTERM a verifier says that it is not ready, and answers on for a while.
func TestTheEndIsGraceful(t *testing.T) {
	p := newPlace(t)
	text := p.key("crm", "staging")
	v := startVerifier(t, "--drain-delay=3s")
	v.becomes("the key", text, http.StatusOK)
	must(t, syscall.Kill(v.ProcessNumber(), syscall.SIGTERM))
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

// accountToken returns a token of a service account in the namespace default.
func accountToken(t *testing.T, name string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	must(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), account)))
	config, err := world.ServiceAccountConfig(t.Context(), account.Namespace, name)
	must(t, err)
	return config.BearerToken
}

// scrape reads metrics as the ServiceMonitor of config/prometheus does. The code is 0 while nothing listens.
func scrape(t *testing.T, address, token string) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	scraper := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer scraper.CloseIdleConnections()
	response, err := scraper.Do(request)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(content)
}

// TestServiceMonitors_ShowAToken: every endpoint is scraped over TLS, with the token that may read metrics and nothing else.
func TestServiceMonitors_ShowAToken(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(controlplane.Repository(), "config", "prometheus", "servicemonitor.yaml"))
	must(t, err)
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		monitor := example{}
		must(t, yaml.Unmarshal([]byte(document), &monitor))
		if monitor.at("spec.endpoints.0.scheme") != "https" || monitor.at("spec.endpoints.0.authorization.credentials.name") != "dgbot-metrics-reader" {
			t.Errorf("%s is scraped without TLS or without a token", monitor.at("metadata.name"))
		}
	}
}

// TestMetricsHaveNoKeyInThem, count, and are read with a token that may read them, by the rights of config/verifier.
func TestMetricsHaveNoKeyInThem(t *testing.T) {
	p := newPlace(t)
	text := p.key("crm", "staging")
	metrics := freeAddress(t)
	v := startVerifier(t, "--metrics-bind-address="+metrics)
	v.becomes("the key", text, http.StatusOK)
	if code, _ := v.verify("junk"); code != http.StatusUnauthorized {
		t.Errorf("junk: %d", code)
	}
	// Its certificate is made after the verifier answers.
	eventually(t, "metrics without a token are denied", func() bool {
		code, _ := scrape(t, metrics, "")
		return code == http.StatusUnauthorized
	})
	if code, _ := scrape(t, metrics, accountToken(t, "metrics-stranger")); code != http.StatusForbidden {
		t.Errorf("metrics without the right: %d", code)
	}
	must(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "metrics-scraper"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "dgbot-metrics-reader"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "metrics-scraper"}},
	})))
	code, body := 0, ""
	token := accountToken(t, "metrics-scraper")
	eventually(t, "an account with the right reads metrics", func() bool {
		code, body = scrape(t, metrics, token)
		return code == http.StatusOK
	})
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
