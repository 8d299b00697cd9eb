// SPDX-License-Identifier: Apache-2.0

package environments

import (
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

func TestStatus_KeepsWhatCouldNotBeRead(t *testing.T) {
	env := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "production"}}
	env.Status.Keys, env.Status.Violating = 7, 2
	o := Observation{Environment: env, Failed: report.FailedReads{{Of: report.ReadKeys, What: "the DGbotAPIKeys of the environment", Message: "forbidden", Remedy: "grant it"}}}
	s, wake := Status(o, start)
	ready := apimeta.FindStatusCondition(s.Conditions, v1alpha1.ReadyCondition)
	if ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.ObservationFailedReason {
		t.Errorf("Ready is %+v", ready)
	}
	if s.Keys != 7 || s.Violating != 2 {
		t.Errorf("the status counts %d keys, %d violating: want what was read last", s.Keys, s.Violating)
	}
	if !wake.After(start) {
		t.Errorf("the read is retried at %s", wake)
	}
}

func TestStatus_NamesAtMostFourUnknownZones(t *testing.T) {
	o := Observation{Environment: &v1alpha1.DGbotEnvironment{}}
	for i := range 6 {
		o.UnknownZones = append(o.UnknownZones, UnknownZone{Window: i, Name: "No/Where"})
	}
	s, _ := Status(o, start)
	ready := apimeta.FindStatusCondition(s.Conditions, v1alpha1.ReadyCondition)
	if ready.Reason != v1alpha1.TimeZoneUnknownReason || !strings.Contains(ready.Message, `spec.rotation.windows[3] ("No/Where") and 2 more: `) {
		t.Errorf("Ready is %+v", ready)
	}
}

func TestStatus_TellsAnInvalidSelectorFromOneWithoutNamespaces(t *testing.T) {
	for want, operator := range map[string]metav1.LabelSelectorOperator{
		`spec.namespaceSelector is invalid ("Like" is not a valid label selector operator)`: "Like",
		`no namespace has the labels of spec.namespaceSelector (team)`:                      metav1.LabelSelectorOpExists,
	} {
		env := &v1alpha1.DGbotEnvironment{}
		env.Spec.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: operator}}}
		s, _ := Status(Observation{Environment: env, SelectsNothing: true}, start)
		c := apimeta.FindStatusCondition(s.Conditions, v1alpha1.SelectsNothingCondition)
		if c == nil || !strings.Contains(c.Message, want) {
			t.Errorf("%s: %+v, want %q", operator, c, want)
		}
	}
}
