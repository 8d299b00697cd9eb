// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// unrestricted are rules that forbid nothing.
func unrestricted(*v1alpha1.DGbotEnvironmentSpec) {}

// removeEnvironment deletes the environment of the fixture.
func (w *fixture) removeEnvironment() {
	w.T.Helper()
	if err := live.Delete(w.T.Context(), &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: w.Name}}); err != nil {
		w.T.Fatal(err)
	}
}

// nothingIssued asserts that there is neither a record nor a Secret.
func nothingIssued(w *fixture) {
	w.T.Helper()
	if len(w.records()) != 0 || w.secret() != nil {
		w.T.Errorf("%d records, and a Secret: %t", len(w.records()), w.secret() != nil)
	}
}

// missing asserts the condition EnvironmentMissing.
func missing(w *fixture) {
	w.T.Helper()
	if !apimeta.IsStatusConditionTrue(w.key().Status.Conditions, v1alpha1.EnvironmentMissingCondition) {
		w.T.Errorf("no condition EnvironmentMissing: %+v", w.key().Status.Conditions)
	}
}

// environmentScenarios are those of a manager that requires environments.
var environmentScenarios = map[string]scenario{
	"a key is created before its environment": {
		prepare: func(w *fixture) { w.requireEnvironment = true },
		happen:  func(w *fixture) { w.create(w.ofEnvironment(w.Name)) },
		reason:  v1alpha1.EnvironmentUnknownReason,
		check:   nothingIssued,
	},
	"the environment appears that a key waits for": {
		prepare: func(w *fixture) {
			w.requireEnvironment = true
			w.create(w.ofEnvironment(w.Name))
		},
		happen: func(w *fixture) { w.environment(unrestricted) },
		causes: []v1alpha1.Cause{v1alpha1.CauseFirstIssue},
		reason: v1alpha1.IssuedReason,
	},
	"the environment appears that a key waits for, and forbids it": {
		prepare: func(w *fixture) {
			w.requireEnvironment = true
			w.create(w.ofEnvironment(w.Name))
		},
		happen: func(w *fixture) {
			w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = []v1alpha1.Scope{"reports.*"} })
		},
		reason: v1alpha1.EnvironmentPolicyReason,
		check:  nothingIssued,
	},
	"the environment of an issued key is deleted": {
		prepare: func(w *fixture) {
			w.requireEnvironment = true
			w.environment(unrestricted)
			w.create(w.ofEnvironment(w.Name))
		},
		happen: (*fixture).removeEnvironment,
		reason: v1alpha1.IssuedReason,
		check:  missing,
	},
	"a key without an environment is rotated": {
		prepare: func(w *fixture) {
			w.create(w.ofEnvironment(w.Name))
			w.rest()
			w.requireEnvironment = true
		},
		happen: (*fixture).requestRotation,
		causes: []v1alpha1.Cause{v1alpha1.CauseRequest},
		reason: v1alpha1.IssuedReason,
		check:  missing,
	},
}
