// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// renewer renews the Leases that state since when verifiers track uses: one per environment, which all its verifiers renew.
// Without the Lease, a key that was not used could not be told from a key whose uses were not tracked.
type renewer struct {
	leases coordinationclient.LeasesGetter
	holder string
	// namespace is the namespace of the Leases.
	namespace string
	interval  time.Duration
	now       func() time.Time
	// complete is the time until which this verifier has reported all uses, by environment. A renewal by another verifier does not
	// cover uses that this one has not reported.
	complete map[string]time.Time
}

// maxUnansweredRenewals is the number of unanswered renewals of one flush after which the other renewals wait for the next flush.
const maxUnansweredRenewals = 3

// renewAll renews the Leases of environments, and returns the last error. It continues after a renewal that a quota or a webhook rejects.
func (l *renewer) renewAll(ctx context.Context, environments []string) (cause error) {
	unanswered := 0
	for _, environment := range environments {
		err := l.renew(ctx, environment)
		if err != nil {
			cause = err
		}
		if err != nil && !isRejection(err) {
			unanswered++
		}
		if unanswered == maxUnansweredRenewals {
			break
		}
	}
	return cause
}

// isRejection reports whether the API server rejected this request, rather than being overloaded or down.
func isRejection(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}

// renew renews the Lease of an environment. The caller has reported all uses.
func (l *renewer) renew(ctx context.Context, environment string) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	now, leases, name := l.now(), l.leases.Leases(l.namespace), v1alpha1.UsageLeasePrefix+environment
	lease, err := leases.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}}
		l.fill(lease, environment, now)
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{FieldManager: fieldManager})
	case err == nil:
		l.fill(lease, environment, now)
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return nil // another verifier renews or the operator deletes the Lease at this moment; this one writes it at the next flush
	}
	if err != nil {
		return fmt.Errorf("renewing Lease %s/%s: %w", l.namespace, name, err)
	}
	l.complete[environment] = now
	return nil
}

// fill sets the fields of a renewed Lease. Tracking starts again if a verifier may have missed uses.
func (l *renewer) fill(lease *coordinationv1.Lease, environment string, now time.Time) {
	if !l.continues(lease, environment, now) {
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, v1alpha1.TrackedSinceAnnotation, now.UTC().Format(time.RFC3339))
	}
	seconds := int32((2*l.interval + time.Second - 1) / time.Second) //nolint:gosec // at most ten minutes
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &l.holder, &seconds
	lease.Spec.RenewTime = &metav1.MicroTime{Time: now}
}

func (l *renewer) continues(lease *coordinationv1.Lease, environment string, now time.Time) bool {
	since, err := time.Parse(time.RFC3339, lease.Annotations[v1alpha1.TrackedSinceAnnotation])
	return err == nil && !since.After(now) &&
		lease.Spec.RenewTime != nil && now.Sub(lease.Spec.RenewTime.Time) <= tracking.MaxTrackingGap &&
		now.Sub(l.complete[environment]) <= tracking.MaxTrackingGap
}

// add adds environments that this verifier serves from now on. All their uses are reported so far.
func (l *renewer) add(environments []string) {
	for _, environment := range environments {
		if _, ok := l.complete[environment]; !ok {
			l.complete[environment] = l.now()
		}
	}
}

// retain removes all other environments. The caller has reported all uses. An environment that is added again is tracked from then on, as
// after a start.
func (l *renewer) retain(environments []string) {
	maps.DeleteFunc(l.complete, func(environment string, _ time.Time) bool { return !slices.Contains(environments, environment) })
}
