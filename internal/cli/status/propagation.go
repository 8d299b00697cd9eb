// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
)

// PropagationPending returns the condition of a withdrawal that is not proven; nil for none.
func PropagationPending(key *v1alpha1.DGbotAPIKey) *metav1.Condition {
	return apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.PropagationPendingCondition)
}

// IsUnprovable reports whether no verifier is known that could confirm the withdrawal of a key.
func IsUnprovable(key *v1alpha1.DGbotAPIKey) bool {
	p, pending := key.Status.Propagation, PropagationPending(key)
	switch {
	case p == nil, p.ConfirmedAt != nil:
		return false
	case pending != nil && pending.Reason == v1alpha1.VerifiersUnknownReason:
		return true
	}
	return p.Verifiers == 0 && len(p.Pending) == 0
}

// Confirmation returns which verifiers reject what was withdrawn, and how long after it was written, of a withdrawal that is confirmed.
func Confirmation(p *v1alpha1.Propagation) string {
	took := max(0, p.ConfirmedAt.Sub(p.WrittenAt.Time))
	after := fmt.Sprintf("%d ms after it was written", took.Milliseconds())
	if took >= 10*time.Second {
		after = took.Round(100*time.Millisecond).String() + " after it was written"
	}
	if p.Verifiers == 1 {
		return "rejected by the only registered verifier, " + after
	}
	return fmt.Sprintf("rejected by all %d registered verifiers, %s", p.Verifiers, after)
}

// Outlook names the verifiers that may still accept what was withdrawn, and when they count as gone.
func Outlook(p *v1alpha1.Propagation) string {
	number := fmt.Sprintf("%d of %d registered verifiers", len(p.Pending), p.Verifiers)
	switch {
	case len(p.Pending) == 0:
		return "the registered verifiers have followed; waiting for the operator"
	case len(p.Pending) >= v1alpha1.MaxPendingVerifiers && int(p.Verifiers) > v1alpha1.MaxPendingVerifiers:
		number = "at least " + number
	}
	text := fmt.Sprintf("%s may still accept it: %s", number, strings.Join(p.Pending, ", "))
	if p.BoundAt != nil {
		text += "; if they stay silent, they count as gone at " + p.BoundAt.UTC().Format(time.RFC3339)
	}
	return text
}

// Progress returns the withdrawal of a key without the pending verifiers that have followed by now, as their Leases say. If the others are silent
// and the operator has no bound yet, the bound follows from their last renewals.
func Progress(key *v1alpha1.DGbotAPIKey, leases []coordinationv1.Lease, now time.Time) *v1alpha1.Propagation {
	p := key.Status.Propagation.DeepCopy()
	namespace, environment := key.Namespace, key.Spec.Environment
	var latest time.Time
	silent := 0
	for i := range leases {
		lease, r := &leases[i], registration.Of(&leases[i])
		at := slices.Index(p.Pending, lease.Name)
		longest, ends := r.LongestSilence()
		switch {
		case at < 0:
			continue
		case r.Stopped, registration.Reaches(r.ObservedOf(namespace, environment), p.Version):
			p.Pending = slices.Delete(p.Pending, at, at+1)
			continue
		case !ends, lease.Spec.RenewTime == nil, r.State(now.Sub(lease.Spec.RenewTime.Time)) == registration.Current:
			continue
		}
		silent++
		if at := lease.Spec.RenewTime.Add(longest); at.After(latest) {
			latest = at
		}
	}
	if p.BoundAt == nil && silent > 0 && silent == len(p.Pending) {
		p.BoundAt = &metav1.MicroTime{Time: latest}
	}
	return p
}

// Propagation returns how far verifiers have followed the last withdrawal of a key; empty if it has none.
func Propagation(key *v1alpha1.DGbotAPIKey) string {
	switch p := key.Status.Propagation; {
	case p == nil:
		return ""
	case p.ConfirmedAt != nil:
		return Confirmation(p)
	case IsUnprovable(key):
		return "nothing is proven: no verifier runs that is registered, or the operator cannot read the registrations"
	default:
		return Outlook(p)
	}
}
