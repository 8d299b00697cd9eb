// SPDX-License-Identifier: Apache-2.0

package report

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	// CheckInterval is how often the operator checks something that no watch reports.
	CheckInterval = time.Minute
	// MinRetryDelay and MaxRetryDelay bound the time after which a rejected write is retried: as long again as it has been rejected.
	MinRetryDelay = 5 * time.Second
	MaxRetryDelay = 5 * time.Minute
)

// Obstacle is why a revision is not issued, or why the key is not Ready.
type Obstacle struct {
	Reason, Message string
	// Stalled: a person has to change something. Otherwise it passes by itself.
	Stalled bool
	// Harmless: Ready is not affected.
	Harmless bool
	// Until is when to look again; zero: nothing changes by time alone.
	Until time.Time
}

// RetryDelay returns after how long a write is retried that was rejected for a reason.
func RetryDelay(conditions []metav1.Condition, reason string, now time.Time) time.Duration {
	stalled := apimeta.FindStatusCondition(conditions, v1alpha1.StalledCondition)
	if stalled == nil || stalled.Reason != reason {
		return MinRetryDelay
	}
	return min(max(now.Sub(stalled.LastTransitionTime.Time), MinRetryDelay), MaxRetryDelay)
}

// Rejection is an answer of the API server that trying again at once cannot change.
type Rejection struct {
	// Reason is SecretWriteRefused, RecordWriteRefused or RecordConflict.
	Reason string
	// Message is the API server's own, without any key.
	Message string
}

// Backoff returns how long to wait before a write is retried that has failed that many times since the first: MinRetryDelay, twice as
// long each time, and at most MaxRetryDelay.
func Backoff(times int) time.Duration {
	const doublings = 16 // more would overflow
	return min(MaxRetryDelay, MinRetryDelay<<min(max(times, 0), doublings))
}
