// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// counts are the values of all counters of ours, by name and label value.
func counts(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name, ours := strings.CutPrefix(family.GetName(), "dgbot_apikey_")
			if !ours || metric.GetCounter() == nil {
				continue
			}
			words := []string{name}
			for _, label := range metric.GetLabel() {
				words = append(words, label.GetValue())
			}
			values[strings.Join(words, " ")] = metric.GetCounter().GetValue()
		}
	}
	return values
}

// counted asserts that exactly these counters have moved, by so much.
func counted(t *testing.T, before map[string]float64, want map[string]float64) {
	t.Helper()
	moved := map[string]float64{}
	for name, value := range counts(t) {
		if value != before[name] {
			moved[name] = value - before[name]
		}
	}
	if !maps.Equal(moved, want) {
		t.Errorf("counted %v, want %v", moved, want)
	}
}

func TestEachMintIsCountedByItsCause(t *testing.T) {
	var total float64
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			if s.prepare != nil {
				s.prepare(w)
			} else {
				w.create(nil)
			}
			w.rest()
			existing, before := map[string]bool{}, counts(t)
			for _, record := range w.records() {
				existing[record.Name] = true
			}
			s.happen(w)
			w.rest()
			want := map[string]float64{}
			for _, record := range w.records() {
				if !existing[record.Name] {
					want["revisions_issued_total "+string(record.Spec.Cause)]++
					total++
				}
			}
			counted(t, before, want)
		})
	}
	if total < 8 {
		t.Errorf("only %v mints: the test proves little", total)
	}
}

// interfering is a client before whose write of a kind another writer is faster.
func (w *fixture) interfering(kind client.Object, write func()) client.Client {
	done := false
	once := func(o client.Object, dry []string) {
		if _, secret := kind.(*corev1.Secret); !done && len(dry) == 0 {
			if _, is := o.(*corev1.Secret); is == secret {
				done = true
				write()
			}
		}
	}
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			once(o, (&client.CreateOptions{}).ApplyOptions(options).DryRun)
			return c.Create(ctx, o, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			once(o, (&client.UpdateOptions{}).ApplyOptions(options).DryRun)
			return c.Update(ctx, o, options...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			once(o, nil)
			return c.Patch(ctx, o, p, options...)
		},
	})
}

func TestALostCompareAndSwapIsCounted(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	touch := func() {
		w.editSecret(func(s *corev1.Secret) { s.Data["theirs"] = []byte("x") })
	}
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	before := counts(t)
	w.restWith(w.operator(w.interfering(&corev1.Secret{}, touch)))
	counted(t, before, map[string]float64{"conflicts_total": 1, "publications_failed_total": 1, "revisions_issued_total Request": 1})

	w.editSecret(func(s *corev1.Secret) { delete(s.Labels, v1alpha1.ManagedByLabel) })
	before = counts(t)
	again := func() { w.editSecret(func(s *corev1.Secret) { s.Data["theirs"] = []byte("y") }) }
	w.restWith(w.operator(w.interfering(&corev1.Secret{}, again)))
	counted(t, before, map[string]float64{"conflicts_total": 1})
}

// TestARecordThatAnotherOperatorCreatedFirstIsCounted: the name is the lock.
func TestARecordThatAnotherOperatorCreatedFirstIsCounted(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	before := counts(t)
	other := w.operator(live)
	w.restWith(w.operator(w.interfering(&v1alpha1.DGbotAPIKeyRecord{}, func() { w.restWith(other) })))
	counted(t, before, map[string]float64{"conflicts_total": 1, "revisions_issued_total FirstIssue": 1})
}

func TestRefusalsAreCountedByTheirReason(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(*fixture)
		reason  string
	}{
		"a Secret that cannot be written": {
			func(w *fixture) {
				w.create(func(k *v1alpha1.DGbotAPIKey) {
					k.Spec.Secret = &v1alpha1.SecretSpec{Template: &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"not a label": "x"}}}
				})
			}, v1alpha1.SecretWriteRefusedReason,
		},
		"a record's name that is taken": {
			func(w *fixture) {
				w.create(nil)
				taken := steps.NewRecord(w.key(), steps.IssueRevision{
					RecordName: revisions.RecordName(keyName, w.key().UID, 1), Revision: 1, Cause: v1alpha1.CauseFirstIssue, IssuedAt: *w.second(),
				}, "abcdefABCDEF", "sha256:"+strings.Repeat("0", 64))
				taken.Spec.APIKeyRef = v1alpha1.APIKeyReference{Name: "other", UID: "other"}
				taken.OwnerReferences = nil
				if err := live.Create(w.T.Context(), &taken); err != nil {
					w.T.Fatal(err)
				}
			}, v1alpha1.RecordConflictReason,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			test.arrange(w)
			before := counts(t)
			// One pass: rest looks as often as it takes.
			if _, err := w.operator(live).Reconcile(t.Context(), w.request()); err != nil {
				t.Fatal(err)
			}
			w.stalled(test.reason, "")
			counted(t, before, map[string]float64{"writes_refused_total " + test.reason: 1})
		})
	}
}

