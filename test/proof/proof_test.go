// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"net/http"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

func TestProof_ComesFromLiveVerifiers(t *testing.T) {
	p := newTrial(t)
	p.manage(nil)
	p.issue()
	p.verify(nil)
	p.verify(nil, "--on-stale=serve")
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
	p := newTrial(t)
	p.manage(nil)
	p.issue()
	p.verify(nil)
	records := newProxy(t, "dgbotapikeyrecords")
	behind := p.verify(records)
	records.freeze()
	p.withdraw()
	p.staysUnproven(3 * staleness)
	if now := p.propagation(); now.BoundAt != nil {
		t.Errorf("it renews, and the bound is %s", now.BoundAt)
	}
	records.thaw()
	proof := p.awaitProof(20 * time.Second)
	if proof.Verifiers != 2 {
		t.Errorf("got %+v; %s was behind", proof, behind.lease)
	}
}

// TestProof_WaitsForAFrozenProcess until it is continued: then it has to follow first.
func TestProof_WaitsForAFrozenProcess(t *testing.T) {
	p := newTrial(t)
	p.manage(nil)
	p.issue()
	p.verify(nil)
	frozen := p.verify(nil)
	must(t, frozen.Pause())
	t.Cleanup(func() { _ = frozen.Resume() })
	p.withdraw()
	p.staysUnproven(10 * time.Second)
	must(t, frozen.Resume())
	p.awaitProof(20 * time.Second)
}

// TestProof_OfAVerifierThatIsGone, and that answers again after the proof: it must not accept the key.
func TestProof_OfAVerifierThatIsGone(t *testing.T) {
	p := newTrial(t)
	p.manage(nil)
	p.issue()
	p.verify(nil)
	frozen := p.verify(nil)
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
	t.Setenv("POD_NAME", "verifier-0")
	p := &trial{Namespace: world.NewNamespace(t, "proof-"), t: t}
	p.manage(nil)
	p.issue()
	p.verify(nil)
	frozen := p.verify(nil)
	must(t, frozen.Pause())
	t.Cleanup(func() { _ = frozen.Resume() })
	p.withdraw()
	p.staysUnproven(5 * time.Second)
	must(t, frozen.Resume())
	must(t, frozen.Kill())
	p.staysUnproven(5 * time.Second)
	p.awaitProof(time.Minute)
}

// TestProof_OfAVerifierThatStops needs no silence.
func TestProof_OfAVerifierThatStops(t *testing.T) {
	p := newTrial(t)
	p.manage(nil)
	p.issue()
	p.verify(nil)
	records := newProxy(t, "dgbotapikeyrecords")
	behind := p.verify(records)
	records.freeze()
	p.withdraw()
	p.staysUnproven(2 * time.Second)
	must(t, behind.Stop())
	p.awaitProof(soon)
}

// TestProof_WaitsForTheOperatorsOwnWatch of Leases, and does not take its own silence for that of verifiers.
func TestProof_WaitsForTheOperatorsOwnWatch(t *testing.T) {
	p := newTrial(t)
	leases := newProxy(t, "leases")
	config, err := world.ServiceAccountConfig(t.Context(), controlplane.OperatorNamespace, controlplane.OperatorAccount)
	must(t, err)
	p.manage(leases.config(config))
	p.issue()
	p.verify(nil)
	records := newProxy(t, "dgbotapikeyrecords")
	behind := p.verify(records)
	records.freeze()
	leases.freeze()
	p.withdraw()
	// Both verifiers are silent for the operator for longer than they may be, and one has not followed.
	p.staysUnproven(gone + 10*time.Second)
	must(t, behind.Stop())
	leases.thaw()
	p.awaitProof(2 * time.Minute)
}

// TestProof_SurvivesTheOperator: it is killed as soon as a record is withdrawn, and once more after the status tells of it.
func TestProof_SurvivesTheOperator(t *testing.T) {
	p := newTrial(t)
	manager := p.manage(nil)
	p.issue()
	p.verify(nil)
	p.EditKey("leaked", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	version := "" // later ones may come from reports of uses
	world.EventuallyEvery(t, time.Millisecond, time.Minute, "the record is withdrawn", func() bool {
		record := p.Records("leaked")[0]
		version = record.ResourceVersion
		return record.Annotations[v1alpha1.WithdrawnAtAnnotation] != ""
	})
	must(t, manager.Kill())
	manager = p.manage(nil)
	p.Eventually("the status tells of the withdrawal", func() bool { return p.propagation() != nil })
	must(t, manager.Kill())
	p.manage(nil)
	proof := p.awaitProof(time.Minute)
	if !registration.Reaches(proof.Version, version) {
		t.Errorf("the proof is for version %s, and the record had %s", proof.Version, version)
	}
	p.watch(5 * time.Second)
	if now := p.propagation(); !equality.Semantic.DeepEqual(now, proof) {
		t.Errorf("after the proof it became %+v", now)
	}
}

// TestProof_NoneWithoutRegistration, and the key says so.
func TestProof_NoneWithoutRegistration(t *testing.T) {
	p := newTrial(t)
	p.manage(nil)
	p.issue()
	p.verify(nil, "--register=false")
	proof := p.withdraw()
	p.staysUnproven(gone + 5*time.Second)
	condition := apimeta.FindStatusCondition(p.Key("leaked").Status.Conditions, v1alpha1.PropagationPendingCondition)
	if proof.Verifiers != 0 || condition == nil || condition.Status != metav1.ConditionTrue || condition.Reason != v1alpha1.VerifiersUnknownReason {
		t.Errorf("got %+v, %+v", proof, condition)
	}
}

// TestProof_OfOneThatServesWhenStale comes when a person annotates its Lease, and not with time.
func TestProof_OfOneThatServesWhenStale(t *testing.T) {
	p := newTrial(t)
	p.manage(nil)
	p.issue()
	p.verify(nil)
	serving := p.verify(nil, "--on-stale=serve")
	must(t, serving.Pause())
	p.withdraw()
	p.staysUnproven(gone + 5*time.Second)
	p.Eventually("the condition says why", func() bool {
		condition := apimeta.FindStatusCondition(p.Key("leaked").Status.Conditions, v1alpha1.PropagationPendingCondition)
		return condition != nil && condition.Reason == v1alpha1.VerifierServesStaleReason
	})
	p.expectPending(serving.lease)
	must(t, serving.Kill())
	lease := p.leases()[serving.lease]
	changed := lease.DeepCopy()
	changed.Annotations[v1alpha1.StoppedAnnotation] = "stopped by hand"
	must(t, admin.Patch(t.Context(), changed, client.MergeFrom(&lease)))
	p.awaitProof(soon)
}
