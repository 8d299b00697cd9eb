// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	fieldManager = "dgbot-verifier"
	// reportsPerSecond bounds what one verifier writes: uses are never worth delaying a revocation for.
	reportsPerSecond = 50
	reportTimeout    = 5 * time.Second
	// maxReportFailures is how many reports in a row may fail before the rest waits for the next flush.
	maxReportFailures = 5
	// lastFlush is how long the reports at the end of the verifier may take.
	lastFlush = 5 * time.Second
)

// reporter writes uses into the status of records. Verifications do not know of it: they leave times in memory, which it
// collects.
type reporter struct {
	index                *Index
	client               rest.Interface
	metrics              *metrics
	log                  logr.Logger
	interval, resolution time.Duration
	limit                flowcontrol.RateLimiter
	now                  func() time.Time
	// environments are those that the verifier is for; empty for all in which a key can be accepted, now or later.
	environments []string
	// vouchers are nil where the verifier knows a part of an environment's keys only.
	vouchers *vouchers
}

// report is what is to be written about one record.
type report struct {
	namespace, name string
	use             *use
	first, last     time.Time
}

// run flushes until the context ends, and once more then. Verifiers start at different points of the interval, so that one
// sees what another has just written.
func (r *reporter) run(ctx context.Context) {
	pause(ctx, rand.N(r.interval)) //nolint:gosec // spreads load
	for ctx.Err() == nil {
		r.flush(ctx)
		pause(ctx, r.interval)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer cancel()
	r.flush(ending)
}

// flush writes what is due, and vouches for it. What fails is due again at the next flush.
func (r *reporter) flush(ctx context.Context) {
	due, environments := r.collect()
	if r.vouchers != nil {
		r.vouchers.serve(environments)
	}
	cause := r.writeAll(ctx, due)
	if r.vouchers != nil && cause == nil {
		r.vouchers.keep(environments)
		cause = r.vouchers.renewAll(ctx, environments)
	}
	if cause != nil && ctx.Err() == nil {
		r.log.Info("Reporting uses failed and is tried again", "in", r.interval.String(), "error", cause.Error())
	}
}

// writeAll returns nil where all was reported, and the last failure where some was not.
func (r *reporter) writeAll(ctx context.Context, all []report) (cause error) {
	failures := 0
	for _, due := range all {
		if err := r.limit.Wait(ctx); err != nil {
			return err
		}
		err := r.write(ctx, due)
		switch {
		case err == nil:
			failures = 0
			r.metrics.reports[written].Inc()
		case apierrors.IsNotFound(err), apierrors.IsInvalid(err), apierrors.IsConflict(err):
			// The record is gone, or another verifier has reported a later use or an earlier first one.
			r.metrics.reports[outdated].Inc()
		default:
			r.metrics.reports[failed].Inc()
			cause = err
			failures++
		}
		if failures == maxReportFailures {
			break
		}
	}
	return cause
}

// collect returns what is due, records first of which no use is known, and the environments that are served. An environment whose keys
// have all ended for good is not served: a Lease for each environment that was ever named would stay for ever.
func (r *reporter) collect() (due []report, environments []string) {
	seen, now := map[string]bool{}, r.now()
	for i := range r.index.shards {
		s := &r.index.shards[i]
		s.lock.RLock()
		for e := range s.entries.all {
			kept := e.traits.Value()
			if !e.standing().Admit(now).IsFinal() {
				seen[kept.environment] = true
			}
			if first, last, ok := e.use.due(r.resolution); ok {
				due = append(due, report{kept.namespace, e.recordName(), e.use, first, last})
			}
		}
		s.lock.RUnlock()
	}
	slices.SortStableFunc(due, func(a, b report) int {
		return cmp.Compare(a.use.reportedLast.Load(), b.use.reportedLast.Load())
	})
	if len(r.environments) > 0 {
		return due, r.environments
	}
	return due, slices.Sorted(maps.Keys(seen))
}

// write reports a use without a resource version: uses are one-way, and the API server sees to that.
func (r *reporter) write(ctx context.Context, due report) error {
	status := v1alpha1.DGbotAPIKeyRecordStatus{LastUsedAt: &metav1.Time{Time: due.last}, Resolution: &metav1.Duration{Duration: r.resolution}}
	if !due.first.IsZero() {
		status.FirstUsedAt = &metav1.Time{Time: due.first}
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("encoding a use: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	record := &v1alpha1.DGbotAPIKeyRecord{}
	err = r.client.Patch(types.MergePatchType).Namespace(due.namespace).Resource(recordKind.resource).Name(due.name).SubResource("status").
		Param("fieldManager", fieldManager).Body(patch).Do(ctx).Into(record)
	if err == nil {
		due.use.reported(&record.Status)
	}
	return err
}
