// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
)

// TestHostile_RecordsOfAnotherClustersKeys: the other cluster has records with the key IDs and hashes of this one, older, with more scopes and in
// other environments.
func TestHostile_RecordsOfAnotherClustersKeys(t *testing.T) {
	v := newVerifier(t)
	here := home.NewNamespace(t, "victim-")
	good := issue(here, "good", "staging", nil)
	revoked, production := issue(here, "revoked", "staging", nil), issue(here, "production", "production", nil)
	records := map[string]v1alpha1.DGbotAPIKeyRecord{}
	for _, name := range []string{"good", "revoked", "production"} {
		records[name] = here.Records(name)[0]
	}
	here.EditKey("revoked", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	must(t, home.Admin.Delete(t.Context(), here.Key("production")))
	here.Eventually("the record of production is gone", func() bool { return len(here.Records("production")) == 0 })

	there := eu.NewNamespace(t, "forger-")
	genuine := issue(there, "genuine", "staging", func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Scopes = []v1alpha1.Scope{"conversations.read", "admin.all", "*"}
	})
	// Its administrator has no operator that would revoke what it did not issue.
	must(t, managers[1].Pause())
	t.Cleanup(func() { must(t, managers[1].Resume()) })
	for name, record := range records {
		forge(there, name, record, "staging")
	}
	forge(there, "elsewhere", records["good"], "development")

	v.start(file(staging + ", scopes: ['conversations.*']"))
	v.becomes("a key of the other cluster", genuine, http.StatusOK)
	if _, a := v.ask(genuine); strings.Join(a.Scopes, " ") != "conversations.read" || a.Cluster != "eu" {
		t.Errorf("the key of the other cluster: %+v", a)
	}
	if code, a := v.ask(good); code != http.StatusOK || a.Cluster != "home" || a.Namespace != here.Name || len(a.Scopes) != 0 {
		t.Errorf("a key of this cluster: %d %+v", code, a)
	}
	v.answers("a key that is revoked here", revoked, http.StatusUnauthorized)
	v.answers("a key of production that is deleted here", production, http.StatusUnauthorized)
}

// forge creates a record with the key ID and hash of another one, as an administrator of the other cluster can.
func forge(n *testenv.Namespace, name string, record v1alpha1.DGbotAPIKeyRecord, environment string) {
	n.T.Helper()
	owner := testenv.NewKey(n.Name, "owner-"+name, func(k *v1alpha1.DGbotAPIKey) { k.Spec.Environment = environment })
	must(n.T, eu.Admin.Create(n.T.Context(), owner))
	forged := &v1alpha1.DGbotAPIKeyRecord{ObjectMeta: metav1.ObjectMeta{
		Namespace: n.Name, Name: "forged-" + name, Labels: record.Labels,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: owner.Name, UID: owner.UID}},
	}, Spec: record.Spec}
	forged.Spec.APIKeyRef = v1alpha1.APIKeyReference{Name: owner.Name, UID: owner.UID}
	forged.Spec.Environment, forged.Spec.State, forged.Spec.Scopes, forged.Spec.NotAfter = environment, v1alpha1.StateActive, []v1alpha1.Scope{"*"}, nil
	must(n.T, eu.Admin.Create(n.T.Context(), forged))
}

