// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// people are who docs/threat-model.md speaks of. "owner" is a namespace's owner with every right in it, "keeper" has the
// Role that the README shows.
const people = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: production-keys, namespace: support}
rules:
- {apiGroups: [keys.dgbot.io], resources: [dgbotapikeys], verbs: [get, list, watch, create, update, patch, delete]}
- {apiGroups: [keys.dgbot.io], resources: [dgbotenvironments], resourceNames: [production], verbs: [use]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: keeper, namespace: support},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: production-keys}, subjects: [{kind: User, name: keeper}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: viewer, namespace: support},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}, subjects: [{kind: User, name: viewer}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: editor, namespace: support},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}, subjects: [{kind: User, name: editor}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: administrator, namespace: support},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}, subjects: [{kind: User, name: administrator}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: rotator, namespace: support},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: dgbot-rotator}, subjects: [{kind: User, name: rotator}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: auditor},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: dgbot-auditor}, subjects: [{kind: User, name: auditor}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: staff, namespace: support},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: dgbot-use-production}, subjects: [{kind: User, name: administrator}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: owner, namespace: support},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}, subjects: [{kind: User, name: owner}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: registering}, rules: [
 {apiGroups: [keys.dgbot.io], resources: [dgbotapikeyrecords], verbs: [report]}, {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: registering},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: registering},
 subjects: [{kind: ServiceAccount, name: verifier, namespace: support}]}
`

// registeredVerifier is the Lease of a verifier in namespace support, which people lets its account write.
const registeredVerifier = `
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: dgbot-verifier-pod-1-3kd9f0aq
  namespace: support
  labels: {keys.dgbot.io/verifier: "true"}
  annotations: {keys.dgbot.io/registered-by: "system:serviceaccount:support:verifier", keys.dgbot.io/max-staleness: 2m0s, keys.dgbot.io/on-stale: deny}