func TestRefusedAmendmentsAndDeletionsAreCountedOnceEach(t *testing.T) {
	w := rotated(t)
	refusing := interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return forbidden("a policy says no")
		},
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			return forbidden("a policy says no")
		},
	})
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	before := counts(t)
	if _, err := w.operator(refusing).Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	counted(t, before, map[string]float64{"writes_refused_total " + v1alpha1.RecordWriteRefusedReason: 2})
}

func TestDampedReplacementsAreCountedOnce(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	lose := func() {
		w.advance(time.Second)
		w.deleteSecret()
		w.rest()
	}
	before := counts(t)
	for range 20 {
		lose()
	}
	counted(t, before, map[string]float64{"revisions_issued_total SecretLost": 20})
	lose()
	w.advance(time.Second)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Label = "Another look" })
	w.rest()
	if ready := w.ready(); ready.Reason != v1alpha1.SecretLossDampedReason {
		t.Fatalf("not damped: %+v", ready)
	}
	counted(t, before, map[string]float64{"revisions_issued_total SecretLost": 20, "replacements_damped_total": 1})
	w.advance(5 * time.Minute)
	w.rest()
	lose()
	counted(t, before, map[string]float64{"revisions_issued_total SecretLost": 21, "replacements_damped_total": 2})
}

func TestStrayRecordsAreCountedByWhatMadeThemStray(t *testing.T) {
	_, record := strayFixture(t)
	detach(t, record)
	before := counts(t)
	if _, err := reconcileRecord(t, live, record); err != nil {
		t.Fatal(err)
	}
	counted(t, before, map[string]float64{"stray_records_deleted_total Orphaned": 1})

	w, record := strayFixture(t)
	other := record.DeepCopy()
	other.ObjectMeta = metav1.ObjectMeta{Namespace: w.Name, Name: "restored", OwnerReferences: record.OwnerReferences}
	other.OwnerReferences[0].UID, other.Spec.APIKeyRef.UID = "earlier", "earlier"
	if err := live.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	before = counts(t)
	if _, err := reconcileRecord(t, live, other); err != nil {
		t.Fatal(err)
	}
	// Garbage collection may be faster: the owner does not exist.
	after := counts(t)
	if after["stray_records_deleted_total Orphaned"] != before["stray_records_deleted_total Orphaned"] {
		t.Error("a record of a key that is gone is counted as orphaned")
	}
}

// TestEveryCounterIsThereFromTheStart: one that appears with its first count has not increased, for an alert.
func TestEveryCounterIsThereFromTheStart(t *testing.T) {
	there := counts(t)
	for _, cause := range declared(t, "dgbotapikeyrecord_types.go", "Cause") {
		if _, ok := there["revisions_issued_total "+cause]; !ok {
			t.Errorf("no series for the cause %s", cause)
		}
	}
	for _, reason := range countedRefusals(t) {
		if _, ok := there["writes_refused_total "+reason]; !ok {
			t.Errorf("no series for the refusal %s", reason)
		}
	}
	for _, name := range []string{
		"stray_records_deleted_total Orphaned", "stray_records_deleted_total KeyGone",
		"audit_stages_total Unused", "audit_stages_total Disabled", "audit_stages_total Revoked",
		"conflicts_total", "publications_failed_total", "replacements_damped_total",
	} {
		if _, ok := there[name]; !ok {
			t.Errorf("no series %s", name)
		}
	}
	// And none beside: each is listed, so that a new one is thought about.
	if n := len(there); n != 9+6+8 {
		t.Errorf("%d series: %v", n, slices.Sorted(maps.Keys(there)))
	}
}

// refusedAs finds the reason in a line that counts a refused write.
var refusedAs = regexp.MustCompile(`\b(?:Classify|Reject|identityNamespaceGone|Rejections\.WithLabelValues)\(.*v1alpha1\.(\w+)Reason\b`)

// countedRefusals reads the sources for the reasons that refused writes are counted by: a test that waits for a count to
// appear depends on the tests that ran before it.
func countedRefusals(t *testing.T) []string {
	t.Helper()
	reasons := map[string]bool{}
	for _, source := range productSources(t) {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range refusedAs.FindAllStringSubmatch(string(text), -1) {
			reasons[found[1]] = true
		}
	}
	if len(reasons) < 5 {
		t.Fatalf("only %v found", reasons)
	}
	return slices.Sorted(maps.Keys(reasons))
}

func TestNamesAndHelpOfMetricsAreAsPrometheusWantsThem(t *testing.T) {
	w := rotated(t)
	collector := w.collector()
	problems, err := testutil.CollectAndLint(collector)
	if err != nil {
		t.Fatal(err)
	}
	all, err := testutil.GatherAndLint(metrics.Registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range append(problems, all...) {
		if strings.HasPrefix(problem.Metric, "dgbot_") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}

// seriesValue returns the value of a series that the manager exports, named by the values of its labels in the order of their names.
func seriesValue(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var values []string
			for _, label := range metric.GetLabel() {
				values = append(values, label.GetValue())
			}
			if slices.Equal(values, labels) {
				return metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no series %s with the labels %v", name, labels)
	return 0
}
