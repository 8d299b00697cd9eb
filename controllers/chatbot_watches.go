// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// lockNameIndex finds the chatbots that want an ID, by the name of its claim and of the copy.
const lockNameIndex = "lockName"

// SetupWithManager registers the reconciler, its watches and indexes.
func (r *ChatbotReconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotChatbot{}, lockNameIndex, func(o client.Object) []string {
		chatbot, ok := o.(*v1alpha1.DGbotChatbot)
		if !ok {
			return nil
		}
		return []string{lockName(chatbotID(chatbot)).Name}
	}); err != nil {
		return err
	}
	r.slow.capacity = capacityOf(concurrency)
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DGbotChatbot{}, builder.WithPredicates(notOfStatusAlone())).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.chatbotsOf)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.chatbotsOf), builder.OnlyMetadata).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: retryLimiter(), NewQueue: takingTurns(r.urgent)}).
		Complete(r)
}

// chatbotsOf returns whoever a ConfigMap or a Secret concerns: a claim or a copy its holder, and those who want the same ID; any
// other those whose name for it this is.
func (r *ChatbotReconciler) chatbotsOf(ctx context.Context, o client.Object) []reconcile.Request {
	var names []types.NamespacedName
	selection := []client.ListOption{client.UnsafeDisableDeepCopy}
	if o.GetNamespace() == v1alpha1.IdentityNamespace {
		if holder, ok := holderIn(o); ok && r.worksIn(holder.Namespace) {
			names = append(names, holder)
		}
		selection = append(selection, client.MatchingFields{lockNameIndex: o.GetName()})
	} else {
		selection = append(selection, client.InNamespace(o.GetNamespace()))
	}
	var chatbots v1alpha1.DGbotChatbotList
	if err := r.Client.List(ctx, &chatbots, selection...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the chatbots of an object", "namespace", o.GetNamespace(), "name", o.GetName())
		return nil
	}
	for i := range chatbots.Items {
		if chatbot := &chatbots.Items[i]; o.GetNamespace() == v1alpha1.IdentityNamespace || publishesUnder(chatbot, o) {
			names = append(names, client.ObjectKeyFromObject(chatbot))
		}
	}
	requests := make([]reconcile.Request, len(names))
	for i, name := range names {
		requests[i].NamespacedName = name
	}
	return requests
}

// holderIn is the chatbot that a claim or a copy says it is of.
func holderIn(o client.Object) (types.NamespacedName, bool) {
	if claim, ok := o.(*corev1.ConfigMap); ok {
		return holderOf(claim), true
	}
	namespace, name, ok := strings.Cut(o.GetAnnotations()[v1alpha1.ChatbotHolderAnnotation], "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}

// publishesUnder says whether an object's name is one that the chatbot publishes under, or imports from.
func publishesUnder(chatbot *v1alpha1.DGbotChatbot, o client.Object) bool {
	if _, ok := o.(*corev1.ConfigMap); ok {
		return lifecycle.WidgetName(chatbot) == o.GetName()
	}
	iv := chatbot.Spec.IdentityVerification
	return iv != nil && (lifecycle.IdentitySecretName(chatbot) == o.GetName() || iv.ImportFrom != nil && iv.ImportFrom.Name == o.GetName())
}
