// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// simulatedKey is a key, and what surrounds it, in a simulation of the operator.
type simulatedKey struct {
	t *testing.T
	*lifecycle.Simulation
}

func newSimulatedKey(t *testing.T) *simulatedKey {
	return &simulatedKey{t: t, Simulation: &lifecycle.Simulation{Now: start, Observation: lifecycle.Observation{
		Key: &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "production-server", UID: "7d1e8f3a-0000-4000-8000-000000000001", Generation: 1},
			Spec:       v1alpha1.DGbotAPIKeySpec{Label: "Production server", Environment: "production", State: v1alpha1.StateActive},
		},
		Secret: revisions.Secret{State: revisions.SecretAbsent},
	}}}
}

// rest lets the operator do what is to be done.
func (k *simulatedKey) rest() {
	k.t.Helper()
	if _, err := k.Settle(); err != nil {
		k.t.Fatal(err)
	}
}

// pass lets time go by, with verifiers reporting every hour where they do at all.
func (k *simulatedKey) pass(d time.Duration) {
	k.t.Helper()
	for end := k.Now.Add(d); k.Now.Before(end); {
		k.Now = k.Now.Add(min(time.Hour, end.Sub(k.Now)))
		if k.Tracking != nil {
			k.Tracking.Renewed = k.Now
		}
		k.rest()
	}
}

func (k *simulatedKey) rotate() {
	k.Now = k.Now.Add(time.Minute)
	k.Key.Spec.Rotation.RequestedAt = at(k.Now)
	k.rest()
}

// audited has an audit and a verifier that reports.
func (k *simulatedKey) audited() {
	k.Tracking = &tracking.Tracking{Since: start, Renewed: start, Lag: time.Minute}
	k.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{
		Audit: &v1alpha1.EnvironmentAudit{UnusedAfter: lasts(90 * day), DisableAfter: lasts(120 * day), RevokeAfter: lasts(180 * day)},
	}
}

// keepPrevious gives the key a previous revision that is valid beyond its overlap.
func (k *simulatedKey) keepPrevious() {
	k.Tracking = &tracking.Tracking{Since: start, Renewed: start, Lag: time.Minute}
	k.Key.Spec.Rotation = &v1alpha1.Rotation{
		Overlap: lasts(time.Hour), Retire: v1alpha1.RetireWhenUnused, QuietPeriod: lasts(time.Hour), MaxOverlap: lasts(30 * day),
	}
	k.rest()
	k.rotate()
}

// keyState is how a key comes to a state: before it is issued, afterwards, and at last where the operator only looks.
type keyState struct {
	name          string
	before, after func(*simulatedKey)
	kstatus       status.Status
}

