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

// Reconciler gives each chatbot its ID, publishes it with the snippet for web pages, and keeps its HMAC secret. What a
// crash leaves:
//
//	before the lock        nothing
//	before the ConfigMap   a reservation, which the next pass finds; or one without a holder, if the chatbot is deleted meanwhile,
//	                       which goes when it is seen
//	before the status      all but what is said of it
//
// and for the HMAC secret see internal/lifecycle/chatbots/hmac.go.
type Reconciler struct {
	// Client reads from the cache chatbots, the ConfigMaps that carry the chatbot label, and the metadata of Secrets, and writes.
	Client client.Client
	// Live reads from the API server.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// SecretCheckInterval is how often Secrets are looked at where they may not be watched; zero where they are.
	SecretCheckInterval time.Duration
	// Namespaces are those that the operator works in; none for all.
	Namespaces []string

	attempts write.Attempts
	gone     published.GoneOwners
	looks    chatbotLooks
	slow     write.SlowLane
}

// Reconcile brings one chatbot closer to what its spec asks for, and forgets the claims of those that are gone.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	released := r.releaseClaims(ctx, request.NamespacedName)
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
		// What an earlier chatbot of the name left must not keep this one from being revoked.
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

// lookAt observes a chatbot as the cache has it, which is good enough to find that nothing is to be done; otherwise it is
// observed live.
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

// plan plans with what is at hand.
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

// again is when to look again: by the wall clock, whose changes timers do not notice.
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

// idOf is the ID that is the chatbot's: adopted, or issued.
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
