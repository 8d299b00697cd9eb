// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// rotationDue leaves a key whose rotation was requested, and not yet carried out.
func (w *fixture) rotationDue() {
	w.T.Helper()
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
}

func TestReconcile_RotatesWithoutAList(t *testing.T) {
	for name, prepare := range map[string]func(*fixture){
		"on request": (*fixture).rotationDue,
		"on schedule": func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Interval = &metav1.Duration{Duration: 48 * time.Hour} })
			w.rest()
			w.advance(49 * time.Hour)
		},
		"with an earlier revision in its overlap": func(w *fixture) {
			w.rotated()
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
		},
		"after a crash before the revision was superseded": func(w *fixture) {
			w.rotationDue()
			// The record, the Secret, and then the patch of the record that is superseded.
			if _, err := w.operator((&faults{breakAt: 3}).wrap(live)).Reconcile(w.T.Context(), w.request()); !errors.Is(err, errInjected) {
				w.T.Fatalf("the patch did not fail: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			prepare(w)
			operator, lists := w.listingRecords(live)
			w.restWith(operator)
			newest, current := w.published(), w.key().Status.Current
			if *lists != 0 || w.verifies() != standing.Admitted || current == nil || current.KeyID != newest.Spec.KeyID || newest.Spec.Revision < 2 {
				t.Errorf("%d lists of records; the key in the Secret is %s, of revision %d; the status has %+v", *lists, w.verifies(), newest.Spec.Revision, current)
			}
			for _, record := range w.records() {
				if record.UID != newest.UID && (record.Spec.NotAfter == nil || record.Annotations[v1alpha1.SupersededByAnnotation] == "") {
					t.Errorf("revision %d is not superseded: %v, %v", record.Spec.Revision, record.Spec.NotAfter, record.Annotations)
				}
			}
		})
	}
}

// TestReconcile_ListsBeforeADecisionThatAnOldCacheCouldChange: each of them is one of the reasons for a list.
func TestReconcile_ListsBeforeADecisionThatAnOldCacheCouldChange(t *testing.T) {
	for name, prepare := range map[string]func(*fixture){
		"a record above the one in the Secret": func(w *fixture) {
			w.rotationDue()
			if _, err := w.operator((&faults{breakAt: 2}).wrap(live)).Reconcile(w.T.Context(), w.request()); !errors.Is(err, errInjected) {
				w.T.Fatalf("the write of the Secret did not fail: %v", err)
			}
		},
		"a request to revoke": func(w *fixture) {
			w.create(nil)
			w.rest()
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
		},
		"a revision that was revoked by hand": func(w *fixture) {
			w.rotationDue()
			record := w.published()
			patch := client.MergeFrom(record.DeepCopy())
			record.Spec.State = v1alpha1.StateRevoked
			if err := live.Patch(w.T.Context(), record, patch); err != nil {
				w.T.Fatal(err)
			}
		},
		"a record without its owner": func(w *fixture) {
			w.rotated()
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
			record := w.first()
			record.OwnerReferences = nil
			if err := live.Update(w.T.Context(), record); err != nil {
				w.T.Fatal(err)
			}
		},
		"a lost Secret": func(w *fixture) {
			w.rotationDue()
			w.deleteSecret()
		},
		"an altered Secret": func(w *fixture) {
			w.rotationDue()
			w.editSecret(func(s *corev1.Secret) { s.Data[v1alpha1.DefaultSecretKey] = []byte("junk") })
		},
		"an earlier expiry": func(w *fixture) {
			w.create(nil)
			w.rest()
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &metav1.Time{Time: w.second().Add(time.Hour)} })
		},
		"a later expiry": func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &metav1.Time{Time: w.second().Add(time.Hour)} })
			w.rest()
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &metav1.Time{Time: w.second().Add(2 * time.Hour)} })
		},
		"an expiry that has come": func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &metav1.Time{Time: w.second().Add(time.Hour)} })
			w.rest()
			w.advance(2 * time.Hour)
		},
		"another label": func(w *fixture) {
			w.create(nil)
			w.rest()
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Label = "another" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			prepare(w)
			operator, lists := w.listingRecords(live)
			w.restWith(operator)
			if *lists == 0 {
				t.Error("the records were not listed")
			}
		})
	}
}

