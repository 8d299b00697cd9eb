// SPDX-License-Identifier: Apache-2.0

package gates

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// An attempt whose Secret could not be written leaves the record of a key that no client holds. The dry run before it keeps that
// rare, but a webhook may accept a dry run and reject the write, and an API server may time out every time.
const (
	attemptsWindow = time.Hour
	// attemptsFree are made at once: a crash leaves one, and two instances at work leave two.
	attemptsFree = 2
)

// failedAttempts are the revisions of the last hour that were never published, and when the newest of them was issued.
// Like damping it counts records: it survives restarts and is the same for every operator.
func (c *Case) failedAttempts() (n int, newest time.Time) {
	for _, record := range c.Owned {
		at := attemptedAt(record)
		if c.wasPublished(record) || c.Reached(at.Add(attemptsWindow)) || !c.Reached(at.Add(-instant.ClockTolerance)) {
			continue
		}
		n++
		if at.After(newest) {
			newest = at
		}
	}
	return n, newest
}

// attemptedAt is when a record was created: by the operator's clock, unless that is long before the API server's. A mutating
// policy can make any time of issuedAt, and none of creationTimestamp.
func attemptedAt(record *revisions.Revision) time.Time {
	if created := record.CreatedAt.Time; created.After(record.IssuedAt.Add(attemptsWindow)) {
		return created
	}
	return record.IssuedAt.Time
}

// wasPublished reports whether a revision's key was ever in the Secret, as far as is known.
func (c *Case) wasPublished(record *revisions.Revision) bool {
	if c.Published != nil {
		return record.Number <= c.Published.Number
	}
	current := c.Was.Current
	return record == c.Matched || record.SupersededBy != 0 || current != nil && record.Number <= current.Number
}

// attemptsGate keeps attempts apart that fail one after the other: from the third on by report.Backoff. What the API server said to the last one stays in the condition meanwhile.
func (c *Case) attemptsGate() *report.Obstacle {
	n, newest := c.failedAttempts()
	if n < attemptsFree {
		return nil
	}
	until := newest.Add(report.Backoff(n - attemptsFree))
	if c.Reached(until) {
		return nil
	}
	reported := apimeta.FindStatusCondition(c.Was.Conditions, v1alpha1.StalledCondition)
	if reported != nil && (reported.Reason == v1alpha1.SecretWriteRefusedReason || reported.Reason == v1alpha1.RecordWriteRefusedReason) {
		return &report.Obstacle{Reason: reported.Reason, Message: reported.Message, Stalled: true, Until: until}
	}
	return &report.Obstacle{Reason: v1alpha1.ProgressingReason, Harmless: true, Until: until, Message: fmt.Sprintf(
		"A new revision is due (%s): %d attempts to publish a revision failed within an hour, and the operator makes the next attempt at %s; read the operator's log for the errors",
		c.Cause, n, until.UTC().Format(time.RFC3339))}
}
