// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/objectmetrics"
)

// collector collects the keys of the fixture's namespace.
func (w *fixture) collector() *objectmetrics.Collector {
	return &objectmetrics.Collector{Reader: client.NewNamespacedClient(live, w.Name), Clock: w.clock}
}

// exports asserts all series of the fixture's keys, given as metric{labels} value without the labels that are the same in all.
func (w *fixture) exports(want ...string) {
	w.T.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w.collector())
	families, err := registry.Gather()
	if err != nil {
		w.T.Fatal(err)
	}
	var got []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			series := []string{strings.TrimPrefix(family.GetName(), "dgbot_apikey_")}
			same := map[string]string{"namespace": w.Name, "name": keyName, "environment": "production"}
			for _, label := range metric.GetLabel() {
				if value, ok := same[label.GetName()]; ok && value == label.GetValue() {
					delete(same, label.GetName())
				} else {
					series = append(series, label.GetValue())
				}
			}
			if len(same) > 0 {
				w.T.Errorf("%v lacks the labels %v", series, same)
			}
			got = append(got, fmt.Sprintf("%s %d", strings.Join(series, " "), int64(metric.GetGauge().GetValue())))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.T.Errorf("exported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func at(when metav1.Time) string { return strconv.FormatInt(when.Unix(), 10) }

func TestSeriesFollowAKeyThroughItsLife(t *testing.T) {
	w := newFixture(t)
	w.exports()
	end := metav1.Time{Time: w.clock.Now().Add(48 * time.Hour)}
	w.create(func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation.Interval = &metav1.Duration{Duration: 24 * time.Hour}
		k.Spec.ExpiresAt = &end
	})
	w.exports("ready_status True 0", "ready_status False 0", "ready_status Unknown 1", "expiration_timestamp_seconds "+at(end), "verifying_revisions 0")
	w.rest()
	ready := []string{"ready_status True 1", "ready_status False 0", "ready_status Unknown 0", "expiration_timestamp_seconds " + at(end)}
	w.exports(append([]string{
		"next_rotation_timestamp_seconds " + at(*w.key().Status.NextRotationAt),
		"last_rotation_timestamp_seconds FirstIssue " + at(w.published().Spec.IssuedAt),
		"verifying_revisions 1",
	}, ready...)...)

	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	w.rest()
	rotated := append([]string{
		"next_rotation_timestamp_seconds " + at(*w.key().Status.NextRotationAt),
		"last_rotation_timestamp_seconds Request " + at(w.published().Spec.IssuedAt),
	}, ready...)
	w.exports(append([]string{"verifying_revisions 2"}, rotated...)...)
	// The overlap ends by the time alone, and so does the key, although no operator looks.
	w.advance(time.Hour + time.Second)
	w.exports(append([]string{"verifying_revisions 1"}, rotated...)...)
	w.advance(48 * time.Hour)
	w.exports(append([]string{"verifying_revisions 0"}, rotated...)...)

	if err := live.Delete(t.Context(), w.key()); err != nil {
		t.Fatal(err)
	}
	w.exports()
}

func TestSeriesSayWhatIsTheMatter(t *testing.T) {
	for name, test := range map[string]struct {
		happen func(*fixture)
		want   []string
	}{
		"disabled": {
			func(w *fixture) { w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled }) },
			[]string{"ready_status False 1", "ready_status True 0", "abnormal_condition Stalled Disabled 1", "abnormal_condition PropagationPending VerifiersUnknown 1", "last_rotation_timestamp_seconds FirstIssue", "verifying_revisions 0"},
		},
		"an unreadable request": {
			func(w *fixture) {
				w.edit(func(k *v1alpha1.DGbotAPIKey) {
					k.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: "now"}
				})
			},
			[]string{"ready_status False 0", "ready_status True 1", "abnormal_condition RequestInvalid AnnotationUnreadable 1", "last_rotation_timestamp_seconds FirstIssue", "verifying_revisions 1"},
		},
		"an earlier revision that no verifier reports": {
			func(w *fixture) {
				w.edit(func(k *v1alpha1.DGbotAPIKey) {
					k.Spec.Rotation.Retire, k.Spec.Rotation.MaxOverlap = v1alpha1.RetireWhenUnused, &metav1.Duration{Duration: 48 * time.Hour}
					k.Spec.Rotation.RequestedAt = w.second()
				})
				w.rest()
				w.advance(time.Hour + 2*time.Second)
			},
			[]string{"ready_status False 0", "ready_status True 1", "abnormal_condition PreviousRevisionInUse UsageUnknown 1", "last_rotation_timestamp_seconds Request", "verifying_revisions 2"},
		},
		"a lost Secret": {
			func(w *fixture) { w.deleteSecret() },
			[]string{"ready_status False 0", "ready_status True 1", "last_rotation_timestamp_seconds SecretLost", "verifying_revisions 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.create(nil)
			w.rest()
			w.advance(time.Second)
			test.happen(w)
			w.rest()
			want := []string{"ready_status Unknown 0"}
			for _, series := range test.want {
				if strings.HasPrefix(series, "last_rotation") {
					series += " " + at(w.published().Spec.IssuedAt)
				}
				want = append(want, series)
			}
			w.exports(want...)
		})
	}
}

