// SPDX-License-Identifier: Apache-2.0

package index

import (
	"math"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Use holds when a record's key was used, and when it was used according to the record's status, in Unix seconds; 0 for never.
// It is safe for concurrent use. All entries of one record share it. There may be a million, so a time has four bytes, which
// suffices until 2106.
type Use struct {
	first, last                 atomic.Uint32
	reportedFirst, reportedLast atomic.Uint32
}

// Note notes that the key was used at a time. It takes no lock.
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

// LastReported returns the last use according to the record's status, in Unix seconds; 0 for never.
func (u *Use) LastReported() uint32 { return u.reportedLast.Load() }

// SetReported notes the uses that the record's status contains.
func (u *Use) SetReported(status *v1alpha1.DGbotAPIKeyRecordStatus) {
	u.reportedFirst.Store(shortTime(status.FirstUsedAt))
	u.reportedLast.Store(shortTime(status.LastUsedAt))
}

// Due returns the uses to report, and reports whether there are any. The first use is due at once, and later ones once per
// resolution, whichever verifier reported before. First is zero if an earlier use is reported already.
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
