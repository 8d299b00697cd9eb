// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// observed is an observation with the objects that it was made from.
type observed struct {
	chatbots.Observation
	// lock, widget, secret and replica are nil if they do not exist. stale is a replica to delete.
	lock, widget    *corev1.ConfigMap
	secret, replica *corev1.Secret
	stale           client.Object
	// texts are the known HMAC secrets, by their hashes. The operator forgets them at the end of the pass.
	texts map[string][]byte
	// source is the Secret that importFrom names.
	source []byte
	// failures are the failed reads behind Observation.Failed.
	failures read.Failures
}

// noteRead adds the outcome of reading a part to the observation; nil for a read that succeeded.
func (seen *observed) noteRead(part report.ReadPart, err error) {
	seen.failures.Note(part, err)
	seen.Failed = seen.failures.Reads
}

// observeLive reads the chatbot before and after its Secrets, so that the ledger in its status belongs to these Secrets. With an older
// ledger, a new HMAC secret looks foreign; with a newer one, the announced secret seems to be missing.
func (r *Reconciler) observeLive(ctx context.Context, name types.NamespacedName, minted map[string][]byte) (*observed, error) {
	for range write.MaxObservations {
		chatbot := &v1alpha1.DGbotChatbot{}
		if found, err := read.Get(ctx, r.Live, name, chatbot); err != nil || !found {
			return nil, err
		}
		seen, err := r.observe(ctx, chatbot, minted)
		if err != nil || !wantsHMAC(chatbot) || seen.Reservation != chatbots.ReservationOwned && seen.Reservation != chatbots.ReservationUnknown {
			return seen, err
		}
		after := &v1alpha1.DGbotChatbot{}
		found, err := read.Get(ctx, r.Live, name, after)
		if err != nil || !found {
			return nil, err
		}
		if after.UID == chatbot.UID && after.ResourceVersion == chatbot.ResourceVersion {
			return seen, nil
		}
	}
	return nil, write.ErrConflict
}

// observe reads the objects that belong to a chatbot: its ConfigMaps from the cache, because an attempt to create a missing one finds it.
// A failed read becomes part of the observation; only the end of the context is an error.
func (r *Reconciler) observe(ctx context.Context, chatbot *v1alpha1.DGbotChatbot, minted map[string][]byte) (*observed, error) {
	seen := &observed{
		Observation: chatbots.Observation{Chatbot: chatbot, ID: idOf(chatbot)}, texts: map[string][]byte{},
	}
	maps.Copy(seen.texts, minted)
	reads, cancel := r.patience(ctx, chatbot)
	defer cancel()
	r.observeReservation(reads, seen)
	r.observeWidget(reads, seen)
	if seen.Reservation == chatbots.ReservationOwned || seen.Reservation == chatbots.ReservationUnknown {
		r.observeHMAC(reads, seen)
	}
	return seen, ctx.Err()
}

// patience returns a context for all reads of an observation except that of the chatbot. It ends soon if the ledger has an HMAC secret to
// withdraw. Objects that were not read by then count as unknown.
func (r *Reconciler) patience(ctx context.Context, chatbot *v1alpha1.DGbotChatbot) (context.Context, context.CancelFunc) {
	switch chatbots.WithdrawalOf(chatbot, r.Clock.Now()) {
	case steps.WithdrawNow:
		return context.WithTimeout(ctx, read.UrgentTimeout)
	case steps.WithdrawAfterAttempt:
		return context.WithTimeout(ctx, read.AttemptTimeout)
	}
	return context.WithCancel(ctx)
}

// observeReservation reads the reservation of the chatbot's ID.
func (r *Reconciler) observeReservation(ctx context.Context, seen *observed) {
	lock := &corev1.ConfigMap{}
	found, err := r.getCached(ctx, reservation.NameOf(seen.ID), lock)
	err = read.Wrap(err, "ConfigMap %s", reservation.NameOf(seen.ID))
	if !found {
		lock = nil
	}
	if err == nil {
		err = read.Bounded(ctx, func(ctx context.Context) error { return r.describeReservation(ctx, seen, lock) })
	}
	if err != nil {
		seen.Reservation = chatbots.ReservationUnknown
	}
	seen.noteRead(report.ReadReservation, err)
}

// observeWidget reads the chatbot's ConfigMap.
func (r *Reconciler) observeWidget(ctx context.Context, seen *observed) {
	widget, name := &corev1.ConfigMap{}, widgetName(seen.Chatbot)
	look := r.getCached
	if widgetWasForeign(seen.Chatbot) {
		look = r.getLive
	}
	found, err := look(ctx, name, widget)
	err = read.Wrap(err, "ConfigMap %q", name.Name)
	if !found {
		widget = nil
	}
	if err == nil {
		err = read.Bounded(ctx, func(ctx context.Context) error { return r.describeWidget(ctx, seen, widget) })
	}
	if err != nil {
		seen.Widget = chatbots.WidgetUnknown
	}
	seen.noteRead(report.ReadWidget, err)
}

// getCached reads an object from the cache, or from the API server if the cache fails.
func (r *Reconciler) getCached(ctx context.Context, name types.NamespacedName, into client.Object) (bool, error) {
	if found, err := read.Get(ctx, r.Client, name, into); err == nil {
		return found, nil
	}
	return r.getLive(ctx, name, into)
}

// getLive reads an object from the API server, within read.readTimeout.
func (r *Reconciler) getLive(ctx context.Context, name types.NamespacedName, into client.Object) (found bool, err error) {
	err = read.Bounded(ctx, func(ctx context.Context) (err error) {
		found, err = read.Get(ctx, r.Live, name, into)
		return err
	})
	return found, err
}

// widgetWasForeign reports whether another object used the name of the chatbot's ConfigMap. The cache knows the objects with the chatbot
// label; a live read finds whether the other object still exists, without an attempt to write.
func widgetWasForeign(chatbot *v1alpha1.DGbotChatbot) bool {
	ready := apimeta.FindStatusCondition(chatbot.Status.Conditions, v1alpha1.ReadyCondition)
	return ready != nil && (ready.Reason == v1alpha1.ConfigMapConflictReason || ready.Reason == v1alpha1.WaitingForGarbageCollectionReason)
}