// TestAKeyWhoseRecordIsGoneHasNoCause: until the next pass its status names a record that does not exist.
func TestAKeyWhoseRecordIsGoneHasNoCause(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	issuedAt := at(w.published().Spec.IssuedAt)
	if err := live.Delete(t.Context(), w.first()); err != nil {
		t.Fatal(err)
	}
	w.exports("ready_status True 1", "ready_status False 0", "ready_status Unknown 0",
		"last_rotation_timestamp_seconds Unknown "+issuedAt, "verifying_revisions 0")
}

// TestReasonsAreWordsOfOurs: the label must not take whatever stands in a status, and must not lose a reason of ours.
func TestReasonsAreWordsOfOurs(t *testing.T) {
	reasonLabel := func(reason string) string {
		key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "crm"}}
		key.Status.Conditions = []metav1.Condition{{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: reason}}
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(&objectmetrics.Collector{Reader: fake.NewClientBuilder().WithScheme(live.Scheme()).WithObjects(key).Build(), Clock: clocktesting.NewFakePassiveClock(time.Now())})
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() != "dgbot_apikey_abnormal_condition" {
				continue
			}
			for _, label := range family.GetMetric()[0].GetLabel() {
				if label.GetName() == "reason" {
					return label.GetValue()
				}
			}
		}
		return ""
	}
	const other = "Other"
	if got := reasonLabel("Made-up"); got != other {
		t.Errorf("a made-up reason becomes %s", got)
	}
	elsewhere := []string{
		v1alpha1.PublishedReason, v1alpha1.EnforcedReason, v1alpha1.TimeZoneUnknownReason, v1alpha1.NoNamespaceReason,
		v1alpha1.IssuedReason, v1alpha1.SecretLostReason, v1alpha1.SecretAlteredReason, v1alpha1.RecordLostReason,
		v1alpha1.RequestPendingReason,
	}
	for _, reason := range declared(t, "conditions.go", "Reason") {
		want := reason
		if slices.Contains(elsewhere, reason) {
			want = other
		}
		if got := reasonLabel(reason); got != want {
			t.Errorf("%s becomes %s", reason, got)
		}
	}
}

// declared returns the values of the string constants in a file of the API whose names contain a word.
func declared(t *testing.T, file, word string) []string {
	t.Helper()
	syntax, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "api", "v1alpha1", file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(syntax, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.Contains(spec.Names[0].Name, word) || len(spec.Values) == 0 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	if len(values) < 5 {
		t.Fatalf("only %v found in %s", values, file)
	}
	return values
}

// blocked is a cache that never syncs.
type blocked struct{ client.Reader }

func (blocked) List(ctx context.Context, _ client.ObjectList, _ ...client.ListOption) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestAScrapeNeitherWaitsForACacheNorFailsWithIt: the counters are served whatever becomes of the keys.
func TestAScrapeNeitherWaitsForACacheNorFailsWithIt(t *testing.T) {
	for name, reader := range map[string]client.Reader{"a cache that never syncs": blocked{}, "a cache that has not been started": unstarted(t)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewPedanticRegistry()
				registry.MustRegister(&objectmetrics.Collector{Reader: reader, Clock: clocktesting.NewFakePassiveClock(time.Now())}, prometheus.NewGauge(prometheus.GaugeOpts{Name: "another", Help: "One."}))
				before := time.Now()
				if n, err := testutil.GatherAndCount(registry); err != nil || n != 1 {
					t.Errorf("%d series, error %v", n, err)
				}
				if took := time.Since(before); took > 2*time.Second {
					t.Errorf("the scrape took %s", took)
				}
			})
		})
	}
}

func unstarted(t *testing.T) client.Reader {
	t.Helper()
	options, err := cacheOptions(Options{UsageNamespace: "dgbot-system"})
	if err != nil {
		t.Fatal(err)
	}
	options.Scheme = live.Scheme()
	options.ReaderFailOnMissingInformer = false
	reader, err := cache.New(cluster.Config, options)
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

// TestOnlyAManagerAtWorkExportsKeys: one that waits for the lease would double every sum.
func TestOnlyAManagerAtWorkExportsKeys(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	collector := w.collector()
	registry := prometheus.NewPedanticRegistry()
	collector.Registry = registry
	series := func() int {
		n, err := testutil.GatherAndCount(registry)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if !collector.NeedLeaderElection() || series() != 0 || seriesValue(t, "dgbot_manager_active") != 0 {
		t.Errorf("before it is elected: %d series", series())
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- collector.Start(ctx) }()
	if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return series() > 0 && seriesValue(t, "dgbot_manager_active") == 1, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := collector.Start(ctx); !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		t.Errorf("a second manager of one process: %v", err)
	}
	stop()
	if err := <-done; err != nil || series() != 0 || seriesValue(t, "dgbot_manager_active") != 0 {
		t.Errorf("after it has stopped: %d series, error %v", series(), err)
	}
	if registered, err := testutil.GatherAndCount(metrics.Registry, "dgbot_manager_active"); err != nil || registered != 1 {
		t.Errorf("%d, %v: a manager that waits says so", registered, err)
	}
}
