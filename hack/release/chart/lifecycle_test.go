// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
)

const key = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: crm, namespace: support}
spec: {label: CRM, environment: production}
`

const forged = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKeyRecord
metadata: {name: forged, namespace: support}
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

// TestAReleaseLives: it is installed, works, is upgraded, uninstalled without loss, installed again, and removed.
func TestAReleaseLives(t *testing.T) {
	h := startCluster(t)
	h.Must("", "create", "namespace", operatorNamespace)
	h.Must("", "create", "namespace", "support")
	installed := h.install(nil)
	if err := h.Cluster.StartControllerManager(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h.notesNameTheMissingLabel(installed.Info.Notes)
	h.createsEnvironmentsOnce(installed.Info.Notes)
	h.works()
	h.takesOneReleaseOnly()
	h.upgradesOfNothingChangeNothing()
	h.followsItsValues()
	h.upgradesKinds()
	text := h.leavesKeys()
	h.takesOverWhatItLeft(text)
	h.removesAllWhenAsked()
}

func (h *helm) notesNameTheMissingLabel(notes string) {
	h.T.Helper()
	const command = "label namespace dgbot-system pod-security.kubernetes.io/enforce=restricted"
	if !strings.Contains(notes, "kubectl "+command) {
		h.T.Errorf("the notes do not say that the namespace lacks its label:\n%s", notes)
	}
	h.Must("", strings.Fields(command)...)
}

// createsEnvironmentsOnce as the notes say: each that is missing, and none that exists is changed.
func (h *helm) createsEnvironmentsOnce(notes string) {
	h.T.Helper()
	if !strings.Contains(notes, "--set environments.create=true") {
		h.T.Errorf("the notes do not say how environments are created:\n%s", notes)
	}
	const strict = `{"metadata":{"name":"production"},"apiVersion":"keys.dgbot.io/v1alpha1","kind":"DGbotEnvironment","spec":{"allowedScopes":["reports.read"]}}`
	h.Must(strict, "apply", "-f", "-")
	scopes := func() string {
		return h.Must("", "get", "dgenv", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.allowedScopes} {end}`)
	}
	create := values{"environments": values{"create": true}}
	h.upgrade(loadChart(h.T), create)
	if got, want := scopes(), `development ["*"] production ["reports.read"] staging ["*"] `; got != want {
		h.T.Errorf("created: %s, want %s", got, want)
	}
	h.Must("", "patch", "dgenv", "staging", "--type=merge", "-p", `{"spec":{"allowedScopes":["contacts.read"]}}`)
	h.Must("", "delete", "dgenv", "development")
	h.upgrade(loadChart(h.T), create)
	h.upgrade(loadChart(h.T), nil)
	if got, want := scopes(), `development ["*"] production ["reports.read"] staging ["contacts.read"] `; got != want {
		h.T.Errorf("after further upgrades: %s, want %s", got, want)
	}
}

