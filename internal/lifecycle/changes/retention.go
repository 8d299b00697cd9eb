// SPDX-License-Identifier: Apache-2.0

package changes

import (
	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/audit"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// KeptEnded is how many expired or revoked records are kept for users to look at.
const KeptEnded = 10

// prune returns the expired and revoked revisions whose records are deleted. Beside the newest KeptEnded, these stay: the one with the highest
// number, which must not be used again; the one whose key is in the Secret; those that damping counts; and the one that the audit counts
// from.
func (m *amender) prune() []*revisions.Revision {
	if m.KeepEnded {
		return nil
	}
	var pruned []*revisions.Revision
	kept := 0
	for _, record := range m.Owned {
		if record.State != v1alpha1.StateRevoked && !record.Ended(&m.Horizon) {
			continue
		}
		if kept < KeptEnded {
			kept++
			continue
		}
		if record.Number == m.Highest || record == m.Matched || revisions.CountsForDamping(record, &m.Horizon) || audit.CountsFrom(m.Known, record) {
			continue
		}
		pruned = append(pruned, record)
	}
	return pruned
}
