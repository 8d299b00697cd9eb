// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// maxPreviousShown bounds status.previous; more than the limit of earlier revisions can only verify for as long as a
// plan takes to be carried out.
const maxPreviousShown = 32

// status describes the observation. What it says depends on the old status in three things only: when a condition last
// changed, requests that were handled and are no longer asked for, and the last use of revisions whose records are gone.
func (p *planner) status(old *v1alpha1.DGbotAPIKeyStatus) *v1alpha1.DGbotAPIKeyStatus {
	s := &v1alpha1.DGbotAPIKeyStatus{
		ObservedGeneration: p.generation,
		Conditions:         p.conditions(),
		NextRotationAt:     p.nextRotation(),
		LastHandledRequest: p.handled(),
		Audit:              p.audit.shown,
		Binding:            old.Binding,
		LastUsedAt:         p.lastUseOfAny(),
		TrackedSince:       p.trackedSince(),
	}
	switch current := old.Current; {
	case p.matched != nil:
		s.Current = p.describe(p.matched)
	case current != nil && (len(p.Failed) > 0 || p.Secret.State == SecretOwned && p.Secret.KeyID == current.KeyID):
		// The record is gone and the Secret still holds its key, or may hold it. Nothing else knows the number that was used.
		s.Current = current.DeepCopy()
	}
	if p.published != nil {
		s.Binding = &v1alpha1.Binding{Name: p.secretName}
	}
	for _, record := range p.others(&p.horizon) {
		if len(s.Previous) < maxPreviousShown {
			s.Previous = append(s.Previous, *p.describe(record))
		}
	}
	if p.Failed.Any(ReadRecords) && len(p.live) == 0 {
		s.Previous = old.Previous
	}
	return s
}

func (p *planner) describe(record *Revision) *v1alpha1.RevisionStatus {
	return &v1alpha1.RevisionStatus{
		Revision:   record.Number,
		KeyID:      record.ID,
		RecordName: record.Name,
		IssuedAt:   record.IssuedAt,
		NotAfter:   record.NotAfter,
		LastUsedAt: lastUse(record, &p.horizon),
	}
}

func (p *planner) conditions() []metav1.Condition {
	c := newConditions(p.was.conditions, p.generation, p.now)
	ready, reason, message := p.ready()
	c.set(v1alpha1.ReadyCondition, ready, reason, message)
	stalled, reconciling := false, ready != metav1.ConditionTrue
	switch o := p.obstacle; {
	case o != nil:
		stalled, reconciling, reason, message = o.stalled, !o.stalled, o.reason, o.message
	case p.cause != "":
		reconciling, reason, message = true, v1alpha1.ProgressingReason, p.progress()
	}
	c.progress(stalled, reconciling, reason, message)
	c.whileTrue(v1alpha1.RequestInvalidCondition, p.requests.invalid != "", v1alpha1.AnnotationUnreadableReason, p.requests.invalid)
	reason = p.pendingReason()
	c.whileTrue(v1alpha1.RequestPendingCondition, reason != "", reason, p.pendingMessage())
	reason, message = p.unused()
	c.whileTrue(v1alpha1.UnusedCondition, reason != "", reason, message)
	if len(p.Failed) > 0 {
		// Whether these are still so is unknown. They stay as they were reported last.
		return c.list
	}
	violates := len(p.violations) > 0 && !p.issuesFirst()
	c.whileTrue(v1alpha1.PolicyViolationCondition, violates, v1alpha1.EnvironmentPolicyReason, p.policyViolation())
	missing := p.environmentMissing()
	c.whileTrue(v1alpha1.EnvironmentMissingCondition, missing != "", v1alpha1.EnvironmentUnknownReason, missing)
	reason, message = p.previousInUse()
	c.whileTrue(v1alpha1.PreviousRevisionInUseCondition, reason != "", reason, message)
	return c.list
}

func (p *planner) ready() (metav1.ConditionStatus, string, string) {
	switch {
	case p.obstacle != nil && !p.obstacle.harmless:
		return metav1.ConditionFalse, p.obstacle.reason, p.obstacle.message
	case p.published != nil && p.published.isAdmitted(&p.horizon):
		return metav1.ConditionTrue, v1alpha1.IssuedReason, fmt.Sprintf("Revision %d is published in Secret %q and verifies",
			p.published.Number, p.secretName)
	}
	return metav1.ConditionFalse, v1alpha1.ProgressingReason, p.progress()
}

func (p *planner) progress() string {
	return fmt.Sprintf("A revision is about to be issued (%s)", p.cause)
}

// nextRotation is when the next revision is due; nil where none is foreseen, or where the key expires before. It lies in
// the past while a gate is closed for a revision that is due.
func (p *planner) nextRotation() *metav1.Time {
	wants := &p.wants
	if p.wants.state != v1alpha1.StateActive {
		return nil
	}
	if len(p.Failed) > 0 {
		return p.was.nextRotationAt
	}
	reference := p.reference()
	if reference == nil {
		return nil
	}
	var next *metav1.Time
	if o := p.obstacle; o != nil && (o.reason == v1alpha1.SecretLossDampedReason || o.reason == v1alpha1.WaitingForOverlapReason) {
		if !o.until.IsZero() {
			next = &metav1.Time{Time: o.until}
		}
	} else {
		next = earlier(p.scheduled(reference.IssuedAt), earlier(p.requests.rotate.next, p.requests.revoke.next))
	}
	if next == nil || (wants.expiresAt != nil && !next.Before(wants.expiresAt)) {
		return nil
	}
	return &metav1.Time{Time: next.UTC()}
}

// handled returns the requests that are satisfied; what was handled before stays when it is no longer requested.
func (p *planner) handled() *v1alpha1.HandledRequest {
	var h v1alpha1.HandledRequest
	if old := p.was.handled; old != nil {
		h = *old
	}
	if due := p.requests.rotate.due; due != nil && p.published != nil && !p.requests.rotate.covers(p.published.IssuedAt) {
		h.RotateRequestedAt = &metav1.Time{Time: due.UTC()}
	}
	if due := p.requests.revoke.due; due != nil && !p.Failed.Any(ReadRecords) && !slices.ContainsFunc(p.live, func(r *Revision) bool {
		return r.State != v1alpha1.StateRevoked && p.requests.revoke.covers(r.IssuedAt)
	}) {
		h.RevokeIssuedBefore = &metav1.Time{Time: due.UTC()}
	}
	if h == (v1alpha1.HandledRequest{}) {
		return nil
	}
	return &h
}

// maxMessage is how many bytes the API server takes as an event's note.
const maxMessage = 1024

// truncate keeps a message within maxMessage.
func truncate(message string) string { return truncateTo(message, maxMessage) }

// isInvisible reports whether a character has no shape of its own, by class: a list is out of date with the next version of Unicode.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// truncateTo puts a message on one line, and cuts one that has more than a number of bytes. Messages quote webhooks, policies and
// quotas; "kubectl describe" prints a condition as it is, so that a line break would begin a line of its own.
func truncateTo(message string, most int) string {
	const ellipsis = "…"
	message = strings.Join(strings.FieldsFunc(message, isInvisible), " ")
	if len(message) <= most {
		return message
	}
	cut := max(most-len(ellipsis), 0)
	for cut > 0 && message[cut]&0xC0 == 0x80 {
		cut--
	}
	return message[:cut] + ellipsis
}
