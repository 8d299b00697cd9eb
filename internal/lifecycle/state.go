// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"cmp"
	"fmt"

	"dgbot.io/key-operator/api/v1alpha1"
)

// What a state means, and where the rules are:
//
//	spec.state   issues                    revisions verify                  Ready
//	Active       when a cause holds        until they expire or are revoked  as gates.go says
//	Disabled     nothing; requests wait    none, and again once enabled      False, Stalled
//	Revoked      nothing                   none, for good                    False, Stalled
//	(expired)    nothing                   none                              False, Stalled
//
// issues: stateGate. verify: wantedState. The audit of an environment can hold a key in a lower state than its spec: underAudit in
// effective.go.

// StateOf returns the state that a key's spec asks for. An absent state means Active.
func StateOf(key *v1alpha1.DGbotAPIKey) v1alpha1.KeyState { return stateOf(&key.Spec) }

func stateOf(spec *v1alpha1.DGbotAPIKeySpec) v1alpha1.KeyState {
	return cmp.Or(spec.State, v1alpha1.StateActive)
}

// wantedState returns the state that the record of a revision is to have.
func (p *planner) wantedState(record *Revision) v1alpha1.KeyState {
	switch {
	case p.wants.state == v1alpha1.StateRevoked || p.requests.revoke.covers(record.IssuedAt):
		return v1alpha1.StateRevoked
	case p.wants.state == v1alpha1.StateDisabled:
		return v1alpha1.StateDisabled
	}
	return v1alpha1.StateActive
}

// stateGate is closed while the key is Disabled, Revoked or expired.
func (p *planner) stateGate() *obstacle {
	o := p.stateObstacle()
	if o != nil && p.audit.mark != nil {
		o.message += "; the audit of its environment holds the key as well, see the condition Unused"
	}
	return o
}

func (p *planner) stateObstacle() *obstacle {
	wants := &p.wants
	switch {
	case p.wants.state == v1alpha1.StateRevoked:
		return &obstacle{reason: v1alpha1.RevokedReason, stalled: true,
			message: "All revisions are revoked for good; set spec.state to Active to issue a new one"}
	case p.wants.state == v1alpha1.StateDisabled && p.cause == v1alpha1.CauseReactivation:
		return &obstacle{reason: v1alpha1.DisabledReason, stalled: true,
			message: "All revisions are revoked for good, and none is issued while the key is disabled; set spec.state to Active to issue a new one"}
	case p.wants.state == v1alpha1.StateDisabled:
		return &obstacle{reason: v1alpha1.DisabledReason, stalled: true,
			message: "No revision verifies while the key is disabled; set spec.state to Active to enable it again"}
	case wants.expiresAt == nil:
		return nil
	case p.reached(wants.expiresAt.Time), p.cause != "" && !p.issuedAt().Time.Before(wants.expiresAt.Time):
		return &obstacle{reason: v1alpha1.ExpiredReason, stalled: true, until: wants.expiresAt.Time, message: fmt.Sprintf(
			"The key expired at %s; move spec.expiresAt or remove it to issue a new revision", rfc3339(wants.expiresAt))}
	}
	return nil
}
