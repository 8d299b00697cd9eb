// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestTheLifeOfAKeyAsTheVerifierTellsIt: every change of a key is a change of the answers.
func TestTheLifeOfAKeyAsTheVerifierTellsIt(t *testing.T) {
	v := startVerifier(t)
	v.ready()
	p := newPlace(t)
	first := p.key("crm", "staging")
	v.becomes("a new key", first, http.StatusOK)
	if _, said := v.verify(first); fmt.Sprint(said) != fmt.Sprintf("{true %s staging CRM [conversations.read] %s crm 1}", strings.Split(first, "_")[2], p.Name) {
		t.Errorf("it is said to be %v", said)
	}

	p.PatchKey("crm", fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RotateRequestedAtAnnotation, now()))
	eventually(t, "it is rotated", func() bool { return p.KeyText("crm") != first })
	second := p.KeyText("crm")
	// The record is there before the Secret: a client that has read the new key is accepted within the delay of a watch.
	v.becomes("the new revision", second, http.StatusOK)
	v.becomes("the earlier one during the overlap", first, http.StatusOK)

	p.PatchKey("crm", `{"spec":{"rotation":{"overlap":"0s"},"scopes":["a.b"]}}`)
	v.becomes("the earlier one after the overlap", first, http.StatusUnauthorized)
	eventually(t, "the scopes follow", func() bool { _, said := v.verify(second); return fmt.Sprint(said.Scopes) == "[a.b]" })

	p.PatchKey("crm", `{"spec":{"state":"Disabled"}}`)
	v.becomes("a disabled key", second, http.StatusUnauthorized)
	p.PatchKey("crm", `{"spec":{"state":"Active"}}`)
	v.becomes("a key that is enabled again", second, http.StatusOK)

	p.PatchKey("crm", fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RevokeIssuedBeforeAnnotation, now()))
	v.becomes("a revoked key", second, http.StatusUnauthorized)
	eventually(t, "it is replaced", func() bool { return p.KeyText("crm") != second })
	third := p.KeyText("crm")
	v.becomes("its replacement", third, http.StatusOK)

	must(t, admin.Delete(t.Context(), &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "crm"}}))
	v.becomes("a deleted key", third, http.StatusUnauthorized)
	for _, text := range []string{first, second, third} {
		if strings.Contains(world.Log.String(), text[strings.LastIndex(text, "_"):]) {
			t.Error("a key is in the log")
		}
	}
}

// TestAnOrphanIsRefused: a key deleted without its records leaves hashes that admit nothing, from the first moment on.
func TestAnOrphanIsRefused(t *testing.T) {
	v := startVerifier(t)
	v.ready()
	p := newPlace(t)
	text := p.key("crm", "staging")
	v.becomes("the key", text, http.StatusOK)
	orphan := metav1.DeletePropagationOrphan
	must(t, admin.Delete(t.Context(), &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "crm"}}, &client.DeleteOptions{PropagationPolicy: &orphan}))
	v.becomes("an orphan", text, http.StatusUnauthorized)
}

// TestOnlyWhatItIsForIsKnown: --environment and --namespace leave out the keys of others.
func TestOnlyWhatItIsForIsKnown(t *testing.T) {
	here, there := newPlace(t), newPlace(t)
	keys := map[string]string{}
	for _, p := range []*place{here, there} {
		for _, environment := range []string{"staging", "production", "development"} {
			keys[p.Name+environment] = p.key(environment, environment)
		}
	}
	for name, tc := range map[string]struct {
		args  []string
		known func(namespace, environment string) bool
	}{
		"one environment":  {[]string{"--environment=staging"}, func(_, e string) bool { return e == "staging" }},
		"two environments": {[]string{"--environment=staging", "--environment=production"}, func(_, e string) bool { return e != "development" }},
		"one namespace":    {[]string{"--namespace=" + here.Name}, func(n, _ string) bool { return n == here.Name }},
		"both, one given twice": {[]string{"--namespace=" + here.Name, "--namespace=" + here.Name, "--environment=staging"},
			func(n, e string) bool { return n == here.Name && e == "staging" }},
	} {
		t.Run(name, func(t *testing.T) {
			v := startVerifier(t, tc.args...)
			v.ready()
			for _, p := range []*place{here, there} {
				for _, environment := range []string{"staging", "production", "development"} {
					want := http.StatusUnauthorized
					if tc.known(p.Name, environment) {
						want = http.StatusOK
					}
					if code, _ := v.verify(keys[p.Name+environment]); code != want {
						t.Errorf("%s in %s: %d, want %d", environment, p.Name, code, want)
					}
				}
			}
		})
	}
}

// TestAVerifierSeesHashesOnly: what its account may do.
func TestAVerifierSeesHashesOnly(t *testing.T) {
	account := "system:serviceaccount:dgbot-system:dgbot-verifier"
	for _, tc := range []struct {
		verb, resource string
		want           string
	}{
		{"list", "dgbotapikeyrecords", "yes"}, {"watch", "dgbotapikeyrecords", "yes"}, {"create", "dgbotapikeyrecords", "no"},
		{"update", "dgbotapikeyrecords", "no"}, {"delete", "dgbotapikeyrecords", "no"}, {"mint", "dgbotapikeyrecords", "no"},
		{"get", "secrets", "no"}, {"list", "secrets", "no"}, {"get", "dgbotapikeys", "no"}, {"create", "events", "no"}, {"get", "configmaps", "no"},
	} {
		out, _ := world.Kubectl(t.Context(), "auth", "can-i", tc.verb, tc.resource, "--all-namespaces", "--as="+account).Output()
		if got := strings.TrimSpace(string(out)); got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.verb, tc.resource, got, tc.want)
		}
	}
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }
