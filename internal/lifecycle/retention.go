// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "dgbot.io/key-operator/api/v1alpha1"

// keptEnded is how many expired or revoked records are kept for users to look at.
const keptEnded = 10

// prune returns the expired and revoked revisions whose records are deleted. Beside the newest keptEnded, these stay: the one with the highest
// number, which must not be used again; the one whose key is in the Secret; those that damping counts; and the one that the audit counts
// from.
func (p *planner) prune() []*Revision {
	if p.keepEnded {
		return nil
	}
	var pruned []*Revision
	kept := 0
	for _, record := range p.live {
		if record.State != v1alpha1.StateRevoked && !record.ended(&p.horizon) {
			continue
		}
		if kept < keptEnded {
			kept++
			continue
		}
		if record.Number == p.highest || record == p.matched || countsForDamping(record, &p.horizon) || p.auditRules() != nil && record == p.askedFor() {
			continue
		}
		pruned = append(pruned, record)
	}
	return pruned
}
