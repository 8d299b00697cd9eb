// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// hardened is a control plane as docs/threat-model.md asks for it: with its audit policy, and its encryption of Secrets.
type hardened struct {
	testenv.Kubectl
	folder string
	log    process.Log
	// texts are the keys that were seen in Secrets.
	texts []string
}

const (
	operatorUser = "system:serviceaccount:" + controlplane.OperatorNamespace + ":" + controlplane.OperatorAccount
	// notPublished is what stands in an empty Secret's place.
	notPublished = ""
)

// built is bin/manager, built once: tests that run at the same time use it.
var built = sync.OnceValue(controlplane.BuildOperator)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

func startHardened(t *testing.T, kustomization string) *hardened {
	t.Helper()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	h := &hardened{folder: t.TempDir()}
	cluster := testenv.StartCluster(t, controlplane.Options{APIServerArgs: map[string][]string{
		"audit-policy-file":          {filepath.Join(controlplane.Repository(), "docs", "control-plane", "audit-policy.yaml")},
		"audit-log-path":             {h.auditLog()},
		"audit-log-mode":             {"blocking"},
		"encryption-provider-config": {h.encryption(t)},
	}})
	h.Kubectl = testenv.Kubectl{T: t, Cluster: cluster}
	if err := cluster.InstallFrom(t.Context(), filepath.Join(controlplane.Repository(), "config", kustomization)); err != nil {
		t.Fatal(err)
	}
	if err := cluster.InstallEnvironments(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cluster.StartControllerManager(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hardened) auditLog() string { return filepath.Join(h.folder, "audit.log") }

// encryption writes docs/control-plane/encryption.yaml with a key in it, as the comment in the file asks.
func (h *hardened) encryption(t *testing.T) string {
	t.Helper()
	example, err := os.ReadFile(filepath.Join(controlplane.Repository(), "docs", "control-plane", "encryption.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	filled := bytes.Replace(example, []byte("REPLACE-WITH-32-RANDOM-BYTES-IN-BASE64"), []byte(base64.StdEncoding.EncodeToString(key)), 1)
	path := filepath.Join(h.folder, "encryption.yaml")
	if err := os.WriteFile(path, filled, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// operate runs the manager under its account with the arguments of the installed Deployment, and with others after them.
func (h *hardened) operate(env map[string]string, others ...string) *process.Program {
	h.T.Helper()
	config, err := h.Cluster.ServiceAccountConfig(h.T.Context(), controlplane.OperatorNamespace, controlplane.OperatorAccount)
	if err != nil {
		h.T.Fatal(err)
	}
	return h.operateWith(config, env, others...)
}

// operateWith runs the manager with a config that may lead through a proxy.
func (h *hardened) operateWith(config *rest.Config, env map[string]string, others ...string) *process.Program {
	h.T.Helper()
	container := h.deployment().Spec.Template.Spec.Containers[0]
	values := map[string]string{}
	for _, variable := range container.Env {
		values[variable.Name] = variable.Value
	}
	for name, value := range env {
		values[name] = value
	}
	args := append([]string{}, container.Args...)
	for i := range args {
		for name, value := range values {
			args[i] = strings.ReplaceAll(args[i], "$("+name+")", value)
		}
	}
	args = append(append(args, "--health-probe-bind-address=0", "--metrics-bind-address=0"), others...)
	operator, err := h.Cluster.StartOperatorWith(config, controlplane.OperatorNamespace, &h.log, args...)
	if err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() {
		testenv.StopIfRunning(h.T, operator)
		if h.T.Failed() {
			h.T.Log(h.log.String())
		}
	})
	return operator
}

func (h *hardened) deployment() *appsv1.Deployment {
	h.T.Helper()
	return h.deploymentOf(controlplane.OperatorAccount)
}

// deploymentOf returns the Deployment of a name, which is that of its account as well.
func (h *hardened) deploymentOf(name string) *appsv1.Deployment {
	h.T.Helper()
	deployment := &appsv1.Deployment{}
	h.Decode(deployment, "get", "deployment", name, "-n", controlplane.OperatorNamespace, "-o", "json")
	return deployment
}

// text returns the key in the Secret "crm".
func (h *hardened) text(namespace string) string {
	h.T.Helper()
	var secret corev1.Secret
	out, err := h.Run("", "get", "secret", "crm", "-n", namespace, "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &secret) != nil {
		return notPublished
	}
	text := string(secret.Data["api-key"])
	if text != notPublished {
		h.texts = append(h.texts, text)
	}
	return text
}

func (h *hardened) replaced(what, namespace, before string) string {
	h.T.Helper()
	var now string
	h.Eventually(what, func() (bool, string) {
		now = h.text(namespace)
		return now != before && now != notPublished, "the Secret has not changed"
	})
	return now
}

// live takes a key through its whole life in a namespace, so that every right is asked for that a key's life needs.
func (h *hardened) live(namespace string) {
	h.T.Helper()
	in := func(args ...string) []string { return append(args, "-n", namespace) }
	manifest := strings.Replace(key, "namespace: default", "namespace: "+namespace, 1)
	ready := func() { h.Must("", in("wait", "--for=condition=Ready", "dgkey/crm", "--timeout=60s")...) }

	h.Must(rules, "apply", "-f", "-")
	h.Must(manifest, "apply", "-f", "-")
	ready()
	h.Must("", "wait", "--for=jsonpath={.status.keys}=1", "dgenv/production", "--timeout=60s")
	first := h.text(namespace)
	h.Eventually("the next second", func() (bool, string) { return time.Now().Nanosecond() < 200_000_000, "" })
	h.Must("", in("annotate", "dgkey", "crm", "keys.dgbot.io/rotate-requested-at="+time.Now().UTC().Format(time.RFC3339))...)
	second := h.replaced("it is rotated", namespace, first)
	h.Must("", in("annotate", "dgkey", "crm", "keys.dgbot.io/revoke-issued-before="+time.Now().UTC().Add(2*time.Second).Format(time.RFC3339))...)
	third := h.replaced("it is revoked and replaced", namespace, second)
	h.Must("", in("delete", "secret", "crm")...)
	h.replaced("its Secret is lost and replaced", namespace, third)
	h.Must("", in("label", "secret", "crm", "app.kubernetes.io/managed-by-")...)
	h.Eventually("its Secret is repaired", func() (bool, string) {
		out := h.Must("", in("get", "secret", "crm", "-o", `jsonpath={.metadata.labels.app\.kubernetes\.io/managed-by}`)...)
		return out == "dgbot-key-operator", out
	})

	// The key is deleted without its dependents: the operator deletes its records, and the next key of the name takes its Secret over.
	h.Must("", in("delete", "dgkey", "crm", "--cascade=orphan")...)
	h.Eventually("its records are deleted", func() (bool, string) {
		out := h.Must("", in("get", "dgrec", "-o", "name")...)
		return out == "", out
	})
	left := h.text(namespace)
	h.Must(manifest, "apply", "-f", "-")
	h.replaced("the orphaned Secret is taken over", namespace, left)
	ready()
	h.Must("", in("patch", "dgkey", "crm", "--type=merge", "-p", `{"spec":{"state":"Revoked"}}`)...)
	h.Must("", in("wait", "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=Revoked", "dgkey/crm", "--timeout=60s")...)
	h.Must("", in("delete", "dgkey", "crm")...)
	h.Eventually("nothing is left", func() (bool, string) {
		out := h.Must("", in("get", "dgrec,secret", "-o", "name")...)
		return out == "", out
	})
	h.liveAsAChatbot(namespace)
}

// chatbot is one that can be applied.
const chatbot = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotChatbot
metadata: {name: front}
spec: {displayName: Front, environment: production, identityVerification: {}}
`

// rules are those of the environment that key is of, which selects every namespace by asking for labels that all have.
const rules = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotEnvironment
metadata: {name: production}
spec:
  namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]}
  rotation: {maxInterval: 8760h}
`

// liveAsAChatbot does for a chatbot's rights what live does for a key's.
func (h *hardened) liveAsAChatbot(namespace string) {
	h.T.Helper()
	in := func(args ...string) []string { return append(args, "-n", namespace) }
	h.Must(chatbot, in("apply", "-f", "-")...)
	h.Must("", in("wait", "--for=condition=Ready", "dgbotcb/front", "--timeout=60s")...)
	id := h.Must("", in("get", "configmap", "front-widget", "-o", "jsonpath={.data.chatbot-id}")...)
	h.Must("", in("patch", "configmap", "front-widget", "--type=merge", "-p", `{"data":{"chatbot-id":"cb_other"}}`)...)
	h.Eventually("its ConfigMap is repaired", func() (bool, string) {
		out := h.Must("", in("get", "configmap", "front-widget", "-o", "jsonpath={.data.chatbot-id}")...)
		return out == id && id != "", out
	})
	secret := func(name, entry string) string {
		return h.Must("", "get", "secret", name, "-n", namespace, "-o", `jsonpath={.data.`+entry+`}`)
	}
	first := secret("front-identity", "hmac-secret")
	h.Must("", in("annotate", "dgbotcb", "front", "keys.dgbot.io/rotate-requested-at="+time.Now().UTC().Format(time.RFC3339))...)
	h.Eventually("its HMAC secret is rotated", func() (bool, string) {
		return first != "" && secret("front-identity", "hmac-secret") != first && secret("front-identity", "hmac-secret-previous") == first, ""
	})
	h.Must("", in("delete", "secret", "front-identity")...)
	h.Eventually("its Secret is restored from the replica", func() (bool, string) {
		out, err := h.Run("", in("get", "secret", "front-identity", "-o", "jsonpath={.data.hmac-secret-previous}")...)
		return err == nil && out == first, out
	})
	h.Must("", in("create", "configmap", "back-widget")...)
	h.Must(strings.ReplaceAll(chatbot, "front", "back"), in("apply", "-f", "-")...)
	h.Must("", in("wait", "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=ConfigMapConflict", "dgbotcb/back", "--timeout=60s")...)
	h.Must("", in("delete", "dgbotcb/front", "dgbotcb/back", "configmap/back-widget")...)
	h.Eventually("nothing is left of the chatbots", func() (bool, string) {
		out := h.Must("", "get", "configmap,secret", "-A", "-l", "keys.dgbot.io/chatbot", "-o", "name")
		return out == "", out
	})
}

// scrape asks for the metrics with a token: the manager asks the API server whose it is, and what that one may do.
func (h *hardened) scrape(address string) {
	h.T.Helper()
	config, err := h.Cluster.ServiceAccountConfig(h.T.Context(), "default", "default")
	if err != nil {
		h.T.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	h.Eventually("metrics are refused to those without the right", func() (bool, string) {
		request, err := http.NewRequestWithContext(h.T.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
		if err != nil {
			h.T.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+config.BearerToken)
		response, err := client.Do(request)
		if err != nil {
			return false, err.Error()
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusForbidden, response.Status
	})
}
