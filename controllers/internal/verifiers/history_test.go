// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

// TestRegistry_ReportsOfAnotherHistoryConfirmNothing: etcd was restored while this instance ran. A verifier that has lost its connection, or that
// serves when stale, still answers from the records before that, whose versions were higher.
func TestRegistry_ReportsOfAnotherHistoryConfirmNothing(t *testing.T) {
	w := newWorld(t)
	w.version, w.record = 5000, "5000"
	w.NoteVersion(w.record)
	w.renew("cut off", func(r *registration.Registration) { r.Serves = true })
	w.renew("a", nil)
	w.ObserveDeletion("a")
	w.Cached = cached{map[string]*coordinationv1.Lease{"cut off": w.leases["cut off"]}}
	before := w.Version()

	w.version, w.record = 300, "300"
	w.NoteWrite(before, w.record)
	w.Wait(types.NamespacedName{Namespace: "support", Name: "key"}, "production", propagation.Awaited{Version: w.record})
	w.renew("b", nil)
	w.expectWoken("it has followed another history")
	for _, v := range w.View(t.Context(), "support", "production").Verifiers {
		if last := v.Reports[len(v.Reports)-1]; v.Name != "b" && registration.Reaches(last.Version, w.record) {
			t.Errorf("%s counts as one that has reached %s", v.Name, last.Version)
		}
	}
	w.renew("cut off", func(r *registration.Registration) { r.Serves, r.Stopped, r.Observed = true, true, nil })
	w.clock.SetTime(w.clock.Now().Add(3 * time.Minute))
	w.renew("b", nil)
	w.after(0)
	w.expectWoken("one is marked as stopped in the present history, and the other is gone", "key")
}

// TestRegistry_AWriteThatOthersOvertakeEndsNoHistory: another record was written before the answer to the first came.
func TestRegistry_AWriteThatOthersOvertakeEndsNoHistory(t *testing.T) {
	w := newWorld(t)
	before := w.Version()
	w.version++
	w.record = "101"
	w.NoteVersion("103")
	w.renew("a", nil)
	w.NoteWrite(before, w.record)
	w.Wait(types.NamespacedName{Namespace: "support", Name: "key"}, "production", propagation.Awaited{Version: w.record})
	w.expectWoken("it had followed before the answer came", "key")
}

// TestRegistry_DatesReportsByTheClockAsItIsNow: it was wrong when the report came, until an answer of the API server showed that.
func TestRegistry_DatesReportsByTheClockAsItIsNow(t *testing.T) {
	w := newWorld(t)
	w.Silence = testclock.NewFakePassiveClock(start)
	w.clock.SetTime(start.Add(-10 * time.Minute))
	w.renew("a", nil)
	w.renew("b", func(r *registration.Registration) { r.Stopped = true })
	w.clock.SetTime(start)
	all := w.View(t.Context(), "support", "production").Verifiers
	if len(all) != 2 || !all[0].Reports[0].SeenAt.Equal(start) || !all[0].PresenceFrom.IsZero() || !all[1].PresenceFrom.Equal(start) {
		t.Errorf("got %+v", all)
	}
}
