// SPDX-License-Identifier: Apache-2.0

package install

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// started bounds how long the controllers take to start while a cache cannot be filled: 4 s, and room for a machine that is busy.
// client-go repeats a request that is answered with 429 for 10 s, and an informer makes two of them one after the other.
const started = 10 * time.Second

// controllerCount is how many controllers the manager starts.
const controllerCount = 4

// cachedResources are the resources that the manager caches, by the names of their readiness checks.
var cachedResources = []string{"configmaps", "dgbotapikeyrecords", "dgbotapikeys", "dgbotchatbots", "dgbotenvironments", "leases", "namespaces", "secrets"}

// listFault answers a list, or a watch, in the API server's place. It reports false where the API server is to answer after all.
// ended is closed when the fault ends.
type listFault func(w http.ResponseWriter, r *http.Request, ended <-chan struct{}) bool

func answerWith(code int, reason, message string) listFault {
	return func(w http.ResponseWriter, _ *http.Request, _ <-chan struct{}) bool {
		w.Header().Set("Content-Type", "application/json")
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"code":%d}`, reason, message, code)
		return true
	}
}

func hang(_ http.ResponseWriter, r *http.Request, ended <-chan struct{}) bool {
	select {
	case <-r.Context().Done():
		return true
	case <-ended:
		return false
	}
}

// listProxy stands between a manager and the API server. It answers the lists and watches by which caches are filled.
type listProxy struct {
	forward *httputil.ReverseProxy
	url     string
	// ca is the certificate of the proxy.
	ca []byte

	mutex sync.Mutex
	// faults are by resource, and ended is closed when they end.
	faults map[string]listFault
	ended  chan struct{}
	// watched are the resources that were watched.
	watched map[string]bool
}

func newListProxy(t *testing.T, cluster *controlplane.Cluster) *listProxy {
	t.Helper()
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(cluster.Config))
	if err != nil {
		t.Fatal(err)
	}
	target, _, err := rest.DefaultServerUrlFor(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	p := &listProxy{watched: map[string]bool{}, forward: &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host}) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = p.forward.ErrorLog
	server.EnableHTTP2 = true
	server.StartTLS() // client-go sends no token without TLS
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.url = server.URL
	p.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return p
}

// ServeHTTP answers what fills caches. Live lists have a field selector, or are limited to one namespace.
func (p *listProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource := path.Base(r.URL.Path)
	query := r.URL.Query()
	caches := r.Method == http.MethodGet && slices.Contains(cachedResources, resource) && query.Get("fieldSelector") == "" &&
		(query.Get("watch") != "" || query.Get("resourceVersion") != "" || query.Get("limit") != "")
	p.mutex.Lock()
	if query.Get("watch") != "" {
		p.watched[resource] = true
	}
	fault, ended := p.faults[resource], p.ended
	p.mutex.Unlock()
	if caches && fault != nil && fault(w, r, ended) {
		return
	}
	p.forward.ServeHTTP(w, r)
}

func (p *listProxy) set(fault listFault, resources ...string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.ended != nil {
		close(p.ended)
	}
	p.faults, p.ended = map[string]listFault{}, make(chan struct{})
	for _, resource := range resources {
		p.faults[resource] = fault
	}
}

// startCase is a manager that starts while caches cannot be filled.
type startCase struct {
	name      string
	resources []string
	fault     listFault
	// message is what the log names within 3 s, beside the resource.
	message string
}

func startCases() []startCase {
	const slow = "the first list is not complete"
	var cases []startCase
	for _, resource := range cachedResources {
		cases = append(cases, startCase{resource + " hang", []string{resource}, hang, slow})
	}
	others := slices.DeleteFunc(slices.Clone(cachedResources), func(r string) bool { return r == "dgbotapikeys" })
	return append(cases,
		startCase{"secrets 429", []string{"secrets"}, answerWith(http.StatusTooManyRequests, "TooManyRequests", "storage is (re)initializing"), slow},
		startCase{"secrets 403", []string{"secrets"}, answerWith(http.StatusForbidden, "Forbidden", "no right to list"), "no right to list"},
		startCase{"secrets 500", []string{"secrets"}, answerWith(http.StatusInternalServerError, "InternalError", "KMS is down"), "KMS is down"},
		startCase{"all but keys 429", others, answerWith(http.StatusTooManyRequests, "TooManyRequests", "storage is (re)initializing"), slow},
	)
}

// TestStart_WithoutCaches: whatever the lists of a cache are answered with, the controllers start, the log and /readyz name the
// resource, and a key is revoked. Where the keys themselves cannot be listed, the log says that revocation waits. Each cache is
// filled once its list succeeds.
func TestStart_WithoutCaches(t *testing.T) {
	h := startHardened(t, "default")
	first := h.operate(nil)
	h.Must(rules, "apply", "-f", "-")
	h.Must(chatbot, "apply", "-n", "default", "-f", "-")
	var names []string
	for i := range startCases() {
		names = append(names, fmt.Sprintf("key-%d", i))
	}
	h.issue(names...)
	testenv.StopIfRunning(h.T, first)

	proxy := newListProxy(t, h.Cluster)
	config, err := h.Cluster.ServiceAccountConfig(t.Context(), controlplane.OperatorNamespace, controlplane.OperatorAccount)
	if err != nil {
		t.Fatal(err)
	}
	config.Host, config.CAData = proxy.url, proxy.ca
	for i, test := range startCases() {
		t.Run(test.name, func(t *testing.T) {
			outer := h.T
			h.T = t
			defer func() { h.T = outer }()
			address, err := process.FreeAddress()
			if err != nil {
				t.Fatal(err)
			}
			proxy.set(test.fault, test.resources...)
			before, began := len(h.log.String()), time.Now()
			operator := h.operateWith(config, nil, "--zap-log-level=info", "--leader-elect=false", "--health-probe-bind-address="+address)
			defer testenv.StopIfRunning(h.T, operator)
			h.Eventually("the controllers start", func() (bool, string) {
				log := h.log.String()[before:]
				return strings.Count(log, "Starting workers") >= controllerCount, log
			})
			if took := time.Since(began); took > started {
				t.Errorf("the controllers started after %s", took)
			}
			h.revokedAtStart(test, names[i], address, before)
			proxy.set(nil)
			h.Eventually("/readyz is well", func() (bool, string) {
				code, said := ask(t, "http://"+address+"/readyz")
				return code == http.StatusOK, said
			})
			h.Must("", "wait", "--for=jsonpath={.status.current.revision}=2", "dgkey/"+names[i], "-n", "default", "--timeout=60s")
		})
	}
	proxy.checkNames(t)
}

// revokedAtStart asserts what is so while a cache cannot be filled.
func (h *hardened) revokedAtStart(test startCase, name, address string, before int) {
	h.T.Helper()
	asked := time.Now()
	h.Must("", "annotate", "dgkey", name, "-n", "default", "keys.dgbot.io/revoke-issued-before="+asked.UTC().Format(time.RFC3339))
	keysFail := slices.Contains(test.resources, "dgbotapikeys")
	if !keysFail {
		h.Eventually(name+" is revoked", func() (bool, string) {
			out := h.Must("", "get", "dgrec", "-n", "default", "-o", `jsonpath={range .items[?(@.spec.apiKeyRef.name=="`+name+`")]}{.spec.state} {end}`)
			return strings.Contains(out, "Revoked"), out
		})
		if took := time.Since(asked); took > soon {
			h.T.Errorf("revoking %s took %s", name, took)
		}
	}
	log := h.log.String()[before:]
	for _, resource := range test.resources {
		if !strings.Contains(log, `"resource":"`+resource+`"`) || !strings.Contains(log, test.message) {
			h.T.Errorf("the log does not name %s and %q", resource, test.message)
		}
		code, said := ask(h.T, "http://"+address+"/readyz")
		if tolerated := resource == "leases" && strings.Contains(test.name, "403"); code == http.StatusOK || strings.Contains(said, "[-]"+resource+" failed") == tolerated {
			h.T.Errorf("/readyz answers %d: %s", code, said)
		}
	}
	if waits := strings.Contains(log, "changes of keys are not noticed, revocation and deletion included"); waits != keysFail {
		h.T.Errorf("the log says that revocation waits: %t, want %t", waits, keysFail)
	}
}

// checkNames asserts that every resource that the manager watches has a readiness check, and the other way round.
func (p *listProxy) checkNames(t *testing.T) {
	t.Helper()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var watched []string
	for resource := range p.watched {
		watched = append(watched, resource)
	}
	slices.Sort(watched)
	if !slices.Equal(watched, cachedResources) {
		t.Errorf("the manager watches %q, and has readiness checks for %q", watched, cachedResources)
	}
}
