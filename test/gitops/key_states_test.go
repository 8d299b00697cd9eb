// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// world is a key and what is around it.
type world struct {
	t *testing.T
	*lifecycle.Simulation
}

func newWorld(t *testing.T) *world {
	return &world{t: t, Simulation: &lifecycle.Simulation{Now: start, Observation: lifecycle.Observation{
		Key: &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "production-server", UID: "7d1e8f3a-0000-4000-8000-000000000001", Generation: 1},
			Spec:       v1alpha1.DGbotAPIKeySpec{Label: "Production server", Environment: "production", State: v1alpha1.StateActive},
		},
		Secret: revisions.Secret{State: revisions.SecretAbsent},
	}}}
}

// rest lets the operator do what is to be done.
func (w *world) rest() {
	w.t.Helper()
	if _, err := w.Settle(); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time go by, with verifiers reporting every hour where they do at all.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	for end := w.Now.Add(d); w.Now.Before(end); {
		w.Now = w.Now.Add(min(time.Hour, end.Sub(w.Now)))
		if w.Tracking != nil {
			w.Tracking.Renewed = w.Now
		}
		w.rest()
	}
}

func (w *world) rotate() {
	w.Now = w.Now.Add(time.Minute)
	w.Key.Spec.Rotation.RequestedAt = at(w.Now)
	w.rest()
}

// audited has an audit and a verifier that reports.
func (w *world) audited() {
	w.Tracking = &tracking.Tracking{Since: start, Renewed: start, Lag: time.Minute}
	w.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{
		Audit: &v1alpha1.EnvironmentAudit{UnusedAfter: lasts(90 * day), DisableAfter: lasts(120 * day), RevokeAfter: lasts(180 * day)},
	}
}

// lingering has an earlier revision that verifies beyond its overlap.
func (w *world) lingering() {
	w.Tracking = &tracking.Tracking{Since: start, Renewed: start, Lag: time.Minute}
	w.Key.Spec.Rotation = &v1alpha1.Rotation{
		Overlap: lasts(time.Hour), Retire: v1alpha1.RetireWhenUnused, QuietPeriod: lasts(time.Hour), MaxOverlap: lasts(30 * day),
	}
	w.rest()
	w.rotate()
}

// keyState is how a key comes to a state: before it is issued, afterwards, and at last where the operator only looks.
type keyState struct {
	name          string
	before, after func(*world)
	kstatus       status.Status
}

var keyScenarios = []keyState{
	{name: "issued", kstatus: status.CurrentStatus},
	{name: "waiting-for-overlap", kstatus: status.InProgressStatus, before: overlapping, after: func(w *world) {
		for range 11 {
			w.rotate()
		}
	}},
	{name: "waiting-for-chatbot", kstatus: status.InProgressStatus, before: withoutChatbot},
	{name: "chatbot-gone", kstatus: status.InProgressStatus, after: withoutChatbot},
	{name: "waiting-for-garbage-collection", kstatus: status.InProgressStatus, before: secretIs(revisions.SecretCollectable)},
	{name: "secret-loss-damped", kstatus: status.InProgressStatus, after: func(w *world) {
		for range 21 {
			w.Now = w.Now.Add(time.Second)
			w.Secret = revisions.Secret{State: revisions.SecretAbsent}
			w.rest()
		}
	}},
	{name: "secret-conflict", kstatus: status.FailedStatus, before: secretIs(revisions.SecretForeign)},
	{name: "secret-write-refused", kstatus: status.FailedStatus, before: refused(v1alpha1.SecretWriteRefusedReason)},
	{name: "record-write-refused", kstatus: status.FailedStatus, before: refused(v1alpha1.RecordWriteRefusedReason)},
	{name: "record-conflict", kstatus: status.FailedStatus, before: refused(v1alpha1.RecordConflictReason)},
	{name: "environment-policy", kstatus: status.FailedStatus, before: scopesForbidden},
	{name: "policy-violation", kstatus: status.CurrentStatus, after: scopesForbidden},
	{name: "waiting-for-environment", kstatus: status.InProgressStatus, before: func(w *world) {
		w.Environment.Required, w.Key.CreationTimestamp = true, *at(start)
	}},
	{name: "environment-unknown", kstatus: status.FailedStatus, before: func(w *world) {
		w.Environment.Required, w.Environment.Known = true, []string{"development", "staging"}
	}},
	{name: "environment-missing", kstatus: status.CurrentStatus, after: func(w *world) { w.Environment.Required = true }},
	{name: "disabled", kstatus: status.FailedStatus, after: spec(v1alpha1.StateDisabled)},
	{name: "revoked", kstatus: status.FailedStatus, after: spec(v1alpha1.StateRevoked)},
	{name: "revocation-refused", kstatus: status.FailedStatus, after: func(w *world) {
		spec(v1alpha1.StateRevoked)(w)
		refused(v1alpha1.RecordWriteRefusedReason)(w)
	}},
	{name: "expired", kstatus: status.FailedStatus, after: func(w *world) {
		w.Key.Spec.ExpiresAt = at(start.Add(time.Hour))
		w.pass(2 * time.Hour)
	}},
	{name: "unused", kstatus: status.CurrentStatus, before: (*world).audited, after: func(w *world) { w.pass(91 * day) }},
	{name: "disabled-by-audit", kstatus: status.FailedStatus, before: (*world).audited, after: func(w *world) { w.pass(121 * day) }},
	{name: "revoked-by-audit", kstatus: status.FailedStatus, before: (*world).audited, after: func(w *world) { w.pass(181 * day) }},
	{name: "revoked-and-by-audit", kstatus: status.FailedStatus, before: (*world).audited, after: func(w *world) {
		w.pass(181 * day)
		spec(v1alpha1.StateRevoked)(w)
	}},
	{name: "disabled-and-revoked-by-audit", kstatus: status.FailedStatus, before: (*world).audited, after: func(w *world) {
		w.pass(181 * day)
		spec(v1alpha1.StateDisabled)(w)
	}},
	{name: "annotation-unreadable", kstatus: status.CurrentStatus, after: func(w *world) {
		w.Key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: "tomorrow"}
	}},
	{name: "observation-failed", kstatus: status.FailedStatus, after: func(w *world) {
		w.Secret = revisions.Secret{State: revisions.SecretUnknown}
		w.Failed = report.FailedReads{{Of: report.ReadSecret, What: `Secret "production-server"`, Message: "KMS is down", Remedy: "correct what the API server names"}}
	}},
	{name: "revocation-pending", kstatus: status.CurrentStatus, after: pending(v1alpha1.RevokeIssuedBeforeAnnotation)},
	{name: "rotation-pending", kstatus: status.CurrentStatus, after: pending(v1alpha1.RotateRequestedAtAnnotation)},
	{name: "keep-pending", kstatus: status.CurrentStatus, after: pending(v1alpha1.KeptAtAnnotation)},
	{name: "previous-revision-in-use", kstatus: status.CurrentStatus, before: (*world).lingering, after: func(w *world) {
		w.pass(2 * time.Hour)
		w.Records[0].Status.LastUsedAt = at(w.Now)
	}},
	{name: "previous-revision-unknown", kstatus: status.CurrentStatus, before: (*world).lingering, after: func(w *world) {
		w.Tracking = nil
		w.Now = w.Now.Add(2 * time.Hour)
	}},
	{name: "older-generation", kstatus: status.InProgressStatus, after: func(w *world) {
		w.rest()
		w.Key.Generation++
	}},
}

