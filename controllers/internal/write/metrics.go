// SPDX-License-Identifier: Apache-2.0

package write

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Rejections counts rejected writes by the reason in the condition.
var Rejections = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "dgbot_apikey_writes_refused_total",
	Help: "Writes for a key that the API server refused, or that something undid in the same write, by the reason in the condition.",
}, []string{"reason"})

// Conflicts counts writes that conflicted with another writer.
var Conflicts = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "dgbot_apikey_conflicts_total",
	Help: "Writes that were lost because another writer had been first; the object is observed anew.",
})

// rejectionReasons are the labels of Rejections.
var rejectionReasons = []string{
	v1alpha1.SecretWriteRefusedReason, v1alpha1.RecordWriteRefusedReason, v1alpha1.RecordConflictReason,
	v1alpha1.CopyWriteRefusedReason, v1alpha1.ChatbotIDRefusedReason, v1alpha1.ConfigMapWriteRefusedReason,
}

func init() {
	metrics.Registry.MustRegister(Rejections, Conflicts)
	// increase() and rate() miss the first count of a series that appears with it, so the first rejected write would go unnoticed.
	// Therefore all series exist from the start.
	for _, reason := range rejectionReasons {
		Rejections.WithLabelValues(reason)
	}
}
