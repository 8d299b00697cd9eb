// SPDX-License-Identifier: Apache-2.0

package queue_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
)

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// TestFairByNamespace_ServesUrgentRequestsFirstAndNamespacesInTurn: thousands of requests of one namespace delay neither a revocation nor another
// namespace.
func TestFairByNamespace_ServesUrgentRequestsFirstAndNamespacesInTurn(t *testing.T) {
	urgent := func(request reconcile.Request) bool { return strings.HasPrefix(request.Name, "urgent") }
	waiting := queue.FairByNamespace(urgent)("test", queue.RateLimiter())
	defer waiting.ShutDown()
	for _, name := range []string{"a", "b", "c", "urgent"} {
		waiting.Add(request("busy", name))
	}
	waiting.Add(request("quiet", "a"))
	var order []string
	for range 5 {
		next, _ := waiting.Get()
		order = append(order, next.String())
		waiting.Done(next)
	}
	if want := []string{"busy/urgent", "busy/a", "quiet/a", "busy/b", "busy/c"}; !slices.Equal(order, want) {
		t.Errorf("served in the order %q, want %q", order, want)
	}
	if queue.NeverUrgent(request("busy", "urgent")) {
		t.Error("NeverUrgent calls a request urgent")
	}
}

// TestRateLimiter_SpacesRetriesOfOneObject: a broken object is retried ever less often, and delays no other.
func TestRateLimiter_SpacesRetriesOfOneObject(t *testing.T) {
	limiter, broken, healthy := queue.RateLimiter(), request("support", "broken"), request("support", "healthy")
	last := time.Duration(0)
	for range 30 {
		delay := limiter.When(broken)
		if delay < last || delay > queue.MaxRetry || delay <= 0 {
			t.Fatalf("a delay of %s after one of %s", delay, last)
		}
		last = delay
	}
	if last != queue.MaxRetry {
		t.Errorf("the longest delay is %s, want %s", last, queue.MaxRetry)
	}
	first := limiter.When(healthy)
	if first > time.Second {
		t.Errorf("another object waits %s for its first retry", first)
	}
	limiter.Forget(broken)
	if again := limiter.When(broken); again != first {
		t.Errorf("after a success the first retry waits %s, want %s", again, first)
	}
}

// delays is a queue that records with which delay requests are added.
type delays struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	of map[reconcile.Request]time.Duration
}

func (d *delays) AddAfter(request reconcile.Request, delay time.Duration) { d.of[request] = delay }

func TestAddLater_WaitsForWhatElseChanges(t *testing.T) {
	added := &delays{of: map[reconcile.Request]time.Duration{}}
	queue.AddLater(added, request("support", "crm"))
	if got := added.of[request("support", "crm")]; got != queue.UsageDelay || len(added.of) != 1 {
		t.Errorf("added with the delays %v, want %s", added.of, queue.UsageDelay)
	}
}

func record(change func(*v1alpha1.DGbotAPIKeyRecord)) *v1alpha1.DGbotAPIKeyRecord {
	r := &v1alpha1.DGbotAPIKeyRecord{ObjectMeta: metav1.ObjectMeta{
		Namespace: "support", Name: "crm-1", UID: "a", Generation: 1, ResourceVersion: "7", Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "1"},
		OwnerReferences: []metav1.OwnerReference{{Name: "crm", UID: "key"}},
	}}
	if change != nil {
		change(r)
	}
	return r
}

func TestPredicates_WakeForWhatDecides(t *testing.T) {
	at := metav1.NewTime(time.Unix(1, 0))
	for name, test := range map[string]struct {
		change func(*v1alpha1.DGbotAPIKeyRecord)
		// usageOnly is set for what a report of a use looks like, statusOnly for what a change of the status looks like.
		usageOnly, statusOnly bool
	}{
		"the status":        {func(r *v1alpha1.DGbotAPIKeyRecord) { r.ResourceVersion, r.Status.LastUsedAt = "8", &at }, true, true},
		"nothing: a resync": {nil, false, true},
		"the spec":          {func(r *v1alpha1.DGbotAPIKeyRecord) { r.ResourceVersion, r.Generation = "8", 2 }, false, false},
		"a label":           {func(r *v1alpha1.DGbotAPIKeyRecord) { r.ResourceVersion, r.Labels = "8", map[string]string{"l": "2"} }, false, false},
		"an annotation":     {func(r *v1alpha1.DGbotAPIKeyRecord) { r.ResourceVersion, r.Annotations = "8", nil }, false, false},
		"the owner":         {func(r *v1alpha1.DGbotAPIKeyRecord) { r.ResourceVersion, r.OwnerReferences = "8", nil }, false, true},
		"a deletion": {func(r *v1alpha1.DGbotAPIKeyRecord) {
			r.ResourceVersion, r.Generation, r.DeletionTimestamp = "8", 2, &at
		}, false, false},
		"another object": {func(r *v1alpha1.DGbotAPIKeyRecord) { r.ResourceVersion, r.UID = "8", "b" }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			update := event.UpdateEvent{ObjectOld: record(nil), ObjectNew: record(test.change)}
			if got := queue.IsUsageOnly(update); got != test.usageOnly {
				t.Errorf("reports a use only: %t, want %t", got, test.usageOnly)
			}
			if got := queue.IgnoreUsage().Update(update); got == test.usageOnly {
				t.Errorf("IgnoreUsage lets it through: %t, want %t", got, !test.usageOnly)
			}
			if got := queue.IgnoreStatusChanges().Update(update); got == test.statusOnly {
				t.Errorf("IgnoreStatusChanges lets it through: %t, want %t", got, !test.statusOnly)
			}
		})
	}
	if p := queue.IgnoreStatusChanges(); !p.Create(event.CreateEvent{Object: record(nil)}) || !p.Delete(event.DeleteEvent{Object: record(nil)}) {
		t.Error("IgnoreStatusChanges ignores that an object appears or goes")
	}
	if p := queue.IgnoreUsage(); !p.Create(event.CreateEvent{Object: record(nil)}) || !p.Delete(event.DeleteEvent{Object: record(nil)}) {
		t.Error("IgnoreUsage ignores that a record appears or goes")
	}
}
