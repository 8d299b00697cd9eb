// SPDX-License-Identifier: Apache-2.0

// Package propagation decides when a withdrawal is proven: when no registered verifier can accept what the operator has withdrawn. Each
// verifier says up to which version it has applied the records. Events of one resource arrive in order, so a verifier that has reached the
// version of a record has applied that record.
//
//	verifier                                              may still accept the key
//	has reached the version                               no; if the revision ends by notAfter: once its own clock has reached that
//	has stopped                                           no
//	denies when stale, silent for longer than that        no
//	serves when stale, silent                             yes, for ever
//	renews, and has not reached the version               yes: time alone proves nothing
//	none is registered                                    unknown: nothing is proven
package propagation

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/registration"
)

const (
	// RewriteInterval is the least time between two reports of who is pending, for one withdrawal.
	RewriteInterval = time.Minute
	// AtOnce is how far ahead the end of a revision may be that is withdrawn by it. A revision that serves a request counts as issued in the second
	// after the request, and without an overlap the earlier one ends then.
	AtOnce = time.Second
)

// Awaited is what verifiers must have reached to reject what was withdrawn.
type Awaited struct {
	// Version of the records.
	Version string
	// End is the latest notAfter by which a revision was withdrawn: verifiers compare it with their own clock. Zero for none.
	End time.Time
	// NoneIsKnown is set if the status says that no verifier is registered: no later report of who is pending is due then.
	NoneIsKnown bool
}

// Withdrawals are what is known of the withdrawals of a key.
type Withdrawals struct {
	Generation int64
	// RevokeIssuedBefore is the cut-off that the key requests, if it is due; nil for none.
	RevokeIssuedBefore *metav1.Time
	// Revisions of the key, those that were not withdrawn included.
	Revisions []*revisions.Revision
	// AnsweredAt is when this instance got the API server's answer to the last write of a withdrawal; zero for none.
	AnsweredAt time.Time
	// ReportedAt is when this instance last wrote the status; zero for never.
	ReportedAt time.Time
	View       View
}

// IsUncovered reports whether a revision was withdrawn, at a time that is zero if it was not, later than the status says.
func IsUncovered(was *v1alpha1.Propagation, withdrawnAt time.Time) bool {
	return !withdrawnAt.IsZero() && (was == nil || withdrawnAt.After(was.WrittenAt.Time))
}

// At returns when a withdrawal that begins now is dated: later than what the status covers, whatever the clock says. Otherwise a crash
// before the status is written would hide it.
func At(was *v1alpha1.Propagation, now time.Time) time.Time {
	now = now.UTC().Truncate(time.Microsecond)
	if was != nil && !now.After(was.WrittenAt.Time) {
		return was.WrittenAt.UTC().Add(time.Microsecond)
	}
	return now
}

// NextReport returns when it is time to report again who is pending: RewriteInterval after the last report.
func NextReport(reportedAt, now time.Time) time.Time {
	if next := reportedAt.Add(RewriteInterval); next.After(now) {
		return next
	}
	return now.Add(RewriteInterval)
}

// Next returns how far verifiers have followed; nil if nothing was withdrawn. A version is never lowered, and what is confirmed stays so.
func Next(was *v1alpha1.Propagation, w *Withdrawals, now time.Time) *v1alpha1.Propagation {
	next := w.covering(was, now)
	if next == nil || next.ConfirmedAt != nil {
		return next
	}
	return w.follow(was, next, now)
}

// AwaitedBy returns what verifiers must reach for a withdrawal to be confirmed; nil if none waits.
func AwaitedBy(p *v1alpha1.Propagation, all []*revisions.Revision) *Awaited {
	if p == nil || p.ConfirmedAt != nil {
		return nil
	}
	a := &Awaited{Version: p.Version, NoneIsKnown: p.Verifiers == 0}
	if !slices.ContainsFunc(all, func(r *revisions.Revision) bool { return !r.WithdrawnAt.IsZero() }) {
		a.End = p.WrittenAt.Add(AtOnce) // the records are gone, or cannot be read
	}
	for _, r := range all {
		// A verifier that has a revoked or disabled record rejects it, whatever its clock says.
		if end := r.NotAfter; !r.WithdrawnAt.IsZero() && r.State == v1alpha1.StateActive && end != nil && end.After(a.End) {
			a.End = end.Time
		}
	}
	return a
}

// covering returns the propagation with all withdrawals in it. A withdrawal that no status tells of, after a crash, counts from now.
func (w *Withdrawals) covering(was *v1alpha1.Propagation, now time.Time) *v1alpha1.Propagation {
	var next *v1alpha1.Propagation
	writtenAt := w.AnsweredAt
	if writtenAt.IsZero() {
		writtenAt = now
	}
	for _, r := range w.Revisions {
		if !IsUncovered(was, r.WithdrawnAt) {
			continue
		}
		if next == nil {
			next = &v1alpha1.Propagation{Generation: w.Generation}
			if was != nil {
				next.Version = was.Version
			}
		}
		if !registration.Reaches(next.Version, r.Version) {
			next.Version = r.Version
		}
		if r.State == v1alpha1.StateRevoked && w.RevokeIssuedBefore != nil && !r.IssuedAt.After(w.RevokeIssuedBefore.Time) {
			next.RevokeIssuedBefore = &metav1.Time{Time: w.RevokeIssuedBefore.UTC()}
		}
		if r.WithdrawnAt.After(writtenAt) {
			// It was dated by another instance, or before this one started. That moment is not known.
			writtenAt = now
			if r.WithdrawnAt.After(now) {
				writtenAt = r.WithdrawnAt
			}
		}
	}
	if next == nil {
		return was.DeepCopy()
	}
	next.WrittenAt = micro(writtenAt)
	return next
}

