// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/environments"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// vouch has verifiers vouch for an environment that have been there for an hour, until the test is over.
func (p *place) vouch(environment string) {
	p.T.Helper()
	ctx, cancel := context.WithCancel(p.T.Context())
	began, done := time.Now().Add(-time.Hour), make(chan struct{})
	go func() {
		defer close(done)
		wait.UntilWithContext(ctx, func(ctx context.Context) {
			if err := controlplane.Vouch(ctx, admin, environment, began); err != nil && ctx.Err() == nil {
				p.T.Errorf("renewing the Lease of %s: %v", environment, err)
			}
		}, 300*time.Millisecond)
	}()
	p.T.Cleanup(func() { cancel(); <-done })
}

func (p *place) stage(name string, want v1alpha1.AuditStage) {
	p.T.Helper()
	p.Eventually(fmt.Sprintf("%s is at stage %q", name, want), func() bool { return environments.StageOf(&p.Key(name).Status) == want })
}

// TestUnusedKeysGo with nothing but time and watches to tell the operator.
func TestUnusedKeysGo(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	name := p.Name
	lasts := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	p.vouch(name)
	p.environment(name, v1alpha1.DGbotEnvironmentSpec{Audit: &v1alpha1.EnvironmentAudit{
		UnusedAfter: lasts(time.Second), DisableAfter: lasts(3 * time.Second),
		Exemptions: []v1alpha1.AuditExemption{{Namespace: p.Name, Name: "exempt", Reason: "Needed in January", Until: &metav1.Time{Time: time.Now().Add(time.Hour)}}},
	}})
	p.CreateKey("forgotten", of(name))
	p.CreateKey("exempt", of(name))
	p.AwaitReady("forgotten")
	p.stage("forgotten", v1alpha1.AuditDisabled)
	p.AwaitNotReady("forgotten", v1alpha1.DisabledReason)
	p.environmentSays(name, "it is summed up", func(s *v1alpha1.DGbotEnvironmentStatus) bool {
		return s.Audit != nil && s.Audit.Unused == 1 && s.Audit.Disabled == 1 && s.Audit.Exempt == 1 && s.Audit.NextStageAt == nil
	})
	if s := p.Key("exempt").Status; s.Audit != nil {
		t.Errorf("the key that is exempt is at %+v", s.Audit)
	}

	p.changeRules(name, `{"spec":{"audit":{"disableAfter":"1h"}}}`)
	p.stage("forgotten", v1alpha1.AuditUnused)
	p.AwaitReady("forgotten")
	p.changeRules(name, `{"spec":{"audit":{"disableAfter":"2s","revokeAfter":"3s"}}}`)
	p.stage("forgotten", v1alpha1.AuditRevoked)
	p.AwaitNotReady("forgotten", v1alpha1.RevokedReason)
	before := p.Key("forgotten").Status.Current.Revision
	p.changeRules(name, `{"spec":{"audit":{"unusedAfter":"1h","disableAfter":"2h","revokeAfter":"3h"}}}`)
	kept := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.KeptAtAnnotation, time.Now().UTC().Format(time.RFC3339))
	must(t, admin.Patch(t.Context(), p.Key("forgotten"), client.RawPatch(types.MergePatchType, []byte(kept))))
	p.AwaitReady("forgotten")
	if after := p.Key("forgotten").Status.Current.Revision; after != before+1 {
		t.Errorf("revision %d after %d", after, before)
	}
}
