// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
)

// TestRenderPage_HasEveryKeyOnce in the table and once in a picture, and nothing that runs or comes from elsewhere.
func TestRenderPage_HasEveryKeyOnce(t *testing.T) {
	keys := riskyKeys()
	for i := range 2 * mostBars {
		k := clitest.Healthy(fmt.Sprintf("more-%d", i))
		k.Spec.Environment = "development"
		keys = append(keys, *k)
	}
	all := auditOf(keys, quarter, clitest.Now)
	var out bytes.Buffer
	if err := renderPage(&out, all, "support", quarter, clitest.Now); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for _, never := range []string{"<script", "http:", "https:", "ZgotmplZ", "NaN", "%!"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	if rows := strings.Count(page, `<tr><td class="risk`); rows != len(keys) {
		t.Errorf("%d rows for %d keys", rows, len(keys))
	}
	if bars := strings.Count(page, `<rect class="bar"`); bars != len(risky)-2+mostBars { // two are revoked
		t.Errorf("%d bars", bars)
	}
	for _, want := range []string{fmt.Sprintf("%d more with a lower risk", mostBars), "None of its keys is in use", "never used, in at least 100d", "<h2>staging</h2>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, p := range []environmentPicture{draw("production", all, quarter, clitest.Now), draw("staging", all, quarter, clitest.Now)} {
		for _, b := range p.Bars {
			if b.X < 0 || b.X+b.Length > nowAt+0.1 || b.Length < shortestBar || b.Used < 0 || b.Used > nowAt {
				t.Errorf("%s lies outside of the picture: %+v", b.Name, b)
			}
		}
		if len(p.Bars) > 0 && (len(p.Ticks) < 3 || p.Bound == nil) {
			t.Errorf("%d ticks, bound %v", len(p.Ticks), p.Bound)
		}
	}
}

// TestDraw_ShowsTheBarOfAYoungKey beside one that is years old.
func TestDraw_ShowsTheBarOfAYoungKey(t *testing.T) {
	old, young := clitest.Healthy("old"), clitest.Healthy("young")
	old.Status.Current.IssuedAt = metav1.NewTime(clitest.Now.AddDate(-3, 0, 0))
	young.Status.Current.IssuedAt = metav1.NewTime(clitest.Now)
	for _, bar := range draw("production", auditOf([]v1alpha1.DGbotAPIKey{*old, *young}, quarter, clitest.Now), quarter, clitest.Now).Bars {
		if bar.Length < shortestBar || bar.X+bar.Length > nowAt {
			t.Errorf("%s: the bar begins at %g and is %g long", bar.Name, bar.X, bar.Length)
		}
	}
}

// TestPage_HasEnoughContrast in the schemes light, dark and print.
func TestPage_HasEnoughContrast(t *testing.T) {
	clitest.CheckContrast(t, pageText, 3, map[string]bool{"page": true}, map[string]bool{"line": true})
}
