// SPDX-License-Identifier: Apache-2.0

package requests

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// Kind is what a request asks for.
type Kind string

const (
	// Revocation asks to revoke what was issued up to a time.
	Revocation Kind = "revocation"
	// Rotation asks for a revision that is issued after a time.
	Rotation Kind = "rotation"
	// Keep asks the audit to count from a time.
	Keep Kind = "keep"
)

// Pending is a request whose time has not come. Until then it does nothing.
type Pending struct {
	Kind Kind
	// At is the instant from which the request acts.
	At metav1.Time
	// Annotation is the name of the annotation that makes the request; empty where a field does.
	Annotation string
	// Field is the path of the field that makes the request, from the root of the object; empty where an annotation does.
	Field string
}

// Source returns the field or the annotation that makes the request.
func (r Pending) Source() string {
	if r.Annotation != "" {
		return "annotation " + r.Annotation
	}
	return r.Field
}

// Of returns the requests of a key at a time.
func Of(key *v1alpha1.DGbotAPIKey, now time.Time) Requests {
	var rotation v1alpha1.Rotation
	if key.Spec.Rotation != nil {
		rotation = *key.Spec.Rotation
	}
	return Read(key.Annotations, &rotation, &instant.Horizon{Now: now})
}

// PendingOf returns the requests of a key that lie in the future, revocations first. Those of an unreadable
// annotation are left out.
func PendingOf(key *v1alpha1.DGbotAPIKey, now time.Time) []Pending { return Of(key, now).Pending }
