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
// verifies until then, and what to do if it should act at once.
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
	var effect string
	switch request.Kind {
	case requests.Revocation:
		effect = fmt.Sprintf("The revocation that %s requests for %s lies in the future: until then it revokes nothing, and %s", source, at, whatVerifies(k))
	case requests.Rotation:
		effect = fmt.Sprintf("The rotation that %s requests for %s lies in the future: until then it issues nothing, and %s", source, at, whatVerifies(k))
	case requests.Keep:
		effect = fmt.Sprintf("The decision to keep the key, which %s makes for %s, lies in the future: until then the audit ignores it, and %s", source, at, whatVerifies(k))
	}
	if request.Annotation == "" {
		return fmt.Sprintf(`%s. If it should act now, set %s to the current time in UTC, as printed by "date -u +%%FT%%TZ"`, effect, source)
	}
	return fmt.Sprintf(`%s. If it should act now, set the current time in UTC: "kubectl annotate %s %s -n %s --overwrite %s=$(date -u +%%FT%%TZ)"`,
		effect, k.Resource, k.Name, k.Namespace, request.Annotation)
}

// maxNamedRevisions is how many revisions a message names.
const maxNamedRevisions = 3

// whatVerifies names the revisions that verify now, newest first.
func whatVerifies(k *facts.Known) string {
	var revisions []string
	for _, record := range k.Owned {
		if record.IsAdmitted(&k.Horizon) {
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
