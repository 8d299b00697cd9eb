// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// listingRecords returns an operator, and counts its live lists of records.
func (w *fixture) listingRecords(writes client.Client) (operator *apikeys.Reconciler, lists *int) {
	lists = new(int)
	operator = w.operator(writes)
	operator.Live = interceptor.NewClient(live, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, isRecords := list.(*v1alpha1.DGbotAPIKeyRecordList); isRecords {
				*lists++
			}
			return c.List(ctx, list, options...)
		},
	})
	return operator, lists
}

// withoutRecords is a client whose cache has no records yet.
func withoutRecords(base client.WithWatch) client.WithWatch { return withRecords(base, nil) }

func TestReconcile_IssuesANewKeyWithoutAList(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	operator, lists := w.listingRecords(live)
	w.restWith(operator)
	if *lists != 0 || w.verifies() != standing.Admitted {
		t.Errorf("%d lists of records, and the key in the Secret is %s", *lists, w.verifies())
	}
}

// TestReconcile_ListsBeforeAFirstIssueThatMayBeNone: where a cache without records proves nothing.
func TestReconcile_ListsBeforeAFirstIssueThatMayBeNone(t *testing.T) {
	for name, prepare := range map[string]func(*fixture){
		"an old key": func(w *fixture) {
			w.create(nil)
			w.advance(time.Minute)
		},
		"a key that was observed": func(w *fixture) {
			w.create(nil)
			w.rest()
			w.deleteSecret()
		},
		"a Secret of the name": func(w *fixture) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: keyName}}
			if err := live.Create(w.T.Context(), secret); err != nil {
				w.T.Fatal(err)
			}
			w.create(nil)
		},
		"a key that is Revoked": func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
		},
		"a request to revoke": func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
		},
		"an annotation to revoke": func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) {
				metav1.SetMetaDataAnnotation(&k.ObjectMeta, v1alpha1.RevokeIssuedBeforeAnnotation, w.second().UTC().Format(time.RFC3339))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			prepare(w)
			operator, lists := w.listingRecords(withoutRecords(live))
			if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
				t.Fatal(err)
			}
			if *lists == 0 {
				t.Error("the records were not listed")
			}
		})
	}
}

// TestReconcile_IssuesNoRevisionTwiceFromAnOldCache: an operator crashed after it created the record of revision 1, and the cache of the next one
// does not have it yet. Its first attempt is rejected, and it lists in the same pass.
func TestReconcile_IssuesNoRevisionTwiceFromAnOldCache(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	if _, err := w.operator((&faults{breakAt: 2}).wrap(live)).Reconcile(t.Context(), w.request()); !errors.Is(err, errInjected) {
		t.Fatalf("the write of the Secret did not fail: %v", err)
	}
	if records := w.records(); len(records) != 1 || w.secret() != nil {
		t.Fatalf("the crash left %d records and the Secret %v", len(records), w.secret())
	}
	created := 0
	stale, lists := w.listingRecords(withoutRecords(interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, isRecord := o.(*v1alpha1.DGbotAPIKeyRecord); isRecord {
				created++
			}
			return c.Create(ctx, o, options...)
		},
	})))
	if result, err := stale.Reconcile(t.Context(), w.request()); err != nil || result.RequeueAfter != write.YieldDelay || created != 1 || *lists != 1 {
		t.Errorf("the next pass is in %s, error %v, after %d creations and %d lists", result.RequeueAfter, err, created, *lists)
	}
	if records := w.records(); len(records) != 1 || w.secret() != nil {
		t.Errorf("from an old cache there are %d records and the Secret %v", len(records), w.secret())
	}
	w.restWith(stale)
	if current := w.key().Status.Current; *lists == 0 || created != 2 || current == nil || current.Revision != 2 || w.verifies() != standing.Admitted {
		t.Errorf("after %d lists and %d creations the key is at %+v", *lists, created, current)
	}
}
