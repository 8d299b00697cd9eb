// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
)

// describeReservation adds a reservation to the observation; nil if it does not exist.
func (r *Reconciler) describeReservation(ctx context.Context, seen *observed, lock *corev1.ConfigMap) error {
	seen.lock, seen.Reservation, seen.Holder = lock, chatbots.ReservationAbsent, ""
	if lock == nil {
		return r.describeHolder(ctx, seen)
	}
	if types.UID(lock.Data[reservation.EntryUID]) == seen.Chatbot.UID {
		seen.Reservation = chatbots.ReservationOwned
		return nil
	}
	held, err := r.held(ctx, lock)
	if err != nil {
		return err
	}
	seen.Reservation, seen.Holder = chatbots.ReservationStale, reservation.HolderOf(lock).String()
	if held {
		seen.Reservation = chatbots.ReservationTaken
	}
	return nil
}

// describeHolder looks for another chatbot that has the ID if there is no reservation: when a user deletes one, the ID must not move to the next
// chatbot that asks for it. Its holder reserves it anew.
func (r *Reconciler) describeHolder(ctx context.Context, seen *observed) error {
	if seen.Chatbot.Status.ChatbotID == seen.ID {
		return nil
	}
	var all v1alpha1.DGbotChatbotList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return read.Wrap(err, "the list of DGbotChatbots with chatbot ID %s", seen.ID)
	}
	for i := range all.Items {
		other := &all.Items[i]
		if other.Status.ChatbotID == seen.ID && other.UID != seen.Chatbot.UID && idOf(other) == seen.ID {
			seen.Reservation, seen.Holder = chatbots.ReservationTaken, client.ObjectKeyFromObject(other).String()
		}
	}
	return nil
}

// held reports whether the chatbot that reserved an ID exists. The cache may show that it exists; only the API server can show that it
// does not.
func (r *Reconciler) held(ctx context.Context, lock *corev1.ConfigMap) (bool, error) {
	return r.isHeld(ctx, reservation.HolderOf(lock), types.UID(lock.Data[reservation.EntryUID]))
}

// isHeld reports whether a chatbot exists. One in a namespace that this manager does not work in may be another manager's, and
// counts as existing: that manager releases its reservation and its replica.
func (r *Reconciler) isHeld(ctx context.Context, name types.NamespacedName, uid types.UID) (bool, error) {
	if !r.worksIn(name.Namespace) {
		return true, nil
	}
	for i, reader := range []client.Reader{r.Client, r.Live} {
		holder := &v1alpha1.DGbotChatbot{}
		found, err := read.Get(ctx, reader, name, holder)
		if err != nil {
			if i == 0 {
				continue // only the API server may report that the chatbot is gone
			}
			return false, read.Wrap(err, "DGbotChatbot %s, which has objects in namespace %s", name, v1alpha1.IdentityNamespace)
		}
		if found && holder.UID == uid {
			return true, nil
		}
	}
	return false, nil
}

func (r *Reconciler) worksIn(namespace string) bool {
	return len(r.Namespaces) == 0 || slices.Contains(r.Namespaces, namespace)
}

// reserve creates the reservation of the chatbot's ID. Before that it deletes a stale one, but only the observed version.
func (r *Reconciler) reserve(ctx context.Context, seen *observed) error {
	if seen.Reservation == chatbots.ReservationStale {
		if err := r.release(ctx, seen.lock); err != nil {
			return err
		}
	}
	name, yes := reservation.NameOf(seen.ID), true
	lock := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: name.Namespace, Name: name.Name,
			Labels: map[string]string{
				v1alpha1.ChatbotLabel: string(seen.Chatbot.UID), v1alpha1.ManagedByLabel: v1alpha1.ManagedBy,
				v1alpha1.ClaimHolderLabel: reservation.HolderLabel(client.ObjectKeyFromObject(seen.Chatbot)),
			},
		},
		Data: map[string]string{
			reservation.EntryChatbotID: seen.ID, reservation.EntryNamespace: seen.Chatbot.Namespace, reservation.EntryName: seen.Chatbot.Name, reservation.EntryUID: string(seen.Chatbot.UID),
		},
		Immutable: &yes,
	}
	err := r.Client.Create(ctx, lock)
	switch {
	case apierrors.IsAlreadyExists(err):
		existing := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
		if err := write.ReadExisting(ctx, r.Live, existing, err, v1alpha1.ChatbotIDRefusedReason); err != nil {
			return err
		}
		return r.describeReservation(ctx, seen, existing)
	case isIdentityNamespaceGone(err, true):
		return identityNamespaceGone(v1alpha1.ChatbotIDRefusedReason)
	case err != nil:
		return adviseIdentity(write.Classify(err, v1alpha1.ChatbotIDRefusedReason), err)
	}
	return r.describeReservation(ctx, seen, lock)
}

// releaseReservations deletes the reservations of a chatbot that was deleted or replaced by another of its name. It deletes the replica of the
// HMAC secret first: no chatbot may have the ID while verifiers still accept signatures of the previous one.
func (r *Reconciler) releaseReservations(ctx context.Context, name types.NamespacedName) error {
	// The name of a replica follows from a reservation, so it is deleted even if the replicas cannot be listed.
	unreleased := r.releaseReplicas(ctx, name)
	var reservations corev1.ConfigMapList
	if err := r.Client.List(ctx, &reservations, client.InNamespace(v1alpha1.IdentityNamespace), client.MatchingLabels{v1alpha1.ClaimHolderLabel: reservation.HolderLabel(name)}); err != nil {
		return errors.Join(unreleased, err)
	}
	for i := range reservations.Items {
		lock := &reservations.Items[i]
		if reservation.HolderOf(lock) != name {
			continue
		}
		held, err := r.held(ctx, lock)
		if err != nil {
			return errors.Join(unreleased, err)
		}
		if held {
			continue
		}
		if err := r.release(ctx, lock); err != nil {
			return errors.Join(unreleased, err)
		}
	}
	return unreleased
}

// release deletes a reservation unless it has changed since. Before that it deletes a replica that lost the label by which the cache finds
// it.
func (r *Reconciler) release(ctx context.Context, lock *corev1.ConfigMap) error {
	replica := read.Metadata("Secret")
	found, err := r.getLive(ctx, client.ObjectKeyFromObject(lock), replica)
	if err != nil {
		// The holder of the reservation does not exist, so verifiers must not accept any replica of this name.
		replica.SetNamespace(lock.Namespace)
		replica.SetName(lock.Name)
		if err := r.deleteReplica(ctx, replica); err != nil {
			return err
		}
	}
	if uid := replica.Labels[v1alpha1.ChatbotLabel]; found && (uid == "" || uid == lock.Data[reservation.EntryUID]) {
		if err := r.deleteReplica(ctx, replica); err != nil {
			return err
		}
	}
	err = r.Client.Delete(ctx, lock, client.Preconditions{UID: &lock.UID, ResourceVersion: &lock.ResourceVersion})
	if err := write.Classify(client.IgnoreNotFound(err), v1alpha1.ChatbotIDRefusedReason); err != nil {
		return err
	}
	ctrl.LoggerFrom(ctx).Info("Released the ID of a chatbot that is gone", "chatbotID", lock.Data[reservation.EntryChatbotID], "holder", reservation.HolderOf(lock).String())
	return nil
}
