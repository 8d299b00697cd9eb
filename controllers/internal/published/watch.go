// SPDX-License-Identifier: Apache-2.0

package published

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/controllers/internal/queue"
)

// WakeOwners returns a handler for events of published objects. Any number of owners can name one published object, and at most one of
// them owns it. The handler wakes that one at once, and all of them when the object is deleted. It wakes the others a moment later, and
// only after a change of the ownership.
//
// naming returns the owners that name an object. The handler does not change them.
func WakeOwners[T client.Object](kind OwnerKind, naming func(context.Context, client.Object) []T) handler.EventHandler {
	type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]
	requestFor := func(owner T) reconcile.Request {
		return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(owner)}
	}
	wake := func(ctx context.Context, before, after client.Object, to requests) {
		moved := before == nil || !sameOwnership(before, after)
		for _, owner := range naming(ctx, after) {
			switch {
			case isOwnedBy(owner, kind, before) || isOwnedBy(owner, kind, after):
				to.Add(requestFor(owner))
			case moved:
				queue.AddLater(to, requestFor(owner))
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, to requests) {
			if !e.IsInInitialList { // every owner is reconciled after a start
				wake(ctx, nil, e.Object, to)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, to requests) {
			wake(ctx, e.ObjectOld, e.ObjectNew, to)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, to requests) {
			for _, owner := range naming(ctx, e.Object) {
				to.Add(requestFor(owner))
			}
		},
	}
}
