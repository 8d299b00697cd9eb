// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"net/http"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

func (p *place) status(name string) v1alpha1.DGbotAPIKeyStatus {
	p.T.Helper()
	key := &v1alpha1.DGbotAPIKey{}
	must(p.T, admin.Get(p.T.Context(), types.NamespacedName{Namespace: p.Name, Name: name}, key))
	return key.Status
}

// TestTheLastUseIsInTheKeysStatus: from the request to the column, each part with the rights it is installed with.
func TestTheLastUseIsInTheKeysStatus(t *testing.T) {
	v := startVerifier(t, "--usage-flush-interval=100ms", "--usage-resolution=1s")
	v.ready()
	p := newPlace(t)
	text := p.key("crm", "staging")
	unused := p.key("unused", "staging")
	began := time.Now().Truncate(time.Second)
	v.becomes("a new key", text, http.StatusOK)
	eventually(t, "the first use is in the status", func() bool { return p.status("crm").LastUsedAt != nil })
	first := p.status("crm").LastUsedAt
	if first.Time.Before(began) || first.After(time.Now()) {
		t.Errorf("used between %s and now, the status says %s", began, first)
	}
	eventually(t, "a later use is in the status", func() bool {
		v.becomes("the key", text, http.StatusOK)
		status := p.status("crm")
		return status.LastUsedAt.After(first.Time) && status.Current.LastUsedAt.Equal(status.LastUsedAt)
	})
	var records v1alpha1.DGbotAPIKeyRecordList
	must(t, admin.List(t.Context(), &records, client.InNamespace(p.Name)))
	for _, record := range records.Items {
		switch got := record.Status; {
		case record.Spec.APIKeyRef.Name == "unused" && got.LastUsedAt != nil, p.status("unused").LastUsedAt != nil:
			t.Errorf("an unused key was used at %s", got.LastUsedAt)
		case record.Spec.APIKeyRef.Name == "crm" && (!got.FirstUsedAt.Equal(first) || got.Resolution.Duration != time.Second):
			t.Errorf("first used at %s, resolution %s; want %s, 1s", got.FirstUsedAt, got.Resolution, first)
		}
	}

	// What was used between the last flush and the end is reported at the end.
	last := startVerifier(t, "--usage-flush-interval=5m", "--usage-resolution=1s", "--grpc-bind-address=0", "--metrics-bind-address=0")
	last.ready()
	last.becomes("the other key", unused, http.StatusOK)
	must(t, last.Stop())
	eventually(t, "the use before the end is in the status", func() bool { return p.status("unused").LastUsedAt != nil })
}

// TestVerifiersSaySinceWhenUsesAreTracked by a Lease per environment, which lives on from one verifier to the next.
func TestVerifiersSaySinceWhenUsesAreTracked(t *testing.T) {
	p := newPlace(t)
	// The Leases stay after the test, so their environments are of this test alone.
	tracked, elsewhere := p.Name+"-tracked", p.Name+"-elsewhere"
	p.key("crm", tracked)
	p.key("other", elsewhere)
	lease := func(environment string) *coordinationv1.Lease {
		found := &coordinationv1.Lease{}
		err := admin.Get(t.Context(), types.NamespacedName{Namespace: controlplane.OperatorNamespace, Name: v1alpha1.UsageLeasePrefix + environment}, found)
		if apierrors.IsNotFound(err) {
			return nil
		}
		must(t, err)
		return found
	}
	// One that knows a namespace vouches for nothing, one that knows an environment for that one alone.
	part := startVerifier(t, "--usage-flush-interval=100ms", "--namespace="+p.Name)
	part.ready()
	must(t, part.Stop()) // which flushes once more
	if lease(tracked) != nil || lease(elsewhere) != nil {
		t.Error("a verifier of one namespace vouches for an environment")
	}
	v := startVerifier(t, "--usage-flush-interval=100ms", "--environment="+tracked)
	eventually(t, "the Lease is there", func() bool { return lease(tracked) != nil })
	since := lease(tracked).Annotations[v1alpha1.TrackedSinceAnnotation]
	if at, err := time.Parse(time.RFC3339, since); err != nil || time.Since(at) > within {
		t.Errorf("tracked since %s: %v", since, err)
	}
	must(t, v.Stop())
	before := lease(tracked)
	startVerifier(t, "--usage-flush-interval=100ms")
	eventually(t, "the Lease is renewed by another verifier, and one for the other environment is there", func() bool {
		return lease(tracked).Spec.RenewTime.After(before.Spec.RenewTime.Time) && lease(elsewhere) != nil
	})
	if got := lease(tracked).Annotations[v1alpha1.TrackedSinceAnnotation]; got != since {
		t.Errorf("tracked since %s, after the change of verifiers since %s", since, got)
	}
}
