// SPDX-License-Identifier: Apache-2.0

// Package continuity decides whether a client has followed one history of the API server without a gap. After etcd was
// restored from a backup, the API server accepts a watch at a resourceVersion of its future, and sends nothing until it has
// passed that version. A client that merely reopens a watch then misses changes without any error.
package continuity

import (
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Slack is how long a watch may last beyond its time. The API server ends it on time; the rest is latency and a busy
// machine. Restoring etcd, and suspending the process over it, takes longer.
const Slack = 5 * time.Second

// EndedOnTime reports whether a watch ended because its time was over, and not because the connection was lost. asked is when
// the request was sent, and span the timeoutSeconds that it asked for. A watch that ends early was lost. So was one that ends
// late: the process may have been suspended while the API server restarted.
func EndedOnTime(asked, ended time.Time, span time.Duration) bool {
	return ended.Sub(asked) >= span-min(time.Second, span/4) && Elapsed(asked, ended) <= span+Slack
}

// Elapsed returns the time between two instants: by the wall clock where that is longer, because the monotonic clock stands
// still while a machine is suspended.
func Elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// Older reports whether a resourceVersion is lower than another one of the same resource. An empty version is neither older
// nor newer than any other.
func Older(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order < 0
}
