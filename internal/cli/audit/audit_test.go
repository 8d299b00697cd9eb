// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/display"
)

var revokedCondition = metav1.Condition{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse, Reason: v1alpha1.RevokedReason}

// risky are keys that differ from a healthy one in one way each, with what is found.
var risky = map[string]struct {
	change func(*v1alpha1.DGbotAPIKey)
	risk   risk
	why    string
}{
	"healthy": {func(*v1alpha1.DGbotAPIKey) {}, none, ""},
	"not used": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.LastUsedAt, k.Status.TrackedSince = clitest.At(-91*clitest.Day), clitest.At(-150*clitest.Day)
	}, high, "not used for 91d"},
	"almost unused": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.LastUsedAt, k.Status.TrackedSince = clitest.At(-89*clitest.Day), clitest.At(-150*clitest.Day)
	}, none, ""},
	"never used": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.LastUsedAt, k.Status.TrackedSince = nil, clitest.At(-100*clitest.Day)
	}, high, "never used, in at least 100d"},
	"kept": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.LastUsedAt, k.Status.TrackedSince = nil, clitest.At(-100*clitest.Day)
		k.Annotations = map[string]string{v1alpha1.KeptAtAnnotation: clitest.At(-time.Hour).Format(time.RFC3339)}
	}, none, ""},
	"not tracked": {func(k *v1alpha1.DGbotAPIKey) { k.Status.TrackedSince = nil }, medium, "no verifier reports its uses: whether it is used is not known"},
	"warned of": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Audit = &v1alpha1.AuditStatus{Stage: v1alpha1.AuditUnused, UnusedSince: clitest.At(-95 * clitest.Day), NextStageAt: clitest.At(25 * clitest.Day)}
	}, high, "unused for 95d, next stage in 25d"},
	"due at its next stage": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Audit = &v1alpha1.AuditStatus{Stage: v1alpha1.AuditUnused, UnusedSince: clitest.At(-121 * clitest.Day), NextStageAt: clitest.At(-time.Second)}
	}, high, "unused for 121d, next stage now"},
	"disabled by the audit": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Audit = &v1alpha1.AuditStatus{Stage: v1alpha1.AuditDisabled, UnusedSince: clitest.At(-125 * clitest.Day)}
	}, medium, "disabled by the audit, unused for 125d"},
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
	"old": {func(k *v1alpha1.DGbotAPIKey) { k.Status.Current.IssuedAt = *clitest.At(-366 * clitest.Day) }, high, "the same key for 366d"},
	"without a schedule": {func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation, k.Status.NextRotationAt, k.Status.Current.IssuedAt = nil, nil, *clitest.At(-100 * clitest.Day)
	}, medium, "the same key for 100d, and no rotation is planned"},
	"without an end":  {func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation, k.Status.NextRotationAt = nil, nil }, low, "neither a schedule nor an expiry"},
	"about to expire": {func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = clitest.At(29 * clitest.Day) }, medium, "expires in 29d, and clients that use it then fail"},
	"all scopes":      {func(k *v1alpha1.DGbotAPIKey) { k.Spec.Scopes = []v1alpha1.Scope{"a.*", "*"} }, medium, "may do everything: its scopes have *"},
	"a long overlap": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Previous = []v1alpha1.RevisionStatus{{Revision: 2, NotAfter: clitest.At(8 * clitest.Day)}, {Revision: 1, NotAfter: clitest.At(clitest.Day)}}
	}, low, "revision 2 is still valid until 2026-12-05"},
	"against the rules": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: v1alpha1.PolicyViolationCondition, Status: metav1.ConditionTrue, Message: "too long"})
	}, high, "breaks a rule of its environment: too long"},
	"without an environment": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: v1alpha1.EnvironmentMissingCondition, Status: metav1.ConditionTrue})
	}, high, "held to no rule: DGbotEnvironment \"production\" does not exist"},
	"stalled": {func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{
			Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.SecretConflictReason, LastTransitionTime: *clitest.At(-time.Hour),
		})
	}, medium, "stalled for 60m: SecretConflict"},
	"two at once": {func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Scopes, k.Status.Current.IssuedAt = []v1alpha1.Scope{"*"}, *clitest.At(-400 * clitest.Day)
	}, high, "the same key for 400d; may do everything: its scopes have *"},
}

func TestAuditOf_FindsRisks(t *testing.T) {
	for name, tc := range risky {
		k := clitest.Healthy(name)
		tc.change(k)
		all := auditOf([]v1alpha1.DGbotAPIKey{*k}, quarter, clitest.Now)
		if all[0].Risk != tc.risk || all[0].why() != tc.why {
			t.Errorf("%s: %s, %q; want %s, %q", name, all[0].Risk, all[0].why(), tc.risk, tc.why)
		}
	}
}

func riskyKeys() []v1alpha1.DGbotAPIKey {
	var keys []v1alpha1.DGbotAPIKey
	for name, tc := range risky {
		k := clitest.Healthy(strings.ReplaceAll(name, " ", "-"))
		k.Spec.Label = `<script>alert("` + name + `")</script>`
		tc.change(k)
		keys = append(keys, *k)
	}
	unissued := v1alpha1.DGbotAPIKey{}
	unissued.Name, unissued.Namespace, unissued.Spec.Environment = "unissued", "support", "staging"
	return append(keys, unissued)
}

func TestAuditOf_SortsByRisk(t *testing.T) {
	all := auditOf(riskyKeys(), quarter, clitest.Now)
	if all[0].Name != "two-at-once" || all[len(all)-1].Risk != none {
		t.Errorf("%s first, %s last", all[0].Name, all[len(all)-1].Name)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Risk > all[i-1].Risk {
			t.Errorf("%s comes after %s", all[i].Name, all[i-1].Name)
		}
	}
	var out bytes.Buffer
	if err := display.PrintTable(&out, "csv", auditColumns, all, clitest.Now); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != len(all)+1 || rows[1][len(rows[1])-1] != all[0].why() {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// TestAudit_ReportsWhatIsNotYetObserved in every form for people, in comma-separated values, on the page and for programs.
func TestAudit_ReportsWhatIsNotYetObserved(t *testing.T) {
	for observed, want := range map[int64]bool{-1: true, 1: true, 2: false, 3: false} {
		key := clitest.Healthy("web")
		key.Generation, key.Status.ObservedGeneration = 2, observed
		all := auditOf([]v1alpha1.DGbotAPIKey{*key}, quarter, clitest.Now)
		texts := map[string]*strings.Builder{"page": {}}
		if err := renderPage(texts["page"], all, "support", quarter, clitest.Now); err != nil {
			t.Fatal(err)
		}
		for _, output := range []string{"table", "wide", "csv"} {
			texts[output] = &strings.Builder{}
			if err := display.PrintTable(texts[output], output, auditColumns, all, clitest.Now); err != nil {
				t.Fatal(err)
			}
		}
		for name, text := range texts {
			if got := strings.Contains(text.String(), "Ready (generation 2 not yet observed)"); got != want {
				t.Errorf("%s, observed %d: %s", name, observed, text)
			}
		}
		if all[0].Observed == want {
			t.Errorf("observed %d: the report has %t", observed, all[0].Observed)
		}
	}
}
