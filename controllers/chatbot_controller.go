// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle"
)

// ChatbotReconciler gives each chatbot its ID, publishes it with the snippet for web pages, and keeps its HMAC secret. What a
// crash leaves:
//
//	before the lock        nothing
//	before the ConfigMap   a lock, which the next pass finds; or nobody's lock, where the chatbot is deleted meanwhile,
//	                       which goes when it is seen
//	before the status      all but what is said of it
//
// and for the HMAC secret see internal/lifecycle/hmac.go.
type ChatbotReconciler struct {
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

	attempts attempts
	gone     goneOwners
	looks    chatbotLooks
	slow     slowLane
}

// seenChatbot is an observation with the objects it was made from.
type seenChatbot struct {
	lifecycle.ChatbotObservation
	// lock, widget, secret and copied are nil where they are not there. stale is a copy that is to go.
	lock, widget   *corev1.ConfigMap
	secret, copied *corev1.Secret
	stale          client.Object
	// texts are the HMAC secrets at hand, by their hashes. They live no longer than the pass.
	texts map[string][]byte
	// source is what importFrom names.
	source []byte
	// failures are the reads behind ChatbotObservation.Failed.
	failures failures
}

// failed makes the outcome of reading a part of the observation a part of it; nil for a read that succeeded.
func (seen *seenChatbot) failed(part lifecycle.ReadPart, err error) {
	seen.failures.note(part, err)
	seen.Failed = seen.failures.reads
}

// Reconcile brings one chatbot closer to what its spec asks for, and forgets the claims of those that are gone.
func (r *ChatbotReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	released := r.releaseClaims(ctx, request.NamespacedName)
	chatbot := &v1alpha1.DGbotChatbot{}
	found, err := get(ctx, r.Client, request.NamespacedName, chatbot)
	if err != nil {
		return resultOf(errors.Join(released, err))
	}
	if !found {
		r.looks.forget(request.NamespacedName)
		r.attempts.forget(request.NamespacedName)
		return resultOf(released)
	}
	result, err := r.reconcile(ctx, chatbot)
	if err == nil && released != nil {
		// What an earlier chatbot of the name left must not keep this one from being revoked.
		ctrl.LoggerFrom(ctx).Error(released, "Failed to release what an earlier chatbot of this name left; it is retried within a minute")
		result.RequeueAfter = min(result.RequeueAfter, sourceCheckInterval)
	}
	return result, err
}

func (r *ChatbotReconciler) reconcile(ctx context.Context, chatbot *v1alpha1.DGbotChatbot) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(chatbot)
	if wake, ok := r.unchanged(ctx, chatbot); ok {
		return r.again(chatbot, wake), nil
	}
	seen, decision, err := r.lookAt(ctx, chatbot)
	if seen == nil {
		return resultOf(err)
	}
	if err == nil {
		err = r.attempts.retryReads(name, &seen.failures, r.Clock.Now())
	}
	if err != nil && len(seen.Failed) > 0 {
		return resultOf(err)
	}
	if failure := r.report(ctx, seen, decision.Status); failure != nil {
		err = errors.Join(err, failure)
	}
	if err != nil {
		return resultOf(err)
	}
	r.looks.remember(seen, decision.Wake, r.Clock.Now())
	return r.again(chatbot, decision.Wake), nil
}

// lookAt observes a chatbot as the cache has it, which is good enough to find that nothing is to be done; otherwise it is
// observed live.
func (r *ChatbotReconciler) lookAt(ctx context.Context, chatbot *v1alpha1.DGbotChatbot) (*seenChatbot, lifecycle.ChatbotDecision, error) {
	if chatbot.DeletionTimestamp.IsZero() && lifecycle.HMACWithdrawalOf(chatbot, r.Clock.Now()) != lifecycle.WithdrawNothing {
		return r.carryOut(ctx, client.ObjectKeyFromObject(chatbot)) // reads that do not end would delay it twice
	}
	seen, err := r.observe(ctx, chatbot, nil)
	if err != nil {
		return nil, lifecycle.ChatbotDecision{}, err
	}
	if decision := seen.plan(r.Clock.Now()); decision.Step == "" && (decision.Status == nil || equality.Semantic.DeepEqual(*decision.Status, chatbot.Status)) {
		return seen, decision, nil
	}
	return r.carryOut(ctx, client.ObjectKeyFromObject(chatbot))
}

