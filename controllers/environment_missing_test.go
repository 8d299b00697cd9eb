// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/internal/queue"
)

// requestRotation asks for a new revision a minute later.
func (w *fixture) requestRotation() {
	w.T.Helper()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) {
		metav1.SetMetaDataAnnotation(&k.ObjectMeta, v1alpha1.RotateRequestedAtAnnotation, w.second().Format(time.RFC3339))
	})
}

func (w *fixture) condition(kind string) *metav1.Condition {
	w.T.Helper()
	return apimeta.FindStatusCondition(w.key().Status.Conditions, kind)
}

// cachedEnvironment reads like live, except that it has an environment of that name or has none, as a cache that is behind.
func cachedEnvironment(exists bool) client.WithWatch {
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			env, ok := o.(*v1alpha1.DGbotEnvironment)
			switch {
			case !ok:
				return c.Get(ctx, name, o, options...)
			case !exists:
				return apierrors.NewNotFound(schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dgbotenvironments"}, name.Name)
			}
			env.Name = name.Name
			return nil
		},
	})
}

// TestReconcile_ReportsAMisspelledEnvironmentAfterAMinute, with the names to choose from.
func TestReconcile_ReportsAMisspelledEnvironmentAfterAMinute(t *testing.T) {
	w := newFixture(t)
	w.requireEnvironment = true
	name := w.environment(unrestricted)
	w.create(w.ofEnvironment(name + "x"))
	// The clock of the fixture may be some seconds behind the API server's.
	w.clock.SetTime(w.key().CreationTimestamp.Time)
	operator := w.operator(live)
	result, err := operator.Reconcile(t.Context(), w.request())
	if err != nil {
		t.Fatal(err)
	}
	if w.condition(v1alpha1.ReconcilingCondition) == nil || w.condition(v1alpha1.StalledCondition) != nil || w.ready().Reason != v1alpha1.EnvironmentUnknownReason || result.RequeueAfter != time.Minute {
		t.Errorf("at first %+v, again after %s", w.key().Status.Conditions, result.RequeueAfter)
	}
	w.advance(result.RequeueAfter)
	w.restWith(operator)
	stalled := w.condition(v1alpha1.StalledCondition)
	if stalled == nil || stalled.Reason != v1alpha1.EnvironmentUnknownReason || w.condition(v1alpha1.ReconcilingCondition) != nil {
		t.Fatalf("after a minute %+v", w.key().Status.Conditions)
	}
	if !strings.Contains(stalled.Message, fmt.Sprintf("%q does not exist", name+"x")) || !strings.Contains(stalled.Message, "existing: ") {
		t.Errorf("message: %s", stalled.Message)
	}
	nothingIssued(w)
	idle := &faults{}
	w.advance(queue.MaxWait)
	w.restWith(w.operator(idle.wrap(live)))
	if idle.writes != 0 {
		t.Errorf("%d writes although nothing changed", idle.writes)
	}
}

// TestReconcile_KeysFirst: keys that are applied together with their environment, and before it, do not escape its rules.
func TestReconcile_KeysFirst(t *testing.T) {
	w := newFixture(t)
	w.requireEnvironment = true
	const count = 15
	operators := []*apikeys.Reconciler{w.operator(live), w.operator(live)}
	look := func(i int) {
		request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: fmt.Sprintf("key-%02d", i)}}
		for _, operator := range operators {
			if _, err := operator.Reconcile(t.Context(), request); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range count {
		scopes := []v1alpha1.Scope{"*"}
		if i == 0 {
			scopes = []v1alpha1.Scope{"conversations.read"}
		}
		if err := live.Create(t.Context(), &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: fmt.Sprintf("key-%02d", i)},
			Spec:       v1alpha1.DGbotAPIKeySpec{Label: "One of many", Environment: w.Name, Scopes: scopes},
		}); err != nil {
			t.Fatal(err)
		}
		look(i)
	}
	if n := len(w.records()); n != 0 {
		t.Fatalf("%d keys were issued before their environment", n)
	}
	w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = []v1alpha1.Scope{"conversations.*"} })
	for i := range count {
		look(i)
	}
	records := w.records()
	if len(records) != 1 || !slices.Equal(records[0].Spec.Scopes, []v1alpha1.Scope{"conversations.read"}) {
		t.Errorf("%d keys were issued, want the one that keeps to the rules: %+v", len(records), records)
	}
}

// TestReconcile_ReadsTheEnvironmentLiveBeforeAFirstIssue: a cache proves neither that there is none nor that there is one.
func TestReconcile_ReadsTheEnvironmentLiveBeforeAFirstIssue(t *testing.T) {
	t.Run("the cache has none yet", func(t *testing.T) {
		for _, required := range []bool{false, true} {
			w := newFixture(t)
			w.requireEnvironment = required
			w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = []v1alpha1.Scope{"reports.*"} })
			w.create(w.ofEnvironment(w.Name))
			w.restWith(w.operator(cachedEnvironment(false)))
			if w.ready().Reason != v1alpha1.EnvironmentPolicyReason {
				t.Errorf("required %t: Ready is %s", required, w.ready().Reason)
			}
			nothingIssued(w)
		}
	})
	t.Run("the cache still has one", func(t *testing.T) {
		w := newFixture(t)
		w.requireEnvironment = true
		w.create(w.ofEnvironment(w.Name))
		w.restWith(w.operator(cachedEnvironment(true)))
		if w.ready().Reason != v1alpha1.EnvironmentUnknownReason {
			t.Errorf("Ready is %s", w.ready().Reason)
		}
		nothingIssued(w)
	})
}

// TestReconcile_UpgradeToRequiredEnvironments: keys that were issued by a manager that did not require environments go on.
func TestReconcile_UpgradeToRequiredEnvironments(t *testing.T) {
	w := newFixture(t)
	w.create(w.ofEnvironment(w.Name))
	w.rest()
	text := string(w.secret().Data[v1alpha1.DefaultSecretKey])
	w.requireEnvironment = true
	idle := &faults{}
	w.restWith(w.operator(idle.wrap(live)))
	if missing(w); idle.writes != 1 || string(w.secret().Data[v1alpha1.DefaultSecretKey]) != text || w.ready().Status != metav1.ConditionTrue {
		t.Fatalf("%d writes, Ready %s", idle.writes, w.ready().Reason)
	}
	w.restWith(w.operator(idle.wrap(live)))
	if idle.writes != 1 {
		t.Errorf("a second look writes: %v", idle.sites)
	}
	w.requestRotation()
	w.rest()
	if r := w.published(); r == nil || r.Spec.Revision != 2 || w.ready().Status != metav1.ConditionTrue {
		t.Fatalf("after a request: %+v", w.key().Status)
	}
	w.deleteSecret()
	w.rest()
	if r := w.published(); r == nil || r.Spec.Cause != v1alpha1.CauseSecretLost {
		t.Fatalf("after the loss of the Secret: %+v", w.key().Status)
	}
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Scopes = []v1alpha1.Scope{"*"} })
	w.rest()
	if got := w.published().Spec.Scopes; slices.Contains(got, "*") {
		t.Errorf("a scope was added that no environment grants: %q", got)
	}
	w.environment(unrestricted)
	w.rest()
	if w.condition(v1alpha1.EnvironmentMissingCondition) != nil || !slices.Contains(w.published().Spec.Scopes, "*") {
		t.Errorf("with the environment: %+v, scopes %q", w.key().Status.Conditions, w.published().Spec.Scopes)
	}
}
