// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"bytes"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/display"
)

// TestDescription_KeepsHostileTextFromActing in a terminal.
func TestDescription_KeepsHostileTextFromActing(t *testing.T) {
	key := clitest.Healthy("web")
	key.Spec.Label = "=cmd()\x1b[2J\r\nsecond\tline\u202eevil\u009bx\x00"
	var out bytes.Buffer
	d := &description{Key: key, now: clitest.Now}
	if err := d.print(display.NewWriter(&out)); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\r\x00") || strings.Contains(out.String(), "\nsecond") {
		t.Errorf("%q", out.String())
	}
}

func TestDescribe_ShowsPendingRequests(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{}
	key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: "2026-11-27T19:00:00Z"}
	var out bytes.Buffer
	if err := (&description{Key: key, now: clitest.Now}).print(&out); err != nil {
		t.Fatal(err)
	}
	if want := "the revocation request in annotation keys.dgbot.io/revoke-issued-before is in the future"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is missing:\n%s", want, out.String())
	}
}

// TestDescribe_ShowsTheProof of the last withdrawal, or what is missing for it.
func TestDescribe_ShowsTheProof(t *testing.T) {
	at := func(d time.Duration) *metav1.MicroTime { return &metav1.MicroTime{Time: clitest.Now.Add(d)} }
	unknown := metav1.Condition{Type: v1alpha1.PropagationPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.VerifiersUnknownReason}
	for want, tc := range map[string]struct {
		propagation v1alpha1.Propagation
		conditions  []metav1.Condition
	}{
		"rejected by all 3 registered verifiers, 41 ms after it was written": {v1alpha1.Propagation{Verifiers: 3, ConfirmedAt: at(41*time.Millisecond - time.Minute)}, nil},
		"1 of 3 registered verifiers may still accept it: dgbot-verifier-c; if they stay silent, they count as gone at 2026-11-27T10:00:33Z": {
			v1alpha1.Propagation{Verifiers: 3, Pending: []string{"dgbot-verifier-c"}, BoundAt: at(33 * time.Second)}, nil},
		"2 of 2 registered verifiers may still accept it: a, b\n":            {v1alpha1.Propagation{Verifiers: 2, Pending: []string{"a", "b"}}, nil},
		"nothing is proven: no verifier runs that is registered":             {v1alpha1.Propagation{}, nil},
		"nothing is proven: no verifier runs that is registered, or the ope": {v1alpha1.Propagation{Verifiers: 1, Pending: []string{"a"}}, []metav1.Condition{unknown}},
	} {
		key := clitest.Healthy("web")
		tc.propagation.Version, tc.propagation.WrittenAt = "48213", *at(-time.Minute)
		key.Status.Propagation, key.Status.Conditions = &tc.propagation, append(key.Status.Conditions, tc.conditions...)
		var out bytes.Buffer
		if err := (&description{Key: key, now: clitest.Now}).print(&out); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Withdrawn:      60s ago, up to version 48213\n", "Verifiers:      " + want} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing:\n%s", want, out.String())
			}
		}
	}
}
