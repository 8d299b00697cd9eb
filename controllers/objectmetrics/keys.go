// SPDX-License-Identifier: Apache-2.0

// Package objectmetrics exports a few series for each key and chatbot. The packages that count events have the counters.
package objectmetrics

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// collectTimeout bounds how long a scrape waits for a cache that has not synced. All caches have synced when a manager is elected; if that
// ever changes, a scrape without keys is better than none.
const collectTimeout = time.Second

var (
	keyReady = prometheus.NewDesc("dgbot_apikey_ready_status",
		"1 for the status that the key's condition Ready has (True, False or Unknown), 0 for the two others. Unknown: the key has no status yet.",
		[]string{"condition", "environment", "name", "namespace"}, nil)
	keyAbnormal = prometheus.NewDesc("dgbot_apikey_abnormal_condition",
		"1 for each of the key's conditions Reconciling, Stalled, RequestInvalid, RequestPending, PreviousRevisionInUse, PolicyViolation, EnvironmentMissing and Unused while it is True, with its reason. No series otherwise.",
		[]string{"condition", "environment", "name", "namespace", "reason"}, nil)
	keyExpiration = prometheus.NewDesc("dgbot_apikey_expiration_timestamp_seconds",
		"When the key stops verifying: spec.expiresAt, or the end of the current revision where that is earlier. No series for a key without an end.",
		perKey, nil)
	keyNextRotation = prometheus.NewDesc("dgbot_apikey_next_rotation_timestamp_seconds",
		"When the next revision is due, by schedule or by a request in the future. No series where none is foreseen.",
		perKey, nil)
	keyLastRotation = prometheus.NewDesc("dgbot_apikey_last_rotation_timestamp_seconds",
		"When the revision in the Secret was issued, with the cause on its record; Unknown where that record is gone. No series while the Secret holds none.",
		[]string{"cause", "environment", "name", "namespace"}, nil)
	keyVerifying = prometheus.NewDesc("dgbot_apikey_verifying_revisions",
		"How many revisions of the key a verifier accepts at the time of the scrape, the current one and earlier ones in their overlap.",
		perKey, nil)

	perKey = []string{"environment", "name", "namespace"}
)

// Collector collects a few series per key and chatbot from the cache at each scrape. It keeps nothing between scrapes, so the series of a
// deleted key disappear. Only the manager that holds the lease exports them; otherwise every sum would count each key more than once.
type Collector struct {
	// Reader reads from the cache.
	Reader client.Reader
	// Clock decides which revisions are valid.
	Clock clock.PassiveClock
	// Registry has the series while the manager works.
	Registry prometheus.Registerer
}

var active = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "dgbot_manager_active",
	Help: "1 while this manager works on keys, 0 while it waits for the lease. Only a manager that works exports series per key.",
})

func init() { metrics.Registry.MustRegister(active) }

// AddTo makes a manager export the series while it works.
func AddTo(mgr ctrl.Manager, now clock.PassiveClock) error {
	return mgr.Add(&Collector{Reader: mgr.GetCache(), Clock: now, Registry: metrics.Registry})
}

// NeedLeaderElection makes the manager call Start when it is elected, or at once without leader election.
func (*Collector) NeedLeaderElection() bool { return true }

// Start exports the series until the manager stops.
func (m *Collector) Start(ctx context.Context) error {
	if err := m.Registry.Register(m); err != nil {
		return err
	}
	defer m.Registry.Unregister(m)
	active.Set(1)
	defer active.Set(0)
	<-ctx.Done()
	return nil
}

// Describe implements prometheus.Collector.
func (*Collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{keyReady, keyAbnormal, keyExpiration, keyNextRotation, keyLastRotation, keyVerifying, chatbotReady, chatbotAbnormal} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector. It never reports an error to the registry, which would fail the whole scrape: the counters are
// useful without the keys.
func (m *Collector) Collect(series chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	var keys v1alpha1.DGbotAPIKeyList
	var records v1alpha1.DGbotAPIKeyRecordList
	var chatbots v1alpha1.DGbotChatbotList
	for _, list := range []client.ObjectList{&keys, &records, &chatbots} {
		// The objects are read without a copy; copying all of them would be the largest cost of a scrape.
		if err := m.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.Log.WithName("metrics").Error(err, "Left keys and chatbots out of a scrape: the cache cannot be read")
			return
		}
	}
	now := m.Clock.Now()
	facts := revisionFacts(keys.Items, records.Items, now)
	for i := range keys.Items {
		collectKey(series, &keys.Items[i], facts[keys.Items[i].UID])
	}
	for i := range chatbots.Items {
		collectChatbot(series, &chatbots.Items[i])
	}
}

