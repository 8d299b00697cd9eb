// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/requests"
)

// PendingReason returns the reason of the condition RequestPending, which names the most important request that is
// pending; empty where none is.
func PendingReason(k *facts.Known) string {
	if len(k.Requests.Pending) == 0 {
		return ""
	}
	switch k.Requests.Pending[0].Kind {
	case requests.Revocation:
		return v1alpha1.RevocationPendingReason
	case requests.Rotation:
		return v1alpha1.RotationPendingReason
	}
	return v1alpha1.KeepPendingReason
}

// PendingMessage returns the message of the condition RequestPending: for each request its instant, its source, what
// is valid until then, and what to do to make the request act at once.
func PendingMessage(k *facts.Known) string {
	var sentences []string
	for _, request := range k.Requests.Pending {
		sentences = append(sentences, describePending(k, request))
	}
	return strings.Join(sentences, ". ")
}

func describePending(k *facts.Known, request requests.Pending) string {
	source := request.Source()
	if request.Field != "" {
		source = k.RotationField + strings.TrimPrefix(request.Field, requests.RotationField)
	}
	at := instant.Format(&request.At)
	var effect, verb string
	switch request.Kind {
	case requests.Revocation:
		effect, verb = fmt.Sprintf("The revocation that %s requests is in the future: the operator revokes at %s, and the request changes nothing before", source, at), "revoke"
	case requests.Rotation:
		effect, verb = fmt.Sprintf("The rotation that %s requests is in the future: the operator rotates at %s, and the request changes nothing before", source, at), "rotate"
	case requests.Keep:
		effect, verb = fmt.Sprintf("The time in %s is in the future: the audit ignores the annotation until %s", source, at), "keep the key"
	}
	effect += ". " + whatIsValid(k)
	if request.Annotation == "" {
		return fmt.Sprintf(`%s. To %s now, set %s to the current time in UTC, as printed by "date -u +%%FT%%TZ"`, effect, verb, source)
	}
	return fmt.Sprintf(`%s. To %s now, run "kubectl annotate %s %s -n %s --overwrite %s=$(date -u +%%FT%%TZ)"`,
		effect, verb, k.Resource, k.Name, k.Namespace, request.Annotation)
}

// maxNamedRevisions is how many revisions a message names.
const maxNamedRevisions = 3

// whatIsValid names the revisions that are valid now, newest first.
func whatIsValid(k *facts.Known) string {
	var revisions []string
	for _, record := range k.Owned {
		if record.IsAdmitted(&k.Horizon) {
			revisions = append(revisions, strconv.FormatInt(record.Number, 10))
		}
	}
	switch n := len(revisions); {
	case n == 0:
		return "Valid revisions now: none"
	case n == 1:
		return "Valid revisions now: " + revisions[0]
	case n > maxNamedRevisions:
		return fmt.Sprintf("Valid revisions now: %s and %d more", strings.Join(revisions[:maxNamedRevisions], ", "), n-maxNamedRevisions)
	default:
		return fmt.Sprintf("Valid revisions now: %s and %s", strings.Join(revisions[:n-1], ", "), revisions[n-1])
	}
}

// pendingEvent returns the Warning event for a revocation that became pending; nil where none did. A rotation in the future
// is a schedule, and no reason to warn.
func pendingEvent(o *facts.Owner, next []metav1.Condition, now time.Time) *report.Event {
	is := apimeta.FindStatusCondition(next, v1alpha1.RequestPendingCondition)
	if is == nil || is.Reason != v1alpha1.RevocationPendingReason {
		return nil
	}
	was := apimeta.FindStatusCondition(o.Was.Conditions, v1alpha1.RequestPendingCondition)
	if was != nil && was.Reason == v1alpha1.RevocationPendingReason {
		return nil
	}
	if !slices.ContainsFunc(o.Requests.Pending, func(r requests.Pending) bool {
		return r.Kind == requests.Revocation && r.At.After(now.Add(instant.ClockTolerance))
	}) {
		return nil
	}
	return &report.Event{Warning: true, Reason: v1alpha1.RequestPendingReason, Action: "ReadRequest", Note: is.Message}
}
