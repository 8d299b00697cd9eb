// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// TestSecretFacts_DoNotGrowWithTheSecret: what is remembered of a key's Secret is as small for a large Secret.
func TestSecretFacts_DoNotGrowWithTheSecret(t *testing.T) {
	large := metav1.ObjectMeta{UID: "uid", ResourceVersion: "7", Labels: map[string]string{}, Annotations: map[string]string{}}
	for i := range 500 {
		name := fmt.Sprintf("example.com/%d", i)
		large.Labels[name], large.Annotations[name] = strings.Repeat("l", 60), strings.Repeat("a", 400)
		large.OwnerReferences = append(large.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: strings.Repeat("K", 1000), Name: name, UID: types.UID(name)})
	}
	secret, key, record := dressed(t, &corev1.Secret{ObjectMeta: large}, v1alpha1.SecretTemplate{})
	for i := range 1_000 {
		secret.Data[fmt.Sprintf("entry-%d", i)] = make([]byte, 500)
	}
	secret.Data[v1alpha1.SecretKeyID] = make([]byte, 100_000)
	secret.Annotations[v1alpha1.TemplateAnnotation] = strings.Repeat("x", 100_000)
	secret.Data[v1alpha1.DefaultSecretKey] = []byte("text")
	facts := factsOf(secret, key)
	record.Spec.Hash = facts.hash
	seen := &observed{Observation: lifecycle.Observation{Key: key, Records: []v1alpha1.DGbotAPIKeyRecord{*record}}, secret: secret}
	(&Reconciler{}).describeSecret(t.Context(), seen, facts)
	text, err := json.Marshal(facts.metadata)
	if size := len(text) + len(facts.hash) + len(facts.keyID) + len(facts.intactFor); err != nil || size > 4096 {
		t.Errorf("%d bytes are remembered of the Secret (%v), want at most 4096", size, err)
	}
	if seen.Secret.State != revisions.SecretOwned || !seen.Secret.Drifted {
		t.Errorf("the Secret counts as %+v, want it owned and drifted", seen.Secret)
	}
}

// TestSecretFacts_RememberWhatTheSecretWasPublishedFrom: a remembered Secret counts as intact for what it was published from, and for
// nothing else.
func TestSecretFacts_RememberWhatTheSecretWasPublishedFrom(t *testing.T) {
	secret, key, record := dressed(t, &corev1.Secret{}, v1alpha1.SecretTemplate{})
	secret.Data[v1alpha1.DefaultSecretKey] = []byte("text")
	facts := factsOf(secret, key)
	record.Spec.Hash = facts.hash
	seen := &observed{Observation: lifecycle.Observation{Key: key, Records: []v1alpha1.DGbotAPIKeyRecord{*record}}, secret: secret}
	(&Reconciler{}).describeSecret(t.Context(), seen, facts)
	if seen.Secret.Drifted || facts.drifted(key, record) {
		t.Fatal("an intact Secret counts as drifted")
	}
	labelled := key.DeepCopy()
	labelled.Spec.Secret = &v1alpha1.SecretSpec{Template: &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"app": "crm"}}}
	other := record.DeepCopy()
	other.Spec.ChatbotID = "cb_other"
	if !facts.drifted(labelled, record) || !facts.drifted(key, other) || !facts.drifted(key, nil) {
		t.Error("the remembered Secret counts as intact for another template, chatbot ID or record")
	}
}

func dressed(t *testing.T, secret *corev1.Secret, template v1alpha1.SecretTemplate) (*corev1.Secret, *v1alpha1.DGbotAPIKey, *v1alpha1.DGbotAPIKeyRecord) {
	t.Helper()
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Name: "crm", Namespace: "a", UID: "key-uid", Labels: map[string]string{"argocd.argoproj.io/instance": "app"}},
		Spec:       v1alpha1.DGbotAPIKeySpec{Label: "CRM", Environment: "production", Secret: &v1alpha1.SecretSpec{Template: &template}},
	}
	record := &v1alpha1.DGbotAPIKeyRecord{Spec: v1alpha1.DGbotAPIKeyRecordSpec{Revision: 3, KeyID: "abcdefABCDEF", Environment: "production"}}
	dress(secret, key, record)
	return secret, key, record
}

