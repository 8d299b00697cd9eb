// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"github.com/prometheus/client_golang/prometheus"

	"dgbot.io/key-operator/internal/verify/index"
)

// metrics count answers. They never have a key ID or a path as a label: clients would decide how many series there are.
type metrics struct {
	answers  map[answer]prometheus.Counter
	rejected map[index.Reason]prometheus.Counter
	// The same for /v1/identity/verify.
	identityAnswers  map[answer]prometheus.Counter
	identityRejected map[index.Reason]prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
	count := func(name, help, label string) *prometheus.CounterVec {
		vector := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		registry.MustRegister(vector)
		return vector
	}
	return &metrics{
		answers: countersOf(count("dgbot_verifier_answers_total",
			"Requests for a verification by answer; unready is denied because the records are not up to date.", "answer"),
			accepted, rejectedKey, missingScopes, badRequest, unready),
		rejected: countersOf(count("dgbot_verifier_refusals_total",
			"Rejected keys, by reason. Clients do not learn the reason.", "reason"), index.KeyReasons...),
		identityAnswers: countersOf(count("dgbot_verifier_identity_answers_total",
			"Requests to verify a visitor's identity by answer; unready is denied because the HMAC secrets are not up to date.", "answer"),
			accepted, rejectedKey, badRequest, unready),
		identityRejected: countersOf(count("dgbot_verifier_identity_refusals_total",
			"Rejected identities, by reason. Clients do not learn the reason.", "reason"), index.IdentityReasons...),
	}
}

// countersOf returns the counter of each value of a vector's label.
func countersOf[T ~string](vector *prometheus.CounterVec, values ...T) map[T]prometheus.Counter {
	counters := map[T]prometheus.Counter{}
	for _, value := range values {
		counters[value] = vector.WithLabelValues(string(value))
	}
	return counters
}
