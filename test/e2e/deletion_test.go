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
	p.T.Helper()
	p.Eventually("the records and the Secret of "+name+" are gone", func() bool { return len(p.Records(name)) == 0 && p.Secret(name) == nil })
}

func TestDeletingAKeyEndsItInEveryWay(t *testing.T) {
	for name, policy := range map[string]metav1.DeletionPropagation{
		"in the background": metav1.DeletePropagationBackground,
		"in the foreground": metav1.DeletePropagationForeground,
	} {
		t.Run(name, func(t *testing.T) {
			startOperator(t)
			p := newPlace(t)
			p.CreateKey("crm", nil)
			p.AwaitReady("crm")
			must(t, admin.Delete(t.Context(), p.Key("crm"), client.PropagationPolicy(policy)))
			p.gone("crm")
		})
	}
}

func TestOrphaningDeletionLeavesNoLivingKey(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	p.CreateKey("crm", nil)
	p.AwaitReady("crm")
	text := p.KeyText("crm")
	must(t, admin.Delete(t.Context(), p.Key("crm"), client.PropagationPolicy(metav1.DeletePropagationOrphan)))
	p.Eventually("the key does not verify", func() bool { return p.Verdict(text) != standing.Admitted })
	p.Eventually("its records are gone", func() bool { return len(p.Records("crm")) == 0 })
	if p.Secret("crm") == nil {
		t.Error("the orphaned Secret was deleted; orphaning leaves it to its user")
	}

	p.Eventually("the key is gone", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), client.ObjectKey{Namespace: p.Name, Name: "crm"}, &v1alpha1.DGbotAPIKey{}))
	})

	// The name can be used again: the operator takes the orphaned Secret over.
	p.CreateKey("crm", nil)
	p.AwaitReady("crm")
	if p.KeyText("crm") == text {
		t.Error("the dead key was published again")
	}
}

func TestAForeignFinalizerDoesNotKeepAKeyAlive(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	p.CreateKey("crm", func(k *v1alpha1.DGbotAPIKey) { k.Finalizers = []string{"example.com/held"} })
	p.AwaitReady("crm")
	text := p.KeyText("crm")
	must(t, admin.Delete(t.Context(), p.Key("crm")))
	p.Eventually("the key is revoked", func() bool { return p.Verdict(text) == standing.Revoked })
	p.EditKey("crm", func(k *v1alpha1.DGbotAPIKey) { k.Finalizers = nil })
	p.gone("crm")
}

func TestDeletionWorksWhileTheOperatorIsDown(t *testing.T) {
	operator := startOperator(t)
	p := newPlace(t)
	p.CreateKey("crm", nil)
	p.CreateKey("orphan", nil)
	p.AwaitReady("crm")
	p.AwaitReady("orphan")
	orphan := p.KeyText("orphan")
	must(t, operator.Stop())
	must(t, admin.Delete(t.Context(), p.Key("crm")))
	p.gone("crm")

	// Orphaned while no operator runs: the record has no owner, so no verifier accepts it. The operator deletes it at its next start.
	must(t, admin.Delete(t.Context(), p.Key("orphan"), client.PropagationPolicy(metav1.DeletePropagationOrphan)))
	p.Eventually("the orphaned key does not verify", func() bool { return p.Verdict(orphan) != standing.Admitted })
	startOperator(t)
	p.Eventually("its record is gone", func() bool { return len(p.Records("orphan")) == 0 })
}

func TestDeletingTheNamespaceTakesEverything(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	for _, name := range []string{"a", "b", "c"} {
		p.CreateKey(name, nil)
		p.AwaitReady(name)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}
	must(t, admin.Delete(t.Context(), namespace))
	p.Eventually("the namespace is gone", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), types.NamespacedName{Name: p.Name}, namespace))
	})

	// A key in a namespace that goes away delays no other.
	q := newPlace(t)
	q.CreateKey("healthy", nil)
	q.AwaitReady("healthy")
}
