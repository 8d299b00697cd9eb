// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"math"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/leases"
	"dgbot.io/key-operator/internal/registration"
)

const verifierLease = "dgbot-verifier-pod-1-3kd9f0aq"

// goneRetention is for how long the Lease of a verifier with this max-staleness is kept after its last renewal.
func goneRetention(maxStaleness time.Duration) time.Duration {
	return maxStaleness + registration.GoneAfter + registration.Retention
}

// register writes the Lease of a verifier, and renews it if it is there.
func (w *fixture) register(name string, r registration.Registration, changes ...func(*coordinationv1.Lease)) *coordinationv1.Lease {
	w.T.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: name}}
	err := live.Get(w.T.Context(), client.ObjectKeyFromObject(lease), lease)
	if client.IgnoreNotFound(err) != nil {
		w.T.Fatal(err)
	}
	r.Annotate(lease, w.clock.Now())
	lease.Spec.RenewTime = &metav1.MicroTime{Time: w.clock.Now()}
	for _, change := range changes {
		change(lease)
	}
	if err != nil {
		err = live.Create(w.T.Context(), lease)
	} else {
		err = live.Update(w.T.Context(), lease)
	}
	if err != nil {
		w.T.Fatal(err)
	}
	return lease
}

// asCached returns a client that reads Leases as the manager's cache has them.
func asCached() client.Client {
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, reader client.WithWatch, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
			if err := reader.Get(ctx, key, into, options...); err != nil {
				return err
			}
			_, err := caching.Strip(into)
			return err
		},
	})
}

func TestVerifierLeases_AreDeletedWhenGoneForAnHour(t *testing.T) {
	w := newFixture(t)
	r := &leases.Reconciler{Client: asCached(), Clock: w.clock}
	denies := registration.Registration{MaxStaleness: 2 * time.Minute, RegisteredBy: "verifier"}
	retention := goneRetention(denies.MaxStaleness)
	w.register(verifierLease, denies)
	if again := w.collect(r, verifierLease); again == nil || *again != retention {
		t.Fatalf("a Lease that was just seen: again in %v", again)
	}
	for range 1000 { // more than an hour
		w.advance(5 * time.Second)
		w.register(verifierLease, denies)
		if w.collect(r, verifierLease) == nil {
			t.Fatal("the Lease of a verifier that renews it is deleted")
		}
	}
	w.advance(retention - time.Second)
	if again := w.collect(r, verifierLease); again == nil || *again != time.Second {
		t.Fatalf("a second before its time: again in %v", again)
	}
	other := &leases.Reconciler{Client: asCached(), Clock: w.clock}
	w.advance(time.Second)
	if w.collect(other, verifierLease) == nil {
		t.Fatal("an instance that has just started deletes the Lease")
	}
	if w.collect(r, verifierLease) != nil {
		t.Fatal("the Lease is not deleted")
	}
}

func TestVerifierLeases_AreDeletedAMinuteAfterTheStop(t *testing.T) {
	w := newFixture(t)
	for name, serves := range map[string]bool{"that denies": false, "that serves when stale": true} {
		t.Run(name, func(t *testing.T) {
			r := &leases.Reconciler{Client: asCached(), Clock: w.clock}
			said := registration.Registration{MaxStaleness: 2 * time.Minute, Serves: serves, RegisteredBy: "verifier"}
			w.register(verifierLease, said)
			w.collect(r, verifierLease)
			w.advance(10 * time.Minute)
			said.Stopped = true
			w.register(verifierLease, said)
			if again := w.collect(r, verifierLease); again == nil || *again != time.Minute {
				t.Fatalf("a verifier that has just stopped: again in %v", again)
			}
			w.advance(time.Minute - time.Second)
			if w.collect(r, verifierLease) == nil {
				t.Fatal("the Lease is deleted before its time")
			}
			w.advance(time.Second)
			if w.collect(r, verifierLease) != nil {
				t.Fatal("the Lease is not deleted")
			}
		})
	}
}

