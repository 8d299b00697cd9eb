// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestProof_NoneWithoutRegistration: the condition has the reason VerifiersUnknown.
func TestProof_NoneWithoutRegistration(t *testing.T) {
	p := newTrial(t)
	p.manage(place{})
	p.issue()
	p.verify(place{}, "--register=false")
	p.staysUnknown("none is registered")
}

// TestProof_NoneFromAnotherNamespace: the verifiers register where the operator does not look.
func TestProof_NoneFromAnotherNamespace(t *testing.T) {
	p := newTrial(t)
	p.manage(place{}, "--usage-namespace="+furnish(t).Name)
	p.issue()
	p.verify(place{})
	p.staysUnknown("none is registered")
}

// TestProof_NoneWithoutTheRightToReadLeases: all verifiers have followed, and the operator gets 403 for Leases.
func TestProof_NoneWithoutTheRightToReadLeases(t *testing.T) {
	p := newTrial(t)
	leases := newProxy(t, "leases")
	leases.forbids = true
	p.manage(place{through: leases})
	p.issue()
	p.verify(place{})
	p.staysUnknown("cannot read the Leases")
}

// staysUnknown withdraws the key, and fails if that is ever confirmed, or if the key does not say why it is not.
func (p *trial) staysUnknown(why string) {
	p.t.Helper()
	p.withdraw()
	p.staysUnproven(gone + 5*time.Second)
	proof := p.propagation()
	condition := apimeta.FindStatusCondition(p.Key("leaked").Status.Conditions, v1alpha1.PropagationPendingCondition)
	if proof.Verifiers != 0 || condition == nil || condition.Status != metav1.ConditionTrue || condition.Reason != v1alpha1.VerifiersUnknownReason ||
		!strings.Contains(condition.Message, why) {
		p.t.Errorf("got %+v, %+v", proof, condition)
	}
}

// TestProof_OfOneThatServesWhenStale comes when a person annotates its Lease, and not with time.
func TestProof_OfOneThatServesWhenStale(t *testing.T) {
	p := startTrial(t)
	serving := p.verify(place{}, "--on-stale=serve")
	must(t, serving.Pause())
	p.withdraw()
	p.staysUnproven(gone + 5*time.Second)
	p.Eventually("the condition says why", func() bool {
		condition := apimeta.FindStatusCondition(p.Key("leaked").Status.Conditions, v1alpha1.PropagationPendingCondition)
		return condition != nil && condition.Reason == v1alpha1.VerifierServesStaleReason
	})
	p.expectPending(serving)
	must(t, serving.Kill())
	lease := p.leases()[serving.lease]
	changed := lease.DeepCopy()
	changed.Annotations[v1alpha1.StoppedAnnotation] = "stopped by hand"
	must(t, admin.Patch(t.Context(), changed, client.MergeFrom(&lease)))
	p.awaitProof(soon)
}
