// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// announce mints an HMAC secret, or takes the imported one, and notes it in the ledger as pending.
func (r *Reconciler) announce(ctx context.Context, seen *observed, issue *steps.IssueRevision) error {
	if err := r.trySecret(ctx, seen); err != nil {
		return err
	}
	text, next := seen.source, seen.Chatbot.Status.DeepCopy()
	if !seen.Imports(issue) {
		minted, err := identity.MintSecret()
		if err != nil {
			return err
		}
		text = minted
	} else {
		next.Imported = identity.Hash(text)
	}
	next.Pending = &v1alpha1.IdentityRevision{
		Revision: issue.Revision, KID: identity.KID(text), Hash: identity.Hash(text), Cause: issue.Cause, IssuedAt: issue.IssuedAt,
	}
	if err := r.writeLedger(ctx, seen, next); err != nil {
		return err
	}
	seen.texts[next.Pending.Hash] = text
	if issue.Loss != "" && issue.Loss != issue.Cause {
		write.RecordEvent(r.Recorder, seen.Chatbot, chatbots.HMACLossEvent(seen.Chatbot, issue.Loss))
	}
	return nil
}

// changeLedger writes a ledger, and records events for a revision that became the current one. The rest of the status is written after the
// outcome.
func (r *Reconciler) changeLedger(ctx context.Context, seen *observed, ledger chatbots.Ledger) error {
	next := seen.Chatbot.Status.DeepCopy()
	ledger.Replace(next)
	r.recordEvents(ctx, seen, next)
	return r.writeLedger(ctx, seen, next)
}

// writeLedger writes a status for the observed version of the chatbot. This condition prevents two instances from writing different
// ledgers.
func (r *Reconciler) writeLedger(ctx context.Context, seen *observed, next *v1alpha1.DGbotChatbotStatus) error {
	version, err := write.ApplyStatus(ctx, r.Client, v1alpha1.ChatbotKind, seen.Chatbot, next)
	if apierrors.IsNotFound(err) {
		// The writes that follow the ledger must not happen for a deleted chatbot.
		write.Conflicts.Inc()
		return write.ErrConflict
	}
	if err != nil {
		return err
	}
	chatbot := seen.Chatbot.DeepCopy()
	chatbot.ResourceVersion, chatbot.Status = version, *next
	seen.Chatbot = chatbot
	return nil
}

// recordEvents records the events of a change of the status.
func (r *Reconciler) recordEvents(ctx context.Context, seen *observed, next *v1alpha1.DGbotChatbotStatus) {
	for _, event := range chatbots.Events(seen.Observation, next, r.Clock.Now()) {
		write.RecordEvent(r.Recorder, seen.Chatbot, event)
		ctrl.LoggerFrom(ctx).Info(event.Note, "reason", event.Reason)
	}
}