var keyScenarios = []keyState{
	{name: "issued", kstatus: status.CurrentStatus},
	{name: "waiting-for-overlap", kstatus: status.InProgressStatus, before: overlapping, after: func(k *simulatedKey) {
		for range 11 {
			k.rotate()
		}
	}},
	{name: "waiting-for-chatbot", kstatus: status.InProgressStatus, before: withoutChatbot},
	{name: "chatbot-gone", kstatus: status.InProgressStatus, after: withoutChatbot},
	{name: "waiting-for-garbage-collection", kstatus: status.InProgressStatus, before: secretIs(revisions.SecretCollectable)},
	{name: "secret-loss-damped", kstatus: status.InProgressStatus, after: func(k *simulatedKey) {
		for range 21 {
			k.Now = k.Now.Add(time.Second)
			k.Secret = revisions.Secret{State: revisions.SecretAbsent}
			k.rest()
		}
	}},
	{name: "secret-conflict", kstatus: status.FailedStatus, before: secretIs(revisions.SecretForeign)},
	{name: "secret-write-refused", kstatus: status.FailedStatus, before: refused(v1alpha1.SecretWriteRefusedReason)},
	{name: "record-write-refused", kstatus: status.FailedStatus, before: refused(v1alpha1.RecordWriteRefusedReason)},
	{name: "record-conflict", kstatus: status.FailedStatus, before: refused(v1alpha1.RecordConflictReason)},
	{name: "environment-policy", kstatus: status.FailedStatus, before: scopesForbidden},
	{name: "policy-violation", kstatus: status.CurrentStatus, after: scopesForbidden},
	{name: "waiting-for-environment", kstatus: status.InProgressStatus, before: func(k *simulatedKey) {
		k.Environment.Required, k.Key.CreationTimestamp = true, *at(start)
	}},
	{name: "environment-unknown", kstatus: status.FailedStatus, before: func(k *simulatedKey) {
		k.Environment.Required, k.Environment.Known = true, []string{"development", "staging"}
	}},
	{name: "environment-missing", kstatus: status.CurrentStatus, after: func(k *simulatedKey) { k.Environment.Required = true }},
	{name: "disabled", kstatus: status.FailedStatus, after: spec(v1alpha1.StateDisabled)},
	{name: "revoked", kstatus: status.FailedStatus, after: spec(v1alpha1.StateRevoked)},
	{name: "revocation-refused", kstatus: status.FailedStatus, after: func(k *simulatedKey) {
		spec(v1alpha1.StateRevoked)(k)
		refused(v1alpha1.RecordWriteRefusedReason)(k)
	}},
	{name: "expired", kstatus: status.FailedStatus, after: func(k *simulatedKey) {
		k.Key.Spec.ExpiresAt = at(start.Add(time.Hour))
		k.pass(2 * time.Hour)
	}},
	{name: "unused", kstatus: status.CurrentStatus, before: (*simulatedKey).audited, after: func(k *simulatedKey) { k.pass(91 * day) }},
	{name: "disabled-by-audit", kstatus: status.FailedStatus, before: (*simulatedKey).audited, after: func(k *simulatedKey) { k.pass(121 * day) }},
	{name: "revoked-by-audit", kstatus: status.FailedStatus, before: (*simulatedKey).audited, after: func(k *simulatedKey) { k.pass(181 * day) }},
	{name: "revoked-and-by-audit", kstatus: status.FailedStatus, before: (*simulatedKey).audited, after: func(k *simulatedKey) {
		k.pass(181 * day)
		spec(v1alpha1.StateRevoked)(k)
	}},
	{name: "disabled-and-revoked-by-audit", kstatus: status.FailedStatus, before: (*simulatedKey).audited, after: func(k *simulatedKey) {
		k.pass(181 * day)
		spec(v1alpha1.StateDisabled)(k)
	}},
	{name: "annotation-unreadable", kstatus: status.CurrentStatus, after: func(k *simulatedKey) {
		k.Key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: "tomorrow"}
	}},
	{name: "observation-failed", kstatus: status.FailedStatus, after: func(k *simulatedKey) {
		k.Secret = revisions.Secret{State: revisions.SecretUnknown}
		k.Failed = report.FailedReads{{Of: report.ReadSecret, What: `Secret "production-server"`, Message: "KMS is down", Remedy: "correct what the API server names"}}
	}},
	{name: "revocation-pending", kstatus: status.CurrentStatus, after: pending(v1alpha1.RevokeIssuedBeforeAnnotation)},
	{name: "rotation-pending", kstatus: status.CurrentStatus, after: pending(v1alpha1.RotateRequestedAtAnnotation)},
	{name: "keep-pending", kstatus: status.CurrentStatus, after: pending(v1alpha1.KeptAtAnnotation)},
	{name: "previous-revision-in-use", kstatus: status.CurrentStatus, before: (*simulatedKey).keepPrevious, after: func(k *simulatedKey) {
		k.pass(2 * time.Hour)
		k.Records[0].Status.LastUsedAt = at(k.Now)
	}},
	{name: "previous-revision-unknown", kstatus: status.CurrentStatus, before: (*simulatedKey).keepPrevious, after: func(k *simulatedKey) {
		k.Tracking = nil
		k.Now = k.Now.Add(2 * time.Hour)
	}},
	{name: "verifiers-behind", kstatus: status.CurrentStatus, before: withoutOverlap, after: withdrawn(propagation.Verifier{})},
	{name: "verifier-serves-stale", kstatus: status.CurrentStatus, before: withoutOverlap, after: withdrawn(propagation.Verifier{IsSilent: true, Serves: true})},
	{name: "older-generation", kstatus: status.InProgressStatus, after: func(k *simulatedKey) {
		k.rest()
		k.Key.Generation++
	}},
}

