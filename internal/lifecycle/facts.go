// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// facts are an observation in the terms of the policy, which are the same for API keys and for HMAC secrets.
type facts struct {
	owner
	// horizon at which they were read.
	horizon
	// revisions that have their owner, in any order.
	revisions []*Revision
	// taken is the highest number that an observed record shows to be taken, orphaned records included.
	taken int64

	Secret  Secret
	Refusal *Refusal
	Failed  FailedReads

	// Chatbot, Environment, Tracking and keepEnded are of API keys only.
	Chatbot     Chatbot
	Environment Environment
	Tracking    *Tracking
	keepEnded   bool
}

// facts of a key.
func (o *Observation) facts(now time.Time) facts {
	f := facts{
		horizon: horizon{now: now}, Secret: o.Secret, Refusal: o.Refusal, Failed: o.Failed,
		Chatbot: o.Chatbot, Environment: o.Environment, Tracking: o.Tracking, keepEnded: o.KeepEnded,
	}
	f.owner = ownerOfKey(o.Key, &f.horizon)
	for i := range o.Records {
		r := revisionOf(o.Key, &o.Records[i])
		r.correctJump(&f.horizon, o.IsServerTime)
		f.taken = max(f.taken, r.Number, r.SupersededBy, r.nameNumber)
		if owned(&o.Records[i]) {
			f.revisions = append(f.revisions, r)
		}
	}
	return f
}

// planner is what follows from facts.
type planner struct {
	facts
	effective
	history
	// overlap is how long earlier revisions go on verifying.
	overlap time.Duration
	audit   audit
	// heldByAudit reports whether the audit lets less of the key than its spec.
	heldByAudit bool
	// loss is what happened to the Secret or the record in it; empty if nothing, or if a read failed.
	loss v1alpha1.Cause
	// cause is why a revision is due; empty if none is, or if a read failed.
	cause v1alpha1.Cause
	// obstacle is what keeps the revision from being issued, or the owner from being Ready; nil if nothing does.
	obstacle *obstacle
}

// assess draws the conclusions, each from those before it.
func assess(f facts) *planner {
	p := &planner{facts: f}
	p.effective = underRules(subject{namespace: p.namespace, created: p.created, asks: p.asks, Chatbot: p.Chatbot, Environment: p.Environment}, &p.horizon)
	p.history = historyOf(p.revisions, p.taken, &p.Secret, p.was.current)
	p.overlap = p.wants.overlap()
	p.audit = p.findAudit()
	p.wants, p.heldByAudit = underAudit(p.wants, p.auditState())
	if len(p.Failed) == 0 {
		p.loss = p.findLoss()
		p.cause = p.findCause()
	}
	p.hinder(p.findObstacle())
	return p
}

// hinder notes what keeps the owner from being Ready or the revision from being issued, and has it looked at again in time.
func (p *planner) hinder(o *obstacle) {
	if p.obstacle = o; o != nil {
		p.wakeBy(o.until)
	}
}
