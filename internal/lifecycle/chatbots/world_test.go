// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"fmt"
	"slices"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// hmacWorld carries out plans for an HMAC secret in memory. Secrets are known by their hashes.
type hmacWorld struct {
	t      *testing.T
	o      Observation
	now    time.Time
	minted int
	causes []v1alpha1.Cause
	events []report.Event
	// firsts say of each whether there had been none before, or none since one was no longer wanted.
	firsts []bool
	isKept bool
	// everPublished are the hashes that have been in the Secret as the present one, the newest last.
	everPublished []string
	// inFlight: a secret was announced and is in the memory of the operator alone.
	inFlight string
	// vandals take away what has been written, so that nothing is promised between two writes.
	vandals bool
}

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func at(t time.Time) *metav1.Time { return &metav1.Time{Time: t.UTC().Truncate(time.Second)} }

func newHMACWorld(t *testing.T, change func(*v1alpha1.IdentityVerification)) *hmacWorld {
	o := botObservation(ReservationOwned, WidgetPublished)
	o.Chatbot.UID = "a-uid"
	iv := &v1alpha1.IdentityVerification{Rotation: &v1alpha1.IdentityRotation{Overlap: &metav1.Duration{Duration: time.Hour}}}
	if change != nil {
		change(iv)
	}
	o.Chatbot.Spec.IdentityVerification = iv
	o.HMAC.Secret.State = revisions.SecretAbsent
	return &hmacWorld{t: t, o: o, now: time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)}
}

// know fills in what is at hand.
func (w *hmacWorld) know() {
	known := map[string]bool{}
	h := &w.o.HMAC
	for _, hash := range []string{h.Secret.Hash, h.PreviousHash, w.inFlight} {
		if hash != "" && h.Secret.State == revisions.SecretOwned || hash == w.inFlight && hash != "" {
			known[hash] = true
		}
	}
	for _, r := range h.Replica.Shows.Revisions() {
		known[r.Hash] = true
	}
	h.Known = known
}

// step carries out one step, and reports whether there was one.
func (w *hmacWorld) step() bool {
	w.t.Helper()
	w.know()
	d := Plan(w.o, w.now)
	h := &w.o.HMAC
	switch d.Step {
	case "":
		w.events = append(w.events, Events(w.o, d.Status, w.now)...)
		w.o.Chatbot.Status = *d.Status
		w.isKept = w.isKept && !LedgerOf(d.Status).Empty()
		return false
	case AnnounceRevision:
		w.minted++
		w.causes, w.firsts = append(w.causes, d.Issue.Cause), append(w.firsts, !w.isKept)
		w.inFlight = fmt.Sprintf("sha256:%d", w.minted)
		if w.o.Imports(d.Issue) {
			w.inFlight = h.Source.Hash
			w.o.Chatbot.Status.Imported = w.inFlight
		}
		w.o.Chatbot.Status.Pending = &v1alpha1.IdentityRevision{
			Revision: d.Issue.Revision, KID: "kid of " + w.inFlight, Hash: w.inFlight, Cause: d.Issue.Cause, IssuedAt: d.Issue.IssuedAt,
		}
	case WriteLedger:
		next := w.o.Chatbot.Status.DeepCopy()
		d.Ledger.Replace(next)
		w.isKept = d.Ledger.Current != nil || w.isKept && !d.Ledger.Empty()
		w.events = append(w.events, Events(w.o, next, w.now)...)
		w.o.Chatbot.Status = *next
	case MarkReplica:
		h.Replica.There, h.Replica.Abandoned = true, d.Ledger.Pending.KID
	case WriteReplica:
		h.Replica.There, h.Replica.Drifted, h.Replica.Shows = true, false, d.Ledger
	case DeleteReplica:
		h.Replica = Replica{}
	case WriteSecret:
		h.Secret = revisions.Secret{State: revisions.SecretOwned, Hash: d.Ledger.Current.Hash}
		h.PreviousHash = ""
		if d.Ledger.Previous != nil {
			h.PreviousHash = d.Ledger.Previous.Hash
		}
		if !slices.Contains(w.everPublished, h.Secret.Hash) {
			w.everPublished = append(w.everPublished, h.Secret.Hash)
		}
	default:
		w.t.Fatalf("step %q", d.Step)
	}
	w.check(d.Step)
	return true
}

// check asserts what holds after every single write.
func (w *hmacWorld) check(after Step) {
	w.t.Helper()
	if w.vandals {
		return
	}
	h := &w.o.HMAC
	if h.Secret.State == revisions.SecretOwned && len(w.everPublished) > 0 && h.Secret.Hash == w.everPublished[len(w.everPublished)-1] && !w.verifies(h.Secret.Hash) && !w.revoked(h.Secret.Hash) {
		w.t.Errorf("after %s what is in the Secret does not verify: the replica shows %+v", after, h.Replica.Shows.Revisions())
	}
	if n := len(h.Replica.Shows.Revisions()); n > 3 {
		w.t.Errorf("after %s %d secrets verify", after, n)
	}
}

func (w *hmacWorld) revoked(hash string) bool {
	for _, r := range LedgerOf(&w.o.Chatbot.Status).Revisions() {
		if r.Hash == hash && r.Revoked {
			return true
		}
	}
	return w.o.Chatbot.Spec.IdentityVerification == nil
}

// verifies reports whether a verifier accepts what was signed with a secret.
func (w *hmacWorld) verifies(hash string) bool {
	for _, r := range w.o.HMAC.Replica.Shows.Revisions() {
		if r.Hash == hash {
			return r.NotAfter == nil || w.now.Before(r.NotAfter.Time)
		}
	}
	return false
}

func (w *hmacWorld) rest() {
	w.t.Helper()
	for range 50 {
		if !w.step() {
			w.crash() // what was minted in a pass is not kept
			return
		}
	}
	w.t.Fatalf("does not converge: %+v", Plan(w.o, w.now))
}

func (w *hmacWorld) crash() { w.inFlight = "" }

// pass begins another pass, which knows nothing of what the last one met.
func (w *hmacWorld) pass() {
	w.crash()
	w.o.HMAC.Failed, w.o.HMAC.Rejection = false, nil
}

func (w *hmacWorld) reason() string {
	return apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.ReadyCondition).Reason
}

func (w *hmacWorld) at() *metav1.Time { return &metav1.Time{Time: w.now} }
