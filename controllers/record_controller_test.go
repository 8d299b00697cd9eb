// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/records"
)

// strayFixture is a fixture with a published key and its record.
func strayFixture(t *testing.T) (*fixture, *v1alpha1.DGbotAPIKeyRecord) {
	t.Helper()
	w := newFixture(t)
	w.create(nil)
	w.rest()
	return w, w.first()
}

func reconcileRecord(t *testing.T, writes client.Client, record *v1alpha1.DGbotAPIKeyRecord) (ctrl.Result, error) {
	t.Helper()
	return (&records.Reconciler{Client: writes, Live: live}).Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(record)})
}

// detach takes the record's owner away, as an orphaning deletion or a restored backup does.
func detach(t *testing.T, record *v1alpha1.DGbotAPIKeyRecord) {
	t.Helper()
	record.OwnerReferences = nil
	if err := live.Update(t.Context(), record); err != nil {
		t.Fatal(err)
	}
}

func TestARecordThatItsKeyOwnsIsLeftAlone(t *testing.T) {
	w, record := strayFixture(t)
	if _, err := reconcileRecord(t, live, record); err != nil {
		t.Fatal(err)
	}
	if w.first() == nil {
		t.Error("the record of a living key was deleted")
	}
}

func TestStrayRecordsAreDeletedWhateverBreaks(t *testing.T) {
	for how, f := range map[string]*faults{
		"nothing breaks":                {},
		"the deletion fails":            {breakAt: 1},
		"the deletion's answer is lost": {breakAt: 1, lost: true},
	} {
		t.Run(how, func(t *testing.T) {
			w, record := strayFixture(t)
			detach(t, record)
			f.before, f.after = nil, nil
			writes := f.wrap(live)
			if _, err := reconcileRecord(t, writes, record); err != nil {
				if !errors.Is(err, errInjected) {
					t.Fatal(err)
				}
				if _, err := reconcileRecord(t, writes, record); err != nil {
					t.Fatal(err)
				}
			}
			if w.first() != nil {
				t.Error("the stray record is still there")
			}
		})
	}
}

func TestARecordOfAnEarlierKeyOfTheNameIsDeleted(t *testing.T) {
	w, record := strayFixture(t)
	other := record.DeepCopy()
	other.ObjectMeta = metav1.ObjectMeta{Namespace: w.Name, Name: "restored", OwnerReferences: record.OwnerReferences}
	other.OwnerReferences[0].UID, other.Spec.APIKeyRef.UID = "earlier", "earlier"
	if err := live.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if _, err := reconcileRecord(t, live, other); err != nil {
		t.Fatal(err)
	}
	if n := len(w.records()); n != 1 {
		t.Errorf("%d records, want the living key's only", n)
	}
}

// TestACacheThatDoesNotKnowTheKeyYetCostsNothing: deleting the record of a key created a moment ago would cost a key.
func TestACacheThatDoesNotKnowTheKeyYetCostsNothing(t *testing.T) {
	w, record := strayFixture(t)
	behind := interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, ok := o.(*v1alpha1.DGbotAPIKey); ok {
				return apierrors.NewNotFound(schema.GroupResource{Resource: "dgbotapikeys"}, name.Name)
			}
			return c.Get(ctx, name, o, options...)
		},
	})
	if _, err := reconcileRecord(t, behind, record); err != nil {
		t.Fatal(err)
	}
	if w.first() == nil {
		t.Error("the record was deleted on the word of a cache")
	}
}

// TestARecordThatChangesMeanwhileIsLookedAtAgain: its owner may just have been put back.
func TestARecordThatChangesMeanwhileIsLookedAtAgain(t *testing.T) {
	w, record := strayFixture(t)
	owners := record.OwnerReferences
	detach(t, record)
	racing := interceptor.NewClient(live, interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			again := w.first()
			again.OwnerReferences = owners
			if err := c.Update(ctx, again); err != nil {
				return err
			}
			return c.Delete(ctx, o, options...)
		},
	})
	result, err := reconcileRecord(t, racing, record)
	if err != nil || result.RequeueAfter == 0 {
		t.Errorf("result %+v, error %v: want another look", result, err)
	}
	if w.first() == nil {
		t.Error("a record that is owned again was deleted")
	}
}
