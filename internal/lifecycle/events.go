// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/status"
)

// Events returns what to tell when a key's status changes from old to new. Taken from the two statuses rather than from
// the steps, an event is repeated after a crash before the status is written, and never lost.
func Events(o Observation, next *v1alpha1.DGbotAPIKeyStatus, now time.Time) []report.Event {
	own := ownerOfKey(o.Key, &instant.Horizon{Now: now})
	var all []*revisions.Revision
	for i := range o.Records {
		all = append(all, revisions.Of(o.Key, &o.Records[i]))
	}
	return status.Events(&own, all, summaryOfKey(next), now)
}

// LossEvent tells of a lost or altered Secret that a revision with another cause replaces.
func LossEvent(o Observation, loss v1alpha1.Cause) report.Event {
	return status.LossEvent(&facts.KeyKind, loss, SecretName(o.Key))
}