// plan plans with what is at hand.
func (seen *seenChatbot) plan(now time.Time) lifecycle.ChatbotDecision {
	seen.HMAC.Known, seen.HMAC.Padded = map[string]bool{}, map[string]bool{}
	for hash, text := range seen.texts {
		seen.HMAC.Known[hash] = true
		if identity.HasSurroundingSpace(text) {
			seen.HMAC.Padded[hash] = true
		}
	}
	return lifecycle.PlanChatbot(seen.ChatbotObservation, now)
}

// again is when to look again: by the wall clock, whose changes timers do not notice.
func (r *ChatbotReconciler) again(chatbot *v1alpha1.DGbotChatbot, wake time.Time) ctrl.Result {
	after := longestWait
	if !wake.IsZero() {
		after = min(max(wake.Sub(r.Clock.Now()), time.Millisecond), longestWait)
	}
	if imports(chatbot) {
		after = min(after, sourceCheckInterval)
	}
	if r.SecretCheckInterval > 0 {
		after = min(after, r.SecretCheckInterval)
	}
	return ctrl.Result{RequeueAfter: after}
}

// carryOut observes live and carries plans out until one has no step. It returns that plan with what it was made from; nil where
// the chatbot is gone, or where a step failed.
func (r *ChatbotReconciler) carryOut(ctx context.Context, name types.NamespacedName) (*seenChatbot, lifecycle.ChatbotDecision, error) {
	minted := map[string][]byte{}
	var err error
	for range maxObservations {
		var seen *seenChatbot
		if seen, err = r.observeLive(ctx, name, minted); err != nil || seen == nil {
			return nil, lifecycle.ChatbotDecision{}, err
		}
		var decision lifecycle.ChatbotDecision
		decision, err = r.settle(ctx, seen)
		if errors.Is(err, errOutrun) {
			// What was announced is not lost with the observation.
			if pending := seen.Chatbot.Status.Pending; pending != nil && seen.texts[pending.Hash] != nil {
				minted[pending.Hash] = seen.texts[pending.Hash]
			}
			continue
		}
		if err != nil && decision.Status == nil {
			seen = nil
		}
		return seen, decision, err
	}
	return nil, lifecycle.ChatbotDecision{}, err
}

// observeLive reads the chatbot before and after its Secrets, so that the ledger in its status is the one that they belong to: a
// ledger that is older than what is published would take a new HMAC secret for somebody else's, and a newer one would miss
// what it announces.
func (r *ChatbotReconciler) observeLive(ctx context.Context, name types.NamespacedName, minted map[string][]byte) (*seenChatbot, error) {
	for range maxObservations {
		chatbot := &v1alpha1.DGbotChatbot{}
		if found, err := get(ctx, r.Live, name, chatbot); err != nil || !found {
			return nil, err
		}
		seen, err := r.observe(ctx, chatbot, minted)
		if err != nil || !wantsHMAC(chatbot) || seen.Claim != lifecycle.ClaimOwn && seen.Claim != lifecycle.ClaimUnknown {
			return seen, err
		}
		after := &v1alpha1.DGbotChatbot{}
		found, err := get(ctx, r.Live, name, after)
		if err != nil || !found {
			return nil, err
		}
		if after.UID == chatbot.UID && after.ResourceVersion == chatbot.ResourceVersion {
			return seen, nil
		}
	}
	return nil, errOutrun
}

// maxChatbotSteps is more than a chatbot needs: a claim after a stale one, a publication, and the most that an HMAC secret takes.
const maxChatbotSteps = 24

