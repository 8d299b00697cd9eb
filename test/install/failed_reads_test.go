// SPDX-License-Identifier: Apache-2.0

package install

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// soon bounds how long a revocation takes: a second, and room for a machine that is busy.
const soon = 5 * time.Second

// dependent is a key that needs a DGbotEnvironment and a DGbotChatbot beside its Secret.
const dependent = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: %s, namespace: default}
spec: {label: CRM, environment: production, chatbotRef: {name: front}}
`

// without takes rights on a resource from the manager's ClusterRole, and returns what gives them back.
func (h *hardened) without(resource string, verbs ...string) (restore func()) {
	h.T.Helper()
	var role rbacv1.ClusterRole
	h.Decode(&role, "get", "clusterrole", "dgbot-manager", "-o", "json")
	write := func(rules []rbacv1.PolicyRule) {
		h.T.Helper()
		patch, err := json.Marshal(map[string]any{"rules": rules})
		if err != nil {
			h.T.Fatal(err)
		}
		h.Must("", "patch", "clusterrole", "dgbot-manager", "--type=merge", "-p", string(patch))
	}
	var fewer []rbacv1.PolicyRule
	taken := false
	for _, rule := range role.Rules {
		if slices.Contains(rule.Resources, resource) {
			taken = true
			others := rule.DeepCopy()
			others.Resources = slices.DeleteFunc(others.Resources, func(r string) bool { return r == resource })
			if len(others.Resources) > 0 {
				fewer = append(fewer, *others)
			}
			rule = *rule.DeepCopy()
			rule.Resources = []string{resource}
			rule.Verbs = slices.DeleteFunc(rule.Verbs, func(v string) bool { return slices.Contains(verbs, v) })
		}
		if len(rule.Verbs) > 0 {
			fewer = append(fewer, rule)
		}
	}
	if !taken {
		h.T.Fatalf("the manager has no right on %s", resource)
	}
	write(fewer)
	who := "system:serviceaccount:" + controlplane.OperatorNamespace + ":" + controlplane.OperatorAccount
	h.Eventually("the right is taken", func() (bool, string) {
		out, _ := h.Run("", "auth", "can-i", verbs[0], resource, "--as="+who)
		return strings.HasSuffix(strings.TrimSpace(out), "no"), out // a warning may come before it
	})
	return func() { write(role.Rules) }
}

// revokedSoon asserts that a key's records are revoked, and that its condition names the read that failed.
func (h *hardened) revokedSoon(name string, asked time.Time, read string) {
	h.T.Helper()
	h.Eventually("the records of "+name+" are revoked", func() (bool, string) {
		out := h.Must("", "get", "dgrec", "-n", "default", "-o", `jsonpath={range .items[?(@.spec.apiKeyRef.name=="`+name+`")]}{.spec.state} {end}`)
		return out != "" && !strings.Contains(out, "Active"), out
	})
	if took := time.Since(asked); took > soon {
		h.T.Errorf("revoking %s took %s", name, took)
	}
	h.Eventually(name+" says what cannot be read", func() (bool, string) {
		out := h.conditions("dgkey/" + name)
		return strings.Contains(out, "Ready=False ObservationFailed") && strings.Contains(out, "Stalled=True ObservationFailed") && strings.Contains(out, read), out
	})
}

func (h *hardened) conditions(object string) string {
	h.T.Helper()
	return h.Must("", "get", object, "-n", "default", "-o", `jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}`)
}

func (h *hardened) issue(names ...string) {
	h.T.Helper()
	for _, name := range names {
		h.Must(fmt.Sprintf(dependent, name), "apply", "-f", "-")
	}
	for _, name := range names {
		h.Must("", "wait", "--for=condition=Ready", "dgkey/"+name, "-n", "default", "--timeout=60s")
	}
}

// signer creates a chatbot with an HMAC secret that verifies, and returns the name of its replica.
func (h *hardened) signer(name string) string {
	h.T.Helper()
	h.Must(strings.ReplaceAll(chatbot, "front", name), "apply", "-n", "default", "-f", "-")
	h.Must("", "wait", "--for=condition=Ready", "dgcb/"+name, "-n", "default", "--timeout=60s")
	uid := h.Must("", "get", "dgcb", name, "-n", "default", "-o", "jsonpath={.metadata.uid}")
	replica := h.Must("", "get", "secret", "-n", v1alpha1.IdentityNamespace, "-l", v1alpha1.ChatbotLabel+"="+uid, "-o", "jsonpath={.items[*].metadata.name}")
	if replica == "" {
		h.T.Fatalf("chatbot %s has no replica", name)
	}
	return replica
}

// TestRevocation_WithoutRights: whatever right the running manager loses, what only takes away is done, and the key heals by itself
// when the right is back.
func TestRevocation_WithoutRights(t *testing.T) {
	t.Parallel()
	h := startHardened(t, "default")
	h.operate(nil, "--zap-log-level=info")
	h.Must(rules, "apply", "-f", "-")
	h.Must(chatbot, "apply", "-n", "default", "-f", "-")
	rights := map[string]string{"secrets": `Secret "key-secrets"`, "dgbotenvironments": `DGbotEnvironment "production"`, "dgbotchatbots": `DGbotChatbot "front"`}
	for resource, read := range rights {
		t.Run(resource, func(t *testing.T) {
			name := "key-" + resource
			h.issue(name, name+"-state")
			bot := h.signer("signer-" + resource)
			restore := h.without(resource, "get", "list", "watch")
			asked := time.Now()
			if resource == "secrets" {
				h.Must("", "annotate", "dgcb", "signer-secrets", "-n", "default", "keys.dgbot.io/revoke-issued-before="+asked.UTC().Format(time.RFC3339))
				h.Eventually("the replica loses what was revoked", func() (bool, string) {
					out := h.Must("", "get", "secret", bot, "-n", v1alpha1.IdentityNamespace, "-o", "jsonpath={.data.hmac-secret}")
					return out == "", "it is there"
				})
				h.Eventually("the chatbot says what cannot be read", func() (bool, string) {
					out := h.conditions("dgcb/signer-secrets")
					return strings.Contains(out, "Stalled=True ObservationFailed") && strings.Contains(out, "the replica of the HMAC secret"), out
				})
			}
			asked = time.Now()
			h.Must("", "annotate", "dgkey", name, "-n", "default", "keys.dgbot.io/revoke-issued-before="+asked.UTC().Format(time.RFC3339))
			h.revokedSoon(name, asked, read)
			if out := h.conditions("dgkey/" + name); !strings.Contains(out, "forbidden") {
				t.Errorf("the API server's answer is missing: %s", out)
			}
			asked = time.Now()
			h.Must("", "patch", "dgkey", name+"-state", "-n", "default", "--type=merge", "-p", `{"spec":{"state":"Disabled"}}`)
			h.revokedSoon(name+"-state", asked, strings.Replace(read, name, name+"-state", 1))
			restore()
			h.Must("", "wait", "--for=condition=Ready", "dgkey/"+name, "-n", "default", "--timeout=60s")
		})
	}
}

// TestRevocation_WithASecretThatCannotBeDecrypted: a manager that starts while the list of Secrets fails revokes, says why in its log
// and in /readyz, and serves everything again once the list works.
func TestRevocation_WithASecretThatCannotBeDecrypted(t *testing.T) {
	h := startHardened(t, "default")
	operator := h.operate(nil)
	h.Must(rules, "apply", "-f", "-")
	h.Must(chatbot, "apply", "-n", "default", "-f", "-")
	h.issue("crm", "broken")
	testenv.StopIfRunning(h.T, operator)

	const path = "secrets/default/broken"
	stored, err := h.Cluster.Stored(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Cluster.Store(t.Context(), path, []byte("k8s:enc:secretbox:v1:lost:0123456789")); err != nil {
		t.Fatal(err)
	}
	h.Eventually("Secrets cannot be listed", func() (bool, string) {
		out, err := h.Run("", "get", "secrets", "-n", "default")
		return err != nil, out
	})
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	before, began := len(h.log.String()), time.Now()
	h.operate(nil, "--zap-log-level=info", "--leader-elect=false", "--health-probe-bind-address="+address)
	h.Eventually("/readyz names the resource", func() (bool, string) {
		code, said := ask(t, "http://"+address+"/readyz")
		return code == http.StatusInternalServerError && strings.Contains(said, "[-]secrets failed"), said
	})
	if code, said := ask(t, "http://"+address+"/readyz/secrets"); code != http.StatusInternalServerError || !strings.Contains(said, "secrets cannot be cached") {
		t.Errorf("the check answers %d: %s", code, said)
	}
	// The API server answers the first requests with 429, and client-go repeats them for longer than that.
	h.Eventually("the controllers start", func() (bool, string) {
		log := h.log.String()[before:]
		return strings.Count(log, "Starting workers") >= controllerCount, log
	})
	if took := time.Since(began); took > started {
		t.Errorf("the controllers started after %s", took)
	}
	if log := h.log.String()[before:]; !strings.Contains(log, `"resource": "secrets"`) && !strings.Contains(log, `"resource":"secrets"`) {
		t.Error("the log does not name the resource")
	}
	for _, name := range []string{"crm", "broken"} {
		h.Must("", "annotate", "dgkey", name, "-n", "default", "keys.dgbot.io/revoke-issued-before="+time.Now().UTC().Format(time.RFC3339))
	}
	h.revokedSoon("broken", time.Now(), `Secret "broken"`)
	h.Eventually("/readyz/secrets names the Secret", func() (bool, string) {
		_, said := ask(t, "http://"+address+"/readyz/secrets")
		return strings.Contains(said, "secrets/default/broken"), said
	})
	// The Secret of this one can be read by its name: it is replaced.
	h.Must("", "wait", "--for=jsonpath={.status.current.revision}=2", "dgkey/crm", "-n", "default", "--timeout=60s")

	if err := h.Cluster.Store(t.Context(), path, stored); err != nil {
		t.Fatal(err)
	}
	h.Must("", "wait", "--for=condition=Ready", "dgkey/broken", "-n", "default", "--timeout=120s")
	h.Eventually("/readyz is well", func() (bool, string) {
		code, said := ask(t, "http://"+address+"/readyz")
		return code == http.StatusOK, said
	})
}

func ask(t *testing.T, url string) (code int, said string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