spec: {holderIdentity: dgbot-verifier-pod-1-3kd9f0aq, leaseDurationSeconds: 15, renewTime: "2026-11-30T12:00:00.000000Z"}
`

// TestTheThreatModelHolds: what docs/threat-model.md says of an installation of config/default.
func TestTheThreatModelHolds(t *testing.T) {
	t.Parallel()
	h := startHardened(t, "default")
	h.Must("", "create", "namespace", "support")
	h.Must("", "apply", "-k", filepath.Join(controlplane.Repository(), "config", "samples", "roles"))
	h.Must(people, "apply", "-f", "-")
	h.Must(rules, "apply", "-f", "-")
	h.operate(nil)
	h.Must(strings.Replace(key, "namespace: default", "namespace: support", 1), "apply", "-f", "-")
	h.Must("", "wait", "--for=condition=Ready", "dgkey/crm", "-n", "support", "--timeout=60s")
	t.Run("who may", func(t *testing.T) { h.with(t).whoMay() })
	t.Run("who mints", func(t *testing.T) { h.with(t).onlyTheOperatorMints() })
	t.Run("a forged key", func(t *testing.T) { h.with(t).aForgedKeyIsNone() })
	t.Run("a leak", func(t *testing.T) { h.with(t).allKeysAreReplacedAtOnce() })
	t.Run("bodies", func(t *testing.T) { h.with(t).bodiesAreNotLogged() })
	t.Run("etcd", func(t *testing.T) { h.with(t).secretsAreEncrypted() })
	t.Run("pods", func(t *testing.T) { h.with(t).restrictedPodsAreTaken(controlplane.OperatorAccount) })
	t.Run("egress", func(t *testing.T) { h.with(t).egressCanBeRestricted() })
	t.Run("pods of the verifier", func(t *testing.T) {
		h := h.with(t)
		h.Must("", "apply", "-k", filepath.Join(controlplane.Repository(), "config", "verifier"))
		h.restrictedPodsAreTaken(controlplane.VerifierAccount)
	})
}

func (h *hardened) with(t *testing.T) *hardened {
	return &hardened{Kubectl: testenv.Kubectl{T: t, Cluster: h.Cluster}, folder: h.folder, texts: h.texts}
}

// whoMay is the table of who has which right; policies come on top.
func (h *hardened) whoMay() {
	const keys, records, chatbots = "dgbotapikeys.keys.dgbot.io", "dgbotapikeyrecords.keys.dgbot.io", "dgbotchatbots.keys.dgbot.io"
	const environments = "dgbotenvironments.keys.dgbot.io"
	for _, ask := range []struct {
		user, verb, resource, namespace string
		want                            bool
	}{
		{"viewer", "get", "secrets", "support", false},
		{"viewer", "get", keys, "support", true},
		{"viewer", "list", records, "support", true},
		{"viewer", "get", chatbots, "support", true},
		{"viewer", "patch", keys, "support", false},
		{"editor", "get", "secrets", "support", true},
		{"editor", "create", "pods", "support", true},
		{"editor", "create", keys, "support", true}, // and the policy asks for more
		{"editor", "use", "dgbotenvironments.keys.dgbot.io/production", "support", false},
		{"editor", "update", chatbots, "support", true},
		{"editor", "delete", records, "support", false},
		{"editor", "patch", environments, "", false},
		{"administrator", "delete", keys, "support", true},
		{"administrator", "use", "dgbotenvironments.keys.dgbot.io/production", "support", true},
		{"administrator", "use", "dgbotenvironments.keys.dgbot.io/staging", "support", false},
		{"administrator", "delete", records, "support", false},
		{"rotator", "patch", keys, "support", true},
		{"rotator", "patch", chatbots, "support", true},
		{"rotator", "update", keys, "support", false},
		{"rotator", "create", keys, "support", false},
		{"rotator", "delete", keys, "support", false},
		{"rotator", "get", "secrets", "support", false},
		{"auditor", "list", keys, "", true},
		{"auditor", "list", records, "", true},
		{"auditor", "get", environments, "", true},
		{"auditor", "patch", keys, "support", false},
		{"auditor", "get", "secrets", "support", false},
		{"keeper", "create", keys, "support", true},
		{"keeper", "get", "secrets", "support", false},
		{"keeper", "delete", records, "support", false},
		{"owner", "get", "secrets", "support", true},
		{"owner", "delete", records, "support", true},
		{"owner", "mint", records, "support", true}, // in the namespace, where no policy asks for it
		{operatorUser, "mint", records, "", true},
		{operatorUser, "list", "secrets", "kube-system", true},
		{operatorUser, "create", "secrets", "kube-system", true},
		{"administrator", "adopt", chatbots, "", false},
		{"owner", "adopt", chatbots, "support", true}, // in the namespace, where no policy asks for it
		{"owner", "adopt", chatbots, "", false},
		{operatorUser, "delete", "leases.coordination.k8s.io", controlplane.OperatorNamespace, true},
		{operatorUser, "delete", "leases.coordination.k8s.io", "kube-system", false},
		{"owner", "stop", records, "support", true}, // in the namespace, where no policy asks for it
		{"owner", "stop", records, "", false},
		{"owner", "report", records, "", false},
		{"editor", "update", "leases.coordination.k8s.io", "support", true}, // and the policy asks for more
		{operatorUser, "stop", records, "", false},
		{operatorUser, "report", records, "", false},
		{operatorUser, "update", keys, "support", false},
		{operatorUser, "update", chatbots, "support", false},
		{operatorUser, "delete", keys, "support", false},
		{operatorUser, "create", "pods", "support", false},
		{operatorUser, "create", "serviceaccounts/token", "support", false},
		{operatorUser, "update", "validatingadmissionpolicies.admissionregistration.k8s.io", "", false},
	} {
		args := []string{"auth", "can-i", ask.verb, ask.resource, "--as=" + ask.user}
		if ask.namespace != "" {
			args = append(args, "-n", ask.namespace)
		} else {
			args = append(args, "-A")
		}
		out, err := h.Run("", args...)
		if got := err == nil; got != ask.want {
			h.T.Errorf("may %s %s %s in %q: %s", ask.user, ask.verb, ask.resource, ask.namespace, out)
		}
	}
}

const rotateNow = "keys.dgbot.io/rotate-requested-at=2026-01-01T00:00:00Z"

// onlyTheOperatorMints: the policies reject the writes of other users that RBAC allows.
func (h *hardened) onlyTheOperatorMints() {
	mine := strings.NewReplacer("namespace: default", "namespace: support", "name: crm", "name: other").Replace(key)
	forged := strings.Replace(record, "namespace: default", "namespace: support", 1)
	h.Must(registeredVerifier, "create", "-f", "-", "--as=system:serviceaccount:support:verifier")
	existing := strings.TrimSpace(h.Must("", "get", "dgrec", "-n", "support", "-o", "name"))
	for what, try := range map[string]struct {
		input string
		args  []string
		says  string
	}{
		"owner creates a record":            {forged, []string{"create", "-f", "-", "--as=owner"}, "means minting a key"},
		"owner changes a record":            {"", []string{"patch", existing, "--type=merge", "-p", `{"spec":{"scopes":["*"]}}`, "--as=owner"}, "means minting a key"},
		"owner changes a record's label":    {"", []string{"patch", existing, "--type=merge", "-p", `{"metadata":{"labels":{"a":"b"}}}`, "--as=owner"}, "means minting a key"},
		"owner writes a key's status":       {"", []string{"patch", "dgkey", "crm", "--subresource=status", "--type=merge", "-p", `{"status":{"observedGeneration":9}}`, "--as=owner"}, "written by the DGbot key operator alone"},
		"owner writes a record's status":    {"", []string{"patch", existing, "--subresource=status", "--type=merge", "-p", `{"status":{"resolution":"10m"}}`, "--as=owner"}, "written by DGbot verifiers alone"},
		"owner registers a verifier":        {registeredVerifier, []string{"create", "-f", "-", "--as=owner"}, `needs the verb "report"`},
		"editor stops a verifier":           {"", []string{"annotate", "lease", "dgbot-verifier-pod-1-3kd9f0aq", "keys.dgbot.io/stopped=now", "--as=editor"}, `needs the verb "stop"`},
		"owner renews a verifier":           {"", []string{"annotate", "lease", "dgbot-verifier-pod-1-3kd9f0aq", "keys.dgbot.io/on-stale=serve", "--overwrite", "--as=owner"}, `needs the verb "report"`},
		"a cluster admin forges an answer":  {"", []string{"annotate", "lease", "dgbot-verifier-pod-1-3kd9f0aq", "keys.dgbot.io/observed-versions=*/*=999999999"}, "is the registration of a verifier that runs as"},
		"owner adopts a chatbot ID":         {strings.Replace(chatbot, "spec: {", "spec: {chatbotID: cb_known, ", 1), []string{"create", "-f", "-", "--as=owner"}, `needs the verb "adopt"`},
		"keeper creates a staging key":      {strings.Replace(mine, "production", "staging", 1), []string{"create", "-f", "-", "--as=keeper"}, `needs the verb "use"`},
		"keeper moves a key to staging":     {"", []string{"patch", "dgkey", "crm", "--type=merge", "-p", `{"spec":{"environment":"staging"}}`, "--as=keeper"}, "immutable"},
		"editor creates a key":              {mine, []string{"create", "-f", "-", "--as=editor"}, `needs the verb "use"`},
		"viewer rotates a key":              {"", []string{"annotate", "dgkey", "crm", rotateNow, "--as=viewer"}, "forbidden"},
		"rotator changes scopes":            {"", []string{"patch", "dgkey", "crm", "--type=merge", "-p", `{"spec":{"scopes":["*"]}}`, "--as=rotator"}, ""},
		"rotator disables a key":            {"", []string{"patch", "dgkey", "crm", "--type=merge", "-p", `{"spec":{"state":"Disabled"}}`, "--as=rotator"}, "changing more of DGbotAPIKey \"crm\" than the annotations"},
		"rotator requests in spec":          {"", []string{"patch", "dgkey", "crm", "--type=merge", "-p", `{"spec":{"rotation":{"requestedAt":"2026-01-01T00:00:00Z"}}}`, "--as=rotator"}, `needs the verb "update"`},
		"rotator sets another annotation":   {"", []string{"annotate", "dgkey", "crm", "a=b", "--as=rotator"}, `needs the verb "update"`},
		"rotator keeps an unused key":       {"", []string{"annotate", "dgkey", "crm", "keys.dgbot.io/kept-at=2026-11-27T10:00:00Z", "--as=rotator"}, `needs the verb "update"`},
		"rotator sets both":                 {"", []string{"annotate", "dgkey", "crm", rotateNow, "a=b", "--as=rotator"}, `needs the verb "update"`},
		"rotator sets a label":              {"", []string{"label", "dgkey", "crm", "a=b", "--as=rotator"}, `needs the verb "update"`},
		"rotator sets a finalizer":          {"", []string{"patch", "dgkey", "crm", "--type=merge", "-p", `{"metadata":{"finalizers":["a/b"]}}`, "--as=rotator"}, `needs the verb "update"`},
		"auditor changes an environment":    {"", []string{"annotate", "dgenv", "production", "a=b", "--as=auditor"}, "forbidden"},
		"the operator changes a key's spec": {"", []string{"patch", "dgkey", "crm", "--type=merge", "-p", `{"spec":{"scopes":["*"]}}`, "--as=" + operatorUser}, "forbidden"},
		"a cluster admin changes a hash":    {"", []string{"patch", existing, "--type=merge", "-p", `{"spec":{"hash":"sha256:` + strings.Repeat("0", 64) + `"}}`}, "immutable"},
	} {
		h.Eventually(what+" is refused", func() (bool, string) {
			out, err := h.Run(try.input, append(try.args, "-n", "support", "--dry-run=server")...)
			return err != nil && strings.Contains(out, try.says), out
		})
	}
	for what, try := range map[string]struct {
		input string
		args  []string
	}{
		"keeper creates a production key":        {mine, []string{"create", "-f", "-", "--as=keeper"}},
		"administrator creates a production key": {mine, []string{"create", "-f", "-", "--as=administrator"}},
		"rotator rotates":                        {"", []string{"annotate", "dgkey", "crm", rotateNow, "--as=rotator"}},
		"rotator revokes":                        {"", []string{"annotate", "dgkey", "crm", "keys.dgbot.io/revoke-issued-before=2026-01-01T00:00:00Z", "--as=rotator"}},
		"editor changes a label":                 {"", []string{"patch", "dgkey", "crm", "--type=merge", "-p", `{"spec":{"label":"Mine"}}`, "--as=editor"}},
		"auditor lists keys":                     {"", []string{"get", "dgkey,dgrec,dgenv", "-A", "--as=auditor"}},
	} {
		args := append(slices.Clone(try.args), "-n", "support")
		if try.args[0] != "get" {
			args = append(args, "--dry-run=server")
		}
		if out, err := h.Run(try.input, args...); err != nil {
			h.T.Errorf("%s: %s", what, out)
		}
	}
}

// aForgedKeyIsNone: who may write Secrets can put a text of the right form into one, dressed like the operator's. No
// record has its hash, and where it replaces a key, the operator replaces it in turn.
func (h *hardened) aForgedKeyIsNone() {
	minted, err := apikey.Mint("production")
	if err != nil {
		h.T.Fatal(err)
	}
	forged := minted.Reveal()
	before := h.text("support")
	h.Must("", "patch", "secret", "crm", "-n", "support", "--type=merge", "--as=editor", "-p", fmt.Sprintf(`{"stringData":{"api-key":%q}}`, forged))
	h.replaced("the forged key is replaced", "support", forged)
	// The bytes of an earlier revision are no better, although its key still verifies for a while.
	h.Must("", "patch", "secret", "crm", "-n", "support", "--type=merge", "--as=editor", "-p", fmt.Sprintf(`{"stringData":{"api-key":%q}}`, before))
	h.replaced("the earlier key is replaced", "support", before)
	hash := apikey.Hash([]byte(forged))
	if records := h.Must("", "get", "dgrec", "-A", "-o", "json"); strings.Contains(records, hash) {
		h.T.Error("a record has the forged key's hash")
	}
}

// allKeysAreReplacedAtOnce: the command of the page, for a leak of everything.
func (h *hardened) allKeysAreReplacedAtOnce() {
	leaked := h.text("support")
	h.Eventually("the next second", func() (bool, string) { return time.Now().Nanosecond() < 200_000_000, "" })
	h.Must("", "annotate", "dgkey", "-A", "--all", "--overwrite", "keys.dgbot.io/revoke-issued-before="+time.Now().UTC().Format(time.RFC3339))
	h.replaced("the leaked key is replaced", "support", leaked)
	h.Eventually("the leaked key is revoked", func() (bool, string) {
		out := h.Must("", "get", "dgrec", "-n", "support", "-o", `jsonpath={range .items[*]}{.spec.hash} {.spec.state}{"\n"}{end}`)
		return strings.Contains(out, apikey.Hash([]byte(leaked))+" Revoked"), out
	})
}

// bodiesAreNotLogged: with docs/control-plane/audit-policy.yaml the audit log says who wrote a Secret and not what, while
// it has the bodies of records.
func (h *hardened) bodiesAreNotLogged() {
	text := h.text("support")
	h.Must("", "create", "token", "default", "-n", "support")
	events, err := controlplane.ReadAudit(h.auditLog())
	if err != nil {
		h.T.Fatal(err)
	}
	levels := map[string]string{}
	for _, event := range events {
		if len(event.RequestObject) > 0 && (event.ObjectRef.Resource == "secrets" || event.ObjectRef.Subresource == "token") {
			h.T.Errorf("%s was logged with its body", event.Right())
		}
		levels[event.Right()] = event.Level
	}
	for right, want := range map[string]string{
		"create secrets": "Metadata", "get secrets": "Metadata", "create serviceaccounts/token": "Metadata",
		"create keys.dgbot.io/dgbotapikeyrecords": "Request", "patch keys.dgbot.io/dgbotapikeys": "Request",
		"create rbac.authorization.k8s.io/rolebindings": "Request", "get keys.dgbot.io/dgbotapikeys": "Metadata",
	} {
		if levels[right] != want {
			h.T.Errorf("%s is logged at %q, want %s", right, levels[right], want)
		}
	}
	log, err := os.ReadFile(h.auditLog())
	if err != nil {
		h.T.Fatal(err)
	}
	if text == notPublished || bytes.Contains(log, []byte(text)) {
		h.T.Error("a key is in the audit log")
	}
}

// secretsAreEncrypted: with docs/control-plane/encryption.yaml etcd, and its backups, hold no key; what else there is of a
// key is a hash.
func (h *hardened) secretsAreEncrypted() {
	text := h.text("support")
	stored, err := h.Cluster.Stored(h.T.Context(), "secrets/support/crm")
	if err != nil {
		h.T.Fatal(err)
	}
	if !bytes.HasPrefix(stored, []byte("k8s:enc:secretbox:")) || bytes.Contains(stored, []byte(text)) {
		h.T.Errorf("the Secret is stored as %.20q…", stored)
	}
	name := strings.TrimPrefix(strings.Fields(h.Must("", "get", "dgrec", "-n", "support", "--sort-by=.spec.revision", "-o", "name"))[0], "dgbotapikeyrecord.")
	_, name, _ = strings.Cut(name, "/")
	stored, err = h.Cluster.Stored(h.T.Context(), "keys.dgbot.io/dgbotapikeyrecords/support/"+name)
	if err != nil {
		h.T.Fatal(err)
	}
	if !bytes.Contains(stored, []byte("sha256:")) || bytes.Contains(stored, []byte(text)) {
		h.T.Errorf("the record is stored as %s", stored)
	}
}

// egressCanBeRestricted: the API server takes config/components/restricted-egress on top of config/default. No network
// plugin runs here, so that nothing is said of what it does with it.
func (h *hardened) egressCanBeRestricted() {
	folder := h.T.TempDir()
	relative := func(path ...string) string {
		to, err := filepath.Rel(folder, filepath.Join(append([]string{controlplane.Repository(), "config"}, path...)...))
		if err != nil {
			h.T.Fatal(err)
		}
		return filepath.ToSlash(to)
	}
	content := fmt.Sprintf("resources: [%q]\ncomponents: [%q]\n", relative("default"), relative("components", "restricted-egress"))
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(content), 0o600); err != nil {
		h.T.Fatal(err)
	}
	h.Must("", "apply", "-k", folder)
	out := h.Must("", "get", "networkpolicy", "-n", controlplane.OperatorNamespace, "-o", "jsonpath={range .items[*]}{.metadata.name} {.spec.policyTypes} {.spec.podSelector.matchLabels}{\"\\n\"}{end}")
	labels := h.deployment().Spec.Template.Labels
	for _, want := range []string{`dgbot-manager-egress ["Egress"]`, `dgbot-manager-ingress ["Ingress"]`} {
		if !strings.Contains(out, want) {
			h.T.Errorf("%s is missing:\n%s", want, out)
		}
	}
	selectors := h.Must("", "get", "networkpolicy,poddisruptionbudget", "-n", controlplane.OperatorNamespace, "-o",
		`jsonpath={range .items[*]}{.spec.podSelector.matchLabels.app\.kubernetes\.io/name}{.spec.selector.matchLabels.app\.kubernetes\.io/name}/{.spec.podSelector.matchLabels.app\.kubernetes\.io/component}{.spec.selector.matchLabels.app\.kubernetes\.io/component}{"\n"}{end}`)
	want := labels["app.kubernetes.io/name"] + "/" + labels["app.kubernetes.io/component"]
	if got := strings.Fields(selectors); len(got) != 3 || got[0] != want || got[1] != want || got[2] != want {
		h.T.Errorf("they select %q, and the manager's Pods have %q", got, want)
	}
}
