// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// behind is a client that reads as a cache does which has stopped at a moment: the key, the records and the Secret's
// metadata as they were then. What it writes is counted.
func (w *fixture) behind() (client.Client, *faults) {
	w.T.Helper()
	key, records, secret := w.key(), w.records(), w.secret()
	count := &faults{}
	return interceptor.NewClient(count.wrap(live), interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, name client.ObjectKey, o client.Object, _ ...client.GetOption) error {
			switch o := o.(type) {
			case *v1alpha1.DGbotAPIKey:
				key.DeepCopyInto(o)
				return nil
			case *metav1.PartialObjectMetadata:
				if secret != nil {
					secret.ObjectMeta.DeepCopyInto(&o.ObjectMeta)
					return nil
				}
			}
			return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name.Name)
		},
		List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
			if list, ok := list.(*v1alpha1.DGbotAPIKeyRecordList); ok {
				list.Items = records
			}
			return nil
		},
	}), count
}

// TestACacheThatIsBehindWritesNothing: minting, revoking and repairing are decided from live reads.
func TestACacheThatIsBehindWritesNothing(t *testing.T) {
	for name, test := range map[string]struct{ before, since func(*fixture) }{
		"the key was issued since": {
			before: func(w *fixture) { w.create(nil) },
			since:  func(*fixture) {},
		},
		"the key was rotated since": {
			before: func(w *fixture) {
				w.create(nil)
				w.rest()
				w.advance(time.Minute)
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
			},
			since: func(*fixture) {},
		},
		"the Secret was replaced since": {
			before: func(w *fixture) {
				w.create(nil)
				w.rest()
				w.deleteSecret()
			},
			since: func(*fixture) {},
		},
		"the request was withdrawn since": {
			before: func(w *fixture) {
				w.create(nil)
				w.rest()
				w.advance(time.Minute)
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
			},
			since: func(w *fixture) {
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = nil })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			test.before(w)
			stale, writes := w.behind()
			test.since(w)
			w.rest()
			revisions, text := len(w.records()), string(w.secret().Data[v1alpha1.DefaultSecretKey])
			for range 3 {
				w.restWith(w.operator(stale))
			}
			if writes.writes != 0 {
				t.Errorf("%d writes on the word of a cache: %v", writes.writes, writes.sites)
			}
			if len(w.records()) != revisions || string(w.secret().Data[v1alpha1.DefaultSecretKey]) != text || w.verifies() != standing.Admitted {
				t.Errorf("%d records, were %d; the key in the Secret is %s", len(w.records()), revisions, w.verifies())
			}
		})
	}
}