func TestWhatUsersAddToTheSecretStays(t *testing.T) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Labels: map[string]string{"theirs": "1"}, Annotations: map[string]string{"theirs": "2"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Other", Name: "other", UID: "other"}},
		},
		Data: map[string][]byte{"theirs": []byte("3")},
	}
	dressed(t, secret, v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"app": "crm"}})
	if secret.Labels["theirs"] != "1" || secret.Annotations["theirs"] != "2" || string(secret.Data["theirs"]) != "3" || len(secret.OwnerReferences) != 2 {
		t.Errorf("%+v", secret)
	}
	if _, copied := secret.Labels["argocd.argoproj.io/instance"]; copied {
		t.Error("the key's own labels were copied: Argo CD would prune the Secret")
	}
}

// TestDress_ExportsNothing: annotations that make replicators copy a Secret are withheld, also from keys that were created before the API
// server rejected them.
func TestDress_ExportsNothing(t *testing.T) {
	const name = "replicator.v1.mittwald.de/replicate-to"
	secret, _, _ := dressed(t, &corev1.Secret{}, v1alpha1.SecretTemplate{Annotations: map[string]v1alpha1.AnnotationValue{name: ".*", "team": "crm"}})
	if _, ok := secret.Annotations[name]; ok || secret.Annotations["team"] != "crm" {
		t.Errorf("the Secret has annotations %v", secret.Annotations)
	}
}

func TestTheSecretIsDressedAsTheContractSays(t *testing.T) {
	secret, _, _ := dressed(t, &corev1.Secret{}, v1alpha1.SecretTemplate{})
	if want := map[string]string{"keys.dgbot.io/api-key": "key-uid", "app.kubernetes.io/managed-by": "dgbot-key-operator"}; !maps.Equal(secret.Labels, want) {
		t.Errorf("labels %v", secret.Labels)
	}
	if want := map[string]string{"keys.dgbot.io/revision": "3", "keys.dgbot.io/owner": "a/crm"}; !maps.Equal(secret.Annotations, want) {
		t.Errorf("annotations %v", secret.Annotations)
	}
	for name, want := range map[string]string{"key-id": "abcdefABCDEF", "environment": "production", "type": "dgbot-api-key", "provider": "dgbot"} {
		if string(secret.Data[name]) != want {
			t.Errorf("%s is %q", name, secret.Data[name])
		}
	}
	if owner := metav1.GetControllerOf(secret); owner == nil || owner.UID != "key-uid" || owner.Kind != "DGbotAPIKey" || secret.Type != corev1.SecretTypeOpaque {
		t.Errorf("owner %+v, type %s", owner, secret.Type)
	}
}

// TestATemplateTakesBackOnlyItsOwn: what a template set before and no longer sets goes, what users set stays.
func TestATemplateTakesBackOnlyItsOwn(t *testing.T) {
	secret, _, _ := dressed(t, &corev1.Secret{}, v1alpha1.SecretTemplate{
		Labels: map[string]v1alpha1.LabelValue{"app": "crm", "tier": "backend"}, Annotations: map[string]v1alpha1.AnnotationValue{"reload": "true"},
	})
	secret.Labels["theirs"] = "stays"
	dressed(t, secret, v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"app": "shop"}})
	if secret.Labels["app"] != "shop" || secret.Labels["theirs"] != "stays" {
		t.Errorf("labels %v", secret.Labels)
	}
	_, tier := secret.Labels["tier"]
	_, reload := secret.Annotations["reload"]
	if tier || reload {
		t.Errorf("left behind: %v %v", secret.Labels, secret.Annotations)
	}
	dressed(t, secret, v1alpha1.SecretTemplate{})
	if _, note := secret.Annotations[v1alpha1.TemplateAnnotation]; note || len(secret.Labels) != 3 {
		t.Errorf("after the template is gone: %v %v", secret.Labels, secret.Annotations)
	}
}

