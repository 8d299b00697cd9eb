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
	"dgbot.io/key-operator/internal/lifecycle"
)

// renewer renews the Leases by which verifiers say since when a use of a key would have been noticed: one per environment,
// which all of them renew. Without it a key that nobody has used could not be told from one that nobody has watched.
type renewer struct {
	leases coordinationclient.LeasesGetter
	holder string
	// namespace is the Leases'.
	namespace string
	interval  time.Duration
	now       func() time.Time
	// complete is until when this verifier has reported all uses, by environment. That another one vouches says nothing of
	// what this one has not reported.
	complete map[string]time.Time
}

// maxUnansweredRenewals is how many renewals of one flush may go without an answer before the rest waits for the next flush.
const maxUnansweredRenewals = 3

// renewAll vouches for environments. A Lease that a quota or a webhook rejects does not keep the other Leases from being renewed.
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

// isRejection reports whether an error is the API server's answer to this one request, and not a sign that it is overloaded or down.
func isRejection(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}

// renew vouches for an environment after all uses known here were reported.
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

// fill renews a Lease, and begins tracking anew where somebody may have missed uses.
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
		lease.Spec.RenewTime != nil && now.Sub(lease.Spec.RenewTime.Time) <= lifecycle.MaxTrackingGap &&
		now.Sub(l.complete[environment]) <= lifecycle.MaxTrackingGap
}

// serve notes environments whose keys are answered for here from now on, if they are not known yet.
func (l *renewer) serve(environments []string) {
	for _, environment := range environments {
		if _, ok := l.complete[environment]; !ok {
			l.complete[environment] = l.now()
		}
	}
}

// keep forgets environments whose keys are not answered for here any more, once all uses were reported. Should one come back, the
// verifier answers for it from then on, as after a start.
func (l *renewer) keep(environments []string) {
	maps.DeleteFunc(l.complete, func(environment string, _ time.Time) bool { return !slices.Contains(environments, environment) })
}
