// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// report writes events and status where the plan's status differs from the one that was observed. Events come first:
// after a crash between the two they are told again rather than never.
func (r *APIKeyReconciler) report(ctx context.Context, seen *observed, decision lifecycle.Decision) error {
	if !differs(decision.Status, seen.Key) {
		return nil
	}
	for _, event := range lifecycle.Events(seen.Observation, decision.Status, r.Clock.Now()) {
		emit(r.Recorder, seen.Key, event)
		ctrl.LoggerFrom(ctx).Info(event.Note, "reason", event.Reason)
	}
	return r.writeStatus(ctx, seen.Key, decision.Status)
}

// differs says whether a status is another than the key has; nil stands for "leave it as it is".
func differs(status *v1alpha1.DGbotAPIKeyStatus, key *v1alpha1.DGbotAPIKey) bool {
	return status != nil && !equality.Semantic.DeepEqual(*status, key.Status)
}

// applyStatus applies the whole status of an object of a kind of ours, so that what it no longer says is removed. It is for
// the version of the object that was observed: the API server refuses it for a later one, and for an object that was created
// anew under the name, which a uid alone does not prevent on the status subresource. It returns the version that came of it.
func applyStatus(ctx context.Context, writer client.Client, kind string, object client.Object, status any) (version string, err error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return "", fmt.Errorf("encoding the status: %w", err)
	}
	configuration := &unstructured.Unstructured{Object: map[string]any{"status": content}}
	configuration.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	configuration.SetNamespace(object.GetNamespace())
	configuration.SetName(object.GetName())
	configuration.SetResourceVersion(object.GetResourceVersion())
	err = writer.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(configuration), client.ForceOwnership, client.FieldOwner(v1alpha1.ManagedBy))
	return configuration.GetResourceVersion(), err
}

func (r *APIKeyReconciler) writeStatus(ctx context.Context, key *v1alpha1.DGbotAPIKey, status *v1alpha1.DGbotAPIKeyStatus) error {
	version, err := applyStatus(ctx, r.Client, v1alpha1.APIKeyKind, key, status)
	if apierrors.IsNotFound(err) {
		return nil
	}
	name := client.ObjectKeyFromObject(key)
	if apierrors.IsConflict(err) {
		conflicts.Inc()
		if r.attempts.fail(attempt{name, reporting}, r.Clock.Now()) > maxObservations {
			// Rivals come to an end. A webhook can refuse in the same words.
			return fmt.Errorf("writing the status: %w", err)
		}
		return errOutrun
	}
	if err == nil {
		r.attempts.succeed(attempt{name, reporting})
		if putOff(status) && !putOff(&key.Status) {
			damped.Inc()
		}
		if stage := lifecycle.StageOf(status); stage != "" && stage != lifecycle.StageOf(&key.Status) {
			audited.WithLabelValues(string(stage)).Inc()
		}
		r.memory.rememberReport(name, written{version, r.Clock.Now()})
	}
	return err
}

// putOff says whether the status shows a replacement that waits. Once it is written a replacement has been counted: not
// by each pass that finds it waiting, nor again after a restart.
func putOff(status *v1alpha1.DGbotAPIKeyStatus) bool {
	ready := apimeta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition)
	return ready != nil && ready.Reason == v1alpha1.SecretLossDampedReason
}

func emit(recorder events.EventRecorder, about client.Object, event lifecycle.Event) {
	kind := corev1.EventTypeNormal
	if event.Warning {
		kind = corev1.EventTypeWarning
	}
	recorder.Eventf(about, nil, kind, event.Reason, event.Action, "%s", event.Note)
}
