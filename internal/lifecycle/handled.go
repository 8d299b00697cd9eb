// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"

	"dgbot.io/key-operator/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
