// SPDX-License-Identifier: Apache-2.0

// Package policy draws the conclusions from an observation: what is due, what keeps it from happening, and what has to change about the
// revisions. It is the same for API keys and HMAC secrets. What the two kinds observe, and what they report, is in packages lifecycle and
// chatbots.
//
//	planner.go    facts, and the conclusions in their order
//	causes.go     why a revision is due
//	gates.go      what keeps it from being issued, or the owner from being Ready
//	amend.go      what changes about existing revisions; changes.go puts it in order
package policy

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

// Planner is what follows from facts. What the spec asks for, under the rules and the audit, is in Spec (Wants); which revision is matched
// or published in History; what the status says from the last time in Owner (Was); the time in Horizon.
type Planner struct {
	Facts
	effective.Spec
	revisions.History
	// Overlap is how long earlier revisions go on verifying.
	Overlap time.Duration
	Audit   audit
	// heldByAudit reports whether the audit lets less of the key than its spec.
	heldByAudit bool
	// loss is what happened to the Secret or the record in it; empty if nothing, or if a read failed.
	loss v1alpha1.Cause
	// Cause is why a revision is due; empty if none is, or if a read failed.
	Cause v1alpha1.Cause
	// Obstacle is what keeps the revision from being issued, or the owner from being Ready; nil if nothing does.
	Obstacle *report.Obstacle
}

// Assess draws the conclusions, each from those before it.
func Assess(f Facts) *Planner {
	p := &Planner{Facts: f}
	p.Spec = effective.UnderRules(effective.Subject{Namespace: p.Namespace, Created: p.Created, Asks: p.Asks, Chatbot: p.Chatbot, Environment: p.Environment}, &p.Horizon)
	p.History = revisions.HistoryOf(p.Revisions, p.Taken, &p.Secret, p.Was.Current)
	p.Overlap = p.Wants.Overlap()
	p.Audit = p.findAudit()
	p.Wants, p.heldByAudit = effective.UnderAudit(p.Wants, p.auditState())
	if len(p.Failed) == 0 {
		p.loss = p.findLoss()
		p.Cause = p.findCause()
	}
	p.SetObstacle(p.findObstacle())
	return p
}

// SetObstacle sets what keeps the owner from being Ready or the revision from being issued, and has it looked at again in time.
func (p *Planner) SetObstacle(o *report.Obstacle) {
	if p.Obstacle = o; o != nil {
		p.WakeBy(o.Until)
	}
}
