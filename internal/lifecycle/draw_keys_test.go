// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"math/rand"
	"strings"
	"time"
	_ "time/tzdata" // windows are in time zones, also where the machine has none

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// epoch is where the observations begin. It is a Monday.
var epoch = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// generateKeys asks about keys: each is observed as it was drawn, and then several times while plans are carried out and time goes on,
// so that observations are as arbitrary as what a crash or another writer leaves, and as orderly as what the operator itself makes.
func generateKeys(rng *rand.Rand, out *transcript) {
	d := draw{Rand: rng}
	views := draw{Rand: rand.New(rand.NewSource(1))}
	for !out.full() {
		d.lately = d.oneIn(4)
		sim := d.simulation()
		for range 1 + d.Intn(8) {
			sim.Verifiers = views.verifiers(sim.Now)
			out.key(sim)
			d.goOn(sim)
			if out.full() {
				return
			}
		}
	}
}

// key asks everything that the policy answers about one observation.
func (t *transcript) key(sim *lifecycle.Simulation) {
	t.observation()
	if sim.Key.Spec.ChatbotRef == nil {
		sim.Chatbot = effective.Chatbot{} // no reader finds a chatbot that the key does not name
	}
	decision := lifecycle.Plan(sim.Observation, sim.Now)
	t.keyDecision(decision)
	if decision.Status != nil {
		t.events(lifecycle.Events(sim.Observation, decision.Status, sim.Now))
	}
	t.fact("withdrawal", lifecycle.WithdrawalOf(sim.Key, sim.Records, sim.Now))
	for i := range sim.Records {
		t.fact("verdict", standing.Admit(&sim.Records[i], sim.Now))
	}
}

// goOn carries out some of the plan, or moves the clock, or changes something.
func (d draw) goOn(sim *lifecycle.Simulation) {
	decision := lifecycle.Plan(sim.Observation, sim.Now)
	for _, step := range decision.Steps {
		issue, issues := step.(steps.IssueRevision)
		switch {
		case d.oneIn(10):
			return // a crash between two writes
		case issues && d.oneIn(6):
			sim.Records = append(sim.Records, sim.CreateRecord(issue))
			return
		}
		sim.Apply(step)
		if issues {
			return
		}
	}
	if len(decision.Steps) > 0 {
		return
	}
	if decision.Status != nil {
		sim.Key.Status = *decision.Status
	}
	sim.Now = d.later(sim.Now, instantsOf(sim)...)
	if d.oneIn(2) {
		d.change(sim)
	}
}

// verifiers draws what is known of registered verifiers.
func (d draw) verifiers(now time.Time) propagation.View {
	view := propagation.View{Unreadable: d.oneIn(6), CompleteFrom: pick(d, time.Time{}, now.Add(time.Second)), Incomplete: d.oneIn(6)}
	for i := range d.Intn(12) {
		v := propagation.Verifier{
			Name: fmt.Sprintf("dgbot-verifier-%d", i), Presence: pick(d, propagation.Present, propagation.Present, propagation.Stopped, propagation.Gone),
			PresenceFrom: now, Serves: d.oneIn(4), IsSilent: d.oneIn(2),
		}
		if !v.Serves {
			v.BoundAt = now.Add(time.Minute)
		}
		if d.oneIn(2) {
			v.Reports = []propagation.Report{{Version: "999999", Renewed: now.Add(time.Hour), SeenAt: now}}
		}
		view.Verifiers = append(view.Verifiers, v)
	}
	return view
}

// instantsOf returns instants that mean something to the observation, whether or not the policy asks for them.
func instantsOf(sim *lifecycle.Simulation) []*metav1.Time {
	instants := []*metav1.Time{sim.Key.Spec.ExpiresAt, sim.Key.Status.NextRotationAt}
	if r := sim.Key.Spec.Rotation; r != nil {
		instants = append(instants, r.RequestedAt, r.RevokeIssuedBefore)
	}
	if sim.Key.Status.Audit != nil {
		instants = append(instants, sim.Key.Status.Audit.NextStageAt)
	}
	for i := range sim.Records {
		instants = append(instants, sim.Records[i].Spec.NotAfter)
	}
	return instants
}

// later returns a time after now: often within a second of one of the instants, since that is where a policy is wrong by one.
func (d draw) later(now time.Time, instants ...*metav1.Time) time.Time {
	if at := pick(d, instants...); at != nil && at.After(now) && d.oneIn(2) {
		return at.Add(time.Duration(d.Intn(3)-1) * time.Second)
	}
	return now.Add(time.Duration(d.Intn(5000)) * time.Second)
}

// change alters one part of the observation, as a user, the API server or an accident would.
func (d draw) change(sim *lifecycle.Simulation) {
	sim.Key = sim.Key.DeepCopy()
	sim.Key.Generation++
	switch d.Intn(9) {
	case 0:
		spec := d.keySpec(sim.Now)
		spec.Environment = sim.Key.Spec.Environment
		sim.Key.Spec = spec
	case 1:
		sim.Key.Annotations = d.annotations(sim.Now)
	case 2:
		sim.Secret = d.secret(sim.Records)
	case 3:
		sim.Chatbot = d.chatbotOfKey()
	case 4:
		sim.Environment = d.environment(sim.Now)
	case 5:
		sim.Tracking = d.tracking(sim.Now)
	case 6:
		sim.Rejection = d.refusal()
	case 7:
		sim.Failed = d.failedReads()
	case 8:
		if len(sim.Records) > 0 {
			at := d.Intn(len(sim.Records))
			sim.Records[at].Status.LastUsedAt = new(d.around(sim.Now))
			sim.Records[at].Status.Resolution = d.maybeDuration(2)
		}
	}
}

