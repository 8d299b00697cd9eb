// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

var start = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// world is an API server with Leases and records, and an instance that watches it. The watch delivers only what a test hands to the registry.
type world struct {
	t *testing.T
	*Registry
	clock   *testclock.FakePassiveClock
	leases  map[string]*coordinationv1.Lease
	version int
	record  string // the version of the last write of a record
	err     error
	lists   int
	woken   []string
}

func newWorld(t *testing.T) *world {
	clock := testclock.NewFakePassiveClock(start)
	w := &world{t: t, clock: clock, leases: map[string]*coordinationv1.Lease{}, version: 100, record: "100"}
	w.Registry = &Registry{Live: w, Namespace: "dgbot-system", Clock: clock, Silence: clock}
	w.NoteVersion(w.record)
	w.OnWake(func(key types.NamespacedName) { w.woken = append(w.woken, key.Name) })
	return w
}

// Get implements client.Reader.
func (w *world) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nothing reads one object")
}

// List implements client.Reader.
func (w *world) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	w.lists++
	if w.err != nil {
		return w.err
	}
	switch list := list.(type) {
	case *coordinationv1.LeaseList:
		for _, lease := range w.leases {
			list.Items = append(list.Items, *lease.DeepCopy())
		}
	case *v1alpha1.DGbotAPIKeyRecordList:
		list.ResourceVersion = strconv.Itoa(w.version)
	}
	return nil
}

// renew writes the Lease of a verifier, and hands it to the registry unless the watch is frozen.
func (w *world) renew(name string, change func(*registration.Registration), frozen ...bool) *coordinationv1.Lease {
	stated := registration.Registration{MaxStaleness: 2 * time.Minute, RegisteredBy: "system:admin", Observed: map[registration.Watch]string{{}: w.record}}
	if change != nil {
		change(&stated)
	}
	w.version++
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "dgbot-system", ResourceVersion: strconv.Itoa(w.version)}}
	lease.Spec.RenewTime = &metav1.MicroTime{Time: w.clock.Now()}
	stated.Annotate(lease, w.clock.Now())
	w.leases[name] = lease
	if len(frozen) == 0 {
		w.Observe(lease)
	}
	return lease
}

// write writes a record.
func (w *world) write() {
	w.version++
	w.record = strconv.Itoa(w.version)
	w.NoteVersion(w.record)
}

// withdraw writes a record, and has its key wait.
func (w *world) withdraw(name string) string {
	w.write()
	w.Wait(types.NamespacedName{Namespace: "support", Name: name}, "production", propagation.Awaited{Version: w.record})
	return w.record
}

func (w *world) after(d time.Duration) {
	w.clock.SetTime(w.clock.Now().Add(d))
	w.checkSilent(w.t.Context())
	w.removeDeleted()
	w.wakeUnnamed()
	w.checkVersions(w.t.Context())
}

func (w *world) expectWoken(when string, want ...string) {
	w.t.Helper()
	slices.Sort(w.woken)
	if !slices.Equal(w.woken, want) {
		w.t.Errorf("%s: %v are woken, want %v", when, w.woken, want)
	}
	w.woken = nil
}

func TestRegistry_WakesWhatARenewalConfirms(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.renew("b", nil)
	w.withdraw("first")
	w.withdraw("second")
	w.renew("a", nil)
	w.expectWoken("one of two has followed")
	w.renew("b", func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "103"} })
	w.expectWoken("the other has followed the first", "first")
	for range 5 {
		w.renew("a", nil)
		w.renew("b", func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "103"} })
	}
	w.expectWoken("they renew, and follow no further")
	w.renew("b", nil)
	w.expectWoken("both have followed", "second")
}

