// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// gone waits until neither records nor the Secret of a key are left.
func (p *place) gone(name string) {
	p.t.Helper()
	p.eventually("the records and the Secret of "+name+" are gone", func() bool { return len(p.records(name)) == 0 && p.secret(name) == nil })
}

func TestDeletingAKeyEndsItInEveryWay(t *testing.T) {
	for name, policy := range map[string]metav1.DeletionPropagation{
		"in the background": metav1.DeletePropagationBackground,
		"in the foreground": metav1.DeletePropagationForeground,
	} {
		t.Run(name, func(t *testing.T) {
			startOperator(t)
			p := newPlace(t)
			p.apply("crm", nil)
			p.ready("crm")
			must(t, admin.Delete(t.Context(), p.key("crm"), client.PropagationPolicy(policy)))
			p.gone("crm")
		})
	}
}

func TestOrphaningDeletionLeavesNoLivingKey(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	p.apply("crm", nil)
	p.ready("crm")
	text := p.text("crm")
	must(t, admin.Delete(t.Context(), p.key("crm"), client.PropagationPolicy(metav1.DeletePropagationOrphan)))
	p.eventually("the key does not verify", func() bool { return p.verify(text) != standing.Admitted })
	p.eventually("its records are gone", func() bool { return len(p.records("crm")) == 0 })
	if p.secret("crm") == nil {
		t.Error("the orphaned Secret was deleted; orphaning leaves it to its user")
	}

	p.eventually("the key is gone", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), client.ObjectKey{Namespace: p.name, Name: "crm"}, &v1alpha1.DGbotAPIKey{}))
	})

	// The name can be used again: the orphaned Secret is left over.
	p.apply("crm", nil)
	p.ready("crm")
	if p.text("crm") == text {
		t.Error("the dead key was published again")
	}
}

func TestAForeignFinalizerDoesNotKeepAKeyAlive(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	p.apply("crm", func(k *v1alpha1.DGbotAPIKey) { k.Finalizers = []string{"example.com/held"} })
	p.ready("crm")
	text := p.text("crm")
	must(t, admin.Delete(t.Context(), p.key("crm")))
	p.eventually("the key is revoked", func() bool { return p.verify(text) == standing.Revoked })
	p.edit("crm", func(k *v1alpha1.DGbotAPIKey) { k.Finalizers = nil })
	p.gone("crm")
}

func TestDeletionWorksWhileTheOperatorIsDown(t *testing.T) {
	operator := startOperator(t)
	p := newPlace(t)
	p.apply("crm", nil)
	p.apply("orphan", nil)
	p.ready("crm")
	p.ready("orphan")
	orphan := p.text("orphan")
	must(t, operator.Stop())
	must(t, admin.Delete(t.Context(), p.key("crm")))
	p.gone("crm")

	// Orphaned while nobody looks: the record has no owner, so no verifier accepts it, and it goes with the next start.
	must(t, admin.Delete(t.Context(), p.key("orphan"), client.PropagationPolicy(metav1.DeletePropagationOrphan)))
	p.eventually("the orphaned key does not verify", func() bool { return p.verify(orphan) != standing.Admitted })
	startOperator(t)
	p.eventually("its record is gone", func() bool { return len(p.records("orphan")) == 0 })
}

func TestDeletingTheNamespaceTakesEverything(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	for _, name := range []string{"a", "b", "c"} {
		p.apply(name, nil)
		p.ready(name)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.name}}
	must(t, admin.Delete(t.Context(), namespace))
	p.eventually("the namespace is gone", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), types.NamespacedName{Name: p.name}, namespace))
	})

	// A key in a namespace that goes away delays no other.
	q := newPlace(t)
	q.apply("healthy", nil)
	q.ready("healthy")
}
