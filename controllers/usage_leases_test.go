// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/leases"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// deletionRetry is how long a deletion that was rejected waits.
const deletionRetry = 10 * time.Minute

// collect reconciles a Lease and returns when it is to be reconciled again; nil stands for a Lease that is gone afterwards.
func (w *fixture) collect(r *leases.Reconciler, name string) (again *time.Duration) {
	w.T.Helper()
	key := client.ObjectKey{Namespace: w.Name, Name: name}
	result, err := r.Reconcile(w.T.Context(), ctrl.Request{NamespacedName: key})
	if err != nil {
		w.T.Fatal(err)
	}
	found, err := read.Get(w.T.Context(), live, key, &coordinationv1.Lease{})
	if err != nil {
		w.T.Fatal(err)
	}
	if !found {
		return nil
	}
	return &result.RequeueAfter
}

func TestUsageLeases_AreDeletedWhenNoVerifierRenewsThem(t *testing.T) {
	const name = "dgbot-usage-invented"
	w := newFixture(t)
	r := &leases.Reconciler{Client: live, Clock: w.clock}
	w.vouch("invented", w.second())
	if again := w.collect(r, name); again == nil || *again != tracking.UsageLeaseRetention {
		t.Fatalf("a Lease that was just seen: again in %v", again)
	}
	for range 30 {
		w.advance(5 * time.Minute)
		w.vouch("invented", w.second())
		if w.collect(r, name) == nil {
			t.Fatal("a Lease that is renewed is deleted")
		}
	}
	w.advance(tracking.UsageLeaseRetention - time.Second)
	if again := w.collect(r, name); again == nil || *again != time.Second {
		t.Fatalf("a second before its time: again in %v", again)
	}
	other := &leases.Reconciler{Client: live, Clock: w.clock}
	w.advance(time.Second)
	if w.collect(other, name) == nil {
		t.Fatal("an instance that has just started deletes the Lease")
	}
	if w.collect(r, name) != nil {
		t.Fatal("the Lease is not deleted")
	}
	w.collect(other, name)
	w.collect(r, name)
}

// jumpingClock has a wall clock that jumps, and a monotonic one that does not.
type jumpingClock struct {
	*clocktesting.FakePassiveClock
	jump time.Duration
	at   map[time.Time]time.Time
}

func (c *jumpingClock) Now() time.Time {
	now := c.FakePassiveClock.Now().Add(c.jump)
	c.at[now] = c.FakePassiveClock.Now()
	return now
}

func (c *jumpingClock) Since(from time.Time) time.Duration {
	return c.FakePassiveClock.Since(c.at[from])
}

func TestUsageLeases_SurviveJumpsOfClocks(t *testing.T) {
	const name, year = "dgbot-usage-production", 365 * 24 * time.Hour
	w := newFixture(t)
	for what, tc := range map[string]struct{ verifier, operator time.Duration }{
		"the verifiers' clock is a year behind":    {verifier: -year},
		"the verifiers' clock is a year ahead":     {verifier: year},
		"the operator's clock jumps by a year":     {operator: year},
		"the operator's clock goes back by a year": {operator: -year},
	} {
		t.Run(what, func(t *testing.T) {
			clock := &jumpingClock{FakePassiveClock: w.clock, at: map[time.Time]time.Time{}}
			r := &leases.Reconciler{Client: live, Clock: clock}
			lease := w.vouch("production", w.second())
			lease.Spec.RenewTime = &metav1.MicroTime{Time: w.clock.Now().Add(tc.verifier)}
			if err := live.Update(t.Context(), lease); err != nil {
				t.Fatal(err)
			}
			w.collect(r, name)
			clock.jump = tc.operator
			w.advance(5 * time.Minute)
			if w.collect(r, name) == nil {
				t.Fatal("a Lease that verifiers renew is deleted")
			}
			w.advance(tracking.UsageLeaseRetention - 5*time.Minute)
			if w.collect(r, name) != nil {
				t.Fatal("a Lease that no verifier renews stays")
			}
		})
	}
}

// TestUsageLeases_StaleCacheDeletesNothing: the manager was stopped, or its watch hung, while verifiers renewed the Lease.
func TestUsageLeases_StaleCacheDeletesNothing(t *testing.T) {
	const name = "dgbot-usage-production"
	w := newFixture(t)
	stale := w.vouch("production", w.second())
	cached := interceptor.NewClient(live, interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
			stale.DeepCopyInto(into.(*coordinationv1.Lease))
			return nil
		},
	})
	r := &leases.Reconciler{Client: cached, Clock: w.clock}
	w.collect(r, name)
	w.advance(2 * tracking.UsageLeaseRetention)
	w.vouch("production", w.second())
	if again := w.collect(r, name); again == nil || *again != deletionRetry {
		t.Errorf("a Lease that verifiers renew is deleted by an old cache: %v", again)
	}
	// Another instance deleted the Lease, and a verifier created it again.
	if err := live.Delete(t.Context(), stale); err != nil {
		t.Fatal(err)
	}
	w.vouch("production", w.second())
	if w.collect(r, name) == nil {
		t.Error("another Lease of the name is deleted")
	}
}

