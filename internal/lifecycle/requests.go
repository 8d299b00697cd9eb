// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// instant is the form of times that the API server lets into spec, and the next two are their bounds, as in
// api/v1alpha1. Annotations are held to them as well: time.Parse takes fractions and years that could not be written back.
var instant = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

var (
	earliestTime = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	latestTime   = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// parseTime reads a time as the API server would.
func parseTime(text string) (metav1.Time, bool) {
	at, err := time.Parse(time.RFC3339, text)
	ok := err == nil && instant.MatchString(text) && !at.Before(earliestTime) && at.Before(latestTime)
	return metav1.Time{Time: at.UTC()}, ok
}

// rotationField is the path of the field of a key that makes requests. Messages about a chatbot put its own path in its place.
const rotationField = "spec.rotation"

// request is one of the requests, from spec and annotation, at a time.
type request struct {
	// due is the latest time that has come; nil if none has.
	due *metav1.Time
	// next is the earliest time to come; nil if there is none.
	next *metav1.Time
}

type requests struct {
	rotate, revoke request
	// kept is when a user decided to keep the key although it is not used.
	kept request
	// invalid says which annotations cannot be read; empty if all can.
	invalid string
	// pending are the requests that lie in the future, revocations first.
	pending []PendingRequest
}

// readRequests sorts what spec and annotations ask for by whether its time has come. A time in the future does nothing
// until then, in particular it does not hold back a request that is due: a planned rotation must not delay the
// revocation of a leaked key.
func readRequests(annotations map[string]string, rotation *v1alpha1.Rotation, h *horizon) requests {
	var r requests
	var invalid []string
	read := func(kind RequestKind, field string, inSpec *metav1.Time, annotation string) request {
		inAnnotation, ok := timeInAnnotation(annotations, annotation)
		if !ok {
			invalid = append(invalid, annotation)
		}
		for _, p := range []PendingRequest{{Kind: kind, Field: field}, {Kind: kind, Annotation: annotation}} {
			at := inAnnotation
			if p.Annotation == "" {
				at = inSpec
			}
			if at != nil && !h.reached(at.Time) {
				p.At = *at
				r.pending = append(r.pending, p)
			}
		}
		return sortRequest(h, inSpec, inAnnotation)
	}
	r.revoke = read(RevocationRequest, rotationField+".revokeIssuedBefore", rotation.RevokeIssuedBefore, v1alpha1.RevokeIssuedBeforeAnnotation)
	r.rotate = read(RotationRequest, rotationField+".requestedAt", rotation.RequestedAt, v1alpha1.RotateRequestedAtAnnotation)
	r.kept = read(KeepRequest, "", nil, v1alpha1.KeptAtAnnotation)
	if len(invalid) > 0 {
		r.invalid = fmt.Sprintf("ignoring annotation %s: want a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2026-11-23T10:00:00Z",
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
	read, ok := parseTime(text)
	if !ok {
		return nil, false
	}
	return &read, true
}

func sortRequest(h *horizon, times ...*metav1.Time) request {
	var r request
	for _, at := range times {
		switch {
		case at == nil:
		case !h.reached(at.Time):
			r.next = earlier(r.next, at)
		case r.due == nil || at.After(r.due.Time):
			r.due = at
		}
	}
	return r
}

// covers reports whether the request is due and covers a revision issued then.
func (r request) covers(issuedAt metav1.Time) bool {
	return r.due != nil && !issuedAt.After(r.due.Time)
}

// earlier returns the earlier of two times of which either may be nil.
func earlier(a, b *metav1.Time) *metav1.Time {
	if a == nil || (b != nil && b.Before(a)) {
		return b
	}
	return a
}
