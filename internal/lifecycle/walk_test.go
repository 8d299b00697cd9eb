// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// walk drives one key through random edits, accidents, clock movements and crashes, and asserts the promises after
// every single step. It keeps its own account of what happened (ghost state), so that causes are judged by what was
// done to the key and not by the policy's own reasoning.
type walk struct {
	t    *testing.T
	seed int64
	rng  *rand.Rand
	sim  *Simulation
	log  []string

	everPublished  bool
	lastPublished  int64 // the revision most recently published
	publishedEnd   *metav1.Time
	secretDeleted  bool
	secretAltered  bool
	recordDeleted  bool
	evidenceLost   bool // the status was lost while the Secret was
	lossMints      []time.Time
	clockSetBack   bool
	mintedThisWalk int
	usage          usageGhost
	audit          auditGhost
}

func TestRandomWalksKeepThePromises(t *testing.T) {
	walks, length := int64(Rounds(3000, 150)), 60
	minted, retired, causes := 0, 0, map[v1alpha1.Cause]int{}
	var audited auditGhost
	for seed := range walks {
		w := newWalk(t, seed)
		for range length {
			w.act()
			w.settle(true)
			if t.Failed() {
				for _, line := range w.log {
					t.Log(line)
				}
				t.FailNow()
			}
		}
		minted += w.mintedThisWalk
		retired += w.usage.retired
		audited.disabled += w.audit.disabled
		audited.enabled += w.audit.enabled
		audited.revoked += w.audit.revoked
		for _, r := range w.sim.Records {
			causes[r.Spec.Cause]++
		}
	}
	t.Logf("%d walks of %d moves, %d revisions, %d retired for not being used, the audit %+v: %v", walks, length, minted, retired, audited, causes)
	if audited.disabled == 0 || audited.enabled == 0 || audited.revoked == 0 {
		t.Errorf("the walks prove nothing about the audit: %+v", audited)
	}
	if retired == 0 {
		t.Error("no walk came to a revision that is retired for not being used")
	}
	for _, cause := range []v1alpha1.Cause{v1alpha1.CauseFirstIssue, v1alpha1.CauseSchedule, v1alpha1.CauseRequest, v1alpha1.CauseRevocation,
		v1alpha1.CauseSecretLost, v1alpha1.CauseSecretAltered, v1alpha1.CauseRecordLost, v1alpha1.CauseReactivation, v1alpha1.CauseExpiryChanged} {
		if causes[cause] == 0 {
			t.Errorf("no walk came to a revision with cause %s: the walks prove nothing about it", cause)
		}
	}
}

func newWalk(t *testing.T, seed int64) *walk {
	w := &walk{t: t, seed: seed, rng: rand.New(rand.NewSource(seed))}
	key := testKey(types.UID(fmt.Sprintf("uid-%d", seed)))
	w.sim = &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}}, Now: start}
	return w
}

func (w *walk) note(format string, args ...any) {
	w.log = append(w.log, w.sim.Now.Format(time.RFC3339)+" "+fmt.Sprintf(format, args...))
}

func (w *walk) failf(format string, args ...any) {
	w.t.Errorf("seed %d, move %d, %s: %s", w.seed, len(w.log), w.sim.Now.Format(time.RFC3339), fmt.Sprintf(format, args...))
}

func (w *walk) rotation() *v1alpha1.Rotation {
	if w.sim.Key.Spec.Rotation == nil {
		w.sim.Key.Spec.Rotation = &v1alpha1.Rotation{}
	}
	return w.sim.Key.Spec.Rotation
}

func (w *walk) someTime() *metav1.Time {
	return at(w.sim.Now.Add(time.Duration(w.rng.Intn(7200)-5400) * time.Second))
}

