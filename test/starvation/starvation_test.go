// SPDX-License-Identifier: Apache-2.0

package starvation

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

var (
	atRest    = flag.Int("starvation.keys", 200, "how many keys are at rest")
	foreign   = flag.Int("starvation.foreign", 2000, "how many Secrets of 1 KiB belong to no key")
	large     = flag.Int("starvation.large", 3, "how many of 1 MiB do")
	conflicts = flag.Int("starvation.conflicts", 500, "how many keys find their Secret's name taken")
	blocked   = flag.Int("starvation.blocked", 20, "how many keys something else is in the way of, for each such thing")
	bulk      = flag.Int("starvation.bulk", 800, "how many keys of one tenant wait while others ask for something")
)

var (
	world *testenv.World
	admin client.WithWatch
)

func TestMain(m *testing.M) {
	testenv.ShortSizes(map[string]string{
		"starvation.keys": "60", "starvation.foreign": "500", "starvation.conflicts": "100", "starvation.blocked": "6", "starvation.bulk": "400",
		"starvation.sharing": "40",
	})
	options := testenv.Options{AuditOperator: true, Config: []string{"verifier"}, Build: []func() error{controlplane.BuildOperator}}
	os.Exit(testenv.RunSuite(options, prepare, func() (int, error) { return m.Run(), nil }))
}

func prepare(_ context.Context, started *testenv.World) error {
	world, admin = started, started.Admin
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\nlast lines of the manager:\n%s", err, world.LogTail(30))
	}
}

// TestNothingStarves goes from a world at rest, through restarts and a change of leaders, to one that is hard on the
// operator. It is one test because each part needs the world that the previous one it left.
func TestNothingStarves(t *testing.T) {
	leader := world.RunManager(t)
	calm := keysAtRest(t)
	offset := minute(t, 0)
	if requests, _ := operatorRequests(t, offset); len(requests) > 0 {
		t.Errorf("promise 6 broken, requests in a minute without a change: %v", requests[:min(20, len(requests))])
	}

	offset = auditEnd(t)
	must(t, leader.Stop())
	leader = world.RunManager(t)
	alone := timesToReady(t, "starve-alone", 20)
	nothingWritten(t, "a restart", offset, calm)

	offset = auditEnd(t)
	manager := world.RunManager(t)
	must(t, leader.Kill())
	timesToReady(t, "starve-after", 1)
	nothingWritten(t, "a change of leaders", offset, calm)

	hardship, err := Make(t.Context(), admin, Size{Foreign: *foreign, Large: *large, Conflicts: *conflicts, Blocked: *blocked})
	must(t, err)
	t.Cleanup(hardship.Close)
	among := timesToReady(t, "starve-among", 20)
	t.Logf("median time to Ready of a healthy key: %s alone, %s among the others", alone, among)
	everyReasonIsTold(t)
	nothingIsMintedInVain(t)
	nothingSpins(t, manager)
	nothingIsMintedInVain(t)
}

func timesToReady(t *testing.T, namespace string, n int) time.Duration {
	t.Helper()
	took, err := TimesToReady(t.Context(), admin, namespace, n)
	must(t, err)
	return slices.Sorted(slices.Values(took))[n/2]
}

// keysAtRest creates keys and waits until all are Ready; it returns their namespace.
func keysAtRest(t *testing.T) string {
	t.Helper()
	const namespace = "starve-calm"
	must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	must(t, each(t.Context(), *atRest, func(ctx context.Context, i int) error {
		return admin.Create(ctx, Key(namespace, fmt.Sprintf("key-%d", i)))
	}))
	for i := range *atRest {
		must(t, testenv.AwaitReady(t.Context(), admin, within, namespace, fmt.Sprintf("key-%d", i)))
	}
	return namespace
}

func auditEnd(t *testing.T) int64 {
	t.Helper()
	_, end, err := controlplane.ReadAuditFrom(world.AuditLog, 0)
	must(t, err)
	return end
}

// operatorRequests are those after an offset, leases and ended watches aside, and how often the lease was renewed.
func operatorRequests(t *testing.T, offset int64) (requests []controlplane.AuditEvent, renewals int) {
	t.Helper()
	events, _, err := controlplane.ReadAuditFrom(world.AuditLog, offset)
	must(t, err)
	for _, event := range events {
		switch {
		case event.ObjectRef.Resource == "leases":
			if event.Verb == "update" {
				renewals++
			}
		case event.Verb != "watch":
			requests = append(requests, event)
		}
	}
	return requests, renewals
}

// minute waits until the lease, which is renewed every two seconds, has been renewed for a minute, and returns where in
// the log that began. What the last writes still cause comes before: in the renewals that are waited for first.
func minute(t *testing.T, from int64) (began int64) {
	t.Helper()
	renewed := func(offset int64, times int) int64 {
		must(t, poll(t.Context(), "the lease is renewed", func(context.Context) (bool, error) {
			_, renewals := operatorRequests(t, offset)
			return renewals >= times, nil
		}))
		return auditEnd(t)
	}
	began = renewed(from, 1)
	began = renewed(began, 3)
	renewed(began, 30)
	return began
}

