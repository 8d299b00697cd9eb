// SPDX-License-Identifier: Apache-2.0

package write

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

func configMap(data string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "widget"}, Data: map[string]string{"text": data}}
}

func textOf(t *testing.T, reader client.Reader) string {
	t.Helper()
	stored := &corev1.ConfigMap{}
	if err := reader.Get(t.Context(), client.ObjectKeyFromObject(configMap("")), stored); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return stored.Data["text"]
}

func TestPut_WritesTheObservedVersionOnly(t *testing.T) {
	server := fake.NewClientBuilder().WithScheme(scheme.Scheme).Build()
	put := func(object client.Object, dryRun ...string) error { return Put(t.Context(), server, object, dryRun...) }

	if err := put(configMap("tried"), metav1.DryRunAll); err != nil || textOf(t, server) != "" {
		t.Fatalf("a dry run stored %q: %v", textOf(t, server), err)
	}
	observed := configMap("created")
	if err := put(observed); err != nil || observed.ResourceVersion == "" {
		t.Fatalf("created as version %q: %v", observed.ResourceVersion, err)
	}
	if err := put(configMap("instead")); !apierrors.IsAlreadyExists(err) || textOf(t, server) != "created" {
		t.Errorf("error %v and %q where none was observed, want a rejection and no update", err, textOf(t, server))
	}
	outdated := observed.DeepCopy()
	observed.Data["text"] = "updated"
	if err := put(observed.DeepCopy(), metav1.DryRunAll); err != nil || textOf(t, server) != "created" {
		t.Errorf("a dry run stored %q: %v", textOf(t, server), err)
	}
	if err := put(observed); err != nil || textOf(t, server) != "updated" {
		t.Errorf("%q is stored after an update: %v", textOf(t, server), err)
	}
	if err := put(outdated); !apierrors.IsConflict(err) || textOf(t, server) != "updated" {
		t.Errorf("error %v and %q after an update of an outdated version, want a conflict", err, textOf(t, server))
	}
	if err := server.Delete(t.Context(), configMap("")); err != nil {
		t.Fatal(err)
	}
	if err := put(observed); err == nil || textOf(t, server) != "" {
		t.Error("an object that was observed and is gone was created again")
	}
}

func TestReadExisting_ConflictsIfTheObjectIsGoneAgain(t *testing.T) {
	answer := apierrors.NewAlreadyExists(schema.GroupResource{Resource: "configmaps"}, "widget")
	read := func(reader client.Reader) (*corev1.ConfigMap, error) {
		object := configMap("")
		return object, ReadExisting(t.Context(), reader, object, answer, v1alpha1.ConfigMapWriteRefusedReason)
	}
	if object, err := read(fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(configMap("other")).Build()); err != nil || object.Data["text"] != "other" {
		t.Errorf("read %q, %v; want the existing object", object.Data["text"], err)
	}
	var conflict *ConflictError
	if _, err := read(fake.NewClientBuilder().WithScheme(scheme.Scheme).Build()); !errors.As(err, &conflict) || conflict.Rejection.Reason != v1alpha1.ConfigMapWriteRefusedReason {
		t.Errorf("error %v where the object is gone again, want a conflict", err)
	}
	lost := errors.New("connection lost")
	broken := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme.Scheme).Build(), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return lost
		},
	})
	if _, err := read(broken); !errors.Is(err, lost) || errors.Is(err, ErrConflict) {
		t.Errorf("error %v where the read failed, want that of the read", err)
	}
}

func TestConflictError_RejectKeepsReasonAndAnswer(t *testing.T) {
	err := Classify(apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "x", errors.New("a webhook says 409")), v1alpha1.SecretWriteRefusedReason)
	var conflict *ConflictError
	var rejected *RejectedError
	if !errors.As(err, &conflict) || !errors.As(conflict.Reject(), &rejected) {
		t.Fatalf("error %v, want a conflict", err)
	}
	if rejected.Rejection.Reason != v1alpha1.SecretWriteRefusedReason || !strings.Contains(rejected.Rejection.Message, "a webhook says 409") {
		t.Errorf("rejection %+v, want the reason and the answer of the conflict", rejected.Rejection)
	}
	if errors.Is(rejected, ErrConflict) || !IsDefinite(rejected) {
		t.Error("the rejection counts as a conflict, or may have written")
	}
}

// TestApplyStatus_TellsConflictsFromTheEndOfTheObject: what the end of an object means is left to the caller.
func TestApplyStatus_TellsConflictsFromTheEndOfTheObject(t *testing.T) {
	environments := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dgbotenvironments"}
	for name, test := range map[string]struct {
		answer   error
		conflict bool
	}{
		"another version": {apierrors.NewConflict(environments, "production", errors.New("stale")), true},
		"gone":            {apierrors.NewNotFound(environments, "production"), false},
		"rejected":        {apierrors.NewForbidden(environments, "production", errors.New("no right")), false},
	} {
		t.Run(name, func(t *testing.T) {
			server := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
				SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
					return test.answer
				},
			})
			env := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "production", ResourceVersion: "7"}}
			_, err := ApplyStatus(t.Context(), server, v1alpha1.EnvironmentKind, env, &v1alpha1.DGbotEnvironmentStatus{})
			if errors.Is(err, ErrConflict) != test.conflict || !test.conflict && !errors.Is(err, test.answer) {
				t.Errorf("error %v, want a conflict: %t", err, test.conflict)
			}
		})
	}
}
