// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	issued = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_apikey_revisions_issued_total",
		Help: "Revisions minted and published, by the cause on their record.",
	}, []string{"cause"})
	refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dgbot_apikey_writes_refused_total",
		Help: "Attempts to issue a revision or repair a Secret that the API server refused, by the reason in the condition.",
	}, []string{"reason"})
	conflicts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_apikey_publications_failed_total",
		Help: "Revisions whose record was created but whose Secret could not be written; their records end by themselves.",
	})
	strays = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_apikey_stray_records_deleted_total",
		Help: "Records deleted because the key they name does not own them: orphaned, restored or left behind.",
	})
)

func init() {
	metrics.Registry.MustRegister(issued, refusals, conflicts, strays)
}
