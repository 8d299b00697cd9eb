// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// Any number of keys can name one Secret, and at most one of them owns it. What happens to the Secret concerns the others only as far as
// it says whose the Secret is: they wait for it to go. They are not woken by other changes, they do not read the Secret while the
// cache shows it, and share one read of it where the cache does not.

// hasOtherOwner reports whether a left-over Secret has an owner beside the one with that uid, which is gone. Garbage collection then keeps
// the Secret as long as the other owner exists, which the operator has no right to read.
func hasOtherOwner(secret metav1.Object, uid types.UID, owner secretOwner) bool {
	return slices.ContainsFunc(secret.GetOwnerReferences(), func(o metav1.OwnerReference) bool {
		return o.UID != uid || !lifecycle.IsReferenceTo(owner.kind, o)
	})
}

// wakeKeysOfSecret wakes the keys that name a Secret: the owner at once, and all of them when the Secret is gone. The others are woken
// a moment later, and only when it changes whose the Secret is.
func (r *APIKeyReconciler) wakeKeysOfSecret() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	wake := func(ctx context.Context, before, after client.Object, queue queue) {
		var keys v1alpha1.DGbotAPIKeyList
		selection := []client.ListOption{client.InNamespace(after.GetNamespace()), client.MatchingFields{secretNameIndex: after.GetName()}, client.UnsafeDisableDeepCopy}
		if err := r.Client.List(ctx, &keys, selection...); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the keys of a Secret", "namespace", after.GetNamespace(), "name", after.GetName())
			return
		}
		moved := before == nil || !sameOwnership(before, after)
		for i := range keys.Items {
			key := &keys.Items[i]
			request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(key)}
			switch {
			case isOwnedBy(key, keyOwner, before) || isOwnedBy(key, keyOwner, after):
				queue.Add(request)
			case moved:
				wakeLater(queue, request)
			}
		}
	}
	gone := handler.EnqueueRequestsFromMapFunc(r.keysOf(secretNameIndex))
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue queue) {
			if !e.IsInInitialList { // each key is looked at after a start
				wake(ctx, nil, e.Object, queue)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue queue) {
			wake(ctx, e.ObjectOld, e.ObjectNew, queue)
		},
		DeleteFunc: gone.Delete,
	}
}

// isOwnedBy reports whether a published object is that of an object of ours; nil is none's.
func isOwnedBy(object metav1.Object, owner secretOwner, published client.Object) bool {
	if published == nil {
		return false
	}
	state, _ := claimOn(published, object.GetUID(), owner)
	return state == lifecycle.SecretOwned
}

// sameOwnership reports whether two versions of a published object, as a cache holds them, say the same of whose it is.
func sameOwnership(a, b client.Object) bool {
	return a.GetUID() == b.GetUID() && maps.Equal(a.GetLabels(), b.GetLabels()) && maps.Equal(a.GetAnnotations(), b.GetAnnotations()) &&
		slices.EqualFunc(a.GetOwnerReferences(), b.GetOwnerReferences(), equalOwners)
}

// foreignSecretAge is for how long keys share one read of a Secret that is none of theirs.
const foreignSecretAge = 5 * time.Second

// recallForeign returns the facts of a Secret that another owner has, as long as the key was never issued: from the cache, or from a
// read for another key a moment ago, which confirms nothing. Nil if the Secret has to be read. The bytes of such a Secret do not matter.
func (r *APIKeyReconciler) recallForeign(ctx context.Context, key *v1alpha1.DGbotAPIKey) (facts *secretFacts, confirmed bool) {
	if key.Status.Current != nil {
		return nil, false
	}
	metadata := metadataOf("Secret")
	if r.watchesSecrets() {
		found, err := get(ctx, r.Client, secretNameOf(key), metadata)
		confirmed = err == nil && found
	}
	if confirmed {
		facts = &secretFacts{metadata: metadata.ObjectMeta}
	} else {
		facts = r.memory.lastForeign(secretNameOf(key), r.Clock.Now())
	}
	if facts == nil || !isForeignTo(key, facts) {
		return nil, false
	}
	return facts, confirmed
}

func isForeignTo(key *v1alpha1.DGbotAPIKey, facts *secretFacts) bool {
	state, _ := facts.claim(key)
	return state == lifecycle.SecretForeign || state == lifecycle.SecretCollectable
}

// foreignSecret is a Secret that was read for a key that does not own it.
type foreignSecret struct {
	facts *secretFacts
	at    time.Time
}

// rememberForeign keeps the facts of a Secret for other keys that name it.
func (m *memory) rememberForeign(name types.NamespacedName, facts *secretFacts, now time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for other, seen := range m.foreign {
		if !seen.isFresh(now) {
			delete(m.foreign, other)
		}
	}
	if m.foreign == nil {
		m.foreign = map[types.NamespacedName]foreignSecret{}
	}
	m.foreign[name] = foreignSecret{facts, now}
}

// lastForeign returns the facts of a Secret that was read less than foreignSecretAge ago; nil for none.
func (m *memory) lastForeign(name types.NamespacedName, now time.Time) *secretFacts {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if seen, ok := m.foreign[name]; ok && seen.isFresh(now) {
		return seen.facts
	}
	return nil
}

func (m *memory) forgetForeign(name types.NamespacedName) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.foreign, name)
}

func (s *foreignSecret) isFresh(now time.Time) bool {
	age := now.Sub(s.at)
	return age >= 0 && age < foreignSecretAge
}
