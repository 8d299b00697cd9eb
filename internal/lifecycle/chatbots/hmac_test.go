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

// hmacHappenings are what can happen to an HMAC secret, with what must have come of it.
var hmacHappenings = map[string]struct {
	change  func(*v1alpha1.IdentityVerification)
	happen  func(*hmacWorld)
	causes  []v1alpha1.Cause
	reason  string
	check   func(*hmacWorld)
	warning string
}{
	"nothing":              {happen: func(*hmacWorld) {}, reason: v1alpha1.PublishedReason},
	"a rotation on demand": {happen: rotateHMAC, causes: []v1alpha1.Cause{v1alpha1.CauseRequest}, reason: v1alpha1.PublishedReason, check: bothVerifyForAnHour},
	"a rotation without overlap": {
		change: func(iv *v1alpha1.IdentityVerification) { iv.Rotation.Overlap = &metav1.Duration{} },
		happen: rotateHMAC, causes: []v1alpha1.Cause{v1alpha1.CauseRequest}, reason: v1alpha1.PublishedReason,
		check: func(w *hmacWorld) {
			// The new one counts as issued a second after the request.
			w.now = w.now.Add(time.Second)
			if w.verifies(w.everPublished[0]) || w.o.HMAC.PreviousHash != "" {
				w.t.Error("the first one verifies, or is published")
			}
		},
	},
	"a rotation on schedule": {
		change: func(iv *v1alpha1.IdentityVerification) {
			iv.Rotation.Interval = &metav1.Duration{Duration: 24 * time.Hour}
		},
		happen: func(w *hmacWorld) { w.now = w.now.Add(24 * time.Hour) },
		causes: []v1alpha1.Cause{v1alpha1.CauseSchedule}, reason: v1alpha1.PublishedReason,
	},
	"a revocation": {
		happen: func(w *hmacWorld) {
			w.now = w.now.Add(time.Minute)
			w.o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = w.at()
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseRevocation}, reason: v1alpha1.PublishedReason,
		check: func(w *hmacWorld) {
			if w.verifies(w.everPublished[0]) || w.o.HMAC.PreviousHash != "" {
				w.t.Error("the revoked one verifies, or is published")
			}
			if h := w.o.Chatbot.Status.LastHandledRequest; h == nil || h.RevokeIssuedBefore == nil {
				w.t.Errorf("handled: %+v", h)
			}
		},
	},
	"the Secret is lost":     {happen: loseSecret, reason: v1alpha1.PublishedReason},
	"the Secret is altered":  {happen: func(w *hmacWorld) { w.o.HMAC.Secret.Hash = "sha256:junk" }, reason: v1alpha1.PublishedReason},
	"the replica is lost":    {happen: func(w *hmacWorld) { w.o.HMAC.Replica = Replica{} }, reason: v1alpha1.PublishedReason},
	"the replica is altered": {happen: alterReplica, reason: v1alpha1.PublishedReason, check: noJunk},
	"the status is lost": {
		happen: func(w *hmacWorld) { w.o.Chatbot.Status = v1alpha1.DGbotChatbotStatus{} }, reason: v1alpha1.PublishedReason,
		check: func(w *hmacWorld) {
			if c := w.o.Chatbot.Status.Current; c == nil || c.Hash != w.everPublished[0] {
				w.t.Errorf("current is %+v", c)
			}
		},
	},
	"both are lost": {
		happen: func(w *hmacWorld) { loseSecret(w); w.o.HMAC.Replica = Replica{} },
		causes: []v1alpha1.Cause{v1alpha1.CauseSecretLost}, reason: v1alpha1.PublishedReason, warning: v1alpha1.SecretLostReason,
	},
	"both are altered": {
		happen: func(w *hmacWorld) { w.o.HMAC.Secret.Hash = "sha256:junk"; alterReplica(w) },
		causes: []v1alpha1.Cause{v1alpha1.CauseSecretAltered}, reason: v1alpha1.PublishedReason, warning: v1alpha1.SecretAlteredReason, check: noJunk,
	},
	"the name is foreign": {
		happen: func(w *hmacWorld) {
			w.o.HMAC.Secret = revisions.Secret{State: revisions.SecretForeign, Hash: "sha256:theirs"}
		},
		reason: v1alpha1.SecretConflictReason,
		check: func(w *hmacWorld) {
			if !w.verifies(w.everPublished[0]) || w.o.HMAC.Secret.Hash != "sha256:theirs" {
				w.t.Error("the secret that was published does not verify, or theirs was written")
			}
		},
	},
	"it is no longer wanted": {
		happen: func(w *hmacWorld) { w.o.Chatbot.Spec.IdentityVerification = nil }, reason: v1alpha1.PublishedReason,
		check: func(w *hmacWorld) {
			if w.o.HMAC.Replica.There || !LedgerOf(&w.o.Chatbot.Status).Empty() || w.o.Chatbot.Status.Binding != nil || w.o.HMAC.Secret.Hash != w.everPublished[0] {
				w.t.Errorf("%+v %+v", w.o.HMAC, w.o.Chatbot.Status)
			}
		},
	},
}