// act does one random thing to the key or its world.
func (w *walk) act() {
	key := w.sim.Key
	switch choice := w.rng.Intn(39); choice {
	case 0, 1, 2, 3, 4:
		w.advance(time.Duration(w.rng.Intn(3*3600)) * time.Second)
	case 5:
		w.advance(time.Duration(w.rng.Intn(12*24)) * time.Hour)
	case 6:
		back := time.Duration(w.rng.Intn(7200)) * time.Second
		w.sim.Now = w.sim.Now.Add(-back)
		w.clockSetBack = true
		w.note("clock set back by %s", back)
	case 7, 8:
		key.Spec.State = []v1alpha1.KeyState{v1alpha1.StateActive, "", v1alpha1.StateDisabled, v1alpha1.StateRevoked}[w.rng.Intn(4)]
		w.note("state %s", key.Spec.State)
	case 9:
		w.rotation().Interval = &metav1.Duration{Duration: time.Duration(1+w.rng.Intn(4000)) * time.Minute}
		if o := w.rotation().Overlap; o != nil && o.Duration >= w.rotation().Interval.Duration {
			w.rotation().Overlap = nil
		}
		w.note("interval %s", w.rotation().Interval.Duration)
	case 10:
		w.rotation().Interval = nil
	case 11, 12:
		overlap := time.Duration(w.rng.Intn(7200)) * time.Second * time.Duration(w.rng.Intn(2))
		if i := w.rotation().Interval; i == nil || overlap < i.Duration {
			w.rotation().Overlap = &metav1.Duration{Duration: overlap}
			w.note("overlap %s", overlap)
		}
	case 13, 14:
		w.rotation().RequestedAt = w.someTime()
		w.note("requestedAt %s", w.rotation().RequestedAt)
	case 15:
		key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: instant.Format(w.someTime())}
		w.note("annotation %s", key.Annotations)
	case 16:
		w.rotation().RevokeIssuedBefore = w.someTime()
		w.note("revokeIssuedBefore %s", w.rotation().RevokeIssuedBefore)
	case 17:
		key.Spec.ExpiresAt = at(w.sim.Now.Add(time.Duration(w.rng.Intn(20000)-2000) * time.Second))
		w.note("expiresAt %s", key.Spec.ExpiresAt)
	case 18:
		key.Spec.ExpiresAt = nil
		w.note("no expiresAt")
	case 19:
		key.Spec.Label, key.Spec.Scopes = fmt.Sprint("label ", w.rng.Intn(100)), []v1alpha1.Scope{v1alpha1.Scope(fmt.Sprint("s", w.rng.Intn(9)))}
	case 20:
		key.Status = v1alpha1.DGbotAPIKeyStatus{}
		w.evidenceLost = w.secretDeleted || w.evidenceLost
		w.note("status lost")
	case 27, 28, 29, 30, 31:
		w.actOnUsage(choice)
	case 32, 33:
		w.actOnChatbot()
	case 34, 35:
		w.actOnRules()
	case 36, 37, 38:
		w.actOnAudit()
	default:
		w.accident(choice)
	}
	key.Generation++
}

// accident happens to the Secret or the records. It waits for status to be there, because that is the only evidence of
// a first publication.
func (w *walk) accident(choice int) {
	w.settle(false)
	switch {
	case choice == 21:
		w.sim.Secret, w.secretDeleted = revisions.Secret{State: revisions.SecretAbsent}, true
		w.note("Secret deleted")
	case choice == 22 && w.everPublished:
		older := 1 + w.rng.Int63n(w.lastPublished)
		w.sim.Publish(older)
		w.secretAltered = older != w.lastPublished
		w.secretDeleted = false
		w.note("Secret restored to revision %d", older)
	case choice == 23 && w.everPublished:
		w.sim.Records = slices.DeleteFunc(w.sim.Records, func(r v1alpha1.DGbotAPIKeyRecord) bool { return r.Spec.Revision == w.lastPublished })
		w.recordDeleted = true
		w.note("record of revision %d deleted", w.lastPublished)
	case choice == 24:
		state := []revisions.SecretState{revisions.SecretForeign, revisions.SecretForeign, revisions.SecretCollectable, revisions.SecretUnowned}[w.rng.Intn(4)]
		w.sim.Secret, w.secretDeleted = revisions.Secret{State: state}, true
		w.note("Secret replaced by one that is %s", state)
	case choice == 25 && w.sim.Secret.State == revisions.SecretOwned:
		w.sim.Secret.Drifted = true
		w.note("the Secret's labels altered")
	case choice == 26:
		w.sim.Rejection = &report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: "no"}
		w.note("Secret writes refused")
		w.settle(false)
		w.advance(time.Duration(w.rng.Intn(600)) * time.Second)
		w.sim.Rejection = nil
		w.note("Secret writes taken again")
	}
}

