// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// NextRotation is when the next revision is due; nil where none is foreseen, or where the key expires before. It lies in
// the past while a gate is closed for a revision that is due.
func NextRotation(p *Gated) *metav1.Time {
	wants := &p.Wants
	if p.Audit.State != v1alpha1.StateActive {
		return nil
	}
	if len(p.Failed) > 0 {
		return p.Was.NextRotationAt
	}
	reference := p.Reference()
	if reference == nil {
		return nil
	}
	var next *metav1.Time
	if o := p.Obstacle; o != nil && (o.Reason == v1alpha1.SecretLossDampedReason || o.Reason == v1alpha1.WaitingForOverlapReason) {
		if !o.Until.IsZero() {
			next = &metav1.Time{Time: o.Until}
		}
	} else {
		next = instant.Earlier(p.Scheduled(reference.IssuedAt), instant.Earlier(p.Requests.Rotate.Next, p.Requests.Revoke.Next))
	}
	if next == nil || (wants.ExpiresAt != nil && !next.Before(wants.ExpiresAt)) {
		return nil
	}
	return &metav1.Time{Time: next.UTC()}
}

// Handled returns the requests that are satisfied; what was handled before stays when it is no longer requested.
func Handled(p *Known) *v1alpha1.HandledRequest {
	var h v1alpha1.HandledRequest
	if old := p.Was.Handled; old != nil {
		h = *old
	}
	if due := p.Requests.Rotate.Due; due != nil && p.Published != nil && !p.Requests.Rotate.Covers(p.Published.IssuedAt) {
		h.RotateRequestedAt = &metav1.Time{Time: due.UTC()}
	}
	if due := p.Requests.Revoke.Due; due != nil && !p.Failed.Any(report.ReadRecords) && !slices.ContainsFunc(p.Owned, func(r *revisions.Revision) bool {
		return r.State != v1alpha1.StateRevoked && p.Requests.Revoke.Covers(r.RevocableFrom())
	}) {
		h.RevokeIssuedBefore = &metav1.Time{Time: due.UTC()}
	}
	if h == (v1alpha1.HandledRequest{}) {
		return nil
	}
	return &h
}
