// SPDX-License-Identifier: Apache-2.0

// Package chatbots reconciles DGbotChatbots. A pass observes the chatbot and what is published for it (observe.go), has internal/lifecycle
// plan one step after the other, and applies each: the reservation of the chatbot ID (reservation.go), the ConfigMap (widget.go), and the
// HMAC secret in the ledger, its replica and its Secret (ledger.go, replica.go, secret.go).
package chatbots

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// Reconciler gives each chatbot its ID, publishes it with the snippet for web pages, and keeps its HMAC secret. After a crash
// there are:
//
//	before the reservation nothing
//	before the ConfigMap   a reservation, which the next pass finds; if the chatbot was deleted meanwhile, the reservation has no
//	                       holder, and the next pass deletes it
//	before the status      all objects, and an outdated status
//
// For the HMAC secret see internal/lifecycle/chatbots/hmac.go.
type Reconciler struct {
	// Client reads chatbots, the ConfigMaps with the chatbot label and the metadata of Secrets from the cache, and writes.
	Client client.Client
	// Live reads from the API server.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// SecretCheckInterval is the time between two reads of Secrets that the manager may not watch; zero if it may.
	SecretCheckInterval time.Duration
	// Namespaces are the namespaces of this manager; none for all.
	Namespaces []string

	attempts write.Attempts
	gone     published.GoneOwners
	looks    chatbotLooks
	slow     write.SlowLane
}

// Reconcile brings one chatbot closer to its spec, and deletes the reservations of deleted chatbots.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	released := r.releaseReservations(ctx, request.NamespacedName)
	chatbot := &v1alpha1.DGbotChatbot{}
	found, err := read.Get(ctx, r.Client, request.NamespacedName, chatbot)
	if err != nil {
		return write.Result(errors.Join(released, err))
	}
	if !found {
		r.looks.forget(request.NamespacedName)
		r.attempts.Forget(request.NamespacedName)
		return write.Result(released)
	}
	result, err := r.reconcile(ctx, chatbot)
	if err == nil && released != nil {
		// A failure with objects of an earlier chatbot of the name must not delay the revocation for this one.
		ctrl.LoggerFrom(ctx).Error(released, "Failed to release what an earlier chatbot of this name left; it is retried within a minute")
		result.RequeueAfter = min(result.RequeueAfter, sourceCheckInterval)
	}
	return result, err
}

func (r *Reconciler) reconcile(ctx context.Context, chatbot *v1alpha1.DGbotChatbot) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(chatbot)
	if wake, ok := r.unchanged(ctx, chatbot); ok {
		return r.again(chatbot, wake), nil
	}
	seen, decision, err := r.lookAt(ctx, chatbot)
	if seen == nil {
		return write.Result(err)
	}
	if err == nil {
		err = r.attempts.RetryReads(name, &seen.failures, r.Clock.Now())
	}
	if err != nil && len(seen.Failed) > 0 {
		return write.Result(err)
	}
	if failure := r.report(ctx, seen, decision.Status); failure != nil {
		err = errors.Join(err, failure)
	}
	if err != nil {
		return write.Result(err)
	}
	r.looks.remember(seen, decision.Wake, r.Clock.Now())
	return r.again(chatbot, decision.Wake), nil
}

// lookAt observes a chatbot from the cache, which suffices to find that nothing is to do. Otherwise the chatbot is observed live.
func (r *Reconciler) lookAt(ctx context.Context, chatbot *v1alpha1.DGbotChatbot) (*observed, chatbots.Decision, error) {
	if chatbot.DeletionTimestamp.IsZero() && chatbots.WithdrawalOf(chatbot, r.Clock.Now()) != steps.WithdrawNothing {
		return r.converge(ctx, client.ObjectKeyFromObject(chatbot)) // reads that do not end would delay it twice
	}
	seen, err := r.observe(ctx, chatbot, nil)
	if err != nil {
		return nil, chatbots.Decision{}, err
	}
	if decision := seen.plan(r.Clock.Now()); decision.Step == "" && (decision.Status == nil || equality.Semantic.DeepEqual(*decision.Status, chatbot.Status)) {
		return seen, decision, nil
	}
	return r.converge(ctx, client.ObjectKeyFromObject(chatbot))
}

// plan plans from the known state.
func (seen *observed) plan(now time.Time) chatbots.Decision {
	seen.HMAC.Known, seen.HMAC.Padded = map[string]bool{}, map[string]bool{}
	for hash, text := range seen.texts {
		seen.HMAC.Known[hash] = true
		if identity.HasSurroundingSpace(text) {
			seen.HMAC.Padded[hash] = true
		}
	}
	return chatbots.Plan(seen.Observation, now)
}

// again returns when to reconcile again, by the wall clock: timers do not notice its changes.
func (r *Reconciler) again(chatbot *v1alpha1.DGbotChatbot, wake time.Time) ctrl.Result {
	after := queue.MaxWait
	if !wake.IsZero() {
		after = min(max(wake.Sub(r.Clock.Now()), time.Millisecond), queue.MaxWait)
	}
	if imports(chatbot) {
		after = min(after, sourceCheckInterval)
	}
	if r.SecretCheckInterval > 0 {
		after = min(after, r.SecretCheckInterval)
	}
	return ctrl.Result{RequeueAfter: after}
}

// idOf returns the chatbot's own ID: adopted or issued.
func idOf(chatbot *v1alpha1.DGbotChatbot) string {
	if chatbot.Spec.ChatbotID != "" {
		return chatbot.Spec.ChatbotID
	}
	return identity.ChatbotIDOf(string(chatbot.UID))
}

func (r *Reconciler) report(ctx context.Context, seen *observed, status *v1alpha1.DGbotChatbotStatus) error {
	if status == nil || equality.Semantic.DeepEqual(*status, seen.Chatbot.Status) {
		return nil
	}
	r.recordEvents(ctx, seen, status)
	return r.writeLedger(ctx, seen, status)
}
