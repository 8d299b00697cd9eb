// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

func TestPlan_ReportsRequestsInTheFuture(t *testing.T) {
	w := newHMACWorld(t, nil)
	w.rest()
	w.o.Chatbot.Annotations = map[string]string{
		v1alpha1.RevokeIssuedBeforeAnnotation: w.now.Add(time.Hour).Format(time.RFC3339),
		v1alpha1.KeptAtAnnotation:             w.now.Add(time.Hour).Format(time.RFC3339), // for keys only
	}
	w.o.Chatbot.Spec.IdentityVerification.Rotation.RequestedAt = &metav1.Time{Time: w.now.Add(2 * time.Hour)}
	w.events = nil
	w.rest()
	pending := apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.RequestPendingCondition)
	want := "The revocation that annotation keys.dgbot.io/revoke-issued-before requests is in the future: the operator revokes at 2026-11-27T11:00:00Z, " +
		`and the request changes nothing before. Valid revisions now: 1. To revoke now, run "kubectl annotate dgbotcb bot -n support ` +
		`--overwrite keys.dgbot.io/revoke-issued-before=$(date -u +%FT%TZ)". The rotation that spec.identityVerification.rotation.requestedAt requests is in ` +
		"the future: the operator rotates at 2026-11-27T12:00:00Z, and the request changes nothing before. Valid revisions now: 1. To rotate now, set " +
		"spec.identityVerification.rotation.requestedAt to the current time in UTC" + `, as printed by "date -u +%FT%TZ"`
	if pending == nil || pending.Reason != v1alpha1.RevocationPendingReason || pending.Message != want {
		t.Errorf("condition %+v, want\n%s", pending, want)
	}
	if len(w.events) != 1 || !w.events[0].Warning || w.events[0].Reason != v1alpha1.RequestPendingReason || w.events[0].Note != want {
		t.Errorf("events %+v", w.events)
	}
	if w.reason() != v1alpha1.PublishedReason {
		t.Errorf("Ready: %s", w.reason())
	}
	w.now = w.now.Add(3 * time.Hour)
	w.rest()
	if pending := apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.RequestPendingCondition); pending != nil {
		t.Errorf("due, and still pending: %+v", pending)
	}
}

func TestPlan_ReportsWhiteSpaceAroundAnImportedSecret(t *testing.T) {
	w := newHMACWorld(t, func(iv *v1alpha1.IdentityVerification) {
		iv.ImportFrom = &v1alpha1.ImportSource{Name: "existing", Key: "hmac"}
	})
	w.o.HMAC.Source, w.o.HMAC.Padded = ImportSource{Hash: "sha256:theirs"}, map[string]bool{"sha256:theirs": true}
	w.rest()
	padded := apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.ImportPaddedCondition)
	want := `The HMAC secret imported from entry "hmac" of Secret "existing" begins or ends with white space, such as the line end that "echo" adds. ` +
		`The white space is part of the HMAC secret: the verifier rejects tokens of a server that signs without it. To remove the white space, ` +
		`write entry "hmac" of Secret "existing" without it, for example with "printf %s" in place of "echo"; then remove spec.identityVerification, ` +
		`which makes the current HMAC secret invalid, and set spec.identityVerification again`
	if padded == nil || padded.Reason != v1alpha1.SurroundingWhiteSpaceReason || padded.Message != want {
		t.Errorf("condition %+v, want\n%s", padded, want)
	}
	warnings := 0
	for _, event := range w.events {
		if event.Warning && event.Reason == v1alpha1.SurroundingWhiteSpaceReason && event.Note == want {
			warnings++
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings among %+v", warnings, w.events)
	}
	if w.reason() != v1alpha1.PublishedReason {
		t.Errorf("Ready: %s", w.reason())
	}
	w.o.Chatbot.Spec.IdentityVerification.ImportFrom = nil
	w.rest()
	if apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.ImportPaddedCondition) == nil {
		t.Error("the condition is gone, and the secret is the same")
	}
	rotateHMAC(w)
	w.rest()
	if padded := apimeta.FindStatusCondition(w.o.Chatbot.Status.Conditions, v1alpha1.ImportPaddedCondition); padded != nil {
		t.Errorf("after a rotation: %+v", padded)
	}
}
