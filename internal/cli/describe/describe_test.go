// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"bytes"
	"strings"
	"testing"

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
