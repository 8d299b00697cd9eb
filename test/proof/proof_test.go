// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"net/http"
	"testing"
	"time"
)

func TestProof_ComesFromLiveVerifiers(t *testing.T) {
	p := startTrial(t)
	p.verify(place{}, "--on-stale=serve")
	p.withdraw()
	proof := p.awaitProof(soon)
	if proof.Verifiers != 2 || len(proof.Pending) != 0 || proof.ConfirmedAt.Before(&proof.WrittenAt) {
		t.Errorf("got %+v", proof)
	}
	for _, v := range p.verifiers {
		if code := v.code(t.Context(), p.text); code != http.StatusUnauthorized {
			t.Errorf("a verifier answers %d", code)
		}
	}
}

// TestProof_WaitsForAFrozenWatch of records, while renewals of the registration pass.
func TestProof_WaitsForAFrozenWatch(t *testing.T) {
	p := startTrial(t)
	records := newProxy(t, "dgbotapikeyrecords")
	behind := p.verify(place{through: records})
	records.freeze()
	p.withdraw()
	p.staysUnproven(3 * staleness)
	if now := p.propagation(); now.BoundAt != nil {
		t.Errorf("it renews, and the bound is %s", now.BoundAt)
	}
	records.thaw()
	thawed := time.Now()
	proof := p.awaitProof(soon)
	t.Logf("it is proven %s after the watch goes on", proof.ConfirmedAt.Sub(thawed))
	if proof.Verifiers != 2 {
		t.Errorf("got %+v; %s was behind", proof, behind.lease)
	}
}

// TestProof_WaitsForAListFromBefore: a verifier registers before the withdrawal. The API server has answered its first list, and the
// answer arrives after the withdrawal.
func TestProof_WaitsForAListFromBefore(t *testing.T) {
	p := startTrial(t)
	records := newProxy(t, "dgbotapikeyrecords")
	records.withLists = true
	records.freeze()
	late := p.startVerifier(place{through: records})
	p.Eventually("its list is on the way", func() bool { return records.waiting() > 0 })
	p.withdraw()
	p.staysUnproven(soon)
	p.expectPending(late)
	records.thaw()
	p.awaitProof(soon)
}

// TestProof_WaitsForAFrozenProcess until it is continued: then it has to follow first.
func TestProof_WaitsForAFrozenProcess(t *testing.T) {
	p := startTrial(t)
	frozen := p.verify(place{})
	must(t, frozen.Pause())
	t.Cleanup(func() { _ = frozen.Resume() })
	p.withdraw()
	p.staysUnproven(10 * time.Second)
	must(t, frozen.Resume())
	p.awaitProof(20 * time.Second)
}

// TestProof_OfAVerifierThatIsGone, and that answers again after the proof: it must not accept the key.
func TestProof_OfAVerifierThatIsGone(t *testing.T) {
	p := startTrial(t)
	frozen := p.verify(place{})
	must(t, frozen.Pause())
	t.Cleanup(func() { _ = frozen.Resume() })
	p.withdraw()
	// Another hand deletes its Lease: it may answer all the same.
	lease := p.leases()[frozen.lease]
	must(t, admin.Delete(t.Context(), &lease))
	p.staysUnproven(gone - 10*time.Second)
	proof := p.awaitProof(time.Minute)
	if proof.Verifiers != 1 {
		t.Errorf("got %+v", proof)
	}
	must(t, frozen.Resume())
	p.Eventually("the verifier that was gone rejects the key", func() bool { return frozen.code(t.Context(), p.text) == http.StatusUnauthorized })
	p.check(proof)
}

// TestProof_CountsProcessesNotPods: two processes run under one name, as where a container was started again, and one of them is frozen.
func TestProof_CountsProcessesNotPods(t *testing.T) {
	p := newTrial(t)
	p.manage(place{})
	p.issue()
	pod := place{pod: "verifier-0"}
	p.verify(pod)
	frozen := p.verify(pod)
	must(t, frozen.Pause())
	p.withdraw()
	p.staysUnproven(5 * time.Second)
	must(t, frozen.Kill()) // without a Resume, after which it could follow before it ends
	p.staysUnproven(5 * time.Second)
	p.awaitProof(time.Minute)
}

// TestProof_OfAVerifierThatStops needs no silence.
func TestProof_OfAVerifierThatStops(t *testing.T) {
	p := startTrial(t)
	records := newProxy(t, "dgbotapikeyrecords")
	behind := p.verify(place{through: records})
	records.freeze()
	p.withdraw()
	p.staysUnproven(2 * time.Second)
	must(t, behind.Stop())
	p.awaitProof(soon)
}
