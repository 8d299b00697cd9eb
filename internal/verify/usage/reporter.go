// SPDX-License-Identifier: Apache-2.0

// Package usage reports when keys were used: it writes uses into the status of records, and renews the Leases that state since when uses
// are tracked.
package usage

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
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/verify/client"
	"dgbot.io/key-operator/internal/verify/index"
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

// Options are the flags about reports of uses.
type Options struct {
	// FlushInterval is how often uses are looked through for what is to be reported.
	FlushInterval time.Duration
	// Resolution is how far apart two reports about one record are at least.
	Resolution time.Duration
	// Environments are those that the verifier is for; empty for all in which a key can be accepted, now or later.
	Environments []string
	// Namespace is where the Leases are by which verifiers say since when uses are tracked; Identity is who says it.
	Namespace, Identity string
}

// Validate returns what is wrong with the options.
func (o *Options) Validate() error {
	if o.FlushInterval < 100*time.Millisecond || o.FlushInterval > 5*time.Minute {
		return fmt.Errorf("--usage-flush-interval is %s: want 100ms to 5m", o.FlushInterval)
	}
	if o.Resolution < time.Second || o.Resolution > 24*time.Hour || o.Resolution%time.Millisecond != 0 {
		return fmt.Errorf("--usage-resolution is %s: want 1s to 24h in whole milliseconds", o.Resolution)
	}
	return nil
}

// Reporter writes uses into the status of records. Verifications do not know of it: they leave times in memory, which it
// collects.
type Reporter struct {
	keys    *index.Keys
	client  rest.Interface
	options Options
	reports map[outcome]prometheus.Counter
	log     logr.Logger
	limit   flowcontrol.RateLimiter
	now     func() time.Time
	// vouchers are nil where the verifier knows a part of an environment's keys only.
	renewer *renewer
}

// New returns a reporter of the uses of keys. It renews no Leases.
func New(keys *index.Keys, client rest.Interface, options Options, registry prometheus.Registerer, log logr.Logger) *Reporter {
	return &Reporter{
		keys: keys, client: client, options: options, reports: newReports(registry), log: log,
		limit: flowcontrol.NewTokenBucketRateLimiter(reportsPerSecond, reportsPerSecond), now: clock.RealClock{}.Now,
	}
}

// RenewLeases lets the reporter renew the Leases of the environments whose uses it reports. Only a verifier that knows all keys of
// these environments may do that.
func (r *Reporter) RenewLeases(leases coordinationclient.LeasesGetter) {
	r.renewer = &renewer{
		leases: leases, holder: r.options.Identity, namespace: r.options.Namespace, interval: r.options.FlushInterval, now: r.now,
		complete: map[string]time.Time{},
	}
}

// report is what is to be written about one record.
type report struct {
	namespace, name string
	use             *index.Use
	first, last     time.Time
}

// Run flushes until the context ends, and once more then. Verifiers start at different points of the interval, so that one
// sees what another has just written.
func (r *Reporter) Run(ctx context.Context) {
	sleep(ctx, rand.N(r.options.FlushInterval)) //nolint:gosec // spreads load
	for ctx.Err() == nil {
		r.flush(ctx)
		sleep(ctx, r.options.FlushInterval)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer cancel()
	r.flush(ending)
}

// flush writes what is due, and vouches for it. What fails is due again at the next flush.
func (r *Reporter) flush(ctx context.Context) {
	due, environments := r.collect()
	if r.renewer != nil {
		r.renewer.serve(environments)
	}
	cause := r.writeAll(ctx, due)
	if r.renewer != nil && cause == nil {
		r.renewer.keep(environments)
		cause = r.renewer.renewAll(ctx, environments)
	}
	if cause != nil && ctx.Err() == nil {
		r.log.Info("Reporting uses failed and is tried again", "in", r.options.FlushInterval.String(), "error", cause.Error())
	}
}

// writeAll returns nil where all was reported, and the last failure where some was not.
func (r *Reporter) writeAll(ctx context.Context, all []report) (cause error) {
	failures := 0
	for _, due := range all {
		if err := r.limit.Wait(ctx); err != nil {
			return err
		}
		err := r.write(ctx, due)
		switch {
		case err == nil:
			failures = 0
			r.reports[written].Inc()
		case apierrors.IsNotFound(err), apierrors.IsInvalid(err), apierrors.IsConflict(err):
			// The record is gone, or another verifier has reported a later use or an earlier first one.
			r.reports[outdated].Inc()
		default:
			r.reports[failed].Inc()
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
func (r *Reporter) collect() (due []report, environments []string) {
	seen, now := map[string]bool{}, r.now()
	for e := range r.keys.All {
		if e.CanBeAccepted(now) {
			seen[e.Environment()] = true
		}
		if first, last, ok := e.Use().Due(r.options.Resolution); ok {
			due = append(due, report{e.Namespace(), e.RecordName(), e.Use(), first, last})
		}
	}
	slices.SortStableFunc(due, func(a, b report) int {
		return cmp.Compare(a.use.LastReported(), b.use.LastReported())
	})
	if len(r.options.Environments) > 0 {
		return due, r.options.Environments
	}
	return due, slices.Sorted(maps.Keys(seen))
}

// write reports a use without a resource version: uses are one-way, and the API server sees to that.
func (r *Reporter) write(ctx context.Context, due report) error {
	status := v1alpha1.DGbotAPIKeyRecordStatus{LastUsedAt: &metav1.Time{Time: due.last}, Resolution: &metav1.Duration{Duration: r.options.Resolution}}
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
	err = r.client.Patch(types.MergePatchType).Namespace(due.namespace).Resource(client.Records).Name(due.name).SubResource("status").
		Param("fieldManager", fieldManager).Body(patch).Do(ctx).Into(record)
	if err == nil {
		due.use.SetReported(&record.Status)
	}
	return err
}

// sleep returns after a time, or when the context ends.
func sleep(ctx context.Context, span time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}
