// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

const day = 24 * time.Hour

// healthy is a key of which nothing is to be said.
func healthy(name string) *v1alpha1.DGbotAPIKey {
	k := &v1alpha1.DGbotAPIKey{}
	k.Name, k.Namespace, k.CreationTimestamp = name, "support", *at(-200 * day)
	k.Spec = v1alpha1.DGbotAPIKeySpec{
		Label: name, Environment: "production", State: v1alpha1.StateActive, Rotation: &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 90 * day}},
	}
	k.Status = v1alpha1.DGbotAPIKeyStatus{
		Current: &v1alpha1.RevisionStatus{Revision: 3, KeyID: "7Hq2xV0aBcD9", IssuedAt: *at(-40 * day)}, LastUsedAt: at(-time.Hour), TrackedSince: at(-40 * day),
		NextRotationAt: at(50 * day), Conditions: []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.IssuedReason}},
	}
	return k
}

var revokedCondition = metav1.Condition{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse, Reason: v1alpha1.RevokedReason}

// risky are keys that differ from a healthy one in one way each, with what is found.
var risky = map[string]struct {
	change func(*v1alpha1.DGbotAPIKey)
	risk   risk
	why    string
}{
	"healthy":  {func(*v1alpha1.DGbotAPIKey) {}, none, ""},
	"not used": {func(k *v1alpha1.DGbotAPIKey) { k.Status.LastUsedAt, k.Status.TrackedSince = at(-91*day), at(-150*day) }, high, "not used for 91d"},
	"almost unused": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.LastUsedAt, k.Status.TrackedSince = at(-89*day), at(-150*day)
	}, none, ""},
	"never used": {func(k *v1alpha1.DGbotAPIKey) { k.Status.LastUsedAt, k.Status.TrackedSince = nil, at(-100*day) }, high, "never used, in at least 100d"},
	"kept": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.LastUsedAt, k.Status.TrackedSince = nil, at(-100*day)
		k.Annotations = map[string]string{v1alpha1.KeptAtAnnotation: at(-time.Hour).Format(time.RFC3339)}
	}, none, ""},
	"not tracked": {func(k *v1alpha1.DGbotAPIKey) { k.Status.TrackedSince = nil }, medium, "no verifier reports its uses: whether it is used is not known"},
	"warned of": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Audit = &v1alpha1.AuditStatus{Stage: v1alpha1.AuditUnused, UnusedSince: at(-95 * day), NextStageAt: at(25 * day)}
	}, high, "unused since 95d ago, next stage in 25d"},
	"disabled by the audit": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Audit = &v1alpha1.AuditStatus{Stage: v1alpha1.AuditDisabled, UnusedSince: at(-125 * day)}
	}, medium, "disabled by the audit, unused since 125d ago"},
	"revoked by the audit": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Audit, k.Status.Conditions[0] = &v1alpha1.AuditStatus{Stage: v1alpha1.AuditRevoked}, revokedCondition
	}, none, ""},
	"revoked": {func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.State, k.Spec.Scopes, k.Status.Conditions[0] = v1alpha1.StateRevoked, []v1alpha1.Scope{"*"}, revokedCondition
	}, none, ""},
	"disabled": {func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.State = v1alpha1.StateDisabled
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.DisabledReason})
	}, low, "disabled: revoke it if no client needs it"},
	"old": {func(k *v1alpha1.DGbotAPIKey) { k.Status.Current.IssuedAt = *at(-366 * day) }, high, "the same key for 366d"},
	"without a schedule": {func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation, k.Status.NextRotationAt, k.Status.Current.IssuedAt = nil, nil, *at(-100 * day)
	}, medium, "the same key for 100d, and no rotation is planned"},
	"without an end":  {func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation, k.Status.NextRotationAt = nil, nil }, low, "neither rotated on schedule nor with an end"},
	"about to expire": {func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = at(29 * day) }, medium, "expires in 29d, and clients that use it then fail"},
	"all scopes":      {func(k *v1alpha1.DGbotAPIKey) { k.Spec.Scopes = []v1alpha1.Scope{"a.*", "*"} }, medium, "may do everything: its scopes have *"},
	"a long overlap": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Previous = []v1alpha1.RevisionStatus{{Revision: 2, NotAfter: at(8 * day)}, {Revision: 1, NotAfter: at(day)}}
	}, low, "revision 2 verifies on until 2026-12-05"},
	"against the rules": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: v1alpha1.PolicyViolationCondition, Status: metav1.ConditionTrue, Message: "too long"})
	}, high, "breaks a rule of its environment: too long"},
	"without an environment": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: v1alpha1.EnvironmentMissingCondition, Status: metav1.ConditionTrue})
	}, high, "held to no rule: DGbotEnvironment \"production\" does not exist"},
	"stalled": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{
			Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.SecretConflictReason, LastTransitionTime: *at(-time.Hour),
		})
	}, medium, "stalled for 60m: SecretConflict"},
	"two at once": {func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Scopes, k.Status.Current.IssuedAt = []v1alpha1.Scope{"*"}, *at(-400 * day)
	}, high, "the same key for 400d; may do everything: its scopes have *"},
}

