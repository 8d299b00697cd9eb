// SPDX-License-Identifier: Apache-2.0

package change

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/session"
)

func TestWarnPending_NamesEachRequestInTheFuture(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{}
	key.Name = "crm"
	key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: clitest.At(48 * time.Hour)}
	key.Annotations = map[string]string{
		v1alpha1.RevokeIssuedBeforeAnnotation: "2026-11-27T19:00:00Z",
		v1alpha1.RotateRequestedAtAnnotation:  clitest.At(time.Second).Format(time.RFC3339), // a request for a revision that was issued this second
	}
	var warned bytes.Buffer
	s := &session.Session{}
	s.Streams.ErrOut = &warned
	warnPending(s, key, clitest.Now)
	want := "warning: crm: the revocation request in annotation keys.dgbot.io/revoke-issued-before is in the future: until 2026-11-27T19:00:00Z, the operator revokes nothing because of this request\n" +
		"warning: crm: the rotation request in spec.rotation.requestedAt is in the future: until 2026-11-29T10:00:00Z, the operator issues nothing because of this request\n"
	if warned.String() != want {
		t.Errorf("warned\n%swant\n%s", warned.String(), want)
	}

	warned.Reset()
	warnPending(s, key, clitest.Now.Add(72*time.Hour))
	if warned.Len() > 0 {
		t.Errorf("warned of requests that are due: %s", warned.String())
	}
}

func TestWarnJumped_ExplainsARevisionFromTheFuture(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{}
	key.Name = "crm"
	key.Status.Current = &v1alpha1.RevisionStatus{Revision: 2, IssuedAt: *clitest.At(365 * 24 * time.Hour)}
	var warned bytes.Buffer
	s := &session.Session{}
	s.Streams.ErrOut = &warned
	warnJumped(s, key, clitest.Now)
	for _, want := range []string{"warning: crm: revision 2 is dated", "the operator's clock was ahead", "for " + clitest.At(0).UTC().Format(time.RFC3339), "covers it"} {
		if !strings.Contains(warned.String(), want) {
			t.Errorf("%q lacks %q", warned.String(), want)
		}
	}
	warned.Reset()
	key.Status.Current.IssuedAt = *clitest.At(time.Second)
	if warnJumped(s, key, clitest.Now); warned.Len() > 0 {
		t.Errorf("warned: %s", warned.String())
	}
}