// advance moves on as the policy asks to be woken, and checks that nothing would have been due in between.
func (w *walk) advance(by time.Duration) {
	if state := w.sim.Secret.State; state == revisions.SecretForeign || state == revisions.SecretCollectable {
		by = min(by, time.Hour) // looked at every minute: days of it would prove no more
	}
	if w.usage.up {
		by = min(by, 4*time.Hour) // looked at every ten minutes, in case reports end
	}
	to := w.sim.Now.Add(by)
	w.note("advance to %s", to.Format(time.RFC3339))
	for range 20000 {
		w.settle(false)
		decision := Plan(w.sim.Observation, w.sim.Now)
		wake := decision.Wake
		if !wake.IsZero() && !wake.After(w.sim.Now) {
			w.failf("wake at %s is not ahead", wake)
			return
		}
		until := to
		if !wake.IsZero() && wake.Before(to) {
			until = wake
		}
		if gap := until.Sub(w.sim.Now); gap > time.Second {
			between := w.sim.Now.Add(time.Duration(w.rng.Int63n(int64(gap - time.Second))))
			early := Plan(w.sim.Observation, between)
			if len(early.Steps) > 0 {
				w.failf("woken at %s, but at %s already %+v was due", wake, between, early.Steps)
			}
			if !reflect.DeepEqual(early.Status, decision.Status) {
				w.failf("woken at %s, but at %s the status was already another:\n%+v\n%+v", wake, between, decision.Status, early.Status)
			}
		}
		w.sim.Now = until
		w.renew()
		if until.Equal(to) {
			return
		}
	}
	w.failf("woken more than 20000 times before %s", to)
}

// settle carries plans out, one step at a time, with the promises asserted at each. With crashes it sometimes stops
// between two writes and begins again.
func (w *walk) settle(crashes bool) {
	for range maxSteps {
		decision := Plan(w.sim.Observation, w.sim.Now)
		if again := Plan(w.sim.Observation, w.sim.Now); !reflect.DeepEqual(decision, again) {
			w.failf("two plans of one observation differ:\n%+v\n%+v", decision, again)
		}
		if len(decision.Steps) == 0 {
			w.checkAtRest(decision)
			w.sim.Key.Status = *decision.Status
			return
		}
		for _, step := range decision.Steps {
			if crashes && w.rng.Intn(12) == 0 {
				w.note("crash before %T", step)
				break
			}
			issue, issues := step.(steps.IssueRevision)
			if !issues {
				w.applyChecked(step)
				continue
			}
			w.checkIssue(issue)
			if crashes && w.rng.Intn(4) == 0 {
				w.note("crash between record and Secret of revision %d", issue.Revision)
				w.sim.Records = append(w.sim.Records, w.sim.CreateRecord(issue))
				break
			}
			w.applyChecked(step)
			w.published(issue)
			break
		}
	}
	w.failf("does not converge: %+v", Plan(w.sim.Observation, w.sim.Now).Steps)
}

func (w *walk) published(issue steps.IssueRevision) {
	w.note("issued revision %d: %s", issue.Revision, issue.Cause)
	w.everPublished, w.lastPublished, w.publishedEnd = true, issue.Revision, issue.NotAfter
	w.secretDeleted, w.secretAltered, w.recordDeleted, w.evidenceLost = false, false, false, false
}
