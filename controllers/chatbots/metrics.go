// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"dgbot.io/key-operator/api/v1alpha1"
)

var secretsIssued = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "dgbot_chatbot_secrets_issued_total",
	Help: "HMAC secrets minted or imported, and published, by their cause.",
}, []string{"cause"})

func init() {
	metrics.Registry.MustRegister(secretsIssued)
	// increase() and rate() miss the first count of a series that appears with it, so the first lost Secret would go unnoticed. Therefore
	// all series exist from the start.
	for _, cause := range []v1alpha1.Cause{
		v1alpha1.CauseFirstIssue, v1alpha1.CauseSchedule, v1alpha1.CauseRequest, v1alpha1.CauseRevocation, v1alpha1.CauseSecretLost,
		v1alpha1.CauseSecretAltered, v1alpha1.CauseReactivation,
	} {
		secretsIssued.WithLabelValues(string(cause))
	}
}
