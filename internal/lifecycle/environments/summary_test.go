// SPDX-License-Identifier: Apache-2.0

package environments

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

const day = 24 * time.Hour

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func at(t time.Time) *metav1.Time { return &metav1.Time{Time: t} }

// TestStatus_CountsEachKeyWhereItBelongs counts each key where it belongs.
func TestStatus_CountsEachKeyWhereItBelongs(t *testing.T) {
	key := func(name string, change func(*v1alpha1.DGbotAPIKey)) v1alpha1.DGbotAPIKey {
		k := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "support"}}
		k.Status.Current = &v1alpha1.RevisionStatus{Revision: 1}
		change(k)
		return *k
	}
	stage := func(s v1alpha1.AuditStage, next time.Duration) func(*v1alpha1.DGbotAPIKey) {
		return func(k *v1alpha1.DGbotAPIKey) {
			k.Status.LastUsedAt, k.Status.Current.Revision = at(start), 2
			k.Status.Audit = &v1alpha1.AuditStatus{Stage: s}
			if next != 0 {
				k.Status.Audit.NextStageAt = at(start.Add(next))
			}
		}
	}
	expires := func(in time.Duration) func(*v1alpha1.DGbotAPIKey) {
		return func(k *v1alpha1.DGbotAPIKey) {
			stage("", 0)(k)
			k.Spec.ExpiresAt = at(start.Add(in))
		}
	}
	keys := []v1alpha1.DGbotAPIKey{
		key("not issued", func(k *v1alpha1.DGbotAPIKey) { k.Status.Current = nil }),
		key("never used or rotated", func(*v1alpha1.DGbotAPIKey) {}),
		key("in use", stage("", 0)),
		key("warned of", stage(v1alpha1.AuditUnused, 9*day)),
		key("warned of before", stage(v1alpha1.AuditUnused, 5*day)),
		key("disabled", stage(v1alpha1.AuditDisabled, 7*day)),
		key("revoked", stage(v1alpha1.AuditRevoked, 0)),
		key("expires soon", expires(30*day)),
		key("expires later", expires(40*day)),
		key("expired", expires(-day)),
		key("exempt", stage("", 0)),
	}
	env := &v1alpha1.DGbotEnvironment{}
	env.Spec.Audit = &v1alpha1.EnvironmentAudit{UnusedAfter: &metav1.Duration{Duration: 90 * day}, Exemptions: []v1alpha1.AuditExemption{
		{Name: "exempt", Namespace: "support", Until: at(start.Add(20 * day))}, {Name: "in use", Namespace: "support", Until: at(start)},
		{Name: "gone", Namespace: "support", Until: at(start.Add(day))}}}
	look := func(now time.Time) (*v1alpha1.AuditSummary, time.Time) {
		t.Helper()
		s, wake := Status(Observation{Environment: env, Keys: keys}, now)
		return s.Audit, wake
	}
	got, wake := look(start)
	want := &v1alpha1.AuditSummary{Unused: 4, Disabled: 1, Revoked: 1, NeverUsed: 1, NeverRotated: 1, Expiring: 1, Exempt: 1, NextStageAt: at(start.Add(5 * day))}
	if !equality.Semantic.DeepEqual(got, want) || !wake.Equal(start.Add(10*day)) {
		t.Errorf("%+v, wake at %s, want %+v", got, wake, want)
	}
	// Time changes nothing before it wakes, and something then.
	for range 4 {
		before, _ := look(wake.Add(-time.Second))
		after, next := look(wake)
		if !equality.Semantic.DeepEqual(before, got) || equality.Semantic.DeepEqual(after, got) {
			t.Errorf("until %s: %+v, then %+v, before %+v", wake, before, after, got)
		}
		got, wake = after, next
	}
	if !wake.IsZero() || got.Exempt != 0 || got.Expiring != 0 {
		t.Errorf("in the end: %+v, wake at %s", got, wake)
	}
	env.Spec.Audit = nil
	if s, wake := look(start); s != nil || !wake.IsZero() {
		t.Errorf("without an audit: %+v, wake at %s", s, wake)
	}
}