// settle plans and carries out until there is nothing left to do. A refusal becomes part of the observation, and so does that
// nobody knows what came of a step: the next plan does what must be done all the same.
func (r *ChatbotReconciler) settle(ctx context.Context, seen *seenChatbot) (lifecycle.ChatbotDecision, error) {
	var failure error
	for range maxChatbotSteps {
		decision := seen.plan(r.Clock.Now())
		if decision.Step == "" {
			return decision, failure
		}
		err := r.execute(ctx, seen, decision)
		var refused *refusedError
		switch {
		case err == nil:
		case errors.As(err, &refused):
			ctrl.LoggerFrom(ctx).Info("The API server refuses a write", "reason", refused.refusal.Reason, "message", refused.refusal.Message)
			seen.refuse(&refused.refusal)
		case issues(decision.Step) && !seen.HMAC.Failed && !errors.Is(err, errOutrun) && !errors.Is(err, errYield) && !errors.Is(err, errTerminating):
			seen.HMAC.Failed, failure = true, err
		default:
			return lifecycle.ChatbotDecision{}, errors.Join(failure, err)
		}
	}
	return lifecycle.ChatbotDecision{}, fmt.Errorf("planning for chatbot %s/%s did not converge after %d steps", seen.Chatbot.Namespace, seen.Chatbot.Name, maxChatbotSteps)
}

// issues says whether a step is one on the way to a new HMAC secret.
func issues(step lifecycle.ChatbotStep) bool {
	return step == lifecycle.AnnounceRevision || step == lifecycle.WriteCopy || step == lifecycle.WriteSecret
}

func (r *ChatbotReconciler) execute(ctx context.Context, seen *seenChatbot, decision lifecycle.ChatbotDecision) error {
	switch decision.Step {
	case lifecycle.ClaimID:
		if err := r.claim(ctx, seen); err != nil || seen.Claim != lifecycle.ClaimOwn || !wantsHMAC(seen.Chatbot) {
			return err
		}
		return errOutrun // its Secrets have not been looked at yet
	case lifecycle.PublishWidget:
		return r.publish(ctx, seen)
	case lifecycle.AnnounceRevision:
		return r.unhurried(ctx, seen, func(ctx context.Context) error { return r.announce(ctx, seen, decision.Issue) })
	case lifecycle.WriteLedger:
		return r.changeLedger(ctx, seen, decision.Ledger)
	case lifecycle.WriteCopy:
		return r.writeCopy(ctx, seen, decision.Ledger)
	case lifecycle.MarkCopy:
		return r.markCopy(ctx, seen)
	case lifecycle.WriteSecret:
		return r.unhurried(ctx, seen, func(ctx context.Context) error { return r.writeIdentitySecret(ctx, seen, decision.Ledger) })
	case lifecycle.PruneCopy:
		return r.pruneCopy(ctx, seen, decision.Kids)
	case lifecycle.DeleteCopy:
		err := r.deleteCopy(ctx, seen.stale)
		if err == nil {
			seen.HMAC.Copy = lifecycle.HMACCopy{}
		}
		return err
	}
	return fmt.Errorf("the policy asks for %q, which is not known here", decision.Step)
}

// unhurried is for writes into the chatbot's namespace, where a webhook may take long: what comes behind them waits no longer
// than PublishTimeout, and chatbots of other namespaces do not wait at all.
func (r *ChatbotReconciler) unhurried(ctx context.Context, seen *seenChatbot, write func(context.Context) error) error {
	leave, ok := r.slow.enter(seen.Chatbot.Namespace, r.Clock.Now())
	if !ok {
		return errBusy
	}
	defer func() { leave(r.Clock.Now()) }()
	ctx, cancel := context.WithTimeout(ctx, lifecycle.PublishTimeout)
	defer cancel()
	return write(ctx)
}

// refuse makes a refusal part of the observation.
func (seen *seenChatbot) refuse(refusal *lifecycle.Refusal) {
	switch refusal.Reason {
	case v1alpha1.SecretWriteRefusedReason, v1alpha1.CopyWriteRefusedReason:
		seen.HMAC.Refusal = refusal
	default:
		seen.Refusal = refusal
	}
}

// chatbotID is the ID that is the chatbot's: adopted, or issued.
func chatbotID(chatbot *v1alpha1.DGbotChatbot) string {
	if chatbot.Spec.ChatbotID != "" {
		return chatbot.Spec.ChatbotID
	}
	return identity.ChatbotIDOf(string(chatbot.UID))
}

func (r *ChatbotReconciler) report(ctx context.Context, seen *seenChatbot, status *v1alpha1.DGbotChatbotStatus) error {
	if status == nil || equality.Semantic.DeepEqual(*status, seen.Chatbot.Status) {
		return nil
	}
	r.tell(ctx, seen, status)
	return r.writeLedger(ctx, seen, status)
}
