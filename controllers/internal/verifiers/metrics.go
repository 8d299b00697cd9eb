// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"github.com/prometheus/client_golang/prometheus"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
)

var registered = prometheus.NewDesc("dgbot_verifiers",
	"Registered verifiers by state: current (renews its registration), silent (does not), silent_serving (does not, and answers however old "+
		"its records are), gone (silent for so long that it denies every request), stopped.", []string{"state"}, nil)

// states are the values of the label state. All of them are exported from the start.
var states = []string{"current", "silent", "silent_serving", "gone", "stopped"}

// Describe implements prometheus.Collector.
func (r *Registry) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- registered }

// Collect implements prometheus.Collector.
func (r *Registry) Collect(series chan<- prometheus.Metric) {
	count := map[string]int{}
	for _, state := range r.states() {
		count[state]++
	}
	for _, state := range states {
		series <- prometheus.MustNewConstMetric(registered, prometheus.GaugeValue, float64(count[state]), state)
	}
}

func (r *Registry) states() []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var all []string
	for _, v := range r.known {
		silent := v.isDeleted || r.Silence.Since(v.heard) > silentAfter
		switch {
		case v.presence == propagation.Stopped:
			all = append(all, "stopped")
		case v.presence == propagation.Gone, r.isSilentForLong(v):
			all = append(all, "gone")
		case silent && v.Serves:
			all = append(all, "silent_serving")
		case silent:
			all = append(all, "silent")
		default:
			all = append(all, "current")
		}
	}
	return all
}