// summary describes the revisions of one key, from its records.
type summary struct {
	current   string
	cause     string
	verifying int
}

// revisionFacts counts the valid revisions by the records and the time, as a verifier does, and not by the status. The status is as old as
// the last pass, and the series should also be right if the operator no longer makes passes.
func revisionFacts(keys []v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord, now time.Time) map[types.UID]*summary {
	facts := make(map[types.UID]*summary, len(keys))
	all := make([]summary, len(keys))
	for i := range keys {
		all[i].cause = unknown
		if current := keys[i].Status.Current; current != nil {
			all[i].current = current.RecordName
		}
		facts[keys[i].UID] = &all[i]
	}
	for i := range records {
		record := &records[i]
		of := facts[record.Spec.APIKeyRef.UID]
		if of == nil {
			continue
		}
		if standing.Admit(record, now) == standing.Admitted {
			of.verifying++
		}
		if record.Name == of.current {
			of.cause = string(record.Spec.Cause)
		}
	}
	return facts
}

func collectKey(series chan<- prometheus.Metric, key *v1alpha1.DGbotAPIKey, of *summary) {
	which := []*dto.LabelPair{label("environment", key.Spec.Environment), label("name", key.Name), label("namespace", key.Namespace)}
	gauge := func(description *prometheus.Desc, value float64, labels []*dto.LabelPair) {
		series <- &sample{description, labels, value}
	}
	collectConditions(series, keyReady, keyAbnormal, key.Status.Conditions, which)
	if at := expiration(key); at != nil {
		gauge(keyExpiration, float64(at.Unix()), which)
	}
	if at := key.Status.NextRotationAt; at != nil {
		gauge(keyNextRotation, float64(at.Unix()), which)
	}
	if current := key.Status.Current; current != nil {
		gauge(keyLastRotation, float64(current.IssuedAt.Unix()), before("cause", of.cause, which))
	}
	gauge(keyVerifying, float64(of.verifying), which)
}

// collectConditions collects the status of Ready, and the abnormal conditions, for an object with these labels.
func collectConditions(series chan<- prometheus.Metric, readyStatus, abnormal *prometheus.Desc, conditions []metav1.Condition, which []*dto.LabelPair) {
	ready := metav1.ConditionUnknown
	for _, condition := range conditions {
		switch {
		case condition.Type == v1alpha1.ReadyCondition:
			ready = condition.Status
		case condition.Status == metav1.ConditionTrue && slices.Contains(v1alpha1.AbnormalConditions[:], condition.Type):
			labels := append(before("condition", condition.Type, which), label("reason", reasonLabel(condition.Reason)))
			series <- &sample{abnormal, labels, 1}
		}
	}
	for _, status := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} {
		series <- &sample{readyStatus, before("condition", string(status), which), oneIf(status == ready)}
	}
}

// sample is a gauge that shares its labels with the other gauges of its key. Those of prometheus.NewConstMetric have their own copies,
// which would be most of the memory that a scrape of ten thousand keys allocates.
type sample struct {
	description *prometheus.Desc
	// labels are sorted by name.
	labels []*dto.LabelPair
	value  float64
}

// Desc implements prometheus.Metric.
func (s *sample) Desc() *prometheus.Desc { return s.description }

// Write implements prometheus.Metric.
func (s *sample) Write(out *dto.Metric) error {
	out.Label, out.Gauge = s.labels, &dto.Gauge{Value: &s.value}
	return nil
}

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// before puts a label in front of others.
func before(name, value string, others []*dto.LabelPair) []*dto.LabelPair {
	return append(append(make([]*dto.LabelPair, 0, len(others)+2), label(name, value)), others...)
}

func expiration(key *v1alpha1.DGbotAPIKey) *metav1.Time {
	at := key.Spec.ExpiresAt
	if current := key.Status.Current; current != nil && current.NotAfter != nil && (at == nil || current.NotAfter.Before(at)) {
		at = current.NotAfter
	}
	return at
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

// unknown stands for a missing value, and other for a reason that the operator does not use: a client that may write a status must not be
// able to create an unbounded number of series.
const (
	unknown = string(metav1.ConditionUnknown)
	other   = "Other"
)

func reasonLabel(reason string) string {
	if slices.Contains(v1alpha1.AbnormalReasons[:], reason) {
		return reason
	}
	return other
}
