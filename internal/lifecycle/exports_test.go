// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
)

func exportingTemplate(k *v1alpha1.DGbotAPIKeySpec) {
	k.Secret = &v1alpha1.SecretSpec{Template: &v1alpha1.SecretTemplate{
		Labels:      map[string]v1alpha1.LabelValue{"synator/sync": "yes", "app": "crm"},
		Annotations: map[string]v1alpha1.AnnotationValue{"Replicator.v1.mittwald.de/replicate-to": ".*", "example.com/async": "yes"},
	}}
}

func TestWithoutExports_LeavesOutWhatReplicatorsRead(t *testing.T) {
	var spec v1alpha1.DGbotAPIKeySpec
	exportingTemplate(&spec)
	template := *spec.Secret.Template
	got := effective.WithoutExports(template)
	if len(got.Labels) != 1 || got.Labels["app"] != "crm" || len(got.Annotations) != 1 || got.Annotations["example.com/async"] != "yes" {
		t.Errorf("got %+v", got)
	}
	if len(template.Labels) != 2 || len(template.Annotations) != 2 {
		t.Error("the template was changed in place: it belongs to the observation")
	}
	if got := effective.WithoutExports(v1alpha1.SecretTemplate{}); got.Labels != nil || got.Annotations != nil {
		t.Errorf("of an empty template: %+v", got)
	}
}

// TestPlan_ReportsExports: a template from before the rule is a violation that names what is left out.
func TestPlan_ReportsExports(t *testing.T) {
	s := newSimulation(t, nil)
	exportingTemplate(&s.Key.Spec)
	settle(t, s)
	violation := s.condition(v1alpha1.PolicyViolationCondition)
	if violation == nil || !strings.Contains(violation.Message, `"synator/sync"`) || !strings.Contains(violation.Message, "Replicator.v1") {
		t.Errorf("PolicyViolation is %+v", violation)
	}
}
