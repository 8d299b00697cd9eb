// SPDX-License-Identifier: Apache-2.0

// Package facts has what is known of the owner of revisions, which is a DGbotAPIKey or a DGbotChatbot with an HMAC secret, and what follows from
// that before anything is decided. It is the first stage of a plan. The next are due and audit, then gates, then changes. What the two kinds
// observe, and what they report, is in packages lifecycle and chatbots.
package facts

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// Facts are an observation in the terms of the policy, which are the same for API keys and for HMAC secrets.
type Facts struct {
	Owner
	// Horizon at which they were read.
	instant.Horizon
	// Revisions that have their owner, in any order.
	Revisions []*revisions.Revision
	// Taken is the highest number that an observed record shows to be taken, orphaned records included.
	Taken int64

	Secret    revisions.Secret
	Rejection *report.Rejection
	Failed    report.FailedReads

	// Chatbot, Environment, Tracking and KeepEnded are of API keys only.
	Chatbot     effective.Chatbot
	Environment effective.Environment
	Tracking    *tracking.Tracking
	KeepEnded   bool
}

// Known is facts with what follows from them before anything is decided. What the spec asks for, under the rules, is in Spec (Wants); which
// revision is matched or published in History; what the status says from the last time in Owner (Was).
type Known struct {
	Facts
	effective.Spec
	revisions.History
	// Overlap is how long earlier revisions go on verifying.
	Overlap time.Duration
}

// Derive returns what follows from facts. The Horizon in it is a copy, which all stages after this one share: it collects what they ask.
func Derive(f Facts) *Known {
	k := &Known{Facts: f}
	k.Spec = effective.UnderRules(effective.Subject{Namespace: k.Namespace, Created: k.Created, Asks: k.Asks, Chatbot: k.Chatbot, Environment: k.Environment}, &k.Horizon)
	k.History = revisions.HistoryOf(k.Revisions, k.Taken, &k.Secret, k.Was.Current)
	k.Overlap = k.Wants.Overlap()
	return k
}

// RecordsRejected reports whether the API server rejects writes of records.
func (f *Facts) RecordsRejected() bool {
	return f.Rejection != nil && f.Rejection.Reason == v1alpha1.RecordWriteRefusedReason
}
