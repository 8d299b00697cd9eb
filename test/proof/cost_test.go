// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var (
	keys      = flag.Int("proof.keys", 100, "how many keys are withdrawn at once")
	verifiers = flag.Int("proof.verifiers", 50, "how many Leases of verifiers are simulated")
)

// TestProof_CostsTwoStatusWritesAKey, however many verifiers follow in however many steps, by the audit log of the API server.
func TestProof_CostsTwoStatusWritesAKey(t *testing.T) {
	p := newTrial(t)
	p.manage(place{})
	for i := range *keys {
		p.CreateKey(fmt.Sprintf("key-%d", i), nil)
	}
	all := func(condition func(*v1alpha1.DGbotAPIKey) bool) func() bool {
		next := 0
		return func() bool {
			for next < *keys && condition(p.Key(fmt.Sprintf("key-%d", next))) {
				next++
			}
			return next == *keys
		}
	}
	p.Eventually("all keys are Ready", all(testenv.IsReady))
	leases := make([]*coordinationv1.Lease, *verifiers)
	for i := range leases {
		leases[i] = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: fmt.Sprintf("%ssimulated-%08d", v1alpha1.VerifierLeasePrefix, i)}}
		p.state(leases[i], "1")
		must(t, admin.Create(t.Context(), leases[i]))
		t.Cleanup(func() { _ = admin.Delete(context.Background(), leases[i]) })
	}

	_, before, err := controlplane.ReadAuditFrom(world.AuditLog, 0)
	must(t, err)
	for i := range *keys {
		p.EditKey(fmt.Sprintf("key-%d", i), func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	}
	highest := "1"
	p.Eventually("all statuses tell of the withdrawal", all(func(k *v1alpha1.DGbotAPIKey) bool {
		if k.Status.Propagation == nil {
			return false
		}
		if !registration.Reaches(highest, k.Status.Propagation.Version) {
			highest = k.Status.Propagation.Version
		}
		return true
	}))
	// They renew, follow a little, and then all the way.
	for _, version := range []string{"1", "2", "3", highest} {
		for _, lease := range leases {
			p.state(lease, version)
			must(t, admin.Update(t.Context(), lease))
		}
	}
	p.Eventually("all withdrawals are confirmed", all(func(k *v1alpha1.DGbotAPIKey) bool { return k.Status.Propagation.ConfirmedAt != nil }))
	p.watch(2 * time.Second)
	events, _, err := controlplane.ReadAuditFrom(world.AuditLog, before)
	must(t, err)
	writes, records := map[string]int{}, 0
	for _, event := range events {
		if event.ObjectRef.Namespace != p.Name || !event.Wrote() {
			continue
		}
		switch event.ObjectRef.Resource {
		case "dgbotapikeys":
			writes[event.ObjectRef.Name]++
		case "dgbotapikeyrecords":
			records++
		}
	}
	for name, n := range writes {
		if n > 2 {
			t.Errorf("%s: %d writes of the key", name, n)
		}
	}
	if len(writes) != *keys || records != *keys {
		t.Errorf("%d keys and %d records were written, want %d", len(writes), records, *keys)
	}
}

// state makes a Lease say up to which version a verifier of the trial has followed.
func (p *trial) state(lease *coordinationv1.Lease, version string) {
	said := registration.Registration{
		MaxStaleness: 10 * time.Minute, RegisteredBy: "admin", Observed: map[registration.Watch]string{{Namespace: p.Name}: version},
	}
	said.Annotate(lease, time.Time{})
	lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
}
