// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

func TestWarnPending_NamesEachRequestInTheFuture(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{}
	key.Name = "crm"
	key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: at(48 * time.Hour)}
	key.Annotations = map[string]string{
		v1alpha1.RevokeIssuedBeforeAnnotation: "2026-11-27T19:00:00Z",
		v1alpha1.RotateRequestedAtAnnotation:  at(time.Second).Format(time.RFC3339), // a request for a revision that was issued this second
	}
	var warned bytes.Buffer
	s := &session{}
	s.streams.ErrOut = &warned
	warnPending(s, key, now)
	want := "warning: crm: the revocation request in annotation keys.dgbot.io/revoke-issued-before lies in the future: until 2026-11-27T19:00:00Z, nothing is revoked because of it\n" +
		"warning: crm: the rotation request in spec.rotation.requestedAt lies in the future: until 2026-11-29T10:00:00Z, nothing is issued because of it\n"
	if warned.String() != want {
		t.Errorf("warned\n%swant\n%s", warned.String(), want)
	}

	warned.Reset()
	warnPending(s, key, now.Add(72*time.Hour))
	if warned.Len() > 0 {
		t.Errorf("warned of requests that are due: %s", warned.String())
	}
}

func TestDescribe_ShowsPendingRequests(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{}
	key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: "2026-11-27T19:00:00Z"}
	var out bytes.Buffer
	if err := (&description{Key: key, now: now}).print(&out); err != nil {
		t.Fatal(err)
	}
	if want := "the revocation request in annotation keys.dgbot.io/revoke-issued-before lies in the future"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is missing:\n%s", want, out.String())
	}
}

func TestWhyWaiting_NamesARequestInTheFuture(t *testing.T) {
	key, now := &v1alpha1.DGbotAPIKey{}, *at(0)
	key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: at(time.Hour).UTC().Format(time.RFC3339)}
	key.Status.Conditions = []metav1.Condition{{Type: v1alpha1.RequestPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.RevocationPendingReason, Message: "later"}}
	if got := whyWaiting(key, now); got != "RevocationPending: later" {
		t.Errorf("why it waits: %q", got)
	}
	key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation] = at(0).UTC().Format(time.RFC3339)
	if got := whyWaiting(key, now); got != "waiting for the operator" {
		t.Errorf("with a revocation that replaces the one in the future: %q", got)
	}
}

func TestWarnJumped_ExplainsARevisionFromTheFuture(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{}
	key.Name = "crm"
	key.Status.Current = &v1alpha1.RevisionStatus{Revision: 2, IssuedAt: *at(365 * 24 * time.Hour)}
	var warned bytes.Buffer
	s := &session{}
	s.streams.ErrOut = &warned
	warnJumped(s, key, now)
	for _, want := range []string{"warning: crm: revision 2 is dated", "the operator's clock was ahead", "for " + at(0).UTC().Format(time.RFC3339), "covers it"} {
		if !strings.Contains(warned.String(), want) {
			t.Errorf("%q lacks %q", warned.String(), want)
		}
	}
	warned.Reset()
	key.Status.Current.IssuedAt = *at(time.Second)
	if warnJumped(s, key, now); warned.Len() > 0 {
		t.Errorf("warned: %s", warned.String())
	}
}
