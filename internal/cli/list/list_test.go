// SPDX-License-Identifier: Apache-2.0

package list

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/display"
)

func TestPrintKeys_HasEveryForm(t *testing.T) {
	key := v1alpha1.DGbotAPIKey{}
	key.Name, key.Namespace, key.CreationTimestamp = "web", "support", *clitest.At(-48 * time.Hour)
	key.Spec = v1alpha1.DGbotAPIKeySpec{Label: "Web, \"server\"", Environment: "production", ExpiresAt: clitest.At(400 * 24 * time.Hour)}
	key.Status = v1alpha1.DGbotAPIKeyStatus{
		Current: &v1alpha1.RevisionStatus{Revision: 3, KeyID: "7Hq2xV0aBcD9"}, LastUsedAt: clitest.At(-time.Hour), NextRotationAt: clitest.At(72 * time.Hour),
		Audit:      &v1alpha1.AuditStatus{Stage: v1alpha1.AuditUnused},
		Conditions: []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.IssuedReason}},
	}
	fresh := v1alpha1.DGbotAPIKey{}
	fresh.Name, fresh.Namespace, fresh.CreationTimestamp = "crm", "support", *clitest.At(0)
	for output, want := range map[string]string{
		"table": "support     web    7Hq2xV0aBcD9   production    Web, \"server\"   Ready   60m ago     Unused   in 3d           2d",
		"wide":  "in 3d           3          in 400d   2d",
		"csv":   `support,web,7Hq2xV0aBcD9,production,"Web, ""server""",Ready,2026-11-27T09:00:00Z,Unused,2026-11-30T10:00:00Z,3,2028-01-01T10:00:00Z,2026-11-25T10:00:00Z`,
	} {
		var out bytes.Buffer
		if err := printKeys(&out, output, []v1alpha1.DGbotAPIKey{key, fresh}, clitest.Now); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(out.String(), "\n")
		if len(lines) != 4 || !strings.Contains(lines[1], "crm") || !strings.Contains(lines[1], "New") || !strings.Contains(lines[2], want) {
			t.Errorf("%s:\n%s", output, out.String())
		}
	}
}

// TestPrintKeys_KeepsHostileTextFromActing in a terminal, in a table and in a spreadsheet.
func TestPrintKeys_KeepsHostileTextFromActing(t *testing.T) {
	const nasty = "=cmd()\x1b[2J\r\nsecond\tline\u202eevil\u009bx\x00"
	key := clitest.Healthy("web")
	key.Spec.Label = nasty
	keys := []v1alpha1.DGbotAPIKey{*key}
	for _, output := range []string{"table", "csv"} {
		var out bytes.Buffer
		if err := printKeys(display.NewWriter(&out), output, keys, clitest.Now); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if strings.ContainsAny(text, "\x1b\r\x00\u202e\u009b") {
			t.Errorf("%s: %q", output, text)
		}
		if output == "table" && strings.Count(text, "\n") != 2 {
			t.Errorf("the table has other lines than the heading and one for the key: %q", text)
		}
		if output == "csv" && !strings.Contains(text, "'=cmd()") {
			t.Errorf("a formula in %q", text)
		}
	}
}

// TestPrintKeys_KeepsEveryLetterInCSV in a list that is longer than a buffer.
func TestPrintKeys_KeepsEveryLetterInCSV(t *testing.T) {
	var keys []v1alpha1.DGbotAPIKey
	for i := range 500 {
		key := clitest.Healthy("web")
		key.Spec.Label = strings.Repeat("x", i%2) + strings.Repeat("ü", 50)
		keys = append(keys, *key)
	}
	var out bytes.Buffer
	if err := printKeys(display.NewWriter(&out), "csv", keys, clitest.Now); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\ufffd"); n > 0 || strings.Count(out.String(), "ü") < 500*50 {
		t.Errorf("%d letters were lost", n)
	}
}

// TestPrintKeys_KeepsEveryCharacterForPrograms: what a terminal must not get is escaped.
func TestPrintKeys_KeepsEveryCharacterForPrograms(t *testing.T) {
	key := clitest.Healthy("web")
	key.Spec.Label = clitest.Hostile
	var out bytes.Buffer
	if err := printKeys(display.NewWriter(&out), "json", []v1alpha1.DGbotAPIKey{*key}, clitest.Now); err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.DGbotAPIKeyList
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || list.Items[0].Spec.Label != clitest.Hostile {
		t.Errorf("%v, %q", err, list.Items[0].Spec.Label)
	}
}

// TestPrintKeys_ReportsWhatIsNotYetObserved in every form for people, and in comma-separated values.
func TestPrintKeys_ReportsWhatIsNotYetObserved(t *testing.T) {
	for observed, want := range map[int64]bool{-1: true, 1: true, 2: false, 3: false} {
		key := clitest.Healthy("web")
		key.Generation, key.Status.ObservedGeneration = 2, observed
		for _, output := range []string{"table", "wide", "csv"} {
			var list strings.Builder
			if err := printKeys(&list, output, []v1alpha1.DGbotAPIKey{*key}, clitest.Now); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(list.String(), "Ready (generation 2 not yet observed)"); got != want {
				t.Errorf("%s, observed %d: %s", output, observed, list.String())
			}
		}
	}
}