// nothingWritten: of what was at rest nothing was written, and each Secret was read once at most.
func nothingWritten(t *testing.T, what string, offset int64, namespace string) {
	t.Helper()
	requests, _ := operatorRequests(t, offset)
	reads := 0
	for _, request := range requests {
		switch {
		case request.ObjectRef.Namespace != namespace:
		case request.Verb == "get" && request.ObjectRef.Resource == "secrets":
			reads++
		default:
			t.Errorf("promise 6 broken by %s: %s", what, request)
		}
	}
	if reads > *atRest {
		t.Errorf("%s: %d reads of %d Secrets", what, reads, *atRest)
	}
}

// reasons are what stands in the way of the keys of each namespace.
var reasons = map[string][]string{
	Taken:     {v1alpha1.SecretConflictReason},
	Full:      {v1alpha1.SecretWriteRefusedReason},
	Refusing:  {v1alpha1.SecretWriteRefusedReason},
	Hanging:   {v1alpha1.ProgressingReason},
	Immutable: {v1alpha1.SecretWriteRefusedReason},
}

func everyReasonIsTold(t *testing.T) {
	t.Helper()
	for namespace, want := range reasons {
		var untold []string
		err := poll(t.Context(), "every key of "+namespace+" says why it is not Ready", func(ctx context.Context) (bool, error) {
			var keys v1alpha1.DGbotAPIKeyList
			err := admin.List(ctx, &keys, client.InNamespace(namespace))
			untold = nil
			for _, key := range keys.Items {
				if is := abnormal(&key); key.Name != Winner && !slices.Contains(want, is) {
					untold = append(untold, key.Name+" "+is)
				}
			}
			return len(untold) == 0, err
		})
		if err != nil {
			t.Errorf("%v: %v", err, untold)
		}
	}
}

// abnormal is the reason of the condition Stalled or Reconciling.
func abnormal(key *v1alpha1.DGbotAPIKey) string {
	for _, kind := range []string{v1alpha1.StalledCondition, v1alpha1.ReconcilingCondition} {
		if condition := apimeta.FindStatusCondition(key.Status.Conditions, kind); condition != nil {
			return condition.Reason
		}
	}
	return ""
}

func nothingIsMintedInVain(t *testing.T) {
	t.Helper()
	for namespace, want := range map[string]int{Taken: 1, Full: 0, Refusing: 0, Hanging: 0, Immutable: *blocked} {
		var records v1alpha1.DGbotAPIKeyRecordList
		must(t, admin.List(t.Context(), &records, client.InNamespace(namespace)))
		if len(records.Items) != want {
			t.Errorf("%d records in %s, want %d", len(records.Items), namespace, want)
		}
	}
}

// perMinute is how many requests a key may cost in a minute after it was created, by what is in its way.
var perMinute = map[string]int{
	// One look, and another where the minutes overlap.
	Taken: 2,
	// Tried again after 5 s, and each time after twice as long: four times at most, with five requests each.
	Full: 20, Refusing: 20, Immutable: 20,
	// Waits for its turn, looking every 5 to 15 s.
	Hanging: 60,
}

// nothingSpins: for a minute nothing is written, and what cannot go on costs a few requests and hardly any processor time.
func nothingSpins(t *testing.T, manager *process.Program) {
	t.Helper()
	before, err := process.ProcessorSeconds(manager.ProcessNumber())
	must(t, err)
	offset := minute(t, auditEnd(t))
	after, err := process.ProcessorSeconds(manager.ProcessNumber())
	must(t, err)
	requests, _ := operatorRequests(t, offset)
	counts := map[string]int{}
	for _, request := range requests {
		counts[request.ObjectRef.Namespace]++
		// What a webhook says in other words is reported, once for each time that it was asked; the budget below bounds that.
		told := request.ObjectRef.Namespace == Refusing && request.ObjectRef.Subresource == "status"
		if request.Wrote() && !told {
			t.Errorf("written in vain: %s", request)
		}
	}
	t.Logf("requests in a minute: %v; processor: %.1f s", counts, after-before)
	for namespace, n := range counts {
		keys := *blocked
		if namespace == Taken {
			keys = *conflicts
		}
		limit := keys * perMinute[namespace]
		if namespace == "" {
			// A pass that reads a key, its Secret and its records live reads its environment as well.
			limit = (len(requests) - n) / 3
		}
		if n > limit {
			t.Errorf("%d requests in a minute for %s, want at most %d", n, namespace, limit)
		}
	}
	for _, namespace := range slices.Collect(maps.Keys(reasons)) {
		if counts[namespace] == 0 {
			t.Errorf("nothing looks at %s any more", namespace)
		}
	}
	if after-before > 15 {
		t.Errorf("%.1f s of processor time in a minute without progress", after-before)
	}
}