// TestHostile_RecordsWithoutEnd: an API server that sends more and more records takes a bounded part of the verifier's memory, and no time from
// the keys of other clusters.
func TestHostile_RecordsWithoutEnd(t *testing.T) {
	const allowed = 1000
	flood := httptest.NewServer(http.HandlerFunc(sendWithoutEnd))
	t.Cleanup(flood.Close)
	t.Cleanup(flood.CloseClientConnections)
	v := newVerifier(t)
	own := issue(home.NewNamespace(t, "flooded-"), "own", "staging", nil)
	v.write("flood.kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
clusters: [{name: k, cluster: {server: "%s"}}], users: [{name: u, user: {}}]}`, flood.URL))
	v.start(file(staging)+fmt.Sprintf("- {name: flood, kubeconfig: flood.kubeconfig, environments: [development], maxRecords: %d}\n", allowed), "--register=false")
	v.becomes("the key of this cluster", own, http.StatusOK)
	home.Eventually(t, "100,000 records were ignored", func() bool {
		var n float64
		_, err := fmt.Sscan(v.metric(`dgbot_verifier_ignored_objects_total{source="flood"}`), &n)
		return err == nil && n > 100_000
	})
	if got := v.metric(`dgbot_verifier_records{source="flood"}`); got != strconv.Itoa(allowed) {
		t.Errorf("%s records of the flood, want %d", got, allowed)
	}
	if got := v.metric(`dgbot_verifier_complete{source="flood"}`); got != "0" {
		t.Errorf("dgbot_verifier_complete is %s", got)
	}
	if !strings.Contains(home.Log.String(), "record limit reached") {
		t.Error("the log does not tell of it")
	}
	if !v.isQuick(own) {
		t.Error("the key of this cluster is verified slowly")
	}
	var resident float64
	_, err := fmt.Sscan(v.metric("process_resident_memory_bytes"), &resident)
	must(t, err)
	if resident > 200<<20 {
		t.Errorf("the verifier takes %.0f MiB", resident/(1<<20))
	}
}

// sendWithoutEnd answers a list of records with different ones until the client hangs up.
func sendWithoutEnd(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/dgbotapikeyrecords") || r.URL.Query().Get("watch") == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	for i := 0; r.Context().Err() == nil; i++ {
		record := v1alpha1.DGbotAPIKeyRecord{
			TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "DGbotAPIKeyRecord"},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: fmt.Sprintf("n%d", i), Name: fmt.Sprintf("r%d", i), UID: types.UID(fmt.Sprintf("u%d", i)), ResourceVersion: strconv.Itoa(i + 1),
			},
			Spec: v1alpha1.DGbotAPIKeyRecordSpec{
				KeyID: fmt.Sprintf("%012d", i), Hash: "sha256:" + strings.Repeat("0", 64), Environment: "development", Label: strings.Repeat("x", 100),
				State: v1alpha1.StateActive, Revision: 1,
			},
		}
		if encoder.Encode(map[string]any{"type": "ADDED", "object": record}) != nil {
			return
		}
	}
}

// middle is an HTTPS server between the verifier and the other cluster.
type middle struct {
	*httptest.Server
	authority []byte
}

// newMiddle returns a server whose certificate ends at a time, and which answers after a delay.
func newMiddle(t *testing.T, notAfter time.Time, delay time.Duration) *middle {
	t.Helper()
	certificate, authority := certify(t, notAfter)
	upstream := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	target := "https://" + eu.NewProxy(t).Address
	m := &middle{authority: authority}
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
		pass(w, r, upstream, target)
	}))
	m.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	m.StartTLS()
	t.Cleanup(m.Close)
	t.Cleanup(m.CloseClientConnections)
	return m
}

// pass passes a request on, and its answer as it comes.
func pass(w http.ResponseWriter, r *http.Request, upstream http.RoundTripper, target string) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, target+r.URL.RequestURI(), r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	request.Header = r.Header.Clone()
	response, err := upstream.RoundTrip(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = response.Body.Close() }()
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	control, buffer := http.NewResponseController(w), make([]byte, 32<<10)
	for {
		n, err := response.Body.Read(buffer)
		if _, failed := w.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
		_ = control.Flush()
	}
}

// certify returns a certificate of 127.0.0.1 that ends at a time, and the certificate of its authority in PEM: itself.
func certify(t *testing.T, notAfter time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	content, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{content}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content})
}

// through writes the kubeconfig of the other cluster so that it leads through a server.
func (v *verifier) through(m *middle) {
	v.t.Helper()
	var lines []string
	for line := range strings.Lines(kubeconfig(v.t, m.URL)) {
		if strings.Contains(line, "certificate-authority-data:") {
			line = "    certificate-authority-data: " + base64.StdEncoding.EncodeToString(m.authority) + "\n"
		}
		lines = append(lines, line)
	}
	v.write("eu.kubeconfig", strings.Join(lines, ""))
}

// TestClusters_AnExpiredCertificate of the other cluster: its keys are denied, and accepted once it is renewed.
func TestClusters_AnExpiredCertificate(t *testing.T) {
	v := newVerifier(t)
	v.through(newMiddle(t, time.Now().Add(-time.Hour), 0))
	v.start(file(staging))
	own, other := issue(home.NewNamespace(t, "expired-"), "own", "staging", nil), issue(eu.NewNamespace(t, "expired-"), "other", "staging", nil)
	v.becomes("the key of this cluster", own, http.StatusOK)
	v.answers("the key of the other cluster", other, http.StatusServiceUnavailable)
	v.through(newMiddle(t, time.Now().Add(24*time.Hour), 0))
	v.becomes("the key of the other cluster, once the certificate is renewed", other, http.StatusOK)
	v.answers("the key of this cluster", own, http.StatusOK)
}

// TestClusters_ASlowCluster, as one on another continent, takes no time from the keys of others. Its own are verified, as late as it sends its records.
func TestClusters_ASlowCluster(t *testing.T) {
	v := newVerifier(t)
	v.through(newMiddle(t, time.Now().Add(24*time.Hour), 300*time.Millisecond))
	v.start(file(staging))
	own, other := issue(home.NewNamespace(t, "slow-"), "own", "staging", nil), issue(eu.NewNamespace(t, "slow-"), "other", "staging", nil)
	v.becomes("the key of this cluster", own, http.StatusOK)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for accepted := false; !accepted; {
		must(t, ctx.Err())
		if !v.isQuick(own) {
			t.Fatal("the key of this cluster is verified slowly")
		}
		code, _ := v.ask(other)
		accepted = code == http.StatusOK
	}
}
