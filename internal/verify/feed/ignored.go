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
	log.Info("An object was ignored", "namespace", cut(object.GetNamespace()), "name", cut(object.GetName()), "error", cut(cause.Error()), "othersBefore", i.unlogged)
	i.unlogged = 0
}

// maxText is the largest length of a text in the log that an API server chooses. Names are at most 253 bytes long; the API server of another cluster
// may send longer ones.
const maxText = 1024

func cut(text string) string { return text[:min(len(text), maxText)] }