func TestAuditOf_FindsRisks(t *testing.T) {
	for name, tc := range risky {
		k := healthy(name)
		tc.change(k)
		all := auditOf([]v1alpha1.DGbotAPIKey{*k}, quarter, now)
		if all[0].Risk != tc.risk || all[0].why() != tc.why {
			t.Errorf("%s: %s, %q; want %s, %q", name, all[0].Risk, all[0].why(), tc.risk, tc.why)
		}
	}
}

func riskyKeys() []v1alpha1.DGbotAPIKey {
	var keys []v1alpha1.DGbotAPIKey
	for name, tc := range risky {
		k := healthy(strings.ReplaceAll(name, " ", "-"))
		k.Spec.Label = `<script>alert("` + name + `")</script>`
		tc.change(k)
		keys = append(keys, *k)
	}
	unissued := v1alpha1.DGbotAPIKey{}
	unissued.Name, unissued.Namespace, unissued.Spec.Environment = "unissued", "support", "staging"
	return append(keys, unissued)
}

func TestAuditOf_SortsByRisk(t *testing.T) {
	all := auditOf(riskyKeys(), quarter, now)
	if all[0].Name != "two-at-once" || all[len(all)-1].Risk != none {
		t.Errorf("%s first, %s last", all[0].Name, all[len(all)-1].Name)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Risk > all[i-1].Risk {
			t.Errorf("%s comes after %s", all[i].Name, all[i-1].Name)
		}
	}
	var out bytes.Buffer
	if err := printTable(&out, "csv", auditColumns, all, now); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != len(all)+1 || rows[1][len(rows[1])-1] != all[0].why() {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// TestRenderPage_HasEveryKeyOnce in the table and once in a picture, and nothing that runs or comes from elsewhere.
func TestRenderPage_HasEveryKeyOnce(t *testing.T) {
	keys := riskyKeys()
	for i := range 2 * mostBars {
		k := healthy(fmt.Sprintf("more-%d", i))
		k.Spec.Environment = "development"
		keys = append(keys, *k)
	}
	all := auditOf(keys, quarter, now)
	var out bytes.Buffer
	if err := renderPage(&out, all, "support", quarter, now); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for _, never := range []string{"<script", "http:", "https:", "ZgotmplZ", "NaN", "%!"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	if rows := strings.Count(page, `<tr><td class="risk`); rows != len(keys) {
		t.Errorf("%d rows for %d keys", rows, len(keys))
	}
	if bars := strings.Count(page, `<rect class="bar"`); bars != len(risky)-2+mostBars { // two are revoked
		t.Errorf("%d bars", bars)
	}
	for _, want := range []string{fmt.Sprintf("%d more with a lower risk", mostBars), "None of its keys is in use", "never used, in at least 100d", "<h2>staging</h2>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, p := range []environmentPicture{draw("production", all, quarter, now), draw("staging", all, quarter, now)} {
		for _, b := range p.Bars {
			if b.X < 0 || b.X+b.Length > nowAt+0.3 || b.Used < 0 || b.Used > nowAt {
				t.Errorf("%s lies outside of the picture: %+v", b.Name, b)
			}
		}
		if len(p.Bars) > 0 && (len(p.Ticks) < 3 || p.Bound == nil) {
			t.Errorf("%d ticks, bound %v", len(p.Ticks), p.Bound)
		}
	}
}
