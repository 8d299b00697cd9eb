// SPDX-License-Identifier: Apache-2.0

package write

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// ApplyStatus applies the whole status of an object of one of this API's kinds, so that fields that it lacks are removed, and returns the
// new resourceVersion. It returns a ConflictError unless the object still has the observed version. That also protects an object that was
// created anew under the name, which a uid in the configuration does not on the status subresource. If the object does not exist,
// ApplyStatus returns that error unchanged, because its meaning differs between kinds.
func ApplyStatus(ctx context.Context, writer client.Client, kind string, object client.Object, status any) (version string, err error) {
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
	if apierrors.IsConflict(err) {
		err = conflict(err, "")
	}
	return configuration.GetResourceVersion(), err
}

// RecordEvent records an event about an object.
func RecordEvent(recorder events.EventRecorder, about client.Object, event report.Event) {
	kind := corev1.EventTypeNormal
	if event.Warning {
		kind = corev1.EventTypeWarning
	}
	recorder.Eventf(about, nil, kind, event.Reason, event.Action, "%s", event.Note)
}