func rotateHMAC(w *hmacWorld) {
	w.now = w.now.Add(time.Minute)
	w.o.Chatbot.Spec.IdentityVerification.Rotation.RequestedAt = w.at()
}

func loseSecret(w *hmacWorld) {
	w.o.HMAC.Secret, w.o.HMAC.PreviousHash = revisions.Secret{State: revisions.SecretAbsent}, ""
}

func alterReplica(w *hmacWorld) {
	junk := *w.o.HMAC.Replica.Shows.Current
	junk.Hash = "sha256:attacker"
	w.o.HMAC.Replica.Shows.Current = &junk
}

func noJunk(w *hmacWorld) {
	if w.verifies("sha256:attacker") {
		w.t.Error("what another wrote into the replica verifies")
	}
}

func bothVerifyForAnHour(w *hmacWorld) {
	old, next := w.everPublished[0], w.everPublished[len(w.everPublished)-1]
	if !w.verifies(old) || !w.verifies(next) || w.o.HMAC.PreviousHash != old || w.o.HMAC.Secret.Hash != next {
		w.t.Errorf("%+v", w.o.HMAC)
	}
	w.now = w.now.Add(time.Hour + 2*time.Second)
	w.rest()
	if w.verifies(old) || !w.verifies(next) || w.o.HMAC.PreviousHash != "" || len(w.o.Chatbot.Status.Previous) != 0 || w.o.HMAC.Replica.Shows.Previous != nil {
		w.t.Errorf("after the overlap: %+v", w.o.HMAC)
	}
}

// TestHMACSecretWhateverHappens: each happening, with a crash after every write, comes to the same end.
func TestHMACSecretWhateverHappens(t *testing.T) {
	for name, tc := range hmacHappenings {
		for crashAfter := range 12 {
			t.Run(fmt.Sprintf("%s, crash after %d", name, crashAfter), func(t *testing.T) {
				w := newHMACWorld(t, tc.change)
				w.rest()
				if w.minted != 1 || w.reason() != v1alpha1.PublishedReason {
					t.Fatalf("%d minted, %s", w.minted, w.reason())
				}
				before, told := w.minted, len(w.events)
				tc.happen(w)
				for range crashAfter {
					if !w.step() {
						break
					}
				}
				w.crash()
				w.rest()
				if got := w.reason(); got != tc.reason {
					t.Errorf("Ready is %s, want %s", got, tc.reason)
				}
				minted := w.minted - before
				if want := len(tc.causes); want == 0 && minted != 0 || minted < want || minted > 2*want {
					t.Errorf("%d were minted: %v", minted, w.causes)
				}
				for _, cause := range w.causes[before:] {
					if !slices.Contains(tc.causes, cause) {
						t.Errorf("minted because of %s", cause)
					}
				}
				warned := slices.ContainsFunc(w.events[told:], func(e report.Event) bool { return e.Warning && e.Reason == tc.warning })
				if warned != (tc.warning != "") {
					t.Errorf("events: %+v", w.events[told:])
				}
				if tc.check != nil {
					tc.check(w)
				}
			})
		}
	}
}

// TestHMACFirstIssueWithACrashAnywhere: one secret is published, whatever was announced before.
func TestHMACFirstIssueWithACrashAnywhere(t *testing.T) {
	for crashAfter := range 8 {
		w := newHMACWorld(t, nil)
		for range crashAfter {
			w.step()
		}
		w.crash()
		w.rest()
		if len(w.everPublished) != 1 || w.minted > 2 || w.reason() != v1alpha1.PublishedReason {
			t.Errorf("crash after %d: %v were published of %d, Ready is %s", crashAfter, w.everPublished, w.minted, w.reason())
		}
		// An attempt that was given up uses up its number.
		if got := w.o.Chatbot.Status.Current.Revision; got != int64(w.minted) {
			t.Errorf("crash after %d: revision %d of %d", crashAfter, got, w.minted)
		}
	}
}