// works: the manager has the rights that it needs, and the policies hold.
func (h *helm) works() {
	h.T.Helper()
	stop := h.operate()
	defer stop()
	h.Must(key, "apply", "-f", "-")
	h.Must("", "wait", "--for=condition=Ready", "dgkey/crm", "-n", "support", "--timeout=60s")
	h.Must("", "create", "rolebinding", "alice", "--clusterrole=cluster-admin", "--user=alice", "-n", "support")
	h.Eventually("alice cannot forge a record", func() (bool, string) {
		out, err := h.Run(forged, "apply", "--as=alice", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(out, "ValidatingAdmissionPolicy 'dgbot-records'"), out
	})
}

// takesOneReleaseOnly: the kinds are the cluster's, so a second operator would work on the same keys.
func (h *helm) takesOneReleaseOnly() {
	h.T.Helper()
	_, err := h.installAs("second", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot be imported into the current release: invalid ownership metadata") {
		h.T.Errorf("a second release: %v", err)
	}
}

// upgradesOfNothingChangeNothing: nothing that the chart has is written differently each time.
func (h *helm) upgradesOfNothingChangeNothing() {
	h.T.Helper()
	versions := func() string {
		const format = `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.%s}{"\n"}{end}`
		return h.Must("", "get", "crd,validatingadmissionpolicybinding,clusterrole,clusterrolebinding,sa,role,rolebinding,deployment,service,"+
			"poddisruptionbudget,networkpolicy", "-A", "-l", "helm.sh/chart", "-o", fmt.Sprintf(format, "resourceVersion")) +
			// The API server notes a new time of the first apply after the one that gave a policy its defaults.
			h.Must("", "get", "validatingadmissionpolicy", "-l", "helm.sh/chart", "-o", fmt.Sprintf(format, "generation"))
	}
	before := versions()
	h.upgrade(loadChart(h.T), nil)
	if after := versions(); after != before || strings.Count(before, "\n") < 30 {
		h.T.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// followsItsValues into fewer rights and back, with a verifier and without.
func (h *helm) followsItsValues() {
	h.T.Helper()
	h.upgrade(loadChart(h.T), values{
		"image":    values{"tag": "next"},
		"manager":  values{"replicas": 1, "watchNamespaces": []any{"support"}, "secretAccess": "get-only"},
		"verifier": values{"enabled": true},
	})
	got := h.Must("", "get", "deployment", "-n", operatorNamespace, "-o",
		`jsonpath={range .items[*]}{.metadata.name} {.spec.replicas} {.spec.template.spec.containers[0].image}{"\n"}{end}`)
	if want := "dgbot-manager 1 dgbot-key-operator:next\ndgbot-verifier 2 dgbot-key-operator:next\n"; got != want {
		h.T.Errorf("%s, want %s", got, want)
	}
	may := func(verb, namespace string) string {
		out, _ := h.Run("", "auth", "can-i", verb, "secrets", "-n", namespace, "--as=system:serviceaccount:dgbot-system:dgbot-manager")
		return strings.TrimSpace(out)
	}
	h.Eventually("the rights are those of the overlay", func() (bool, string) {
		got := may("list", "support") + may("get", "support") + may("get", "default") + may("list", "dgbot-identity")
		return got == "noyesnoyes", got
	})
	stop := h.operate()
	h.Must("", "delete", "secret", "crm", "-n", "support")
	h.Must("", "annotate", "dgkey", "crm", "-n", "support", "keys.dgbot.io/revoke-issued-before=2000-01-01T00:00:00Z")
	h.Must("", "wait", "--for=jsonpath={.status.lastHandledRequest.revokeIssuedBefore}=2000-01-01T00:00:00Z", "dgkey/crm", "-n", "support", "--timeout=60s")
	h.Eventually("a lost Secret is replaced", func() (bool, string) {
		out, err := h.Run("", "get", "secret", "crm", "-n", "support")
		return err == nil, out
	})
	stop()

	h.upgrade(loadChart(h.T), nil)
	got = h.Must("", "get", "deployment,role", "-A", "-l", "helm.sh/chart", "-o", "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {end}")
	if want := "Deployment dgbot-system/dgbot-manager Role dgbot-system/dgbot-manager "; got != want {
		h.T.Errorf("%s, want %s", got, want)
	}
	h.Eventually("the rights are those for all namespaces", func() (bool, string) {
		got := may("list", "support") + may("list", "default")
		return got == "yesyes", got
	})
}

// upgradesKinds: those in a chart's crds folder Helm would install and never touch again.
func (h *helm) upgradesKinds() {
	h.T.Helper()
	newer, changed := loadChart(h.T), 0
	for _, template := range newer.Templates {
		if strings.HasSuffix(template.Name, "crds.yaml") {
			changed = strings.Count(string(template.Data), "\n    - dgkey\n")
			template.Data = []byte(strings.Replace(string(template.Data), "\n    - dgkey\n", "\n    - dgkey\n    - dgk\n", 1))
		}
	}
	if changed != 1 {
		h.T.Fatalf("the short name is there %d times", changed)
	}
	h.upgrade(newer, nil)
	if got := h.Must("", "get", "crd", "dgbotapikeys.keys.dgbot.io", "-o", "jsonpath={.spec.names.shortNames}"); got != `["dgkey","dgk"]` {
		h.T.Errorf("the short names are %s", got)
	}
	h.upgrade(loadChart(h.T), nil)
}

// leavesKeys: an uninstalled operator takes no key with it. It returns the text of the one that is there.
func (h *helm) leavesKeys() string {
	h.T.Helper()
	before := h.Must("", "get", "secret", "crm", "-n", "support", "-o", "jsonpath={.data.api-key}")
	info := h.uninstall()
	for _, kept := range []string{"[CustomResourceDefinition] dgbotapikeys.keys.dgbot.io", "[Namespace] dgbot-identity"} {
		if !strings.Contains(info, kept) {
			h.T.Errorf("Helm does not say that %s is kept:\n%s", kept, info)
		}
	}
	h.Must("", "get", "dgkey/crm", "-n", "support")
	if records := h.Must("", "get", "dgrec", "-n", "support", "-o", "name"); records == "" {
		h.T.Error("no record is left: the key does not verify")
	}
	if phase := h.Must("", "get", "namespace", "dgbot-identity", "-o", "jsonpath={.status.phase}"); phase != "Active" {
		h.T.Errorf("dgbot-identity is %s", phase)
	}
	if after := h.Must("", "get", "secret", "crm", "-n", "support", "-o", "jsonpath={.data.api-key}"); after != before || before == "" {
		h.T.Error("the key is another one, or none")
	}
	left := h.Must("", "get", "deployment,service,sa,role,rolebinding,networkpolicy,poddisruptionbudget,clusterrole,clusterrolebinding,"+
		"validatingadmissionpolicy,validatingadmissionpolicybinding", "-A", "-l", "app.kubernetes.io/part-of=dgbot", "-o", "name")
	if left != "" {
		h.T.Errorf("left behind:\n%s", left)
	}
	return before
}

func (h *helm) takesOverWhatItLeft(text string) {
	h.T.Helper()
	h.install(nil)
	stop := h.operate()
	defer stop()
	h.Must("", "annotate", "dgkey", "crm", "-n", "support", "--overwrite", "keys.dgbot.io/revoke-issued-before=2001-01-01T00:00:00Z")
	h.Must("", "wait", "--for=jsonpath={.status.lastHandledRequest.revokeIssuedBefore}=2001-01-01T00:00:00Z", "dgkey/crm", "-n", "support", "--timeout=60s")
	if after := h.Must("", "get", "secret", "crm", "-n", "support", "-o", "jsonpath={.data.api-key}"); after != text {
		h.T.Error("the key is another one")
	}
}

func (h *helm) removesAllWhenAsked() {
	h.T.Helper()
	h.upgrade(loadChart(h.T), values{"crds": values{"keep": false}})
	h.uninstall()
	h.Eventually("kinds and namespace are gone", func() (bool, string) {
		out := h.Must("", "get", "crd,namespace", "-l", "app.kubernetes.io/part-of=dgbot", "-o", "name")
		return out == "", out
	})
}

// TestWhatKubectlInstalledIsTakenOver as the chart's README says.
func TestWhatKubectlInstalledIsTakenOver(t *testing.T) {
	h := startCluster(t)
	if err := h.Cluster.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.installAs(releaseName, nil, nil); err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") {
		t.Errorf("without being asked to: %v", err)
	}
	_, err := h.installAs(releaseName, values{"image": values{"tag": "other"}}, func(install *action.Install) {
		install.TakeOwnership, install.ForceConflicts = true, true
	})
	if err != nil {
		t.Fatal(err)
	}
	image := h.Must("", "get", "deployment", "dgbot-manager", "-n", operatorNamespace, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	if image != "dgbot-key-operator:other" {
		t.Errorf("the image is %s", image)
	}
	h.uninstall()
	if out := h.Must("", "get", "clusterrole,deployment", "-A", "-l", "app.kubernetes.io/part-of=dgbot", "-o", "name"); out != "" {
		t.Errorf("left behind: %s", out)
	}
}

// TestEverythingInstallsAtOnce on an empty cluster: what is in a namespace after the namespace, what names kinds after the kinds.
func TestEverythingInstallsAtOnce(t *testing.T) {
	h := startCluster(t)
	h.Must("", "create", "namespace", operatorNamespace)
	h.Must("", "create", "namespace", "support")
	given := func(namespaces ...any) values {
		return values{
			"manager":       values{"watchNamespaces": namespaces, "secretAccess": "get-only"},
			"verifier":      values{"enabled": true},
			"networkPolicy": values{"restrictedEgress": true},
		}
	}
	h.install(given("support"))
	roles := h.Must("", "get", "role", "-A", "-l", "helm.sh/chart", "-o", "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}")
	if want := "default/dgbot-manager-events dgbot-identity/dgbot-manager-identity dgbot-identity/dgbot-verifier-identity " +
		"dgbot-system/dgbot-manager dgbot-system/dgbot-verifier support/dgbot-manager-watched "; roles != want {
		t.Errorf("the roles are %s, want %s", roles, want)
	}
	h.uninstall()

	_, err := h.installAs(releaseName, given("support", "later"), nil)
	if err == nil || !strings.Contains(err.Error(), `namespaces "later" not found`) {
		t.Errorf("a namespace that is not there: %v", err)
	}
	// What has failed is mended by an upgrade.
	h.Must("", "create", "namespace", "later")
	h.upgrade(loadChart(t), given("support", "later"))
	h.Must("", "get", "role/dgbot-manager-watched", "-n", "later")
}
