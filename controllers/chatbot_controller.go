// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle"
)

// ChatbotReconciler gives each chatbot its ID, and publishes it with the snippet for web pages. What a crash leaves:
//
//	before the lock        nothing
//	before the ConfigMap   a lock, which the next pass finds; or nobody's lock, where the chatbot is deleted meanwhile,
//	                       which goes when it is seen
//	before the status      all but what is said of it
type ChatbotReconciler struct {
	// Client reads chatbots and the ConfigMaps that carry the chatbot label from the cache, and writes.
	Client client.Client
	// Live reads from the API server.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
}

// seenChatbot is an observation with the objects it was made from.
type seenChatbot struct {
	lifecycle.ChatbotObservation
	// lock and widget are nil where they are not there.
	lock, widget *corev1.ConfigMap
}

// Reconcile brings one chatbot closer to what its spec asks for, and forgets the claims of those that are gone.
func (r *ChatbotReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if err := r.releaseClaims(ctx, request.NamespacedName); err != nil {
		return resultOf(err)
	}
	chatbot := &v1alpha1.DGbotChatbot{}
	if found, err := get(ctx, r.Client, request.NamespacedName, chatbot); err != nil || !found {
		return ctrl.Result{}, err
	}
	seen, err := r.observe(ctx, chatbot)
	if err != nil {
		return ctrl.Result{}, err
	}
	decision, err := r.carryOut(ctx, seen)
	if err != nil {
		return resultOf(err)
	}
	if err := r.report(ctx, chatbot, decision.Status); err != nil {
		return resultOf(err)
	}
	if decision.Wake.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(decision.Wake.Sub(r.Clock.Now()), time.Millisecond)}, nil
}

// maxChatbotSteps is more than a chatbot needs: a claim after a stale one, and a publication.
const maxChatbotSteps = 4

func (r *ChatbotReconciler) carryOut(ctx context.Context, seen *seenChatbot) (lifecycle.ChatbotDecision, error) {
	for range maxChatbotSteps {
		decision := lifecycle.PlanChatbot(seen.ChatbotObservation, r.Clock.Now())
		if decision.Step == "" {
			return decision, nil
		}
		var err error
		switch decision.Step {
		case lifecycle.ClaimID:
			err = r.claim(ctx, seen)
		case lifecycle.PublishWidget:
			err = r.publish(ctx, seen)
		}
		var refused *refusedError
		if errors.As(err, &refused) {
			ctrl.LoggerFrom(ctx).Info("The API server refuses a write", "reason", refused.refusal.Reason, "message", refused.refusal.Message)
			seen.Refusal = &refused.refusal
		} else if err != nil {
			return decision, err
		}
	}
	return lifecycle.ChatbotDecision{}, fmt.Errorf("chatbot %s/%s does not come to rest", seen.Chatbot.Namespace, seen.Chatbot.Name)
}

// observe reads what belongs to a chatbot from the cache: that nothing is there is found out by trying to create it.
func (r *ChatbotReconciler) observe(ctx context.Context, chatbot *v1alpha1.DGbotChatbot) (*seenChatbot, error) {
	seen := &seenChatbot{ChatbotObservation: lifecycle.ChatbotObservation{Chatbot: chatbot, ID: chatbotID(chatbot)}}
	lock, widget := &corev1.ConfigMap{}, &corev1.ConfigMap{}
	found, err := get(ctx, r.Client, lockName(seen.ID), lock)
	if err != nil {
		return nil, err
	}
	if !found {
		lock = nil
	}
	if err := r.describeClaim(ctx, seen, lock); err != nil {
		return nil, err
	}
	if found, err = get(ctx, r.widgetReader(chatbot), widgetName(chatbot), widget); err != nil {
		return nil, err
	}
	if !found {
		widget = nil
	}
	return seen, r.describeWidget(seen, widget)
}

// widgetReader is the cache, which knows what carries the chatbot label; or the API server where the name was in use by
// something else, so that looking whether it still is takes no attempt to write.
func (r *ChatbotReconciler) widgetReader(chatbot *v1alpha1.DGbotChatbot) client.Reader {
	ready := apimeta.FindStatusCondition(chatbot.Status.Conditions, v1alpha1.ReadyCondition)
	if ready != nil && (ready.Reason == v1alpha1.ConfigMapConflictReason || ready.Reason == v1alpha1.WaitingForGarbageCollectionReason) {
		return r.Live
	}
	return r.Client
}

// chatbotID is the ID that is the chatbot's: adopted, or issued.
func chatbotID(chatbot *v1alpha1.DGbotChatbot) string {
	if chatbot.Spec.ChatbotID != "" {
		return chatbot.Spec.ChatbotID
	}
	return identity.ChatbotIDOf(string(chatbot.UID))
}

func (r *ChatbotReconciler) report(ctx context.Context, chatbot *v1alpha1.DGbotChatbot, status *v1alpha1.DGbotChatbotStatus) error {
	if status == nil || equality.Semantic.DeepEqual(*status, chatbot.Status) {
		return nil
	}
	for _, event := range lifecycle.ChatbotEvents(&chatbot.Status, status) {
		emit(r.Recorder, chatbot, event)
		ctrl.LoggerFrom(ctx).Info(event.Note, "reason", event.Reason)
	}
	_, err := applyStatus(ctx, r.Client, v1alpha1.ChatbotKind, chatbot, status)
	if apierrors.IsConflict(err) {
		conflicts.Inc()
		return errOutrun
	}
	return client.IgnoreNotFound(err)
}

// chatbotIDIndex finds the chatbots of an ID.
const chatbotIDIndex = "chatbotID"

// SetupWithManager registers the reconciler, its watches and indexes.
func (r *ChatbotReconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotChatbot{}, chatbotIDIndex, func(o client.Object) []string {
		chatbot, ok := o.(*v1alpha1.DGbotChatbot)
		if !ok {
			return nil
		}
		return []string{chatbotID(chatbot)}
	}); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DGbotChatbot{}, builder.WithPredicates(notOfStatusAlone())).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.chatbotsOfConfigMap)).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: retryLimiter()}).
		Complete(r)
}

// chatbotsOfConfigMap returns whoever a ConfigMap concerns: a claim its holder, and those who want the same ID; a widget the
// chatbot that owns it, and the one whose name for it this is.
func (r *ChatbotReconciler) chatbotsOfConfigMap(ctx context.Context, o client.Object) []reconcile.Request {
	m, ok := o.(*corev1.ConfigMap)
	if !ok {
		return nil
	}
	var names []types.NamespacedName
	selection := []client.ListOption{client.UnsafeDisableDeepCopy}
	if m.Namespace == v1alpha1.IdentityNamespace {
		names = append(names, holderOf(m))
		selection = append(selection, client.MatchingFields{chatbotIDIndex: m.Data[lockedID]})
	} else {
		selection = append(selection, client.InNamespace(m.Namespace))
	}
	var chatbots v1alpha1.DGbotChatbotList
	if err := r.Client.List(ctx, &chatbots, selection...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the chatbots of a ConfigMap", "namespace", m.Namespace, "name", m.Name)
		return nil
	}
	for i := range chatbots.Items {
		if m.Namespace == v1alpha1.IdentityNamespace || widgetName(&chatbots.Items[i]).Name == m.Name {
			names = append(names, client.ObjectKeyFromObject(&chatbots.Items[i]))
		}
	}
	requests := make([]reconcile.Request, len(names))
	for i, name := range names {
		requests[i].NamespacedName = name
	}
	return requests
}