func (d draw) simulation() *lifecycle.Simulation {
	now := epoch.Add(time.Duration(d.Int63n(int64(400 * 24 * time.Hour)))).Truncate(time.Millisecond)
	name := "production-server"
	if d.oneIn(40) {
		name = strings.Repeat("production-", 21) + "server"
	}
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "support", UID: types.UID(fmt.Sprintf("uid-%d", d.Intn(1000))), Generation: int64(1 + d.Intn(5)),
			CreationTimestamp: d.around(now), Annotations: d.annotations(now),
		},
		Spec: d.keySpec(now),
	}
	if d.oneIn(25) {
		key.DeletionTimestamp = new(d.around(now))
	}
	sim := &lifecycle.Simulation{Now: now}
	sim.Key = key
	if !d.oneIn(4) {
		for revision := range int64(d.Intn(14)) {
			sim.Records = append(sim.Records, d.record(key, revision+1, now))
		}
	}
	sim.Secret = d.secret(sim.Records)
	key.Status = d.keyStatus(sim.Records, now)
	if d.oneIn(2) {
		sim.Chatbot = d.chatbotOfKey()
	}
	sim.Environment = d.environment(now)
	sim.Tracking = d.tracking(now)
	if d.oneIn(8) {
		sim.Rejection = d.refusal()
	}
	if d.oneIn(8) {
		sim.Failed = d.failedReads()
	}
	sim.KeepEnded = d.oneIn(20)
	switch d.Intn(12) {
	case 0:
		d.loseOften(sim)
	case 1:
		d.leaveUnused(sim)
	}
	return sim
}

// loseOften makes an observation of a Secret that something deletes or overwrites again and again.
func (d draw) loseOften(sim *lifecycle.Simulation) {
	key := sim.Key
	key.DeletionTimestamp, key.Spec.ExpiresAt, key.Spec.State, sim.Rejection, sim.Failed, sim.Records = nil, nil, "", nil, nil, nil
	for revision := range int64(15 + d.Intn(12)) {
		record := d.record(key, revision+1, sim.Now)
		record.Spec.Cause = pick(d, v1alpha1.CauseSecretLost, v1alpha1.CauseSecretLost, v1alpha1.CauseSecretAltered)
		record.Spec.IssuedAt = metav1.Time{Time: sim.Now.Add(-time.Duration(d.Intn(4000)) * time.Second).Truncate(time.Second)}
		record.CreationTimestamp = record.Spec.IssuedAt
		sim.Records = append(sim.Records, record)
	}
	key.Status = d.keyStatus(sim.Records, sim.Now)
	sim.Secret = pick(d, revisions.Secret{State: revisions.SecretAbsent}, revisions.Secret{State: revisions.SecretOwned, Hash: "sha256:foreign"})
}

// leaveUnused makes an observation of a key that nothing uses, under rules that disable and revoke such keys.
func (d draw) leaveUnused(sim *lifecycle.Simulation) {
	key := sim.Key
	key.DeletionTimestamp, key.Spec.ExpiresAt, key.Spec.State, sim.Failed = nil, nil, "", nil
	minutes := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Minute} }
	rules := d.rules(sim.Now)
	rules.Audit = &v1alpha1.EnvironmentAudit{UnusedAfter: minutes(10), DisableAfter: minutes(20), RevokeAfter: minutes(30)}
	sim.Environment = effective.Environment{Rules: rules}
	sim.Tracking = &tracking.Tracking{Since: sim.Now.Add(-time.Duration(d.Intn(90)) * time.Minute), Renewed: sim.Now.Add(-time.Second), Lag: time.Second}
	for i := range sim.Records {
		record := &sim.Records[i]
		record.Spec.IssuedAt = metav1.Time{Time: sim.Now.Add(-time.Duration(60+i) * time.Minute).Truncate(time.Second)}
		record.Spec.NotAfter, record.Status.LastUsedAt, record.Annotations = nil, nil, nil
	}
	since := metav1.Time{Time: sim.Now.Add(-time.Duration(d.Intn(60)) * time.Minute).Truncate(time.Second)}
	unused := metav1.Time{Time: since.Add(-time.Duration(d.Intn(40)) * time.Minute)}
	switch {
	case len(sim.Records) > 0 && d.oneIn(2):
		mark := revisions.AuditMark{Stage: v1alpha1.AuditDisabled, Since: since, UnusedSince: unused}
		last := &sim.Records[len(sim.Records)-1]
		metav1.SetMetaDataAnnotation(&last.ObjectMeta, v1alpha1.AuditAnnotation, mark.String())
	case d.oneIn(2):
		key.Status.Audit = &v1alpha1.AuditStatus{Stage: v1alpha1.AuditUnused, Since: &since, UnusedSince: &unused}
	}
}