// pending has an annotation make a request for a time to come.
func pending(annotation string) func(*simulatedKey) {
	return func(k *simulatedKey) {
		k.Key.Annotations = map[string]string{annotation: start.Add(9 * time.Hour).Format(time.RFC3339)}
	}
}

func overlapping(k *simulatedKey) { k.Key.Spec.Rotation = &v1alpha1.Rotation{Overlap: lasts(day)} }

func withoutOverlap(k *simulatedKey) { k.Key.Spec.Rotation = &v1alpha1.Rotation{Overlap: lasts(0)} }

// withdrawn ends the previous revision while a verifier has not followed.
func withdrawn(pending propagation.Verifier) func(*simulatedKey) {
	return func(k *simulatedKey) {
		pending.Name = v1alpha1.VerifierLeasePrefix + "7d4f-x2x9p-3kd9f0aq"
		k.Verifiers = propagation.View{Verifiers: []propagation.Verifier{pending}}
		k.rotate()
	}
}

func withoutChatbot(k *simulatedKey) {
	k.Key.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "support-bot"}
	k.Chatbot.Missing = true
}

func secretIs(s revisions.SecretState) func(*simulatedKey) {
	return func(k *simulatedKey) { k.Secret = revisions.Secret{State: s} }
}

func refused(reason string) func(*simulatedKey) {
	return func(k *simulatedKey) {
		k.Rejection = &report.Rejection{Reason: reason, Message: "the API server says no"}
	}
}

func spec(s v1alpha1.KeyState) func(*simulatedKey) {
	return func(k *simulatedKey) { k.Key.Spec.State = s }
}

func scopesForbidden(k *simulatedKey) {
	k.Key.Spec.Scopes = []v1alpha1.Scope{"contacts.read"}
	k.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"conversations.*"}}
}

func keyStates(t *testing.T) []state {
	t.Helper()
	all := make([]state, 0, len(keyScenarios)+3)
	add := func(name string, key *v1alpha1.DGbotAPIKey, kstatus status.Status) {
		all = append(all, state{name: name, kind: v1alpha1.APIKeyKind, object: key, conditions: key.Status.Conditions, kstatus: kstatus})
	}
	for _, scenario := range keyScenarios {
		k := newSimulatedKey(t)
		if scenario.before != nil {
			scenario.before(k)
		}
		k.rest()
		if scenario.after != nil {
			scenario.after(k)
		}
		if k.Key.Generation == 1 {
			k.rest()
		}
		add(scenario.name, k.Key, scenario.kstatus)
	}
	unseen := newSimulatedKey(t).Key
	unseen.Status.ObservedGeneration = -1
	add("unseen", unseen, status.InProgressStatus)

	progressing := newSimulatedKey(t)
	progressing.Key.Status = *lifecycle.Plan(progressing.Observation, progressing.Now).Status
	add("progressing", progressing.Key, status.InProgressStatus)

	deleted := newSimulatedKey(t)
	deleted.rest()
	deleted.Key.DeletionTimestamp, deleted.Key.Finalizers = at(start), []string{"example.com/other-controller"}
	add("being-deleted", deleted.Key, status.TerminatingStatus)
	return all
}
