// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// losesRecords removes the records of these revisions, as a user with the right to delete records can; all without any.
func (s *Simulation) losesRecords(revisions ...int64) {
	s.Records = slices.DeleteFunc(s.Records, func(r v1alpha1.DGbotAPIKeyRecord) bool {
		return len(revisions) == 0 || slices.Contains(revisions, r.Spec.Revision)
	})
}

func (s *Simulation) ask(annotation string) {
	metav1.SetMetaDataAnnotation(&s.Key.ObjectMeta, annotation, s.Now.Format(time.RFC3339))
}

// TestPlan_LostRecordsGrantNoScopeOfAnEarlierRevision: a scope that the key gave up before the rules forbade it stays on the records
// that ended with it. Deleting the newer records must not make these count.
func TestPlan_LostRecordsGrantNoScopeOfAnEarlierRevision(t *testing.T) {
	s := issuedWithoutEnvironment(t, func(k *v1alpha1.DGbotAPIKeySpec) { k.Scopes = []v1alpha1.Scope{"admin.all", "contacts.read"} })
	advance(t, s, time.Minute)
	s.ask(v1alpha1.RevokeIssuedBeforeAnnotation)
	settle(t, s)
	s.Key.Spec.Scopes = []v1alpha1.Scope{"contacts.read"}
	settle(t, s)
	s.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"contacts.*"}}
	s.Key.Spec.Scopes = []v1alpha1.Scope{"admin.all", "contacts.read"}
	settle(t, s)
	if got := s.rev(1).Spec; got.State != v1alpha1.StateRevoked || !slices.Contains(got.Scopes, "admin.all") {
		t.Fatalf("the revoked record has state %s and scopes %q", got.State, got.Scopes)
	}
	s.losesRecords(2)
	advance(t, s, time.Minute)
	if got := s.rev(3); got == nil || !slices.Equal(got.Spec.Scopes, []v1alpha1.Scope{"contacts.read"}) {
		t.Errorf("the replacement is %+v, want scopes contacts.read", got)
	}
}

// TestPlan_LostNewestRecordKeepsWhatVerifies: the loss of the newest record alone takes nothing from the key.
func TestPlan_LostNewestRecordKeepsWhatVerifies(t *testing.T) {
	s := issuedWithoutEnvironment(t, func(k *v1alpha1.DGbotAPIKeySpec) { k.Scopes = []v1alpha1.Scope{"admin.all"} })
	s.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"contacts.*"}}
	advance(t, s, time.Minute)
	s.ask(v1alpha1.RotateRequestedAtAnnotation)
	settle(t, s)
	s.losesRecords(2)
	advance(t, s, time.Minute)
	if got := s.rev(3); got == nil || !slices.Equal(got.Spec.Scopes, []v1alpha1.Scope{"admin.all"}) {
		t.Errorf("the replacement is %+v, want scopes admin.all", got)
	}
}

// TestPlan_LossesDoNotUndoTheAudit: what the audit did is on the newest record and in the status. Deleting the Secret and records in
// any order issues no key that the audit revoked.
func TestPlan_LossesDoNotUndoTheAudit(t *testing.T) {
	deleteSecret := func(a *audited) { a.Secret = revisions.Secret{State: revisions.SecretAbsent} }
	for name, losses := range map[string][]func(*audited){
		"records":                    {func(a *audited) { a.losesRecords() }},
		"Secret, then records":       {deleteSecret, func(a *audited) { a.losesRecords() }},
		"Secret, then newest record": {deleteSecret, func(a *audited) { a.losesRecords(2) }},
	} {
		for _, stage := range []v1alpha1.AuditStage{v1alpha1.AuditDisabled, v1alpha1.AuditRevoked} {
			t.Run(name+" "+string(stage), func(t *testing.T) {
				a := newAudited(t)
				a.after(time.Hour)
				a.ask(v1alpha1.RotateRequestedAtAnnotation)
				a.after(121 * day)
				if stage == v1alpha1.AuditRevoked {
					a.after(60 * day)
				}
				a.expect(stage)
				for _, loss := range losses {
					loss(a)
					if steps := a.after(time.Hour); issued(steps) != "" {
						t.Fatalf("issued %q", issued(steps))
					}
				}
				if a.Key.Status.Audit == nil || a.Key.Status.Audit.Stage != stage {
					t.Errorf("the audit says %+v", a.Key.Status.Audit)
				}
			})
		}
	}
}
