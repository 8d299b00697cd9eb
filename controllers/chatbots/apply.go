// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// converge observes live and applies plans until one has no step. It returns that plan with its observation; nil if the chatbot does not
// exist or a step failed.
func (r *Reconciler) converge(ctx context.Context, name types.NamespacedName) (*observed, chatbots.Decision, error) {
	minted := map[string][]byte{}
	var err error
	for range write.MaxObservations {
		var seen *observed
		if seen, err = r.observeLive(ctx, name, minted); err != nil || seen == nil {
			return nil, chatbots.Decision{}, err
		}
		var decision chatbots.Decision
		decision, err = r.planAndApply(ctx, seen)
		if errors.Is(err, write.ErrConflict) {
			// The announced secret is not lost with the observation.
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
	return nil, chatbots.Decision{}, err
}

// maxSteps is more than a chatbot needs: a reservation after a stale one, a publication, and the most that an HMAC secret takes.
const maxSteps = 24

// planAndApply plans and applies until a plan has no step. A rejection becomes part of the observation, and so does a write with an
// unknown outcome. The next plan does what does not depend on it.
func (r *Reconciler) planAndApply(ctx context.Context, seen *observed) (chatbots.Decision, error) {
	var failure error
	for range maxSteps {
		decision := seen.plan(r.Clock.Now())
		if decision.Step == "" {
			return decision, failure
		}
		err := r.execute(ctx, seen, decision)
		var rejected *write.RejectedError
		switch {
		case err == nil:
		case errors.As(err, &rejected):
			ctrl.LoggerFrom(ctx).Info("The API server rejects a write", "reason", rejected.Rejection.Reason, "message", rejected.Rejection.Message)
			seen.reject(&rejected.Rejection)
		case issues(decision.Step) && !seen.HMAC.Failed && !errors.Is(err, write.ErrConflict) && !errors.Is(err, write.ErrYield) && !errors.Is(err, write.ErrTerminating):
			seen.HMAC.Failed, failure = true, err
		default:
			return chatbots.Decision{}, errors.Join(failure, err)
		}
	}
	return chatbots.Decision{}, fmt.Errorf("planning for chatbot %s/%s did not converge after %d steps", seen.Chatbot.Namespace, seen.Chatbot.Name, maxSteps)
}

// issues reports whether a step belongs to issuing an HMAC secret.
func issues(step chatbots.Step) bool {
	return step == chatbots.AnnounceRevision || step == chatbots.WriteReplica || step == chatbots.WriteSecret
}

func (r *Reconciler) execute(ctx context.Context, seen *observed, decision chatbots.Decision) error {
	switch decision.Step {
	case chatbots.ReserveID:
		if err := r.reserve(ctx, seen); err != nil || seen.Reservation != chatbots.ReservationOwned || !wantsHMAC(seen.Chatbot) {
			return err
		}
		return write.ErrConflict // its Secrets have not been observed yet
	case chatbots.PublishWidget:
		return r.publish(ctx, seen)
	case chatbots.AnnounceRevision:
		return r.unhurried(ctx, seen, func(ctx context.Context) error { return r.announce(ctx, seen, decision.Issue) })
	case chatbots.WriteLedger:
		return r.changeLedger(ctx, seen, decision.Ledger)
	case chatbots.WriteReplica:
		return r.writeReplica(ctx, seen, decision.Ledger)
	case chatbots.MarkReplica:
		return r.markReplica(ctx, seen)
	case chatbots.WriteSecret:
		return r.unhurried(ctx, seen, func(ctx context.Context) error { return r.writeIdentitySecret(ctx, seen, decision.Ledger) })
	case chatbots.PruneReplica:
		return r.pruneReplica(ctx, seen, decision.Kids)
	case chatbots.DeleteReplica:
		err := r.deleteReplica(ctx, seen.stale)
		if err == nil {
			seen.HMAC.Replica = chatbots.Replica{}
		}
		return err
	}
	return fmt.Errorf("the policy asks for %q, which is not known here", decision.Step)
}

// unhurried bounds a write into the chatbot's namespace, where a webhook may take long, by PublishTimeout. Later writes wait no longer
// than that, and chatbots of other namespaces do not wait.
func (r *Reconciler) unhurried(ctx context.Context, seen *observed, do func(context.Context) error) error {
	leave, ok := r.slow.Enter(seen.Chatbot.Namespace, r.Clock.Now())
	if !ok {
		return write.ErrBusy
	}
	defer func() { leave(r.Clock.Now()) }()
	ctx, cancel := context.WithTimeout(ctx, steps.PublishTimeout)
	defer cancel()
	return do(ctx)
}

// reject adds a rejection to the observation.
func (seen *observed) reject(rejection *report.Rejection) {
	switch rejection.Reason {
	case v1alpha1.SecretWriteRefusedReason, v1alpha1.CopyWriteRefusedReason:
		seen.HMAC.Rejection = rejection
	default:
		seen.Rejection = rejection
	}
}
