// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/environments"
	"dgbot.io/key-operator/internal/lifecycle/gates"
)

// TestASelectorThatCannotBeRead is said to be one, with what is wrong: the API server takes labels that there cannot be.
func TestASelectorThatCannotBeRead(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"a b": "c"}}
	env := &v1alpha1.DGbotEnvironment{Spec: v1alpha1.DGbotEnvironmentSpec{NamespaceSelector: selector}}
	s, _ := environments.Status(environments.Observation{Environment: env, SelectsNothing: true}, start)
	if nothing := apimeta.FindStatusCondition(s.Conditions, v1alpha1.SelectsNothingCondition); nothing == nil || !strings.Contains(nothing.Message, `"a b"`) {
		t.Errorf("%+v", nothing)
	}
	o := Observation{Key: testKey("k"), Environment: effective.Environment{Rules: &env.Spec, Excluded: true}}
	held := gates.Assess(o.facts(start))
	if len(held.Violations) != 1 || !strings.Contains(held.Violations[0], `"a b"`) {
		t.Errorf("%v", held.Violations)
	}
}
