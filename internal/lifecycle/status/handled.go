// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// NextRotation is when the next revision is due; nil where none is foreseen, or where the key expires before. It lies in
// the past while a gate is closed for a revision that is due.
func NextRotation(g *gates.Gated) *metav1.Time {
	wants := &g.Wants
	if g.Audit.State != v1alpha1.StateActive {
		return nil
	}
	if len(g.Failed) > 0 {
		return g.Was.NextRotationAt
	}
	reference := g.Reference()
	if reference == nil {
		return nil
	}
	var next *metav1.Time
	if o := g.Obstacle; o != nil && (o.Reason == v1alpha1.SecretLossDampedReason || o.Reason == v1alpha1.WaitingForOverlapReason) {
		if !o.Until.IsZero() {
			next = &metav1.Time{Time: o.Until}
		}
	} else {
		next = instant.Earlier(g.Scheduled(reference.IssuedAt), instant.Earlier(g.Requests.Rotate.Next, g.Requests.Revoke.Next))
	}
	if next == nil || (wants.ExpiresAt != nil && !next.Before(wants.ExpiresAt)) {
		return nil
	}
	return &metav1.Time{Time: next.UTC()}
}

// Handled returns the requests that are satisfied; what was handled before stays when it is no longer requested.
func Handled(k *facts.Known) *v1alpha1.HandledRequest {
	var h v1alpha1.HandledRequest
	if old := k.Was.Handled; old != nil {
		h = *old
	}
	if due := k.Requests.Rotate.Due; due != nil && k.Published != nil && !k.Requests.Rotate.Covers(k.Published.IssuedAt) {
		h.RotateRequestedAt = &metav1.Time{Time: due.UTC()}
	}
	if due := k.Requests.Revoke.Due; due != nil && !k.Failed.Any(report.ReadRecords) && !slices.ContainsFunc(k.Owned, func(r *revisions.Revision) bool {
		return r.State != v1alpha1.StateRevoked && k.Requests.Revoke.Covers(r.RevocableFrom())
	}) {
		h.RevokeIssuedBefore = &metav1.Time{Time: due.UTC()}
	}
	if h == (v1alpha1.HandledRequest{}) {
		return nil
	}
	return &h
}