// pending has an annotation make a request for a time to come.
func pending(annotation string) func(*world) {
	return func(w *world) {
		w.Key.Annotations = map[string]string{annotation: start.Add(9 * time.Hour).Format(time.RFC3339)}
	}
}

func overlapping(w *world) { w.Key.Spec.Rotation = &v1alpha1.Rotation{Overlap: lasts(day)} }

func withoutChatbot(w *world) {
	w.Key.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "support-bot"}
	w.Chatbot.Missing = true
}

func secretIs(s revisions.SecretState) func(*world) {
	return func(w *world) { w.Secret = revisions.Secret{State: s} }
}

func refused(reason string) func(*world) {
	return func(w *world) { w.Rejection = &report.Rejection{Reason: reason, Message: "the API server says no"} }
}

func spec(s v1alpha1.KeyState) func(*world) {
	return func(w *world) { w.Key.Spec.State = s }
}

func scopesForbidden(w *world) {
	w.Key.Spec.Scopes = []v1alpha1.Scope{"contacts.read"}
	w.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"conversations.*"}}
}

func keyStates(t *testing.T) []state {
	t.Helper()
	all := make([]state, 0, len(keyScenarios)+3)
	add := func(name string, key *v1alpha1.DGbotAPIKey, kstatus status.Status) {
		all = append(all, state{name: name, kind: v1alpha1.APIKeyKind, object: key, conditions: key.Status.Conditions, kstatus: kstatus})
	}
	for _, scenario := range keyScenarios {
		w := newWorld(t)
		if scenario.before != nil {
			scenario.before(w)
		}
		w.rest()
		if scenario.after != nil {
			scenario.after(w)
		}
		if w.Key.Generation == 1 {
			w.rest()
		}
		add(scenario.name, w.Key, scenario.kstatus)
	}
	unseen := newWorld(t).Key
	unseen.Status.ObservedGeneration = -1
	add("unseen", unseen, status.InProgressStatus)

	progressing := newWorld(t)
	progressing.Key.Status = *lifecycle.Plan(progressing.Observation, progressing.Now).Status
	add("progressing", progressing.Key, status.InProgressStatus)

	deleted := newWorld(t)
	deleted.rest()
	deleted.Key.DeletionTimestamp, deleted.Key.Finalizers = at(start), []string{"example.com/somebody-elses"}
	add("being-deleted", deleted.Key, status.TerminatingStatus)
	return all
}
