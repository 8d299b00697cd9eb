// SPDX-License-Identifier: Apache-2.0

package usage

import "github.com/prometheus/client_golang/prometheus"

// outcome is the outcome of a report of a use, as metrics name it.
type outcome string

const (
	written outcome = "written"
	// outdated means that the record is deleted, or has a later use already.
	outdated outcome = "outdated"
	failed   outcome = "failed"
)

// newReports registers and returns the counters of reports, by outcome.
func newReports(registry prometheus.Registerer) map[outcome]prometheus.Counter {
	reports := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_verifier_usage_reports_total",
		Help: "Uses written into records: written, outdated (the record is gone or says more already), failed (tried again at the next flush).",
	}, []string{"outcome"})
	registry.MustRegister(reports)
	counters := map[outcome]prometheus.Counter{}
	for _, o := range []outcome{written, outdated, failed} {
		counters[o] = reports.WithLabelValues(string(o))
	}
	return counters
}
