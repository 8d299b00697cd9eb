// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"dgbot.io/key-operator/api/v1alpha1"
)

var (
	issued = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_apikey_revisions_issued_total",
		Help: "Revisions minted and published, by the cause on their record.",
	}, []string{"cause"})
	unpublished = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_apikey_publications_failed_total",
		Help: "Revisions whose record was created, and whose Secret was not written as far as is known; their records end by themselves.",
	})
	damped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_apikey_replacements_damped_total",
		Help: "Replacements of a lost or altered Secret that were put off because there were too many within the hour.",
	})
	audited = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_apikey_audit_stages_total",
		Help: "Keys that the audit has found unused, disabled or revoked, by the stage that they came to.",
	}, []string{"stage"})
	confirmed = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "dgbot_withdrawal_confirmed_seconds",
		Help:    "Time from the write of a withdrawal until every registered verifier rejected what was withdrawn.",
		Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600},
	})
)

func init() {
	metrics.Registry.MustRegister(issued, unpublished, damped, audited, confirmed)
	// A series that appears with its first count has not increased, for increase() and rate(): the first lost Secret
	// would go unnoticed. So all of them are there from the start.
	for _, cause := range []v1alpha1.Cause{
		v1alpha1.CauseFirstIssue, v1alpha1.CauseSchedule, v1alpha1.CauseRequest, v1alpha1.CauseRevocation, v1alpha1.CauseSecretLost,
		v1alpha1.CauseSecretAltered, v1alpha1.CauseRecordLost, v1alpha1.CauseReactivation, v1alpha1.CauseExpiryChanged,
	} {
		issued.WithLabelValues(string(cause))
	}
	for _, stage := range []v1alpha1.AuditStage{v1alpha1.AuditUnused, v1alpha1.AuditDisabled, v1alpha1.AuditRevoked} {
		audited.WithLabelValues(string(stage))
	}
}
