// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestIssue_TriesASecretWhereNoneWasAcceptedLately: a namespace that accepted a Secret needs no dry run for a while, and one that rejected a
// Secret without one has a dry run for each attempt of the next hour.
func TestIssue_TriesASecretWhereNoneWasAcceptedLately(t *testing.T) {
	w := newFixture(t)
	tries, isFull := 0, false
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, isSecret := o.(*corev1.Secret); isSecret {
				if len((&client.CreateOptions{}).ApplyOptions(options).DryRun) > 0 {
					tries++
				}
				if isFull {
					return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, o.GetName(), fmt.Errorf("exceeded quota"))
				}
			}
			return c.Create(ctx, o, options...)
		},
	}))
	number := 0
	issue := func(change func(*v1alpha1.DGbotAPIKey)) (tried bool, records int) {
		t.Helper()
		number++
		before, name := tries, fmt.Sprintf("key-%d", number)
		w.CreateKey(name, change)
		for range 3 {
			if _, err := operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: name}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, record := range w.records() {
			if record.Spec.APIKeyRef.Name == name {
				records++
			}
		}
		return tries > before, records
	}
	check := func(what string, tried bool, records int, wantTried bool, wantRecords int) {
		t.Helper()
		if tried != wantTried || records != wantRecords {
			t.Errorf("%s: tried %t, want %t; %d records, want %d", what, tried, wantTried, records, wantRecords)
		}
	}
	tried, records := issue(nil)
	check("the first key", tried, records, true, 1)
	tried, records = issue(nil)
	check("another key", tried, records, false, 1)
	tried, records = issue(func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Secret = &v1alpha1.SecretSpec{Template: &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"team": "not a label value"}}}
	})
	check("a key whose template is invalid", tried, records, true, 0)
	w.advance(10 * time.Minute)
	tried, records = issue(nil)
	check("a key after ten minutes", tried, records, true, 1)
	isFull = true
	tried, records = issue(nil)
	check("a key that is rejected", tried, records, true, 1)
	tried, records = issue(nil)
	check("the next key that is rejected", tried, records, true, 0)
	isFull = false
	tried, records = issue(nil)
	check("a key after a rejection", tried, records, true, 1)
	tried, records = issue(nil)
	check("another key after a rejection", tried, records, true, 1)
	w.advance(time.Hour)
	issue(nil)
	tried, records = issue(nil)
	check("a key an hour after a rejection", tried, records, false, 1)
}
