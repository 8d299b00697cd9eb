// SPDX-License-Identifier: Apache-2.0

package starvation

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
)

const (
	bulkNamespace   = "starve-bulk"
	victimNamespace = "starve-victims"
	victims         = 6
	// overtaking bounds how many keys of the bulk may become Ready while a request that goes first is served: those that the workers
	// have in hand, and those that become Ready before the test has seen it. In the order of arrival it would be all of them.
	overtaking = 60
)

// TestQueue_BulkDoesNotDelayOtherTenants: while hundreds of keys of one tenant wait, revocations, disablings and deletions by another
// tenant go first, and that tenant's first key waits for one turn. What counts is how far the bulk has come meanwhile, whatever the machine's speed.
func TestQueue_BulkDoesNotDelayOtherTenants(t *testing.T) {
	manager := world.RunManager(t, "--leader-elect=false")
	must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: victimNamespace}}))
	for i := range victims {
		must(t, admin.Create(t.Context(), Key(victimNamespace, victim(i))))
		must(t, testenv.AwaitReady(t.Context(), admin, within, victimNamespace, victim(i)))
	}
	// A manager that stands still meanwhile finds all of them waiting, as events and not as what was there when it started.
	must(t, syscall.Kill(manager.ProcessNumber(), syscall.SIGSTOP))
	must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bulkNamespace}}))
	must(t, each(t.Context(), *bulk, func(ctx context.Context, i int) error {
		return admin.Create(ctx, Key(bulkNamespace, fmt.Sprintf("bulk-%d", i)))
	}))
	must(t, syscall.Kill(manager.ProcessNumber(), syscall.SIGCONT))
	must(t, poll(t.Context(), "the bulk is being issued", func(ctx context.Context) (bool, error) {
		return readyOfBulk(t) >= 10, nil
	}))
	ask := func(i int, patch string) {
		key := Key(victimNamespace, victim(i))
		must(t, admin.Patch(t.Context(), key, merge(patch)))
	}
	for i, request := range []string{
		fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RevokeIssuedBeforeAnnotation, time.Now().UTC().Format(time.RFC3339)),
		`{"spec":{"state":"Disabled"}}`,
		`{"spec":{"state":"Revoked"}}`,
		fmt.Sprintf(`{"spec":{"expiresAt":%q}}`, time.Now().UTC().Format(time.RFC3339)),
	} {
		overtakes(t, request, func() { ask(i, request) }, func(ctx context.Context) (bool, error) { return withdrawn(ctx, i) })
	}
	overtakes(t, "deletion", func() { must(t, admin.Delete(t.Context(), Key(victimNamespace, victim(4)))) },
		func(ctx context.Context) (bool, error) { return withdrawn(ctx, 4) })
	overtakes(t, "the first key of another tenant", func() {
		must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "starve-late"}}))
		must(t, admin.Create(t.Context(), Key("starve-late", "first")))
	}, func(ctx context.Context) (bool, error) {
		key := &v1alpha1.DGbotAPIKey{}
		err := admin.Get(ctx, types.NamespacedName{Namespace: "starve-late", Name: "first"}, key)
		return err == nil && testenv.IsReady(key), err
	})
}

func victim(i int) string { return fmt.Sprintf("victim-%d", i) }

// overtakes asks for something and waits until it is done, and asserts that the bulk went on waiting meanwhile.
func overtakes(t *testing.T, what string, ask func(), done wait.ConditionWithContextFunc) {
	t.Helper()
	before, began := readyOfBulk(t), time.Now()
	if left := *bulk - before; left <= 2*overtaking {
		t.Fatalf("%s: only %d keys of the bulk are left, which proves nothing: make -starvation.bulk larger", what, left)
	}
	ask()
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, within, true, done); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	took := time.Since(began)
	passed := readyOfBulk(t) - before
	t.Logf("%s: %s, while %d of %d waiting keys became Ready", what, took.Round(time.Millisecond), passed, *bulk-before)
	if passed > overtaking {
		t.Errorf("%s: %d keys of the bulk came first, want at most %d", what, passed, overtaking)
	}
}

// readyOfBulk counts the keys of the bulk that are Ready.
func readyOfBulk(t *testing.T) int {
	t.Helper()
	var keys v1alpha1.DGbotAPIKeyList
	must(t, admin.List(t.Context(), &keys, client.InNamespace(bulkNamespace)))
	ready := 0
	for i := range keys.Items {
		if testenv.IsReady(&keys.Items[i]) {
			ready++
		}
	}
	return ready
}

// withdrawn reports whether no record of a victim verifies.
func withdrawn(ctx context.Context, i int) (bool, error) {
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := admin.List(ctx, &records, client.InNamespace(victimNamespace)); err != nil {
		return false, err
	}
	for _, record := range records.Items {
		first := record.Spec.Revision == 1
		ended := record.Spec.NotAfter != nil && !time.Now().Before(record.Spec.NotAfter.Time)
		if record.Spec.APIKeyRef.Name == victim(i) && first && record.Spec.State == v1alpha1.StateActive && !ended {
			return false, nil
		}
	}
	return true, nil
}
