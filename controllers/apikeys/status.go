// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/environments"
)

// report writes events and the status if the planned status differs from the observed one. Events come first: after a crash between the two they
// are recorded twice rather than never.
func (r *Reconciler) report(ctx context.Context, seen *observed, decision lifecycle.Decision) error {
	if !differs(decision.Status, seen.Key) {
		return nil
	}
	for _, event := range lifecycle.Events(seen.Observation, decision.Status, r.Clock.Now()) {
		write.RecordEvent(r.Recorder, seen.Key, event)
		ctrl.LoggerFrom(ctx).Info(event.Note, "reason", event.Reason)
	}
	return r.writeStatus(ctx, seen.Key, decision.Status)
}

// differs reports whether a status differs from the key's; nil means to leave it as it is.
func differs(status *v1alpha1.DGbotAPIKeyStatus, key *v1alpha1.DGbotAPIKey) bool {
	return status != nil && !equality.Semantic.DeepEqual(*status, key.Status)
}

func (r *Reconciler) writeStatus(ctx context.Context, key *v1alpha1.DGbotAPIKey, status *v1alpha1.DGbotAPIKeyStatus) error {
	version, err := write.ApplyStatus(ctx, r.Client, v1alpha1.APIKeyKind, key, status)
	if apierrors.IsNotFound(err) {
		return nil
	}
	name := client.ObjectKeyFromObject(key)
	var conflict *write.ConflictError
	if errors.As(err, &conflict) {
		if r.attempts.Fail(write.Attempt{Object: name, What: reporting}, r.Clock.Now()) > write.MaxObservations {
			// Other writers end. Some webhooks reject with the same code.
			return fmt.Errorf("writing the status: %s", conflict.Rejection.Message)
		}
		return err
	}
	if err == nil {
		r.attempts.Succeed(write.Attempt{Object: name, What: reporting})
		if putOff(status) && !putOff(&key.Status) {
			damped.Inc()
		}
		if is, was := status.Propagation, key.Status.Propagation; is != nil && is.ConfirmedAt != nil && (was == nil || !is.ConfirmedAt.Equal(was.ConfirmedAt)) {
			confirmed.Observe(is.ConfirmedAt.Sub(is.WrittenAt.Time).Seconds())
		}
		if stage := environments.StageOf(status); stage != "" && stage != environments.StageOf(&key.Status) {
			audited.WithLabelValues(string(stage)).Inc()
		}
		r.memory.rememberReport(name, written{version, r.Clock.Now()})
	}
	return err
}

// putOff reports whether the status shows a replacement that waits. It is counted when that is written: not by each pass that finds it waiting,
// nor again after a restart.
func putOff(status *v1alpha1.DGbotAPIKeyStatus) bool {
	return readyReason(status) == v1alpha1.SecretLossDampedReason
}

// readyReason returns the reason of the condition Ready; empty if a status has none.
func readyReason(status *v1alpha1.DGbotAPIKeyStatus) string {
	if ready := apimeta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		return ready.Reason
	}
	return ""
}