func TestADressedSecretHasNotDrifted(t *testing.T) {
	for name, spoil := range map[string]func(*corev1.Secret){
		"":                      func(*corev1.Secret) {},
		"a label":               func(s *corev1.Secret) { delete(s.Labels, v1alpha1.ManagedByLabel) },
		"the template's label":  func(s *corev1.Secret) { s.Labels["app"] = "other" },
		"the revision":          func(s *corev1.Secret) { s.Annotations[v1alpha1.RevisionAnnotation] = "2" },
		"the owner":             func(s *corev1.Secret) { s.OwnerReferences = nil },
		"the owner's control":   func(s *corev1.Secret) { s.OwnerReferences[0].Controller = nil },
		"an entry beside":       func(s *corev1.Secret) { s.Data[v1alpha1.SecretEnvironment] = []byte("staging") },
		"a missing entry":       func(s *corev1.Secret) { delete(s.Data, v1alpha1.SecretProvider) },
		"the note on templates": func(s *corev1.Secret) { s.Annotations[v1alpha1.TemplateAnnotation] = "{" },
	} {
		secret, key, record := dressed(t, &corev1.Secret{}, v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"app": "crm"}})
		spoil(secret)
		if got := drifted(secret, key, record); got != (name != "") {
			t.Errorf("%q altered: drifted is %t", name, got)
		}
	}
}

func TestWhoseASecretIs(t *testing.T) {
	yes := true
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Name: "crm", UID: "ours"}}
	owner := func(uid types.UID, kind string, controller *bool) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: "crm", UID: uid, Controller: controller}
	}
	for name, test := range map[string]struct {
		label  string
		owners []metav1.OwnerReference
		want   revisions.SecretState
	}{
		"no mark":                            {"", nil, revisions.SecretForeign},
		"our label":                          {"ours", nil, revisions.SecretOwned},
		"our controller":                     {"", []metav1.OwnerReference{owner("ours", "DGbotAPIKey", &yes)}, revisions.SecretOwned},
		"our controller, another's label":    {"other", []metav1.OwnerReference{owner("ours", "DGbotAPIKey", &yes)}, revisions.SecretOwned},
		"our label, another's controller":    {"ours", []metav1.OwnerReference{owner("other", "DGbotAPIKey", &yes)}, revisions.SecretForeign},
		"our label, an owner not in control": {"ours", []metav1.OwnerReference{owner("other", "DGbotAPIKey", nil)}, revisions.SecretOwned},
		"our uid under another kind":         {"", []metav1.OwnerReference{owner("ours", "ConfigMap", &yes)}, revisions.SecretForeign},
		"another's label":                    {"other", nil, revisions.SecretUnowned},
		"another's label and owner":          {"other", []metav1.OwnerReference{owner("other", "DGbotAPIKey", &yes)}, revisions.SecretCollectable},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{OwnerReferences: test.owners}}
		if test.label != "" {
			secret.Labels = map[string]string{v1alpha1.APIKeyLabel: test.label}
		}
		if got, _ := factsOf(secret, key).ownership(key); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestDress_PublishesTheReservedEntries: the list in api/v1alpha1 names what the operator publishes for a key, no more and no less.
func TestDress_PublishesTheReservedEntries(t *testing.T) {
	secret, key, record := dressed(t, &corev1.Secret{}, v1alpha1.SecretTemplate{})
	record.Spec.ChatbotID = "cb_1"
	dress(secret, key, record)
	if got, want := slices.Sorted(maps.Keys(secret.Data)), slices.Sorted(slices.Values(v1alpha1.APIKeySecretEntries[:])); !slices.Equal(got, want) {
		t.Errorf("the Secret of a key has %q, the list %q", got, want)
	}
}