// TestUsageLeases_OthersAreLeftAlone: the operator's own, one whose verifier may answer for good, and others' with a similar name.
func TestUsageLeases_OthersAreLeftAlone(t *testing.T) {
	w := newFixture(t)
	r := &leases.Reconciler{Client: live, Clock: w.clock}
	since := map[string]string{v1alpha1.TrackedSinceAnnotation: "2026-01-01T00:00:00Z"}
	others := []*coordinationv1.Lease{
		{ObjectMeta: metav1.ObjectMeta{Name: "dgbot-manager.keys.dgbot.io", Annotations: since}},
		{ObjectMeta: metav1.ObjectMeta{Name: "dgbot-verifier-pod-1-3kd9f0aq", Annotations: since, Labels: map[string]string{"keys.dgbot.io/verifier": "true"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "dgbot-usage", Annotations: since}},
		{ObjectMeta: metav1.ObjectMeta{Name: "dgbot-usage-exporter"}},
	}
	for _, lease := range others {
		lease.Namespace = w.Name
		if err := live.Create(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		w.collect(r, lease.Name)
	}
	w.advance(2 * tracking.UsageLeaseRetention)
	for _, lease := range others {
		if w.collect(r, lease.Name) == nil {
			t.Errorf("Lease %s is deleted", lease.Name)
		}
	}
}

func TestUsageLeases_MissingRightIsLoggedOnceAnHour(t *testing.T) {
	const lost = 40
	w := newFixture(t)
	var lines []string
	log := funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	ctx, deletions := ctrl.LoggerInto(t.Context(), log), 0
	answer := error(apierrors.NewForbidden(coordinationv1.Resource("leases"), "", errors.New("no such right")))
	r := &leases.Reconciler{Clock: w.clock, Client: interceptor.NewClient(live, interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
			*into.(*coordinationv1.Lease) = coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
				Namespace: name.Namespace, Name: name.Name, ResourceVersion: "1", Annotations: map[string]string{v1alpha1.TrackedSinceAnnotation: ""},
			}}
			return nil
		},
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			deletions++
			return answer
		},
	})}
	pass := func() {
		for i := range lost {
			name := client.ObjectKey{Namespace: w.Name, Name: fmt.Sprintf("dgbot-usage-invented-%d", i)}
			if result, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: name}); err != nil || result.RequeueAfter < deletionRetry {
				t.Fatalf("%+v, %v", result, err)
			}
		}
	}
	pass()
	w.advance(tracking.UsageLeaseRetention)
	for range 6 { // an hour
		pass()
		w.advance(deletionRetry)
	}
	if len(lines) != 1 || deletions != 6*lost {
		t.Errorf("%d lines after %d deletions, want 1: %v", len(lines), deletions, lines)
	}
	if pass(); len(lines) != 2 || !strings.Contains(lines[1], "may delete leases") || !strings.Contains(lines[1], "no such right") {
		t.Errorf("after an hour: %v", lines)
	}
	answer = nil
	if pass(); len(lines) != 2+lost {
		t.Errorf("once the right is granted: %d lines", len(lines))
	}
}

// TestUsageLeases_NoUseIsLostWithThem: a key goes on counting as used when it was, and its earlier revision as in use, since nothing is
// tracked then.
func TestUsageLeases_NoUseIsLostWithThem(t *testing.T) {
	w := newFixture(t)
	w.create(func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation = &v1alpha1.Rotation{Retire: v1alpha1.RetireWhenUnused, Overlap: &metav1.Duration{Duration: time.Minute}, MaxOverlap: &metav1.Duration{Duration: 48 * time.Hour}}
	})
	w.rest()
	w.vouch("production", w.second())
	used := w.second()
	w.use(w.first(), used)
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	w.rest()
	r := &leases.Reconciler{Client: live, Clock: w.clock}
	w.collect(r, "dgbot-usage-production")
	// After the longest gap that tracking survives, the Lease is worth nothing; it is deleted much later.
	w.advance(tracking.MaxTrackingGap)
	w.rest()
	before := w.key()
	if before.Status.TrackedSince != nil || !before.Status.LastUsedAt.Equal(used) {
		t.Fatalf("tracked since %v, last used at %v", before.Status.TrackedSince, before.Status.LastUsedAt)
	}
	w.advance(tracking.UsageLeaseRetention)
	if w.collect(r, "dgbot-usage-production") != nil {
		t.Fatal("the Lease is not deleted")
	}
	w.rest()
	if after := w.key(); !after.Status.LastUsedAt.Equal(used) || after.Status.TrackedSince != nil {
		t.Errorf("tracked since %v, last used at %v", after.Status.TrackedSince, after.Status.LastUsedAt)
	}
	if verdict := standing.Admit(w.first(), w.clock.Now()); verdict != standing.Admitted {
		t.Errorf("the earlier revision, whose uses are not tracked, is %s", verdict)
	}
}
