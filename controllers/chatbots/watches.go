// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// lockNameIndex finds the chatbots that want an ID, by the name of its reservation and of the replica.
const lockNameIndex = "lockName"

// Indexes are the indexes by which events of other objects find chatbots.
func Indexes() []string { return []string{lockNameIndex} }

// SetupWithManager registers the reconciler, its watches and indexes.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotChatbot{}, lockNameIndex, func(o client.Object) []string {
		chatbot, ok := o.(*v1alpha1.DGbotChatbot)
		if !ok {
			return nil
		}
		return []string{reservation.NameOf(idOf(chatbot)).Name}
	}); err != nil {
		return err
	}
	r.slow.Capacity = write.CapacityOf(concurrency)
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DGbotChatbot{}, builder.WithPredicates(queue.IgnoreStatusChanges())).
		Watches(&corev1.ConfigMap{}, r.wakeChatbots()).
		WatchesMetadata(&corev1.Secret{}, r.wakeChatbots(), builder.OnlyMetadata).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: queue.RateLimiter(), NewQueue: queue.FairByNamespace(r.urgent)}).
		Complete(r)
}

// wakeChatbots wakes the chatbots that a ConfigMap or a Secret concerns. In the identity namespace, where users write nothing, each change
// wakes all of them.
func (r *Reconciler) wakeChatbots() handler.EventHandler {
	type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]
	identities := handler.EnqueueRequestsFromMapFunc(r.chatbotsOf)
	others := published.WakeOwners(published.ChatbotOwner, r.chatbotsNaming)
	of := func(o client.Object) handler.EventHandler {
		if o.GetNamespace() == v1alpha1.IdentityNamespace {
			return identities
		}
		return others
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, to requests) { of(e.Object).Create(ctx, e, to) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, to requests) { of(e.ObjectNew).Update(ctx, e, to) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, to requests) { of(e.Object).Delete(ctx, e, to) },
	}
}

// chatbotsOf returns requests for the chatbots that an object concerns: those that name it, and the holder of a reservation or a replica.
func (r *Reconciler) chatbotsOf(ctx context.Context, o client.Object) []reconcile.Request {
	var requests []reconcile.Request
	if holder, ok := holderIn(o); ok && o.GetNamespace() == v1alpha1.IdentityNamespace && r.worksIn(holder.Namespace) {
		requests = append(requests, reconcile.Request{NamespacedName: holder})
	}
	for _, chatbot := range r.chatbotsNaming(ctx, o) {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(chatbot)})
	}
	return requests
}

// chatbotsNaming returns the chatbots that want the ID of a reservation or a replica, or that name any other ConfigMap or Secret. The
// caller must not change them.
func (r *Reconciler) chatbotsNaming(ctx context.Context, o client.Object) []*v1alpha1.DGbotChatbot {
	isIdentity := o.GetNamespace() == v1alpha1.IdentityNamespace
	selection := []client.ListOption{client.UnsafeDisableDeepCopy, client.InNamespace(o.GetNamespace())}
	if isIdentity {
		selection[1] = client.MatchingFields{lockNameIndex: o.GetName()}
	}
	var chatbots v1alpha1.DGbotChatbotList
	if err := r.Client.List(ctx, &chatbots, selection...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the chatbots of an object", "namespace", o.GetNamespace(), "name", o.GetName())
		return nil
	}
	var naming []*v1alpha1.DGbotChatbot
	for i := range chatbots.Items {
		if chatbot := &chatbots.Items[i]; isIdentity || publishesUnder(chatbot, o) {
			naming = append(naming, chatbot)
		}
	}
	return naming
}

// holderIn returns the chatbot that a reservation or a replica names.
func holderIn(o client.Object) (types.NamespacedName, bool) {
	if reserved, ok := o.(*corev1.ConfigMap); ok {
		return reservation.HolderOf(reserved), true
	}
	namespace, name, ok := strings.Cut(o.GetAnnotations()[v1alpha1.ChatbotHolderAnnotation], "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}

// publishesUnder reports whether the chatbot publishes under an object's name or imports from the object.
func publishesUnder(chatbot *v1alpha1.DGbotChatbot, o client.Object) bool {
	if _, ok := o.(*corev1.ConfigMap); ok {
		return chatbots.WidgetName(chatbot) == o.GetName()
	}
	iv := chatbot.Spec.IdentityVerification
	return iv != nil && (chatbots.SecretName(chatbot) == o.GetName() || iv.ImportFrom != nil && iv.ImportFrom.Name == o.GetName())
}

// urgent reports whether an HMAC secret of a chatbot is to be withdrawn, according to the cache.
func (r *Reconciler) urgent(request reconcile.Request) bool {
	if !caching.Filled(r.Client, request.Namespace, &v1alpha1.DGbotChatbot{}) {
		return false
	}
	chatbot := &v1alpha1.DGbotChatbot{}
	found, err := read.Get(context.Background(), r.Client, request.NamespacedName, chatbot)
	return err == nil && found && chatbots.WithdrawalOf(chatbot, r.Clock.Now()) != steps.WithdrawNothing
}