func TestRegistry_IgnoresVerifiersOfOtherScopes(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	elsewhere := func(r *registration.Registration) {
		r.Observed = map[registration.Watch]string{{Namespace: "sales"}: "1", {Environment: "staging"}: "1"}
	}
	w.renew("b", elsewhere)
	w.withdraw("key")
	w.renew("a", nil)
	w.expectWoken("the only verifier in scope has followed", "key")
	w.renew("new", func(r *registration.Registration) { r.Observed = nil })
	w.withdraw("another")
	w.renew("a", nil)
	w.expectWoken("one that says nothing may watch everything")
}

func TestRegistry_ASilentVerifierIsGoneAfterALiveList(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.renew("frozen", nil)
	w.withdraw("key")
	w.renew("a", nil)
	for range 14 {
		w.after(10 * time.Second)
		w.renew("a", nil)
	}
	w.expectWoken("it is silent for 140 s")
	if w.lists != 0 {
		t.Errorf("%d lists before it can be gone", w.lists)
	}
	view := w.View(t.Context(), "support", "production")
	if frozen := view.Verifiers[1]; !frozen.IsSilent || !frozen.BoundAt.Equal(start.Add(150*time.Second)) {
		t.Errorf("it is %+v", frozen)
	}
	w.err = errors.New("no answer")
	w.after(11 * time.Second)
	w.renew("a", nil)
	w.expectWoken("the Leases cannot be listed")
	w.err = nil
	w.after(0)
	w.expectWoken("it is gone", "key")
}

// TestRegistry_ItsOwnFrozenWatchIsNotSilence of verifiers.
func TestRegistry_ItsOwnFrozenWatchIsNotSilence(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.withdraw("key")
	behind := func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "100"} }
	for range 40 {
		w.after(5 * time.Second)
		w.renew("a", behind, true)
	}
	w.expectWoken("it renews, and the watch of Leases delivers nothing")
	w.renew("a", nil, true)
	w.after(3 * time.Minute)
	w.expectWoken("a live list shows that it has followed", "key")
}

func TestRegistry_ALaterEventOfWhatALiveListHasShownChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.withdraw("key")
	old := w.renew("a", func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "100"} }, true)
	w.renew("a", nil, true)
	w.after(3 * time.Minute)
	w.expectWoken("listed", "key")
	w.withdraw("another")
	w.renew("a", nil)
	w.expectWoken("followed", "another")
	w.Observe(old)
	if got := w.View(t.Context(), "support", "production").Verifiers[0].Reports; got[len(got)-1].Version == "100" {
		t.Error("an event from before the list counts")
	}
}

func TestRegistry_OneThatServesWhenStaleIsNeverGone(t *testing.T) {
	w := newWorld(t)
	serves := func(r *registration.Registration) { r.Serves = true }
	w.renew("a", nil)
	w.renew("serving", serves)
	w.withdraw("key")
	for range 100 {
		w.after(time.Hour)
		w.renew("a", nil)
	}
	w.expectWoken("it is silent for four days")
	w.renew("serving", func(r *registration.Registration) { r.Serves, r.Stopped, r.Observed = true, true, nil })
	w.expectWoken("a person has annotated its Lease", "key")
}

func TestRegistry_ADeletedLeaseCountsAsSilent(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.renew("deleted", nil)
	w.withdraw("key")
	delete(w.leases, "deleted")
	w.ObserveDeletion("deleted")
	w.renew("a", nil)
	w.expectWoken("the process may still answer")
	for range 16 {
		w.after(10 * time.Second)
		w.renew("a", nil)
	}
	w.expectWoken("it is gone", "key")

	w.renew("stopping", func(r *registration.Registration) { r.Stopped = true })
	w.withdraw("another")
	w.ObserveDeletion("stopping")
	w.renew("a", nil)
	w.expectWoken("one that had stopped", "another")
}

// TestRegistry_DoesNotBelieveAVersionThatDoesNotExist: etcd was restored, and a verifier still follows the other history.
func TestRegistry_DoesNotBelieveAVersionThatDoesNotExist(t *testing.T) {
	w := newWorld(t)
	ahead := func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "5000"} }
	w.renew("a", ahead)
	w.withdraw("key")
	w.after(time.Second)
	w.expectWoken("it claims a version of the future")
	w.version = 6000
	w.renew("a", ahead)
	w.after(time.Second)
	w.expectWoken("the version exists", "key")
}

