// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientevents "k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/environments"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// TestAnUnusedKeyGoes stage by stage, each told by an event and counted, and at rest without a write.
func TestAnUnusedKeyGoes(t *testing.T) {
	w := newFixture(t)
	w.unused()
	if s := w.key().Status; s.Audit != nil {
		t.Errorf("no verifier reports uses, and the status says %+v", s.Audit)
	}
	environment := &environments.Reconciler{Client: live, Recorder: clientevents.NewFakeRecorder(10), Clock: w.clock}
	for _, stage := range []struct {
		after             int
		stage             v1alpha1.AuditStage
		event, ready      string
		disabled, revoked int64
		nextStage, minted bool
	}{
		{after: 91, stage: v1alpha1.AuditUnused, event: "Warning NotUsed The key has not been used since", ready: v1alpha1.IssuedReason, nextStage: true},
		{after: 31, stage: v1alpha1.AuditDisabled, event: "Warning DisabledByAudit The audit of environment", ready: v1alpha1.DisabledReason, disabled: 1, nextStage: true},
		{after: 61, stage: v1alpha1.AuditRevoked, event: "Warning RevokedByAudit The audit of environment", ready: v1alpha1.RevokedReason, revoked: 1},
	} {
		w.unusedFor(stage.after)
		before := seriesValue(t, "dgbot_apikey_audit_stages_total", string(stage.stage))
		operator := w.operator(live)
		recorder := clientevents.NewFakeRecorder(10)
		operator.Recorder = recorder
		w.restWith(operator)
		atStage(stage.stage)(w)
		if ready := w.ready(); ready.Reason != stage.ready {
			t.Errorf("at stage %s Ready is %s: %s", stage.stage, ready.Reason, ready.Message)
		}
		if n := len(recorder.Events); n != 1 {
			t.Fatalf("%d events at stage %s, want one", n, stage.stage)
		}
		if event := <-recorder.Events; !strings.HasPrefix(event, stage.event) {
			t.Errorf("event %q, want %q", event, stage.event)
		}
		if after := seriesValue(t, "dgbot_apikey_audit_stages_total", string(stage.stage)); after != before+1 {
			t.Errorf("stage %s was counted %v times", stage.stage, after-before)
		}
		idle := &faults{}
		for range 3 {
			w.advance(4 * time.Minute)
			w.vouch(w.Name, &w.first().Spec.IssuedAt)
			w.restWith(w.operator(idle.wrap(live)))
		}
		if idle.writes != 0 {
			t.Errorf("at rest at stage %s: %v", stage.stage, idle.sites)
		}
		if _, err := environment.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: w.Name}}); err != nil {
			t.Fatal(err)
		}
		env := &v1alpha1.DGbotEnvironment{}
		if err := live.Get(t.Context(), types.NamespacedName{Name: w.Name}, env); err != nil {
			t.Fatal(err)
		}
		if s := env.Status.Audit; s == nil || s.Unused != 1 || s.NeverUsed != 1 || s.NeverRotated != 1 || s.Disabled != stage.disabled || s.Revoked != stage.revoked || (s.NextStageAt != nil) != stage.nextStage {
			t.Errorf("at stage %s the environment says %+v", stage.stage, s)
		}
	}
	if len(w.records()) != 1 || w.secret() == nil {
		t.Errorf("%d records, and a Secret: %t", len(w.records()), w.secret() != nil)
	}
}

// TestAUseAtTheLastMoment is reported between the look at the record and the write that disables it, which the API server then rejects.
func TestAUseAtTheLastMoment(t *testing.T) {
	w := newFixture(t)
	w.unused(91)
	w.unusedFor(31)
	used, disabled := false, false
	reporting := interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if first := w.first(); o.GetName() == first.Name && first.Status.LastUsedAt == nil {
				used = true
				w.use(first, w.second())
			}
			err := c.Patch(ctx, o, p, options...)
			disabled = disabled || w.first().Spec.State != v1alpha1.StateActive
			return err
		},
	})
	w.restWith(w.operator(reporting))
	w.rest()
	atStage("")(w)
	if !used || disabled || w.verifies() != standing.Admitted {
		t.Errorf("used meanwhile: %t; disabled: %t; the key is %s", used, disabled, w.verifies())
	}
}

// TestAnEnvironmentWithoutKeysToAuditIsWrittenOnce: a summary of zeros is a summary.
func TestAnEnvironmentWithoutKeysToAuditIsWrittenOnce(t *testing.T) {
	w := newFixture(t)
	w.audit()
	operator := &environments.Reconciler{Client: live, Recorder: clientevents.NewFakeRecorder(10), Clock: w.clock}
	env := &v1alpha1.DGbotEnvironment{}
	var versions []string
	for range 2 {
		if _, err := operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: w.Name}}); err != nil {
			t.Fatal(err)
		}
		if err := live.Get(t.Context(), types.NamespacedName{Name: w.Name}, env); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, env.ResourceVersion)
	}
	if versions[0] != versions[1] || env.Status.Audit == nil {
		t.Errorf("versions %v, summary %+v", versions, env.Status.Audit)
	}
}

// TestAnAnnotationThatCannotBeRead keeps nothing, and says so.
func TestAnAnnotationThatCannotBeRead(t *testing.T) {
	w := newFixture(t)
	w.unused(91, 31)
	w.edit(func(k *v1alpha1.DGbotAPIKey) {
		metav1.SetMetaDataAnnotation(&k.ObjectMeta, v1alpha1.KeptAtAnnotation, "2026-11-27")
	})
	w.rest()
	atStage(v1alpha1.AuditDisabled)(w)
	if invalid := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.RequestInvalidCondition); invalid == nil || !strings.Contains(invalid.Message, v1alpha1.KeptAtAnnotation) {
		t.Errorf("%+v", invalid)
	}
	if w.verifies() != standing.Disabled {
		t.Errorf("the key is %s", w.verifies())
	}
}