// TestVerifierLeases_ThatMayAnswerStay: nothing but a user's word proves that these verifiers no longer answer.
func TestVerifierLeases_ThatMayAnswerStay(t *testing.T) {
	w := newFixture(t)
	annotate := func(name, value string) func(*coordinationv1.Lease) {
		return func(l *coordinationv1.Lease) { l.Annotations[name] = value }
	}
	for name, test := range map[string]struct {
		said   registration.Registration
		change func(*coordinationv1.Lease)
	}{
		"serves when stale":     {registration.Registration{MaxStaleness: time.Minute, Serves: true}, nil},
		"endless max-staleness": {registration.Registration{MaxStaleness: math.MaxInt64}, nil},
		"no max-staleness":      {registration.Registration{MaxStaleness: time.Minute}, annotate(v1alpha1.MaxStalenessAnnotation, "")},
		"unknown policy":        {registration.Registration{MaxStaleness: time.Minute}, annotate(v1alpha1.OnStaleAnnotation, "close")},
	} {
		t.Run(name, func(t *testing.T) {
			r := &leases.Reconciler{Client: asCached(), Clock: w.clock}
			var changes []func(*coordinationv1.Lease)
			if test.change != nil {
				changes = append(changes, test.change)
			}
			w.register(verifierLease, test.said, changes...)
			w.collect(r, verifierLease)
			w.advance(1000 * time.Hour)
			if again := w.collect(r, verifierLease); again == nil || *again != 0 {
				t.Errorf("again in %v", again)
			}
		})
	}
}

// TestVerifierLeases_SurviveJumpsOfClocks: the Lease of a verifier that renews it stays, and that of one which is gone does not, whatever the
// clocks of the verifier and the operator say.
func TestVerifierLeases_SurviveJumpsOfClocks(t *testing.T) {
	const year = 365 * 24 * time.Hour
	w := newFixture(t)
	denies := registration.Registration{MaxStaleness: 2 * time.Minute, RegisteredBy: "verifier"}
	for name, test := range map[string]struct{ verifier, operator time.Duration }{
		"the verifier's clock is a year behind":    {verifier: -year},
		"the verifier's clock is a year ahead":     {verifier: year},
		"the operator's clock jumps by a year":     {operator: year},
		"the operator's clock goes back by a year": {operator: -year},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &jumpingClock{FakePassiveClock: w.clock, at: map[time.Time]time.Time{}}
			r := &leases.Reconciler{Client: asCached(), Clock: clock}
			w.register(verifierLease, denies, func(l *coordinationv1.Lease) {
				l.Spec.RenewTime = &metav1.MicroTime{Time: w.clock.Now().Add(test.verifier)}
			})
			w.collect(r, verifierLease)
			clock.jump = test.operator
			w.advance(5 * time.Minute)
			if w.collect(r, verifierLease) == nil {
				t.Fatal("the Lease is deleted before its time")
			}
			w.advance(goneRetention(denies.MaxStaleness) - 5*time.Minute)
			if w.collect(r, verifierLease) != nil {
				t.Fatal("the Lease of a verifier that is gone stays")
			}
		})
	}
}

// TestVerifierLeases_StaleCacheDeletesNothing: the manager was stopped, or its watch hung, while the verifier renewed its Lease.
func TestVerifierLeases_StaleCacheDeletesNothing(t *testing.T) {
	w := newFixture(t)
	denies := registration.Registration{MaxStaleness: 2 * time.Minute, RegisteredBy: "verifier"}
	stale := w.register(verifierLease, denies)
	cached := interceptor.NewClient(live, interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
			stale.DeepCopyInto(into.(*coordinationv1.Lease))
			return nil
		},
	})
	r := &leases.Reconciler{Client: cached, Clock: w.clock}
	w.collect(r, verifierLease)
	w.advance(2 * goneRetention(denies.MaxStaleness))
	w.register(verifierLease, denies)
	if again := w.collect(r, verifierLease); again == nil || *again != deletionRetry {
		t.Errorf("the Lease of a verifier that renews it is deleted by an old cache: %v", again)
	}
}

// TestVerifierLeases_OthersAreLeftAlone: the label alone, or the name alone, makes no registration.
func TestVerifierLeases_OthersAreLeftAlone(t *testing.T) {
	w := newFixture(t)
	r := &leases.Reconciler{Client: asCached(), Clock: w.clock}
	stopped := registration.Registration{MaxStaleness: time.Minute, Stopped: true}
	w.register("another-name", stopped)
	w.register(verifierLease, stopped, func(l *coordinationv1.Lease) { l.Labels = nil })
	for _, name := range []string{"another-name", verifierLease} {
		if again := w.collect(r, name); again == nil || *again != 0 {
			t.Errorf("Lease %s: again in %v", name, again)
		}
	}
}
