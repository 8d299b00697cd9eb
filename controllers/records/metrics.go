// SPDX-License-Identifier: Apache-2.0

package records

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var strays = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "dgbot_apikey_stray_records_deleted_total",
	Help: "Records deleted because the key they name does not own them: it is gone (KeyGone), or they have no owner reference to it, being orphaned or restored (Orphaned).",
}, []string{"reason"})

// Why a record was a stray.
const (
	strayOrphaned = "Orphaned"
	strayKeyGone  = "KeyGone"
)

func init() {
	metrics.Registry.MustRegister(strays)
	// A series that appears with its first count has not increased, for increase() and rate(): the first stray record
	// would go unnoticed. So all of them are there from the start.
	for _, reason := range []string{strayOrphaned, strayKeyGone} {
		strays.WithLabelValues(reason)
	}
}
