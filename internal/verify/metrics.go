// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics never have a key ID or a path as a label: whoever sends requests would decide how many series there are.
type metrics struct {
	registry *prometheus.Registry
	answers  map[answer]prometheus.Counter
	refused  map[refusal]prometheus.Counter
	// Those of /v1/identity/verify.
	identityAnswers map[answer]prometheus.Counter
	identityRefused map[refusal]prometheus.Counter
	watchFailures   prometheus.Counter
	reports         map[outcome]prometheus.Counter
}

// outcome of a report of a use.
type outcome string

const (
	written outcome = "written"
	// outdated: the record is gone, or says more already.
	outdated outcome = "outdated"
	failed   outcome = "failed"
)

func newMetrics(v *Verifier) *metrics {
	index, freshness, bound := v.index, v.freshness, v.bound
	m := &metrics{
		identityAnswers: map[answer]prometheus.Counter{}, identityRefused: map[refusal]prometheus.Counter{},
		registry: prometheus.NewRegistry(), answers: map[answer]prometheus.Counter{}, refused: map[refusal]prometheus.Counter{}, reports: map[outcome]prometheus.Counter{},
		watchFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dgbot_verifier_watch_failures_total", Help: "Failed watches and lists of records or HMAC secrets; a complete list follows each.",
		}),
	}
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_verifier_answers_total",
		Help: "Requests for a verification by answer; unready is denied because the records are not up to date.",
	}, []string{"answer"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_verifier_refusals_total", Help: "Keys refused, by reason. Whoever sent them is not told the reason.",
	}, []string{"reason"})
	for _, a := range []answer{good, refusedKey, missingScopes, badRequest, unready} {
		m.answers[a] = answers.WithLabelValues(string(a))
	}
	for _, reason := range refusals {
		m.refused[reason] = refused.WithLabelValues(string(reason))
	}
	identityAnswers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_verifier_identity_answers_total",
		Help: "Requests to verify a visitor's identity by answer; unready is denied because the HMAC secrets are not up to date.",
	}, []string{"answer"})
	identityRefused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_verifier_identity_refusals_total", Help: "Identities refused, by reason. Whoever sent them is not told the reason.",
	}, []string{"reason"})
	for _, a := range []answer{good, refusedKey, badRequest, unready} {
		m.identityAnswers[a] = identityAnswers.WithLabelValues(string(a))
	}
	for _, reason := range []refusal{malformed, unknown, wrong, disabled, expired} {
		m.identityRefused[reason] = identityRefused.WithLabelValues(string(reason))
	}
	reports := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_verifier_usage_reports_total",
		Help: "Uses written into records: written, outdated (the record is gone or says more already), failed (tried again at the next flush).",
	}, []string{"outcome"})
	for _, o := range []outcome{written, outdated, failed} {
		m.reports[o] = reports.WithLabelValues(string(o))
	}
	m.registry.MustRegister(answers, refused, identityAnswers, identityRefused, reports, m.watchFailures, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("dgbot_verifier_records", "Records in memory.", func() float64 { return float64(index.records.Load()) }),
		gauge("dgbot_verifier_duplicate_records", "Records that do not count because one with their key ID was created before.",
			func() float64 { return float64(index.ignored.Load()) }),
		gauge("dgbot_verifier_chatbots", "Chatbots in memory whose visitors can be vouched for.", func() float64 { return float64(v.identities.count()) }),
		gauge("dgbot_verifier_identity_age_seconds", "Seconds since the API server was last heard of by the watch of HMAC secrets; +Inf for never.", func() float64 {
			return seconds(v.identityFreshness.Age(freshness.now()))
		}),
		gauge("dgbot_verifier_synced", "1 once all records were read, 0 before: everything is denied.", func() float64 {
			return truth(freshness.Synced())
		}),
		gauge("dgbot_verifier_records_age_seconds", "Seconds since the API server was last heard of; +Inf for never.", func() float64 {
			return seconds(freshness.Age(freshness.now()))
		}),
		gauge("dgbot_verifier_max_staleness_seconds", "The age from which on requests are denied (--max-staleness).", func() float64 {
			return bound.MaxStaleness.Seconds()
		}))
	return m
}

// handler serves the metrics to a few scrapers at once: compressing an answer takes megabytes.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func seconds(age time.Duration) float64 {
	if age == never {
		return math.Inf(1)
	}
	return age.Seconds()
}
