// SPDX-License-Identifier: Apache-2.0

package gates

import (
	"fmt"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/audit"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// What a state means, and where the rules are:
//
//	spec.state   issues                    revisions are valid               Ready
//	Active       when a cause holds        until they expire or are revoked  as gates.go says
//	Disabled     nothing; requests wait    none, and again once enabled      False, Stalled
//	Revoked      nothing                   none, for good                    False, Stalled
//	(expired)    nothing                   none                              False, Stalled
//
// issues: stateGate. are valid: WantedState. The audit of an environment can hold a key in a stricter state than its spec: RecordState in package
// audit.

// WantedState returns the state that the record of a revision is to have.
func (g *Gated) WantedState(record *revisions.Revision) v1alpha1.KeyState {
	if g.Requests.Revoke.Covers(record.RevocableFrom()) {
		return v1alpha1.StateRevoked
	}
	return audit.RecordState(g.Known, &g.Audit, record)
}

// auditGate is closed while the audit keeps the key from verifying.
func (c *Case) auditGate() *report.Obstacle {
	if !c.Audit.IsHeld {
		return nil
	}
	o := &report.Obstacle{Reason: v1alpha1.DisabledReason, Stalled: true}
	if c.Audit.Mark.Stage == v1alpha1.AuditRevoked {
		o.Reason = v1alpha1.RevokedReason
	}
	_, o.Message = audit.Unused(c.Known, c.Audit.Shown)
	return o
}

// stateGate is closed while the key is Disabled, Revoked or expired.
func (c *Case) stateGate() *report.Obstacle {
	o := c.stateObstacle()
	if o != nil && c.Audit.Mark != nil {
		o.Message += fmt.Sprintf("; the audit of environment %q also holds the key as %s, see the condition Unused", c.Wants.Environment, c.Audit.Mark.Stage)
	}
	return o
}

func (c *Case) stateObstacle() *report.Obstacle {
	wants := &c.Wants
	switch {
	case c.Audit.State == v1alpha1.StateRevoked:
		return &report.Obstacle{Reason: v1alpha1.RevokedReason, Stalled: true,
			Message: "All revisions are revoked for good, because spec.state is Revoked; set spec.state to Active to issue a new revision"}
	case c.Audit.State == v1alpha1.StateDisabled && c.Cause == v1alpha1.CauseReactivation:
		return &report.Obstacle{Reason: v1alpha1.DisabledReason, Stalled: true,
			Message: "All revisions are revoked for good, and the operator issues no revision while spec.state is Disabled; set spec.state to Active to issue a new revision"}
	case c.Audit.State == v1alpha1.StateDisabled:
		return &report.Obstacle{Reason: v1alpha1.DisabledReason, Stalled: true,
			Message: "No revision is valid, because spec.state is Disabled; set spec.state to Active to enable the key again"}
	case wants.ExpiresAt == nil:
		return nil
	case c.Reached(wants.ExpiresAt.Time), c.Cause != "" && !c.IssuedAt().Time.Before(wants.ExpiresAt.Time):
		return &report.Obstacle{Reason: v1alpha1.ExpiredReason, Stalled: true, Until: wants.ExpiresAt.Time, Message: fmt.Sprintf(
			"The key expired at %s; set spec.expiresAt to a later time, or remove spec.expiresAt, to issue a new revision", instant.Format(wants.ExpiresAt))}
	}
	return nil
}
