// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/internal/lifecycle/effective"
)

const (
	// chatbotRefIndex finds the keys that are for a chatbot.
	chatbotRefIndex = "chatbotRef"
	// reservationIndex finds the records with a chatbot ID, by the name of the ConfigMap that reserves it.
	reservationIndex = "reservation"
)

func indexChatbots(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotAPIKey{}, chatbotRefIndex, func(o client.Object) []string {
		key, ok := o.(*v1alpha1.DGbotAPIKey)
		if !ok || key.Spec.ChatbotRef == nil {
			return nil
		}
		return []string{key.Spec.ChatbotRef.Name}
	}); err != nil {
		return err
	}
	return mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotAPIKeyRecord{}, reservationIndex, func(o client.Object) []string {
		record, ok := o.(*v1alpha1.DGbotAPIKeyRecord)
		if !ok || record.Spec.ChatbotID == "" {
			return nil
		}
		return []string{reservation.NameOf(record.Spec.ChatbotID).Name}
	})
}

// chatbotOf reads the chatbot that the key is for. What is minted is minted with its ID, so it is read live then: a cache may
// still have one that was deleted and created anew, which is another one. Where it has no ID, the reservations of the IDs on the
// key's records are read: another chatbot may have reserved one since.
func chatbotOf(ctx context.Context, reader client.Reader, key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord) (effective.Chatbot, error) {
	if key.Spec.ChatbotRef == nil {
		return effective.Chatbot{}, nil
	}
	chatbot, name := &v1alpha1.DGbotChatbot{}, types.NamespacedName{Namespace: key.Namespace, Name: key.Spec.ChatbotRef.Name}
	found, err := read.Get(ctx, reader, name, chatbot)
	if err != nil {
		return effective.Chatbot{}, read.Wrap(err, "DGbotChatbot %q", name.Name)
	}
	known := effective.Chatbot{ID: chatbot.Status.ChatbotID, Missing: !found, Environment: chatbot.Spec.Environment}
	if known.ID != "" && known.Environment == key.Spec.Environment {
		return known, nil
	}
	for i := range records {
		id := records[i].Spec.ChatbotID
		if id == "" || slices.Contains(known.Moved, id) {
			continue
		}
		if id == known.ID { // of a chatbot with the name of the key's own, in another environment
			known.Moved = append(known.Moved, id)
			continue
		}
		lock := &corev1.ConfigMap{}
		found, err := read.Get(ctx, reader, reservation.NameOf(id), lock)
		if err != nil {
			return known, read.Wrap(err, "ConfigMap %s", reservation.NameOf(id))
		}
		if !found {
			continue
		}
		moved := lock.CreationTimestamp.After(records[i].CreationTimestamp.Time) && reservation.HolderOf(lock) != name
		if !moved {
			moved, err = isOfAnother(ctx, reader, key, reservation.HolderOf(lock))
		}
		if err != nil {
			return known, err
		}
		if moved {
			known.Moved = append(known.Moved, id)
		}
	}
	return known, nil
}

// isOfAnother reports whether the holder of a chatbot ID is one that the key could not have been issued for: a chatbot of another
// namespace or of another environment. Another holder that reserved the ID before the key was issued is the chatbot that
// spec.chatbotRef named then. Its ID stays until the new chatbot has one: a key without an ID may be accepted for every chatbot.
func isOfAnother(ctx context.Context, reader client.Reader, key *v1alpha1.DGbotAPIKey, holder types.NamespacedName) (bool, error) {
	if holder.Namespace != key.Namespace {
		return true, nil
	}
	chatbot := &v1alpha1.DGbotChatbot{}
	found, err := read.Get(ctx, reader, holder, chatbot)
	if err != nil {
		return false, read.Wrap(err, "DGbotChatbot %q", holder.Name)
	}
	return found && chatbot.Spec.Environment != key.Spec.Environment, nil
}

// ofChatbotID leaves out changes of a chatbot that do not concern its keys.
func ofChatbotID() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		old, ok := e.ObjectOld.(*v1alpha1.DGbotChatbot)
		next, alsoOK := e.ObjectNew.(*v1alpha1.DGbotChatbot)
		return !ok || !alsoOK || old.Status.ChatbotID != next.Status.ChatbotID || old.UID != next.UID
	}}
}

// ofReservations selects new reservations of chatbot IDs. They are immutable, and a deleted one changes no key.
func ofReservations() predicate.Predicate {
	return predicate.And[client.Object](
		predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetNamespace() == v1alpha1.IdentityNamespace }),
		predicate.Funcs{
			UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})
}

// keysOfReservation returns the keys whose records have the chatbot ID of a reservation, in all namespaces.
func (r *Reconciler) keysOfReservation(ctx context.Context, o client.Object) []reconcile.Request {
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := r.Client.List(ctx, &records, client.MatchingFields{reservationIndex: o.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the keys that have the chatbot ID of a reservation", "name", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range records.Items {
		for _, request := range keyOfRecord(ctx, &records.Items[i]) {
			if !slices.Contains(requests, request) {
				requests = append(requests, request)
			}
		}
	}
	return requests
}
