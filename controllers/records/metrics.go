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

// The causes for which a record is a stray.
const (
	strayOrphaned = "Orphaned"
	strayKeyGone  = "KeyGone"
)

func init() {
	metrics.Registry.MustRegister(strays)
	// increase() and rate() miss the first count of a series that appears with it, so the first stray record would go unnoticed. Therefore
	// all series exist from the start.
	for _, reason := range []string{strayOrphaned, strayKeyGone} {
		strays.WithLabelValues(reason)
	}
}