// TestRegistry_WakesOnceForAnUnchangedWorld: if the pass finds that the key is not confirmed, it must not be woken again at once.
func TestRegistry_WakesOnceForAnUnchangedWorld(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	version := w.withdraw("key")
	w.renew("a", nil)
	w.expectWoken("confirmed", "key")
	key := types.NamespacedName{Namespace: "support", Name: "key"}
	w.Wait(key, "production", propagation.Awaited{Version: version})
	w.Wait(key, "production", propagation.Awaited{Version: version})
	w.expectWoken("it waits for the same again")
	w.renew("a", nil)
	w.expectWoken("something has changed", "key")
	w.StopWaiting(key)
	w.renew("a", nil)
	w.expectWoken("it does not wait any more")
	if len(w.waiting.scopes) != 0 || len(w.waiting.items) != 0 {
		t.Errorf("%d scopes and %d keys wait", len(w.waiting.scopes), len(w.waiting.items))
	}
}

// TestRegistry_ConfirmsNothingByAbsenceAfterItsStart: the Lease of another verifier was deleted while no instance ran. It finds out at its next
// renewal, and answers until then.
func TestRegistry_ConfirmsNothingByAbsenceAfterItsStart(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.renew("a", nil)
	w.withdraw("key")
	w.after(time.Second)
	w.renew("a", nil)
	w.expectWoken("a second after the start")
	since := w.View(t.Context(), "support", "production").CompleteFrom
	if !since.Equal(start.Add(10 * time.Second)) {
		t.Errorf("it knows all verifiers since %s", since)
	}
	w.after(9 * time.Second)
	w.renew("a", nil)
	w.expectWoken("ten seconds after the start", "key")
}

func TestRegistry_AnEndWaitsForTheVerifiersClock(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.write()
	end := start.Add(3 * time.Minute)
	w.Wait(types.NamespacedName{Namespace: "support", Name: "key"}, "production", propagation.Awaited{Version: w.record, End: end})
	w.renew("a", nil)
	w.expectWoken("its clock is behind the end")
	w.clock.SetTime(end)
	w.renew("a", nil)
	w.expectWoken("its clock has reached the end", "key")
}

func TestRegistry_WithoutVerifiersListsBeforeItSaysSo(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil, true)
	if view := w.View(t.Context(), "support", "production"); len(view.Verifiers) != 1 || view.Unreadable {
		t.Errorf("got %+v", view)
	}
	w = newWorld(t)
	w.err = errors.New("forbidden")
	if view := w.View(t.Context(), "support", "production"); !view.Unreadable {
		t.Errorf("without the right to list it is %+v", view)
	}
	w.err = nil
	for range 5 {
		if view := w.View(t.Context(), "support", "production"); view.Unreadable || len(view.Verifiers) > 0 {
			t.Errorf("got %+v", view)
		}
	}
	if w.lists != 2 {
		t.Errorf("%d lists, want one that failed and one for ten seconds", w.lists)
	}
	w.Synced = func() bool { return false }
	if view := w.View(t.Context(), "support", "production"); !view.Unreadable {
		t.Errorf("before the watch has begun it is %+v", view)
	}
}

func BenchmarkRegistry_Renewal(b *testing.B) {
	for _, verifiers := range []int{50, 1000} {
		b.Run(fmt.Sprintf("%d verifiers, 10,000 keys wait", verifiers), func(b *testing.B) {
			w := newWorld(&testing.T{})
			behind := func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "100"} }
			for i := range verifiers {
				w.renew(fmt.Sprintf("v%d", i), behind)
			}
			for i := range 10000 {
				w.withdraw(fmt.Sprintf("key%d", i))
			}
			b.ResetTimer()
			for i := range b.N {
				w.renew(fmt.Sprintf("v%d", i%verifiers), behind)
			}
		})
	}
}
