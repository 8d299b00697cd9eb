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
	// reportsPerSecond bounds the writes of one verifier: reports of uses must not delay revocations.
	reportsPerSecond = 50
	reportTimeout    = 5 * time.Second
	// maxReportFailures is the number of consecutive failed reports after which the other reports wait for the next flush.
	maxReportFailures = 5
	// lastFlush is the largest time that the reports at the end of the verifier may take.
	lastFlush = 5 * time.Second
)

// Options configure a Reporter.
type Options struct {
	// FlushInterval is the time between two flushes; 100 milliseconds to 5 minutes.
	FlushInterval time.Duration
	// Resolution is the smallest time between two reports about one record; 1 second to 24 hours, in whole milliseconds.
	Resolution time.Duration
	// Environments are the environments that the verifier serves; empty for all in which a key can be accepted, now or later.
	Environments []string
	// Namespace is the namespace of the Leases, and Identity the holder that they name.
	Namespace, Identity string
}

// Validate returns an error that names the first flag with an invalid value.
func (o *Options) Validate() error {
	if o.FlushInterval < 100*time.Millisecond || o.FlushInterval > 5*time.Minute {
		return fmt.Errorf("--usage-flush-interval is %s: want 100ms to 5m", o.FlushInterval)
	}
	if o.Resolution < time.Second || o.Resolution > 24*time.Hour || o.Resolution%time.Millisecond != 0 {
		return fmt.Errorf("--usage-resolution is %s: want 1s to 24h in whole milliseconds", o.Resolution)
	}
	return nil
}

// Reporter writes uses into the status of records. It reads them from the index, so verifications do not wait for it.
type Reporter struct {
	keys    *index.Keys
	client  rest.Interface
	options Options
	reports map[outcome]prometheus.Counter
	log     logr.Logger
	limit   flowcontrol.RateLimiter
	now     func() time.Time
	// renewer is nil if the verifier knows only a part of an environment's keys.
	renewer *renewer
}

// New returns a Reporter of the uses of keys, which renews no Leases.
func New(keys *index.Keys, client rest.Interface, options Options, registry prometheus.Registerer, log logr.Logger) *Reporter {
	return &Reporter{
		keys: keys, client: client, options: options, reports: newReports(registry), log: log,
		limit: flowcontrol.NewTokenBucketRateLimiter(reportsPerSecond, reportsPerSecond), now: clock.RealClock{}.Now,
	}
}

// RenewLeases makes the Reporter renew the Lease of each environment that the verifier serves. The verifier must know all keys of these
// environments. It must be called before Run.
func (r *Reporter) RenewLeases(leases coordinationclient.LeasesGetter) {
	r.renewer = &renewer{
		leases: leases, holder: r.options.Identity, namespace: r.options.Namespace, interval: r.options.FlushInterval, now: r.now,
		complete: map[string]time.Time{},
	}
}

// report is a use to write into one record.
type report struct {
	namespace, name string
	use             *index.Use
	first, last     time.Time
}

// Run flushes in intervals until the context ends, and once more afterwards. Verifiers start at different points of the
// interval, so that each sees what another one wrote.
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

// flush writes the uses that are due and, if all are written, renews the Leases. A report that fails is due again at the next flush.
func (r *Reporter) flush(ctx context.Context) {
	due, environments := r.collect()
	if r.renewer != nil {
		r.renewer.add(environments)
	}
	cause := r.writeAll(ctx, due)
	if r.renewer != nil && cause == nil {
		r.renewer.retain(environments)
		cause = r.renewer.renewAll(ctx, environments)
	}
	if cause != nil && ctx.Err() == nil {
		r.log.Info("Reporting uses failed and is tried again", "in", r.options.FlushInterval.String(), "error", cause.Error())
	}
}

// writeAll writes reports. It returns nil if all are written, and otherwise the last error.
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
			// The record is deleted, or another verifier reported a later use or an earlier first use.
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

// collect returns the reports that are due, first those of records without a use, and the environments that the verifier serves. It does not
// serve an environment whose keys can never be accepted again: the Leases of all environments that were ever named would stay forever.
func (r *Reporter) collect() (due []report, environments []string) {
	served, now := map[string]bool{}, r.now()
	for e := range r.keys.All {
		if e.CanBeAccepted(now) {
			served[e.Environment()] = true
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
	return due, slices.Sorted(maps.Keys(served))
}

// write writes a report without a resource version: the CRD's rules reject a use that is earlier than the known one.
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
