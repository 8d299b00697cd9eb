// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"dgbot.io/key-operator/api/v1alpha1"
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
func (p *planner) failedAttempts() (n int, newest time.Time) {
	for _, record := range p.live {
		at := attemptedAt(record)
		if p.wasPublished(record) || p.reached(at.Add(attemptsWindow)) || !p.reached(at.Add(-clockTolerance)) {
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
func attemptedAt(record *Revision) time.Time {
	if created := record.CreatedAt.Time; created.After(record.IssuedAt.Add(attemptsWindow)) {
		return created
	}
	return record.IssuedAt.Time
}

// wasPublished reports whether a revision's key was ever in the Secret, as far as is known.
func (p *planner) wasPublished(record *Revision) bool {
	if p.published != nil {
		return record.Number <= p.published.Number
	}
	current := p.was.current
	return record == p.matched || record.SupersededBy != 0 || current != nil && record.Number <= current.Number
}

// attemptsGate keeps attempts apart that fail one after the other: by 5 s from the third on, and each time twice as
// long, up to 5 minutes. What the API server said to the last one stays in the condition meanwhile.
func (p *planner) attemptsGate() *obstacle {
	n, newest := p.failedAttempts()
	if n < attemptsFree {
		return nil
	}
	until := newest.Add(Backoff(n - attemptsFree))
	if p.reached(until) {
		return nil
	}
	reported := apimeta.FindStatusCondition(p.was.conditions, v1alpha1.StalledCondition)
	if reported != nil && (reported.Reason == v1alpha1.SecretWriteRefusedReason || reported.Reason == v1alpha1.RecordWriteRefusedReason) {
		return &obstacle{reason: reported.Reason, message: reported.Message, stalled: true, until: until}
	}
	return &obstacle{reason: v1alpha1.ProgressingReason, harmless: true, until: until, message: fmt.Sprintf(
		"A revision is due (%s), and %d attempts to publish it within an hour failed; the next one is made at %s", p.cause, n, until.UTC().Format(time.RFC3339))}
}

// Backoff is how long to wait before a write is tried once more that was tried in vain that many times after the first:
// 5 s, and twice as long each time, up to 5 minutes.
func Backoff(times int) time.Duration {
	if times >= 6 {
		return maxRefusedDelay
	}
	return min(maxRefusedDelay, minRefusedDelay<<max(times, 0))
}
