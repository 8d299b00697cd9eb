// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"dgbot.io/key-operator/api/v1alpha1"
)

// What the process has done, in sum. What concerns one key is read from the cache instead, see keyMetrics: a counter by
// key would have to be forgotten with the key, and would begin anew with every process.
var (
	issued = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_apikey_revisions_issued_total",
		Help: "Revisions minted and published, by the cause on their record.",
	}, []string{"cause"})
	unpublished = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_apikey_publications_failed_total",
		Help: "Revisions whose record was created, and whose Secret was not written as far as is known; their records end by themselves.",
	})
	refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_apikey_writes_refused_total",
		Help: "Writes for a key that the API server refused, or that something undid in the same write, by the reason in the condition.",
	}, []string{"reason"})
	conflicts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_apikey_conflicts_total",
		Help: "Writes that were lost because another writer had been first; the object is observed anew.",
	})
	damped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_apikey_replacements_damped_total",
		Help: "Replacements of a lost or altered Secret that were put off because there were too many within the hour.",
	})
	audited = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_apikey_audit_stages_total",
		Help: "Keys that the audit has found unused, disabled or revoked, by the stage that they came to.",
	}, []string{"stage"})
	strays = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_apikey_stray_records_deleted_total",
		Help: "Records deleted because the key they name does not own them: it is gone (KeyGone), or they have no owner reference to it, being orphaned or restored (Orphaned).",
	}, []string{"reason"})
	secretsIssued = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_chatbot_secrets_issued_total",
		Help: "HMAC secrets minted or imported, and published, by their cause.",
	}, []string{"cause"})
	active = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dgbot_manager_active",
		Help: "1 while this manager works on keys, 0 while it waits for the lease. Only a manager that works exports series per key.",
	})
)

// refusalReasons are all that a refused write is counted by.
var refusalReasons = []string{
	v1alpha1.SecretWriteRefusedReason, v1alpha1.RecordWriteRefusedReason, v1alpha1.RecordConflictReason,
	v1alpha1.CopyWriteRefusedReason, v1alpha1.ChatbotIDRefusedReason, v1alpha1.ConfigMapWriteRefusedReason,
}

// Why a record was a stray.
const (
	strayOrphaned = "Orphaned"
	strayKeyGone  = "KeyGone"
)

func init() {
	metrics.Registry.MustRegister(issued, unpublished, refusals, conflicts, damped, audited, strays, secretsIssued, active)
	// A series that appears with its first count has not increased, for increase() and rate(): the first lost Secret
	// would go unnoticed. So all of them are there from the start.
	for _, cause := range []v1alpha1.Cause{
		v1alpha1.CauseFirstIssue, v1alpha1.CauseSchedule, v1alpha1.CauseRequest, v1alpha1.CauseRevocation, v1alpha1.CauseSecretLost,
		v1alpha1.CauseSecretAltered, v1alpha1.CauseRecordLost, v1alpha1.CauseReactivation, v1alpha1.CauseExpiryChanged,
	} {
		issued.WithLabelValues(string(cause))
	}
	for _, cause := range []v1alpha1.Cause{
		v1alpha1.CauseFirstIssue, v1alpha1.CauseSchedule, v1alpha1.CauseRequest, v1alpha1.CauseRevocation, v1alpha1.CauseSecretLost,
		v1alpha1.CauseSecretAltered, v1alpha1.CauseReactivation,
	} {
		secretsIssued.WithLabelValues(string(cause))
	}
	for _, reason := range refusalReasons {
		refusals.WithLabelValues(reason)
	}
	for _, stage := range []v1alpha1.AuditStage{v1alpha1.AuditUnused, v1alpha1.AuditDisabled, v1alpha1.AuditRevoked} {
		audited.WithLabelValues(string(stage))
	}
	for _, reason := range []string{strayOrphaned, strayKeyGone} {
		strays.WithLabelValues(reason)
	}
}