func TestHMACImport(t *testing.T) {
	importing := func(iv *v1alpha1.IdentityVerification) {
		iv.ImportFrom = &v1alpha1.ImportSource{Name: "existing", Key: "hmac"}
	}
	w := newHMACWorld(t, importing)
	w.o.HMAC.Source = ImportSource{Problem: "the Secret does not exist"}
	w.rest()
	if w.reason() != v1alpha1.ImportRefusedReason || w.minted != 0 || w.o.HMAC.Replica.There || w.o.HMAC.Secret.State != revisions.SecretAbsent {
		t.Fatalf("%s, %+v", w.reason(), w.o.HMAC)
	}
	if wake := Plan(w.o, w.now).Wake; wake.Sub(w.now) != report.CheckInterval {
		t.Errorf("looked at again after %s", wake.Sub(w.now))
	}
	w.o.HMAC.Source = ImportSource{Hash: "sha256:theirs"}
	w.rest()
	s := &w.o.Chatbot.Status
	if w.reason() != v1alpha1.PublishedReason || s.Current.Hash != "sha256:theirs" || s.Imported != "sha256:theirs" || w.o.HMAC.Secret.Hash != "sha256:theirs" {
		t.Fatalf("%+v", s)
	}
	ignored := func(want string) {
		t.Helper()
		w.rest()
		got := ""
		if c := apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.ImportIgnoredCondition); c != nil {
			got = c.Reason
		}
		if got != want || w.reason() != v1alpha1.PublishedReason {
			t.Errorf("ImportIgnored is %q, want %q", got, want)
		}
	}
	ignored("")
	w.o.HMAC.Source = ImportSource{Hash: "sha256:changed"}
	ignored(v1alpha1.ImportChangedReason)
	w.o.HMAC.Source = ImportSource{Problem: "it is gone, which is as it should be"}
	ignored("")
	rotateHMAC(w)
	w.o.HMAC.Source = ImportSource{Hash: "sha256:theirs"}
	ignored("")
	if w.o.HMAC.Secret.Hash != "sha256:2" || w.causes[len(w.causes)-1] != v1alpha1.CauseRequest {
		t.Errorf("rotated: %+v", w.o.HMAC.Secret)
	}
	// Losing all of it is a rotation, and not another import.
	loseSecret(w)
	w.o.HMAC.Replica = Replica{}
	w.rest()
	if w.o.HMAC.Secret.Hash == "sha256:theirs" {
		t.Error("an old secret was imported again")
	}

	late := newHMACWorld(t, nil)
	late.rest()
	w = late
	importing(w.o.Chatbot.Spec.IdentityVerification)
	w.o.HMAC.Source = ImportSource{Hash: "sha256:theirs"}
	ignored(v1alpha1.ImportTooLateReason)
}

// TestHMACRotationsWaitForTheOverlap: there is room for one earlier secret. A revocation waits for nothing.
func TestHMACRotationsWaitForTheOverlap(t *testing.T) {
	w := newHMACWorld(t, nil)
	w.rest()
	rotateHMAC(w)
	w.rest()
	rotateHMAC(w)
	w.rest()
	d := Plan(w.o, w.now)
	waiting := apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.ReconcilingCondition)
	if w.minted != 2 || w.reason() != v1alpha1.PublishedReason || waiting == nil || waiting.Reason != v1alpha1.WaitingForOverlapReason || d.Wake.IsZero() {
		t.Fatalf("%d minted, %+v, wakes %s", w.minted, waiting, d.Wake)
	}
	w.o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = w.at()
	w.rest()
	if w.minted != 3 || w.verifies(w.everPublished[0]) || w.verifies(w.everPublished[1]) || !w.verifies(w.everPublished[2]) {
		t.Errorf("%d minted; the replica shows %+v", w.minted, w.o.HMAC.Replica.Shows.Revisions())
	}
}