// TestReconcile_RotatesOnceFromAnOldCache: two operators, and the cache of the second stopped when the rotation was requested.
func TestReconcile_RotatesOnceFromAnOldCache(t *testing.T) {
	for name, test := range map[string]struct {
		// breakAt is the write at which the first operator crashes; 0 for none.
		breakAt int
		// records is how many there are once the second operator has converged.
		records int
	}{
		"the first is done":                       {records: 2},
		"the first crashed before the Secret":     {breakAt: 2, records: 3},
		"the first crashed before superseding":    {breakAt: 3, records: 2},
		"the first crashed before the status":     {breakAt: 4, records: 2},
		"the first crashed before it did a thing": {breakAt: 1, records: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.rotationDue()
			stale, _ := w.behind()
			_, err := w.operator((&faults{breakAt: test.breakAt}).wrap(live)).Reconcile(t.Context(), w.request())
			if (err != nil) != (test.breakAt > 0) {
				t.Fatal(err)
			}
			second := w.operator(stale)
			for range 5 {
				if _, err := second.Reconcile(t.Context(), w.request()); err != nil {
					t.Fatal(err)
				}
			}
			w.advance(time.Minute) // by then no other instance can publish the attempt of the first
			w.restWith(second)
			w.rest()
			if records := w.records(); len(records) != test.records || w.verifies() != standing.Admitted {
				t.Errorf("%d records, want %d; the key in the Secret is %s", len(records), test.records, w.verifies())
			}
			if current := w.key().Status.Current; current == nil || current.KeyID != w.published().Spec.KeyID {
				t.Errorf("the status has %+v", current)
			}
		})
	}
}

// TestReconcile_SupersedesARecordThatChangesMeanwhile: the patch names the version that was read, so that it is rejected, and the next
// observation has the records from a list.
func TestReconcile_SupersedesARecordThatChangesMeanwhile(t *testing.T) {
	w := newFixture(t)
	w.rotationDue()
	first := w.first()
	var once sync.Once
	writes := interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			once.Do(func() {
				changed := first.DeepCopy()
				metav1.SetMetaDataLabel(&changed.ObjectMeta, "example.com/seen", "true")
				if err := live.Patch(ctx, changed, client.MergeFrom(first)); err != nil {
					t.Error(err)
				}
			})
			return c.Patch(ctx, o, p, options...)
		},
	})
	operator, lists := w.listingRecords(writes)
	if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if superseded := w.first(); *lists == 0 || superseded.Spec.NotAfter == nil || superseded.Annotations[v1alpha1.SupersededByAnnotation] != "2" {
		t.Errorf("after %d lists, revision 1 ends at %v, with %v", *lists, superseded.Spec.NotAfter, superseded.Annotations)
	}
	if len(w.records()) != 2 || w.verifies() != standing.Admitted {
		t.Errorf("%d records, and the key in the Secret is %s", len(w.records()), w.verifies())
	}
}

// TestReconcile_SeesAKeyThatChangesDuringAPublication: it is disabled while its Secret is written. The status says that the change was observed only
// once what was issued is disabled, in this pass or in the next.
func TestReconcile_SeesAKeyThatChangesDuringAPublication(t *testing.T) {
	publications := map[string]func(*fixture){"first issue": func(w *fixture) { w.create(nil) }, "rotation": (*fixture).rotationDue}
	for publication, prepare := range publications {
		for state, ways := range withdrawals {
			for name, withdraw := range ways {
				t.Run(publication+", "+name, func(t *testing.T) {
					t.Parallel()
					w := newFixture(t)
					prepare(w)
					isWithdrawn := func() bool {
						for _, is := range w.states() {
							if is != state {
								return false
							}
						}
						return true
					}
					writes := &faults{breakAt: 2, before: func() { withdraw(w) }}
					operator := w.operator(writes.wrap(live))
					result, err := operator.Reconcile(t.Context(), w.request())
					if err != nil {
						t.Fatal(err)
					}
					key := w.key()
					observed := key.Status.ObservedGeneration == key.Generation && key.DeletionTimestamp.IsZero()
					if done := isWithdrawn(); observed && !done || !done && (result.RequeueAfter == 0 || result.RequeueAfter > time.Second) {
						t.Errorf("observed %t, the next pass is in %s, and the states are %v", observed, result.RequeueAfter, w.states())
					}
					if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
						t.Fatal(err)
					}
					if !isWithdrawn() {
						t.Errorf("the states are %v, want %s", w.states(), state)
					}
				})
			}
		}
	}
}
