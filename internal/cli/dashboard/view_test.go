// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
)

// conditioned is a key with other conditions than Ready True, each as "Type=Reason"; Ready is False if it is among them.
func conditioned(name string, conditions ...string) *v1alpha1.DGbotAPIKey {
	key := clitest.Healthy(name)
	for _, condition := range conditions {
		kind, reason, _ := strings.Cut(condition, "=")
		c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: "because"}
		if kind == v1alpha1.ReadyCondition {
			c.Status = metav1.ConditionFalse
			key.Status.Conditions[0] = c
			continue
		}
		key.Status.Conditions = append(key.Status.Conditions, c)
	}
	return key
}

func TestViewOf_PutsWhatNeedsAPersonFirst(t *testing.T) {
	unseen := clitest.Healthy("unseen")
	unseen.Status = v1alpha1.DGbotAPIKeyStatus{}
	keys := []*v1alpha1.DGbotAPIKey{
		clitest.Healthy("fine"), conditioned("disabled", "Ready=Disabled", "Stalled=Disabled"), conditioned("unused", "Unused=NotUsed"), unseen,
		conditioned("taken", "Ready=SecretConflict", "Stalled=SecretConflict"), conditioned("busy", "Reconciling=WaitingForOverlap"),
	}
	v := viewOf(keys, "all namespaces", clitest.Now, nil)
	var got []string
	for _, r := range v.Rows {
		got = append(got, fmt.Sprintf("%s:%s", r.Name, r.Tone))
	}
	if want := "taken:person busy:waits unseen:waits unused:notes fine:fine disabled:off"; strings.Join(got, " ") != want {
		t.Errorf("rows %v, want %s", got, want)
	}
	if v.Totals[person] != 1 || v.Totals[waits] != 2 || v.Totals[notes] != 1 || v.Totals[fine] != 1 || v.Totals[off] != 1 {
		t.Errorf("totals %v", v.Totals)
	}
	if r := v.Rows[0]; len(r.Notes) != 1 || r.Notes[0] != "SecretConflict: because" || r.State != "SecretConflict" {
		t.Errorf("the row of a key that needs a person: %+v", r)
	}
	if r := v.Rows[4]; len(r.Notes) != 0 || r.State != "Ready" || len(r.Revisions) != 1 || r.Revisions[0].Number != 3 || r.KeyID != "7Hq2xV0aBcD9" {
		t.Errorf("the row of a key that is fine: %+v", r)
	}
}

func TestViewOf_BoundsRowsAndCountsAll(t *testing.T) {
	var keys []*v1alpha1.DGbotAPIKey
	for i := range maxRows + 7 {
		keys = append(keys, clitest.Healthy(fmt.Sprintf("key-%d", i)))
	}
	keys = append(keys, conditioned("zzz", "Ready=SecretConflict", "Stalled=SecretConflict"))
	v := viewOf(keys, "all namespaces", clitest.Now, nil)
	if len(v.Rows) != maxRows || v.Omitted != 8 || v.Totals[fine] != maxRows+7 || v.Rows[0].Name != "zzz" {
		t.Errorf("%d rows, %d omitted, totals %v, first %s", len(v.Rows), v.Omitted, v.Totals, v.Rows[0].Name)
	}
}

// TestViewOf_KeepsHostileTextFromActing, and masks a key that a user pasted where a name belongs.
func TestViewOf_KeepsHostileTextFromActing(t *testing.T) {
	text := clitest.Mint(t, "production")
	key := conditioned("web", "Unused="+clitest.Hostile)
	key.Namespace, key.Spec.Environment, key.Spec.Label = clitest.Hostile, clitest.Hostile, "pasted "+text
	v := viewOf([]*v1alpha1.DGbotAPIKey{key}, clitest.Hostile, clitest.Now, errors.New(clitest.Hostile+text))
	shown, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), text) {
		t.Error("the view has a key")
	}
	for _, never := range []string{"\u202e", `\u202e`, "\u200b", `\u001b`, `\r`, `\n`, "</script"} {
		if strings.Contains(string(shown), never) {
			t.Errorf("the view has %q", never)
		}
	}
}

// TestPage_HasEnoughContrast in the schemes light and dark, on the page and on its cards.
func TestPage_HasEnoughContrast(t *testing.T) {
	clitest.CheckContrast(t, source, 2, map[string]bool{"page": true, "card": true}, map[string]bool{"line": true})
}
