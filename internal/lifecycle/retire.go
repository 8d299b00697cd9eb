// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	defaultQuietPeriod = time.Hour
	// defaultUsageResolution is assumed of a use whose report does not say how coarse it is.
	defaultUsageResolution = 10 * time.Minute
)

// whenUnused reports whether earlier revisions verify until they are no longer used.
func (d *desired) whenUnused() bool { return retireOf(&d.rotation) == v1alpha1.RetireWhenUnused }

func (d *desired) quietPeriod() time.Duration {
	if quiet := d.rotation.QuietPeriod; quiet != nil {
		return quiet.Duration
	}
	return defaultQuietPeriod
}

// maxOverlap returns how long earlier revisions verify at most, in whole seconds.
func (d *desired) maxOverlap() time.Duration {
	if most := d.rotation.MaxOverlap; d.whenUnused() && most != nil {
		return seconds(most.Duration)
	}
	return d.overlap()
}

// supersededAt returns when the overlap of a superseded revision began; nil where that is not known.
func (p *planner) supersededAt(r *Revision) *metav1.Time {
	next := p.supersederOf(r)
	if next == nil {
		return nil
	}
	return &next.IssuedAt
}

// retiredAt returns when a superseded revision expires; nil where that is unknown.
func (p *planner) retiredAt(record *Revision) *metav1.Time {
	superseded := p.supersededAt(record)
	if superseded == nil {
		return nil
	}
	// Set before anything is known of uses, so that it holds without an operator.
	hard := &metav1.Time{Time: superseded.Add(p.wants.maxOverlap())}
	if !p.wants.whenUnused() {
		return hard
	}
	return earlier(hard, p.disuse(record, superseded.Add(p.overlap)).end)
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
func (p *planner) disuse(record *Revision, overlapEnd time.Time) disuse {
	if !p.isTracked() {
		return disuse{reason: v1alpha1.UsageUnknownReason}
	}
	quiet := p.wants.quietPeriod()
	from := latest(overlapEnd, p.Tracking.Since.Add(quiet))
	d := disuse{reason: v1alpha1.UsageUnknownReason}
	if used := record.LastUsedAt; used != nil {
		until := used.Add(usageResolution(record) + quiet)
		if !p.isProven(until) {
			d.reason = v1alpha1.RecentlyUsedReason
		}
		from = latest(from, until)
	}
	if p.isProven(from) {
		d.end = &metav1.Time{Time: p.Tracking.Renewed.Add(p.Tracking.Lag + time.Second - 1).Truncate(time.Second)}
	}
	return d
}

func usageResolution(record *Revision) time.Duration {
	if resolution := record.Resolution; resolution != nil {
		return resolution.Duration
	}
	return defaultUsageResolution
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// lingering are the earlier revisions that verify beyond their overlap because they count as in use, newest first, with
// what is known of each.
func (p *planner) lingering() (records []*Revision, known []disuse) {
	for _, record := range p.retirable() {
		overlapEnd := p.supersededAt(record).Add(p.overlap)
		if !p.reached(overlapEnd) {
			continue
		}
		if d := p.disuse(record, overlapEnd); d.end == nil {
			records, known = append(records, record), append(known, d)
		}
	}
	return records, known
}

// retirable returns the superseded revisions that verify and expire once they are unused; none without WhenUnused.
func (p *planner) retirable() []*Revision {
	if !p.wants.whenUnused() || p.published == nil {
		return nil
	}
	var records []*Revision
	for _, record := range p.others(&p.horizon) {
		if record.Number < p.published.Number && p.supersededAt(record) != nil {
			records = append(records, record)
		}
	}
	return records
}

// previousInUse returns reason and message of the condition PreviousRevisionInUse; empty where no revision lingers.
func (p *planner) previousInUse() (reason, message string) {
	records, known := p.lingering()
	var described []string
	for i, record := range records {
		if reason == "" || known[i].reason == v1alpha1.RecentlyUsedReason {
			reason = known[i].reason
		}
		described = append(described, fmt.Sprintf("revision %d (key ID %s, %s%s)", record.Number, record.ID, p.describeUse(record), describeEnd(record)))
	}
	if len(described) == 0 {
		return "", ""
	}
	return reason, "Verifying beyond the overlap, because in use or not known to be unused: " + strings.Join(described, "; ")
}

func (p *planner) describeUse(record *Revision) string {
	switch at := record.LastUsedAt; {
	case at != nil && p.isTracked():
		return "last used at " + rfc3339(at)
	case at != nil:
		return "last used at " + rfc3339(at) + ", later uses are not reported"
	case p.isTracked():
		return "not used since reports began at " + p.Tracking.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("no verifier reports uses in environment %q", p.wants.environment)
}

func describeEnd(record *Revision) string {
	if record.NotAfter == nil {
		return ""
	}
	return ", ends at the latest at " + rfc3339(record.NotAfter)
}
