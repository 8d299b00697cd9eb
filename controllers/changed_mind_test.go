// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

// interrupted is a reader that is stopped once between the key and its records, while something happens.
func (w *fixture) interrupted(meanwhile func()) client.Reader {
	once := meanwhile
	return interceptor.NewClient(live, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, ok := list.(*v1alpha1.DGbotAPIKeyRecordList); ok && once != nil {
				do := once
				once = nil
				do()
			}
			return c.List(ctx, list, options...)
		},
	})
}

// TestARevisionIsNotEndedOnTheWordOfAnOlderKey: an operator stops after it has read the key. By the time it reads the
// records, the key says otherwise, and another operator has issued what the first one is about to end for good.
func TestARevisionIsNotEndedOnTheWordOfAnOlderKey(t *testing.T) {
	// since is what the key says when it is read, then what it says when the records are.
	for name, tc := range map[string]struct {
		since, then func(*v1alpha1.DGbotAPIKey, *fixture)
	}{
		"it was revoked, and is active again": {
			since: func(k *v1alpha1.DGbotAPIKey, _ *fixture) { k.Spec.State = v1alpha1.StateRevoked },
			then:  func(k *v1alpha1.DGbotAPIKey, _ *fixture) { k.Spec.State = v1alpha1.StateActive },
		},
		"it was disabled, and is active again": {
			since: func(k *v1alpha1.DGbotAPIKey, _ *fixture) { k.Spec.State = v1alpha1.StateDisabled },
			then:  func(k *v1alpha1.DGbotAPIKey, _ *fixture) { k.Spec.State = v1alpha1.StateActive },
		},
		"it was to expire, and is not": {
			since: func(k *v1alpha1.DGbotAPIKey, w *fixture) {
				k.Spec.ExpiresAt = &metav1.Time{Time: w.second().Add(time.Minute)}
			},
			then: func(k *v1alpha1.DGbotAPIKey, _ *fixture) { k.Spec.ExpiresAt = nil },
		},
		"a request to revoke was withdrawn": {
			since: func(k *v1alpha1.DGbotAPIKey, w *fixture) {
				k.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: w.second().Add(5 * time.Second).UTC().Format(time.RFC3339)}
			},
			then: func(k *v1alpha1.DGbotAPIKey, _ *fixture) { k.Annotations = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.advance(time.Minute) // the key counts as one that is not new, so that its records are listed
			w.create(func(k *v1alpha1.DGbotAPIKey) { tc.since(k, w) })
			stopped := w.operator(live)
			var want []v1alpha1.DGbotAPIKeyRecord
			stopped.Live = w.interrupted(func() {
				w.advance(time.Second)
				w.edit(func(k *v1alpha1.DGbotAPIKey) { tc.then(k, w) })
				w.rest()
				want = w.records()
				w.advance(10 * time.Second)
			})
			if _, err := stopped.Reconcile(t.Context(), w.request()); err != nil {
				t.Fatal(err)
			}
			got := w.records()
			if len(got) != len(want) || len(want) == 0 {
				t.Fatalf("%d records, the other operator left %d", len(got), len(want))
			}
			for i := range want {
				if got[i].Spec.State != want[i].Spec.State || !got[i].Spec.NotAfter.Equal(want[i].Spec.NotAfter) {
					t.Errorf("revision %d is %s until %v, the other operator left it %s until %v",
						got[i].Spec.Revision, got[i].Spec.State, got[i].Spec.NotAfter, want[i].Spec.State, want[i].Spec.NotAfter)
				}
			}
		})
	}
}