// TestHMACRefusals: what the API server refuses keeps a revocation from nothing but what it refuses.
func TestHMACRefusals(t *testing.T) {
	for _, reason := range []string{v1alpha1.SecretWriteRefusedReason, v1alpha1.CopyWriteRefusedReason} {
		w := newHMACWorld(t, nil)
		w.rest()
		w.now = w.now.Add(time.Minute)
		w.o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = w.at()
		w.o.HMAC.Rejection = &report.Rejection{Reason: reason, Message: "no"}
		w.rest()
		handled := w.o.Chatbot.Status.LastHandledRequest != nil
		inCopy := w.verifies(w.everPublished[0])
		if w.reason() != reason || w.minted != 1 || inCopy != (reason == v1alpha1.CopyWriteRefusedReason) || handled == inCopy {
			t.Errorf("%s: Ready is %s, %d minted, verifies %t, handled %t", reason, w.reason(), w.minted, inCopy, handled)
		}
		w.o.HMAC.Rejection = nil
		w.rest()
		if w.reason() != v1alpha1.PublishedReason || w.verifies(w.everPublished[0]) || w.minted != 2 {
			t.Errorf("afterwards: %s, %d minted", w.reason(), w.minted)
		}
	}
}

// TestHMACFailedAttemptStillRevokes: where no instance knows the outcome of an attempt, what it was to replace is revoked.
func TestHMACFailedAttemptStillRevokes(t *testing.T) {
	w := newHMACWorld(t, nil)
	w.rest()
	w.now = w.now.Add(time.Minute)
	w.o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = w.at()
	w.o.HMAC.Failed = true
	w.rest()
	if w.verifies(w.everPublished[0]) || w.minted != 1 {
		t.Errorf("%d minted, the replica shows %+v", w.minted, w.o.HMAC.Replica.Shows.Revisions())
	}
}

func TestADeletedChatbotLosesItsCopyAtOnce(t *testing.T) {
	w := newHMACWorld(t, nil)
	w.rest()
	w.o.Chatbot.DeletionTimestamp = w.at()
	if d := Plan(w.o, w.now); d.Step != DeleteReplica || d.Status != nil {
		t.Errorf("%+v", d)
	}
}

// TestWhatWasRevokedIsNotImportedAgain: what an import starts from was made before it.
func TestWhatWasRevokedIsNotImportedAgain(t *testing.T) {
	w := newHMACWorld(t, func(iv *v1alpha1.IdentityVerification) {
		iv.ImportFrom = &v1alpha1.ImportSource{Name: "existing", Key: "hmac"}
	})
	w.o.HMAC.Source = ImportSource{Hash: "sha256:theirs"}
	w.o.Chatbot.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: w.now.Add(-time.Hour).Format(time.RFC3339)}
	w.rest()
	if w.reason() != v1alpha1.ImportRefusedReason || w.minted != 0 {
		t.Errorf("%s, %d minted", w.reason(), w.minted)
	}
	w.o.Chatbot.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: w.now.Add(time.Hour).Format(time.RFC3339)}
	w.rest()
	if w.reason() != v1alpha1.PublishedReason || w.o.HMAC.Secret.Hash != "sha256:theirs" {
		t.Errorf("with a cut-off to come: %s", w.reason())
	}
}

// TestAnImportThatIsTakenAwayAndPutBack is not said to be another one.
func TestAnImportThatIsTakenAwayAndPutBack(t *testing.T) {
	from := &v1alpha1.ImportSource{Name: "existing", Key: "hmac"}
	w := newHMACWorld(t, func(iv *v1alpha1.IdentityVerification) { iv.ImportFrom = from })
	w.o.HMAC.Source = ImportSource{Hash: "sha256:theirs"}
	w.rest()
	rotateHMAC(w)
	w.rest()
	iv := w.o.Chatbot.Spec.IdentityVerification
	iv.ImportFrom = nil
	w.rest()
	iv.ImportFrom = from
	w.rest()
	if c := apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.ImportIgnoredCondition); c != nil {
		t.Errorf("%+v", c)
	}
}

// TestALossBeforeTheStatusIsComplete: the ledger says at once that a secret was published, and what follows from that is written
// when the chatbot converges. Where it is lost in between, the one that replaces it is no first one.
func TestALossBeforeTheStatusIsComplete(t *testing.T) {
	w := newHMACWorld(t, nil)
	for w.o.Chatbot.Status.Current == nil {
		if !w.step() {
			t.Fatal("converged without a secret")
		}
	}
	if w.o.Chatbot.Status.Binding != nil {
		t.Fatal("the status was complete: this proves nothing")
	}
	w.crash()
	w.o.HMAC.Secret, w.o.HMAC.Replica, w.o.HMAC.PreviousHash = revisions.Secret{State: revisions.SecretAbsent}, Replica{}, ""
	w.rest()
	if want := []v1alpha1.Cause{v1alpha1.CauseFirstIssue, v1alpha1.CauseSecretLost}; !slices.Equal(w.causes, want) {
		t.Errorf("issued for %v, want %v", w.causes, want)
	}
}
