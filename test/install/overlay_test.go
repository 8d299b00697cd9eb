// SPDX-License-Identifier: Apache-2.0

// Package install tests that config/default can be installed elsewhere than it says, and removed.
package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

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

// leaked is a key of nobody: a test vector of internal/apikey.
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

// admin is a kubectl for the cluster's admin.
type admin struct {
	t       *testing.T
	cluster *controlplane.Cluster
}

func (a admin) run(input string, args ...string) (string, error) {
	command := a.cluster.Kubectl(a.t.Context(), args...)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	return string(out), err
}

func (a admin) must(input string, args ...string) string {
	a.t.Helper()
	out, err := a.run(input, args...)
	if err != nil {
		a.t.Fatalf("kubectl %s: %s", strings.Join(args, " "), out)
	}
	return out
}

func (a admin) eventually(what string, condition func() (bool, string)) {
	a.t.Helper()
	var last string
	err := wait.PollUntilContextTimeout(a.t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		done, said := condition()
		last = said
		return done, nil
	})
	if err != nil {
		a.t.Fatalf("%s: %v: %s", what, err, last)
	}
}

func TestAnOverlayWorksAsTheOriginalDoes(t *testing.T) {
	if err := built(); err != nil {
		t.Fatal(err)
	}
	cluster, err := controlplane.Start(controlplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
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

	a := admin{t, cluster}
	a.must(key, "apply", "-f", "-")
	a.must("", "wait", "--for=condition=Ready", "dgkey/crm", "--timeout=60s")
	policiesHold(a)
	nothingIsElsewhere(a)
	monitoringFollows(a)
	a.must("", "delete", "dgkey", "crm")
	a.must(chatbot, "apply", "-f", "-")
	a.must("", "wait", "--for=condition=Ready", "dgbotcb/front", "--timeout=60s")
	a.must("", "delete", "dgbotcb", "front")
	removable(a)
}

// monitoringFollows: with a prefix the ServiceMonitor still names the Secret with the token, and that its account. It is
// built and not applied: the kinds of the prometheus-operator are not there.
func monitoringFollows(a admin) {
	a.t.Helper()
	built := a.must("", "kustomize", overlay(a.t, "prometheus"))
	const name = "dgbot-metrics-reader"
	// Role, account, Secret with its account, binding with role and subject, and the ServiceMonitor.
	if all, prefixed := strings.Count(built, name), strings.Count(built, prefix+name); all != prefixed || all < 8 {
		a.t.Errorf("%d of %d mentions of %s have the prefix:\n%s", prefixed, all, name, built)
	}
	if strings.Contains(built, "namespace: dgbot-system") {
		a.t.Errorf("something stays in another namespace:\n%s", built)
	}
}

// policiesHold: a policy whose binding had lost it would hold for nobody.
func policiesHold(a admin) {
	a.t.Helper()
	a.must("", "create", "rolebinding", "alice", "--clusterrole=cluster-admin", "--user=alice")
	a.eventually("alice cannot mint", func() (bool, string) {
		out, err := a.run(record, "apply", "--as=alice", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-records'"), out
	})
	leak := `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "leak"}, "data": {"x": "` + leaked + `"}}`
	a.eventually("a key in a ConfigMap is warned of", func() (bool, string) {
		out, err := a.run(leak, "create", "--dry-run=server", "-f", "-")
		return err == nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-leaks' with binding '"+prefix+"dgbot-leaks'"), out
	})
	a.must("", "label", "namespace", "default", "keys.dgbot.io/leaks=deny")
	a.eventually("a key in a ConfigMap is refused", func() (bool, string) {
		out, err := a.run(leak, "create", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-leaks' with binding '"+prefix+"dgbot-leaks-deny'"), out
	})
	a.must("", "create", "role", "editor", "--verb=*", "--resource=dgbotapikeys.keys.dgbot.io")
	a.must("", "create", "rolebinding", "bob", "--role=editor", "--user=bob")
	a.eventually("bob cannot create a production key", func() (bool, string) {
		out, err := a.run(strings.Replace(key, "crm", "bobs", 1), "create", "--as=bob", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(out, "ValidatingAdmissionPolicy '"+prefix+"dgbot-apikeys'"), out
	})
}

// nothingIsElsewhere: everything that has a namespace is in the one asked for, everything else has the prefix.
func nothingIsElsewhere(a admin) {
	a.t.Helper()
	const part = "app.kubernetes.io/part-of=dgbot"
	out := a.must("", "get", "sa,role,rolebinding,deployment,service,poddisruptionbudget,networkpolicy", "-A", "-l", part, "-o", `jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}`)
	if n := len(strings.Fields(out)); n != 7 {
		a.t.Errorf("%d namespaced objects, want 7:\n%s", n, out)
	}
	for _, name := range strings.Fields(out) {
		if !strings.HasPrefix(name, namespace+"/"+prefix) {
			a.t.Errorf("%s is elsewhere", name)
		}
	}
	out = a.must("", "get", "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding", "-l", part, "-o", "jsonpath={.items[*].metadata.name}")
	if n := len(strings.Fields(out)); n != 32 {
		a.t.Errorf("%d cluster-wide objects, want 32: %s", n, out)
	}
	for _, name := range strings.Fields(out) {
		if !strings.HasPrefix(name, prefix) {
			a.t.Errorf("%s has no prefix", name)
		}
	}
	if out := a.must("", "get", "namespace", "-o", "name"); strings.Contains(out, "dgbot-system") {
		a.t.Errorf("a namespace nobody asked for: %s", out)
	}
}

// removable: uninstalling ends, and leaves neither kinds nor rights behind.
func removable(a admin) {
	a.t.Helper()
	a.must("", "delete", "-k", overlay(a.t), "--timeout=90s")
	if out := a.must("", "api-resources", "--api-group=keys.dgbot.io", "-o", "name"); strings.TrimSpace(out) != "" {
		a.t.Errorf("left behind: %s", out)
	}
}
