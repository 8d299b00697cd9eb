// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// observe reads what belongs to a chatbot: its ConfigMaps from the cache, because a missing one is found by trying to create
// it. A read that fails is noted in the observation; only the end of the context is an error.
func (r *ChatbotReconciler) observe(ctx context.Context, chatbot *v1alpha1.DGbotChatbot, minted map[string][]byte) (*seenChatbot, error) {
	seen := &seenChatbot{
		ChatbotObservation: lifecycle.ChatbotObservation{Chatbot: chatbot, ID: chatbotID(chatbot)}, texts: map[string][]byte{},
	}
	maps.Copy(seen.texts, minted)
	reads, cancel := r.patience(ctx, chatbot)
	defer cancel()
	r.observeClaim(reads, seen)
	r.observeWidget(reads, seen)
	if seen.Claim == lifecycle.ClaimOwn || seen.Claim == lifecycle.ClaimUnknown {
		r.observeHMAC(reads, seen)
	}
	return seen, ctx.Err()
}

// patience returns a context for all reads of an observation beside that of the chatbot: it ends soon where the ledger says that an
// HMAC secret is to be withdrawn. What was not read by then counts as unknown.
func (r *ChatbotReconciler) patience(ctx context.Context, chatbot *v1alpha1.DGbotChatbot) (context.Context, context.CancelFunc) {
	switch lifecycle.HMACWithdrawalOf(chatbot, r.Clock.Now()) {
	case lifecycle.WithdrawNow:
		return context.WithTimeout(ctx, urgentTimeout)
	case lifecycle.WithdrawAfterAttempt:
		return context.WithTimeout(ctx, attemptTimeout)
	}
	return context.WithCancel(ctx)
}

// observeClaim reads the claim of the chatbot's ID.
func (r *ChatbotReconciler) observeClaim(ctx context.Context, seen *seenChatbot) {
	lock := &corev1.ConfigMap{}
	found, err := r.getCached(ctx, lockName(seen.ID), lock)
	err = reading(err, "ConfigMap %s", lockName(seen.ID))
	if !found {
		lock = nil
	}
	if err == nil {
		err = bounded(ctx, func(ctx context.Context) error { return r.describeClaim(ctx, seen, lock) })
	}
	if err != nil {
		seen.Claim = lifecycle.ClaimUnknown
	}
	seen.failed(lifecycle.ReadClaim, err)
}

// observeWidget reads the chatbot's ConfigMap.
func (r *ChatbotReconciler) observeWidget(ctx context.Context, seen *seenChatbot) {
	widget, name := &corev1.ConfigMap{}, widgetName(seen.Chatbot)
	read := r.getCached
	if widgetWasForeign(seen.Chatbot) {
		read = r.getLive
	}
	found, err := read(ctx, name, widget)
	err = reading(err, "ConfigMap %q", name.Name)
	if !found {
		widget = nil
	}
	if err == nil {
		err = bounded(ctx, func(ctx context.Context) error { return r.describeWidget(ctx, seen, widget) })
	}
	if err != nil {
		seen.Widget = lifecycle.WidgetUnknown
	}
	seen.failed(lifecycle.ReadWidget, err)
}

// getCached reads an object from the cache, or from the API server where the cache fails.
func (r *ChatbotReconciler) getCached(ctx context.Context, name types.NamespacedName, into client.Object) (bool, error) {
	if found, err := get(ctx, r.Client, name, into); err == nil {
		return found, nil
	}
	return r.getLive(ctx, name, into)
}

// getLive reads an object from the API server, within readTimeout.
func (r *ChatbotReconciler) getLive(ctx context.Context, name types.NamespacedName, into client.Object) (found bool, err error) {
	err = bounded(ctx, func(ctx context.Context) (err error) {
		found, err = get(ctx, r.Live, name, into)
		return err
	})
	return found, err
}

// widgetWasForeign reports whether the name of the chatbot's ConfigMap was in use by another object. The cache knows what carries the
// chatbot label; whether the other object is still there takes a live read, and no attempt to write.
func widgetWasForeign(chatbot *v1alpha1.DGbotChatbot) bool {
	ready := apimeta.FindStatusCondition(chatbot.Status.Conditions, v1alpha1.ReadyCondition)
	return ready != nil && (ready.Reason == v1alpha1.ConfigMapConflictReason || ready.Reason == v1alpha1.WaitingForGarbageCollectionReason)
}
