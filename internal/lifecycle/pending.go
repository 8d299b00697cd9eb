// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// RequestKind is what a request asks for.
type RequestKind string

const (
	// RevocationRequest asks to revoke what was issued up to a time.
	RevocationRequest RequestKind = "revocation"
	// RotationRequest asks for a revision that is issued after a time.
	RotationRequest RequestKind = "rotation"
	// KeepRequest asks the audit to count from a time.
	KeepRequest RequestKind = "keep"
)

// ClockTolerance is how far ahead of now a time may lie without a warning that it lies in the future: a request may be made
// for the second in which the current revision was issued, which is up to a second ahead of now, and clocks differ.
const ClockTolerance = 2 * time.Second

// PendingRequest is a request whose time has not come. Until then it does nothing.
type PendingRequest struct {
	Kind RequestKind
	// At is the instant from which the request acts.
	At metav1.Time
	// Annotation is the name of the annotation that makes the request; empty where a field does.
	Annotation string
	// Field is the path of the field that makes the request, from the root of the object; empty where an annotation does.
	Field string
}

// Source returns the field or the annotation that makes the request.
func (r PendingRequest) Source() string {
	if r.Annotation != "" {
		return "annotation " + r.Annotation
	}
	return r.Field
}

// PendingRequests returns the requests of a key that lie in the future, revocations first. Those of an unreadable
// annotation are left out.
func PendingRequests(key *v1alpha1.DGbotAPIKey, now time.Time) []PendingRequest {
	var rotation v1alpha1.Rotation
	if key.Spec.Rotation != nil {
		rotation = *key.Spec.Rotation
	}
	return readRequests(key.Annotations, &rotation, &horizon{now: now}).pending
}

// pendingReason returns the reason of the condition RequestPending, which names the most important request that is
// pending; empty where none is.
func (p *planner) pendingReason() string {
	if len(p.requests.pending) == 0 {
		return ""
	}
	switch p.requests.pending[0].Kind {
	case RevocationRequest:
		return v1alpha1.RevocationPendingReason
	case RotationRequest:
		return v1alpha1.RotationPendingReason
	}
	return v1alpha1.KeepPendingReason
}

// pendingMessage returns the message of the condition RequestPending: for each request its instant, its source, what
// verifies until then, and what to do if it should act at once.
func (p *planner) pendingMessage() string {
	var sentences []string
	for _, request := range p.requests.pending {
		sentences = append(sentences, p.describePending(request))
	}
	return strings.Join(sentences, ". ")
}

func (p *planner) describePending(request PendingRequest) string {
	source := request.Source()
	if request.Field != "" {
		source = p.rotationField + strings.TrimPrefix(request.Field, rotationField)
	}
	at := rfc3339(&request.At)
	var effect string
	switch request.Kind {
	case RevocationRequest:
		effect = fmt.Sprintf("The revocation that %s requests for %s lies in the future: until then it revokes nothing, and %s", source, at, p.whatVerifies())
	case RotationRequest:
		effect = fmt.Sprintf("The rotation that %s requests for %s lies in the future: until then it issues nothing, and %s", source, at, p.whatVerifies())
	case KeepRequest:
		effect = fmt.Sprintf("The decision to keep the key, which %s makes for %s, lies in the future: until then the audit ignores it, and %s", source, at, p.whatVerifies())
	}
	if request.Annotation == "" {
		return fmt.Sprintf(`%s. If it should act now, set %s to the current time in UTC, as printed by "date -u +%%FT%%TZ"`, effect, source)
	}
	return fmt.Sprintf(`%s. If it should act now, set the current time in UTC: "kubectl annotate %s %s -n %s --overwrite %s=$(date -u +%%FT%%TZ)"`,
		effect, p.resource, p.name, p.namespace, request.Annotation)
}

// maxNamedRevisions is how many revisions a message names.
const maxNamedRevisions = 3

// whatVerifies names the revisions that verify now, newest first.
func (p *planner) whatVerifies() string {
	var revisions []string
	for _, record := range p.live {
		if record.isAdmitted(&p.horizon) {
			revisions = append(revisions, strconv.FormatInt(record.Number, 10))
		}
	}
	switch n := len(revisions); {
	case n == 0:
		return "no revision verifies"
	case n == 1:
		return fmt.Sprintf("revision %s still verifies", revisions[0])
	case n > maxNamedRevisions:
		return fmt.Sprintf("revisions %s and %d more still verify", strings.Join(revisions[:maxNamedRevisions], ", "), n-maxNamedRevisions)
	default:
		return fmt.Sprintf("revisions %s and %s still verify", strings.Join(revisions[:n-1], ", "), revisions[n-1])
	}
}

// pendingEvent returns the Warning event for a revocation that became pending; nil where none did. A rotation in the future
// is a schedule, and no reason to warn.
func (o *owner) pendingEvent(next []metav1.Condition, now time.Time) *Event {
	is := apimeta.FindStatusCondition(next, v1alpha1.RequestPendingCondition)
	if is == nil || is.Reason != v1alpha1.RevocationPendingReason {
		return nil
	}
	was := apimeta.FindStatusCondition(o.was.conditions, v1alpha1.RequestPendingCondition)
	if was != nil && was.Reason == v1alpha1.RevocationPendingReason {
		return nil
	}
	if !slices.ContainsFunc(o.requests.pending, func(r PendingRequest) bool {
		return r.Kind == RevocationRequest && r.At.After(now.Add(ClockTolerance))
	}) {
		return nil
	}
	return &Event{Warning: true, Reason: v1alpha1.RequestPendingReason, Action: "ReadRequest", Note: is.Message}
}
