// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// hmacDeeds are what a walk does to a chatbot, between any two writes of the operator.
var hmacDeeds = map[string]func(*hmacWorld, *rand.Rand){
	"crash":              func(w *hmacWorld, _ *rand.Rand) { w.crash() },
	"time passes":        func(w *hmacWorld, r *rand.Rand) { w.now = w.now.Add(time.Duration(r.IntN(5000)) * time.Second) },
	"a second passes":    func(w *hmacWorld, _ *rand.Rand) { w.now = w.now.Add(time.Second) },
	"lose the Secret":    func(w *hmacWorld, _ *rand.Rand) { loseSecret(w) },
	"lose the replica":   func(w *hmacWorld, _ *rand.Rand) { w.o.HMAC.Replica = Replica{} },
	"garble the Secret":  func(w *hmacWorld, r *rand.Rand) { garbleSecret(w, r) },
	"garble the replica": func(w *hmacWorld, r *rand.Rand) { garbleReplica(w, r) },
	"rotate": func(w *hmacWorld, _ *rand.Rand) {
		onRotation(w, func(r *v1alpha1.IdentityRotation) { r.RequestedAt = w.at() })
	},
	"plan to rotate": func(w *hmacWorld, r *rand.Rand) {
		onRotation(w, func(rotation *v1alpha1.IdentityRotation) {
			rotation.RequestedAt = &metav1.Time{Time: w.now.Add(time.Duration(r.IntN(10)) * time.Second)}
		})
	},
	"revoke": func(w *hmacWorld, _ *rand.Rand) {
		onRotation(w, func(r *v1alpha1.IdentityRotation) { r.RevokeIssuedBefore = w.at() })
	},
	"change the overlap": func(w *hmacWorld, r *rand.Rand) {
		onRotation(w, func(rotation *v1alpha1.IdentityRotation) {
			rotation.Overlap = &metav1.Duration{Duration: time.Duration(r.IntN(3)) * time.Second}
		})
	},
	"want none": func(w *hmacWorld, _ *rand.Rand) { w.o.Chatbot.Spec.IdentityVerification = nil },
	"want one": func(w *hmacWorld, _ *rand.Rand) {
		if w.o.Chatbot.Spec.IdentityVerification == nil {
			w.o.Chatbot.Spec.IdentityVerification = &v1alpha1.IdentityVerification{
				Rotation: &v1alpha1.IdentityRotation{Overlap: &metav1.Duration{Duration: 2 * time.Second}},
			}
		}
	},
	"an attempt fails": func(w *hmacWorld, _ *rand.Rand) { w.o.HMAC.Failed = true },
	"a Secret is refused": func(w *hmacWorld, _ *rand.Rand) {
		w.o.HMAC.Rejection = &report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: "no"}
	},
	"a replica is rejected": func(w *hmacWorld, _ *rand.Rand) {
		w.o.HMAC.Rejection = &report.Rejection{Reason: v1alpha1.CopyWriteRefusedReason, Message: "no"}
	},
}

func onRotation(w *hmacWorld, change func(*v1alpha1.IdentityRotation)) {
	if iv := w.o.Chatbot.Spec.IdentityVerification; iv != nil {
		change(iv.Rotation)
	}
}

func garbleSecret(w *hmacWorld, r *rand.Rand) {
	if w.o.HMAC.Secret.State == revisions.SecretOwned {
		w.o.HMAC.Secret.Hash = fmt.Sprintf("sha256:garbled %d", r.Uint64())
		w.o.HMAC.Secret.Drifted = true
	}
}

// garbleReplica writes over the entry of the present one, which need not be there. What is said of it stays.
func garbleReplica(w *hmacWorld, r *rand.Rand) {
	if !w.o.HMAC.Replica.There {
		return
	}
	said := v1alpha1.IdentityRevision{}
	if current := w.o.HMAC.Replica.Shows.Current; current != nil {
		said = *current
	}
	said.Hash = fmt.Sprintf("sha256:garbled %d", r.Uint64())
	w.o.HMAC.Replica.Shows.Current, w.o.HMAC.Replica.Drifted = &said, true
}

// TestAnHMACSecretComesToRestWhateverHappens: from wherever people, crashes and refusals have left it, and in a status that the
// API server takes.
func TestAnHMACSecretComesToRestWhateverHappens(t *testing.T) {
	names := make([]string, 0, len(hmacDeeds))
	for name := range hmacDeeds {
		names = append(names, name)
	}
	slices.Sort(names)
	walks := uint64(3000)
	if testing.Short() {
		walks = 300
	}
	for seed := range walks {
		r := rand.New(rand.NewPCG(seed, 7))
		w := newHMACWorld(t, nil)
		w.vandals = true
		var walk []string
		for range 60 {
			for range r.IntN(5) {
				if !w.step() {
					w.pass()
					break
				}
			}
			name := names[r.IntN(len(names))]
			walk = append(walk, name)
			hmacDeeds[name](w, r)
			if err := storable(&w.o.Chatbot.Status); err != nil {
				t.Fatalf("walk %d: %v after %v", seed, err, walk)
			}
		}
		w.pass()
		for steps := 0; w.step(); steps++ {
			if steps > 24 {
				t.Fatalf("walk %d does not converge after %v:\n%+v", seed, walk, Plan(w.o, w.now))
			}
		}
		if err := storable(&w.o.Chatbot.Status); err != nil {
			t.Fatalf("walk %d: %v after %v", seed, err, walk)
		}
		if t.Failed() {
			t.Fatalf("walk %d: %v", seed, walk)
		}
		for i, cause := range w.causes {
			if first := w.firsts[i]; first != (cause == v1alpha1.CauseFirstIssue) {
				t.Fatalf("walk %d: secret %d was issued for %s, and it is the first: %t; after %v", seed, i+1, cause, first, walk)
			}
		}
	}
}

// storable says why the API server would refuse a status.
func storable(s *v1alpha1.DGbotChatbotStatus) error {
	for _, revision := range LedgerOf(s).Revisions() {
		if revision.Revision < 1 || revision.IssuedAt.IsZero() || revision.Hash == "" || revision.KID == "" || revision.Cause == "" ||
			revision.NotAfter != nil && revision.NotAfter.IsZero() {
			return fmt.Errorf("the ledger has %+v", *revision)
		}
	}
	return nil
}
