// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The log has a line for each of the first ignored objects, and then one every ignoredInterval: another cluster decides how many there are.
const (
	ignoredInterval = 10 * time.Second
	firstIgnored    = 20
)

// ignored counts the objects that a watcher ignores, and logs some of them.
type ignored struct {
	count prometheus.Counter
	limit *rate.Limiter
	// unlogged are those since the last line.
	unlogged int
}

func newIgnored(count prometheus.Counter) *ignored {
	return &ignored{count: count, limit: rate.NewLimiter(rate.Every(ignoredInterval), firstIgnored)}
}

// note notes that an object was ignored because of an error.
func (i *ignored) note(log logr.Logger, object metav1.Object, cause error) {
	i.count.Inc()
	if !i.limit.Allow() {
		i.unlogged++
		return
	}
	log.Info("An object was ignored", "namespace", object.GetNamespace(), "name", object.GetName(), "error", cause.Error(), "othersBefore", i.unlogged)
	i.unlogged = 0
}
