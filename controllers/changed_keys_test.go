// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// changing is what a mutating webhook does that puts a text of its own in the key's place.
func changing(dryRunToo bool) client.WithWatch {
	change := func(o client.Object, dryRun bool) {
		if secret, ok := o.(*corev1.Secret); ok && (dryRunToo || !dryRun) {
			secret.Data[v1alpha1.DefaultSecretKey] = []byte("abc")
		}
	}
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			applied := (&client.CreateOptions{}).ApplyOptions(options)
			change(o, len(applied.DryRun) > 0)
			return c.Create(ctx, o, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			applied := (&client.UpdateOptions{}).ApplyOptions(options)
			change(o, len(applied.DryRun) > 0)
			return c.Update(ctx, o, options...)
		},
	})
}

func TestNoKeyIsMintedThatSomethingWouldChangeOnTheWay(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.restWith(w.operator(changing(true)))
	w.stalled(v1alpha1.SecretWriteRefusedReason, `has changed entry "api-key"`)
	if n := len(w.records()); n != 0 {
		t.Errorf("%d revisions were minted in vain", n)
	}
	w.rest()
	if w.ready().Status != metav1.ConditionTrue || w.verifies() != standing.Admitted {
		t.Errorf("afterwards: %+v, the key is %s", w.ready(), w.verifies())
	}
}

// TestAKeyThatIsChangedOnTheWayIsSaidAndNotTriedWithoutEnd: a webhook that lets the dry run pass, and which nothing can know
// of before. Each pass is one that an event of the last one would cause.
func TestAKeyThatIsChangedOnTheWayIsSaidAndNotTriedWithoutEnd(t *testing.T) {
	w := rotated(t)
	w.advance(2 * time.Hour)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	before := len(w.records())
	operator := w.operator(changing(false))
	for range 20 {
		_, _ = operator.Reconcile(t.Context(), w.request())
		w.advance(time.Second / 2)
	}
	w.stalled(v1alpha1.SecretWriteRefusedReason, `has changed entry "api-key"`)
	if n := len(w.records()) - before; n == 0 || n > mostAttempts {
		t.Errorf("%d revisions in ten seconds, want %d at most", n, mostAttempts)
	}
	w.advance(steps.PublishTimeout * 60)
	w.rest()
	if w.ready().Status != metav1.ConditionTrue || w.verifies() != standing.Admitted {
		t.Errorf("afterwards: %+v, the key is %s", w.ready(), w.verifies())
	}
}

// mostAttempts are what comes at once, and the third after five seconds.
const mostAttempts = 3
