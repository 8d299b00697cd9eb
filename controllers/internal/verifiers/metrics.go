// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"github.com/prometheus/client_golang/prometheus"

	"dgbot.io/key-operator/internal/registration"
)

var registered = prometheus.NewDesc("dgbot_verifiers",
	"Registered verifiers by state: current (renews its registration), silent (does not), silent_serving (does not, and answers however old "+
		"its records are), gone (silent for so long that it denies every request), stopped.", []string{"state"}, nil)

// silentServing is the state of a silent verifier that never counts as gone.
const silentServing = "silent_serving"

// states are the values of the label state. All of them are exported from the start.
var states = []string{string(registration.Current), string(registration.Silent), silentServing, string(registration.Gone), string(registration.Stopped)}

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
		state := string(r.stateOf(v))
		if state == string(registration.Silent) && v.Serves {
			state = silentServing
		}
		all = append(all, state)
	}
	return all
}
