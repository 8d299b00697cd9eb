// SPDX-License-Identifier: Apache-2.0

package change

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/status"
)

// warnPending warns of the requests of a key that lie in the future.
func warnPending(s *session.Session, key *v1alpha1.DGbotAPIKey, now time.Time) {
	for _, line := range status.PendingRequests(key, now) {
		_ = display.Writef(s.Streams.ErrOut, "warning: %s: %s\n", key.Name, line)
	}
}

// warnJumped explains a request that seems to lie before the revision that it is about.
func warnJumped(s *session.Session, key *v1alpha1.DGbotAPIKey, now time.Time) {
	if !issuedAhead(key, now) {
		return
	}
	current := key.Status.Current
	_ = display.Writef(s.Streams.ErrOut, "warning: %s: revision %d is dated %s, which is in the future: the operator's clock was ahead. The request is made for %s; "+
		"the operator counts the revision as issued when its record was created, so the request covers it\n",
		key.Name, current.Revision, display.TimeText(&current.IssuedAt, now), now.UTC().Format(time.RFC3339))
}