// follow adds what the verifiers say.
func (w *Withdrawals) follow(was, next *v1alpha1.Propagation, now time.Time) *v1alpha1.Propagation {
	hasNames := was != nil && was.Verifiers > 0 && was.Version == next.Version && was.WrittenAt.Equal(&next.WrittenAt)
	if w.View.Unreadable {
		return next
	}
	awaited := AwaitedBy(next, w.Revisions)
	confirmedAt, present := next.WrittenAt.Time, int32(0)
	var pending []*Verifier
	for i := range w.View.Verifiers {
		v := &w.View.Verifiers[i]
		if v.Presence == Present {
			present++
		}
		since, rejects := v.rejectsSince(awaited)
		switch {
		case !rejects:
			pending = append(pending, v)
		case since.After(confirmedAt):
			confirmedAt = since
		}
	}
	if hasNames && len(pending) > 0 && present > 0 && now.Sub(w.ReportedAt).Abs() < RewriteInterval {
		return next
	}
	next.Verifiers, next.Pending, next.BoundAt = present, nil, nil
	switch {
	case len(pending) > 0:
		next.Pending, next.BoundAt = names(pending), boundOf(pending)
	case present > 0 && !w.View.Incomplete && !now.Before(w.View.CompleteFrom):
		if w.View.CompleteFrom.After(confirmedAt) {
			confirmedAt = w.View.CompleteFrom
		}
		at := micro(confirmedAt)
		next.ConfirmedAt = &at
	}
	return next
}

func names(pending []*Verifier) []string {
	var all []string
	for _, v := range pending {
		all = append(all, v.Name)
	}
	slices.Sort(all)
	return all[:min(len(all), v1alpha1.MaxPendingVerifiers)]
}

// boundOf returns by when all pending verifiers count as gone; nil if one of them renews, or never does.
func boundOf(pending []*Verifier) *metav1.MicroTime {
	latest := slices.MaxFunc(pending, func(a, b *Verifier) int { return a.BoundAt.Compare(b.BoundAt) })
	if slices.ContainsFunc(pending, func(v *Verifier) bool { return !v.IsSilent || v.BoundAt.IsZero() }) {
		return nil
	}
	at := micro(latest.BoundAt.Truncate(time.Second))
	return &at
}

func micro(at time.Time) metav1.MicroTime {
	return metav1.MicroTime{Time: at.UTC().Truncate(time.Microsecond)}
}

// Condition returns reason and message of the condition PropagationPending; an empty reason if nothing is pending.
func Condition(p *v1alpha1.Propagation, view *View) (reason, message string) {
	switch {
	case p == nil || p.ConfirmedAt != nil:
		return "", ""
	case view.Unreadable:
		return v1alpha1.VerifiersUnknownReason, "Whether verifiers reject what was withdrawn is unknown: the operator cannot read the Leases by which they register; " +
			"give the manager's account the right to get, list and watch leases in the namespace of --usage-namespace"
	case view.Incomplete:
		return v1alpha1.VerifiersUnknownReason, "Whether verifiers reject what was withdrawn is unknown: clients deleted more Leases of verifiers than the operator can remember, and a verifier " +
			"with --on-stale=serve may still answer; stop all verifiers whose Lease was deleted, then restart the managers"
	case p.Verifiers == 0 && len(p.Pending) == 0:
		return v1alpha1.VerifiersUnknownReason, "Whether verifiers reject what was withdrawn is not proven: no verifier of the key's namespace and environment runs, because none is registered, " +
			"or all have stopped or are gone; start a verifier with --register and the manager's --usage-namespace"
	}
	if len(p.Pending) == 0 {
		return v1alpha1.VerifiersBehindReason, "Whether verifiers reject what was withdrawn is not proven yet: the operator waits until verifiers whose Lease was lost have registered again or are gone"
	}
	who := "Verifiers that may still accept what was withdrawn: " + strings.Join(p.Pending, ", ")
	if len(p.Pending) == v1alpha1.MaxPendingVerifiers {
		who += " and perhaps more"
	}
	serving := slices.ContainsFunc(view.Verifiers, func(v Verifier) bool { return v.IsSilent && v.Serves && slices.Contains(p.Pending, v.Name) })
	switch {
	case serving:
		return v1alpha1.VerifierServesStaleReason, who + ". One of them is silent and runs with --on-stale=serve, so that time proves nothing: stop it, make sure that it no longer runs, " +
			"and annotate its Lease with " + v1alpha1.StoppedAnnotation
	case p.BoundAt != nil:
		return v1alpha1.VerifiersBehindReason, who + ". They are silent and count as gone at " + p.BoundAt.UTC().Format(time.RFC3339)
	}
	return v1alpha1.VerifiersBehindReason, who + ". The operator waits until they have followed; if this lasts for more than a minute, read their logs"
}
