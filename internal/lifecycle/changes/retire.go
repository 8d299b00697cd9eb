// SPDX-License-Identifier: Apache-2.0

package changes

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// retirement judges when superseded revisions expire.
type retirement struct{ *facts.Known }

// supersededAt returns when the overlap of a superseded revision began; nil where that is not known.
func (k retirement) supersededAt(r *revisions.Revision) *metav1.Time {
	next := k.SupersederOf(r)
	if next == nil {
		return nil
	}
	return &next.IssuedAt
}

// retiredAt returns when a superseded revision expires; nil where that is unknown.
func (k retirement) retiredAt(record *revisions.Revision) *metav1.Time {
	superseded := k.supersededAt(record)
	if superseded == nil {
		return nil
	}
	// Set before anything is known of uses, so that it holds without an operator.
	hard := &metav1.Time{Time: superseded.Add(k.Wants.MaxOverlap())}
	if !k.Wants.WhenUnused() {
		return hard
	}
	return instant.Earlier(hard, k.disuse(record, superseded.Add(k.Overlap)).end)
}

// disuse is what is known of an earlier revision's not being used any more.
type disuse struct {
	// end is when it is retired; nil as long as it counts as in use.
	end *metav1.Time
	// reason says why it does.
	reason string
}

// disuse judges a superseded record. A use counts until lastUsedAt + resolution + quietPeriod. What was used before the
// tracking began is not known, so that its beginning counts as a use.
//
// The end is a duration after the renewal that proves it and not at once: verifiers know of it by then, and end the
// revision at the same instant.
func (k retirement) disuse(record *revisions.Revision, overlapEnd time.Time) disuse {
	if !k.IsTracked() {
		return disuse{reason: v1alpha1.UsageUnknownReason}
	}
	quiet := k.Wants.QuietPeriod()
	from := instant.Latest(overlapEnd, k.Tracking.Since.Add(quiet))
	d := disuse{reason: v1alpha1.UsageUnknownReason}
	if used := record.LastUsedAt; used != nil {
		until := used.Add(tracking.Resolution(record) + quiet)
		if !k.IsProven(until) {
			d.reason = v1alpha1.RecentlyUsedReason
		}
		from = instant.Latest(from, until)
	}
	if k.IsProven(from) {
		d.end = &metav1.Time{Time: k.Tracking.Renewed.Add(k.Tracking.Lag + time.Second - 1).Truncate(time.Second)}
	}
	return d
}

// overdue returns the earlier revisions that verify beyond their overlap because they count as in use, newest first, with
// what is known of each.
func (k retirement) overdue() (records []*revisions.Revision, known []disuse) {
	for _, record := range k.retirable() {
		overlapEnd := k.supersededAt(record).Add(k.Overlap)
		if !k.Reached(overlapEnd) {
			continue
		}
		if d := k.disuse(record, overlapEnd); d.end == nil {
			records, known = append(records, record), append(known, d)
		}
	}
	return records, known
}

// retirable returns the superseded revisions that verify and expire once they are unused; none without WhenUnused.
func (k retirement) retirable() []*revisions.Revision {
	if !k.Wants.WhenUnused() || k.Published == nil {
		return nil
	}
	var records []*revisions.Revision
	for _, record := range k.Others(&k.Horizon) {
		if record.Number < k.Published.Number && k.supersededAt(record) != nil {
			records = append(records, record)
		}
	}
	return records
}

// PreviousInUse returns reason and message of the condition PreviousRevisionInUse; empty where no revision lingers.
func PreviousInUse(k *facts.Known) (reason, message string) {
	r := retirement{k}
	records, known := r.overdue()
	var described []string
	for i, record := range records {
		if reason == "" || known[i].reason == v1alpha1.RecentlyUsedReason {
			reason = known[i].reason
		}
		described = append(described, fmt.Sprintf("revision %d (key ID %s, %s%s)", record.Number, record.ID, r.describeUse(record), describeEnd(record)))
	}
	if len(described) == 0 {
		return "", ""
	}
	return reason, "Previous revisions are still valid after their overlap, because they are in use or may be in use; move the clients of these revisions to the current revision: " + strings.Join(described, "; ")
}

func (k retirement) describeUse(record *revisions.Revision) string {
	switch at := record.LastUsedAt; {
	case at != nil && k.IsTracked():
		return "last used at " + instant.Format(at)
	case at != nil:
		return "last used at " + instant.Format(at) + ", later uses are not reported"
	case k.IsTracked():
		return "not used since reports began at " + k.Tracking.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("no verifier reports uses in environment %q", k.Wants.Environment)
}

func describeEnd(record *revisions.Revision) string {
	if record.NotAfter == nil {
		return ""
	}
	return ", expires at the latest at " + instant.Format(record.NotAfter)
}
