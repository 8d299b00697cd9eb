// SPDX-License-Identifier: Apache-2.0

// Package install tests that config/default can be installed elsewhere than it says, and removed.
package install

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

const (
	namespace = "keys-prod"
	prefix    = "acme-"
)

const key = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: crm, namespace: default}
spec: {label: CRM, environment: production}
`

const record = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKeyRecord
metadata: {name: forged, namespace: default}
spec:
  apiKeyRef: {name: crm, uid: "0-0"}
  revision: 1
  cause: FirstIssue
  keyID: abcdefABCDEF
  hash: sha256:0000000000000000000000000000000000000000000000000000000000000000
  environment: production
  issuedAt: "2026-01-01T00:00:00Z"
  label: CRM
`

// leaked is a key without an owner: a test vector of internal/apikey.
const leaked = "dgbot_production_7Hq2xV0aBcD9_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1WjWYc"

// overlay writes a kustomization that moves config/operator, and what else is named, into another namespace and puts a
// prefix before its names.
func overlay(t *testing.T, more ...string) string {
	t.Helper()
	folder := t.TempDir()
	var parts []string
	for _, part := range append([]string{"operator"}, more...) {
		base, err := filepath.Rel(folder, filepath.Join(controlplane.Repository(), "config", part))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, filepath.ToSlash(base))
	}
	content := fmt.Sprintf("namespace: %s\nnamePrefix: %s\nresources: [%s]\n", namespace, prefix, strings.Join(parts, ", "))
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestAnOverlayWorksAsTheOriginalDoes(t *testing.T) {
	t.Parallel()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	cluster := testenv.StartCluster(t, controlplane.Options{})
	for _, folder := range []string{overlay(t), filepath.Join(controlplane.Repository(), "config", "identity")} {
		if err := cluster.InstallFrom(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.InstallEnvironments(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cluster.StartControllerManager(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	operator, err := cluster.StartOperatorAs(t.Context(), namespace, prefix+"dgbot-manager", &log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := operator.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})

	a := testenv.Kubectl{T: t, Cluster: cluster}
	a.Must(key, "apply", "-f", "-")
	a.Must("", "wait", "--for=condition=Ready", "dgkey/crm", "--timeout=60s")
	policiesHold(a)
	nothingIsElsewhere(a)
	monitoringFollows(a)
	a.Must("", "delete", "dgkey", "crm")
	a.Must(chatbot, "apply", "-f", "-")
	a.Must("", "wait", "--for=condition=Ready", "dgbotcb/front", "--timeout=60s")
	a.Must("", "delete", "dgbotcb", "front")
	removable(a)
}

// monitoringFollows: with a prefix the ServiceMonitor still names the Secret with the token, and that its account. It is
// built and not applied: the kinds of the prometheus-operator are not there.
func monitoringFollows(a testenv.Kubectl) {
	a.T.Helper()
	built := a.Must("", "kustomize", overlay(a.T, "prometheus"))
	const name = "dgbot-metrics-reader"
	// Role, account, Secret with its account, binding with role and subject, and the ServiceMonitor.
	if all, prefixed := strings.Count(built, name), strings.Count(built, prefix+name); all != prefixed || all < 8 {
		a.T.Errorf("%d of %d mentions of %s have the prefix:\n%s", prefixed, all, name, built)
	}
	if strings.Contains(built, "namespace: dgbot-system") {
		a.T.Errorf("something stays in another namespace:\n%s", built)
	}
}

// policiesHold: a policy without its binding would reject no write.
func policiesHold(a testenv.Kubectl) {
	a.T.Helper()
	a.Must("", "create", "rolebinding", "alice", "--clusterrole=cluster-admin", "--user=alice")
	a.Must("", "create", "namespace", "support")
	a.Must("", "create", "rolebinding", "alice", "--clusterrole=cluster-admin", "--user=alice", "-n", "support")
	a.Eventually("alice cannot mint", func() (bool, string) {
		out, err := a.Run(record, "apply", "--as=alice", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-records'"), out
	})
	a.Eventually("alice cannot register a verifier", func() (bool, string) {
		out, err := a.Run(registeredVerifier, "create", "--as=alice", "-n", "support", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-verifiers'"), out
	})
	leak := `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "leak"}, "data": {"x": "` + leaked + `"}}`
	a.Eventually("a key in a ConfigMap is warned of", func() (bool, string) {
		out, err := a.Run(leak, "create", "--dry-run=server", "-f", "-")
		return err == nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-leaks' with binding '"+prefix+"dgbot-leaks'"), out
	})
	a.Must("", "label", "namespace", "default", "keys.dgbot.io/leaks=deny")
	a.Eventually("a key in a ConfigMap is refused", func() (bool, string) {
		out, err := a.Run(leak, "create", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-leaks' with binding '"+prefix+"dgbot-leaks-deny'"), out
	})
	a.Must("", "create", "role", "editor", "--verb=*", "--resource=dgbotapikeys.keys.dgbot.io")
	a.Must("", "create", "rolebinding", "bob", "--role=editor", "--user=bob")
	a.Eventually("bob cannot create a production key", func() (bool, string) {
		out, err := a.Run(strings.Replace(key, "crm", "bobs", 1), "create", "--as=bob", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-apikeys'"), out
	})
}

// nothingIsElsewhere: everything that has a namespace is in the one asked for, everything else has the prefix.
func nothingIsElsewhere(a testenv.Kubectl) {
	a.T.Helper()
	const part = "app.kubernetes.io/part-of=dgbot"
	out := a.Must("", "get", "sa,role,rolebinding,deployment,service,poddisruptionbudget,networkpolicy", "-A", "-l", part, "-o", `jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}`)
	if n := len(strings.Fields(out)); n != 7 {
		a.T.Errorf("%d namespaced objects, want 7:\n%s", n, out)
	}
	for _, name := range strings.Fields(out) {
		if !strings.HasPrefix(name, namespace+"/"+prefix) {
			a.T.Errorf("%s is elsewhere", name)
		}
	}
	out = a.Must("", "get", "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding", "-l", part, "-o", "jsonpath={.items[*].metadata.name}")
	if n := len(strings.Fields(out)); n != 34 {
		a.T.Errorf("%d cluster-wide objects, want 34: %s", n, out)
	}
	for _, name := range strings.Fields(out) {
		if !strings.HasPrefix(name, prefix) {
			a.T.Errorf("%s has no prefix", name)
		}
	}
	if out := a.Must("", "get", "namespace", "-o", "name"); strings.Contains(out, "dgbot-system") {
		a.T.Errorf("a namespace that no manifest asks for: %s", out)
	}
}

// removable: uninstalling ends, and leaves neither kinds nor rights behind.
func removable(a testenv.Kubectl) {
	a.T.Helper()
	a.Must("", "delete", "-k", overlay(a.T), "--timeout=90s")
	if out := a.Must("", "api-resources", "--api-group=keys.dgbot.io", "-o", "name"); strings.TrimSpace(out) != "" {
		a.T.Errorf("left behind: %s", out)
	}
}
