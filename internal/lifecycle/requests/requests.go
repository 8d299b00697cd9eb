// SPDX-License-Identifier: Apache-2.0

// Package requests reads what users ask for once: to rotate, to revoke and to keep, in spec or by annotation.
package requests

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// RotationField is the path of the field of a key that makes requests. Messages about a chatbot put its own path in its place.
const RotationField = "spec.rotation"

// Request is one of them, from the field and the annotation that make it.
type Request struct {
	// Due is the latest time that has come; nil if none has.
	Due *metav1.Time
	// Next is the earliest time to come; nil if there is none.
	Next *metav1.Time
}

// Requests are those of one owner, from spec and annotations, at a time.
type Requests struct {
	Rotate, Revoke Request
	// Kept is when a user decided to keep the key although it is not used.
	Kept Request
	// Invalid says which annotations cannot be read; empty if all can.
	Invalid string
	// Pending are the requests that lie in the future, revocations first.
	Pending []Pending
}

// Read sorts what spec and annotations ask for by whether its time has come. A time in the future does nothing
// until then, in particular it does not hold back a request that is due: a planned rotation must not delay the
// revocation of a leaked key.
func Read(annotations map[string]string, rotation *v1alpha1.Rotation, h *instant.Horizon) Requests {
	var r Requests
	var invalid []string
	read := func(kind Kind, field string, inSpec *metav1.Time, annotation string) Request {
		inAnnotation, ok := timeInAnnotation(annotations, annotation)
		if !ok {
			invalid = append(invalid, annotation)
		}
		for _, p := range []Pending{{Kind: kind, Field: field}, {Kind: kind, Annotation: annotation}} {
			at := inAnnotation
			if p.Annotation == "" {
				at = inSpec
			}
			if at != nil && !h.Reached(at.Time) {
				p.At = *at
				r.Pending = append(r.Pending, p)
			}
		}
		return sortRequest(h, inSpec, inAnnotation)
	}
	r.Revoke = read(Revocation, RotationField+".revokeIssuedBefore", rotation.RevokeIssuedBefore, v1alpha1.RevokeIssuedBeforeAnnotation)
	r.Rotate = read(Rotation, RotationField+".requestedAt", rotation.RequestedAt, v1alpha1.RotateRequestedAtAnnotation)
	r.Kept = read(Keep, "", nil, v1alpha1.KeptAtAnnotation)
	if len(invalid) > 0 {
		is := "Annotation %s is ignored"
		if len(invalid) > 1 {
			is = "Annotations %s are ignored"
		}
		r.Invalid = fmt.Sprintf(is+": the operator cannot read the time; set a time in RFC 3339 with whole seconds, such as 2026-11-23T10:00:00Z (years 1970 to 8999), or remove the annotation",
			strings.Join(invalid, " and "))
	}
	return r
}

// timeInAnnotation returns the time in an annotation, nil where there is none, and reports whether the annotation is absent
// or can be read.
func timeInAnnotation(annotations map[string]string, name string) (at *metav1.Time, ok bool) {
	text, found := annotations[name]
	if !found {
		return nil, true
	}
	read, ok := instant.Parse(text)
	if !ok {
		return nil, false
	}
	return &read, true
}

func sortRequest(h *instant.Horizon, times ...*metav1.Time) Request {
	var r Request
	for _, at := range times {
		switch {
		case at == nil:
		case !h.Reached(at.Time):
			r.Next = instant.Earlier(r.Next, at)
		case r.Due == nil || at.After(r.Due.Time):
			r.Due = at
		}
	}
	return r
}

// Covers reports whether the request is due and covers a revision issued then.
func (r Request) Covers(issuedAt metav1.Time) bool {
	return r.Due != nil && !issuedAt.After(r.Due.Time)
}
