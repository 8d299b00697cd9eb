// SPDX-License-Identifier: Apache-2.0

package index

import (
	"math"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Use is when a record's key was used, and what the record's status says of that, in Unix seconds; 0 for never. All entries
// of one record share it. There may be a million, so times have four bytes, which lasts until 2106.
type Use struct {
	first, last                 atomic.Uint32
	reportedFirst, reportedLast atomic.Uint32
}

// Note notes that the key was used. It takes no lock.
func (u *Use) Note(now time.Time) {
	at := short(now.Unix())
	if u.first.Load() == 0 {
		u.first.CompareAndSwap(0, at)
	}
	for last := u.last.Load(); last < at; last = u.last.Load() {
		if u.last.CompareAndSwap(last, at) {
			return
		}
	}
}

// LastReported returns the last use that the status of the record has, in Unix seconds; 0 for never.
func (u *Use) LastReported() uint32 { return u.reportedLast.Load() }

// SetReported takes over what a record's status says.
func (u *Use) SetReported(status *v1alpha1.DGbotAPIKeyRecordStatus) {
	u.reportedFirst.Store(shortTime(status.FirstUsedAt))
	u.reportedLast.Store(shortTime(status.LastUsedAt))
}

// Due returns what is to be reported: the first use at once, later ones no more often than the resolution, whichever
// verifier reported before; false where nothing is. First is zero where an earlier one is known.
func (u *Use) Due(resolution time.Duration) (first, last time.Time, ok bool) {
	used, known := u.last.Load(), u.reportedLast.Load()
	if used <= known || known != 0 && time.Duration(used-known)*time.Second < resolution {
		return first, last, false
	}
	if began, reported := u.first.Load(), u.reportedFirst.Load(); reported == 0 || began < reported {
		first = time.Unix(int64(began), 0).UTC()
	}
	return first, time.Unix(int64(used), 0).UTC(), true
}

func shortTime(at *metav1.Time) uint32 {
	if at == nil {
		return 0
	}
	return short(at.Unix())
}

func short(seconds int64) uint32 {
	return uint32(min(max(seconds, 0), math.MaxUint32))
}
