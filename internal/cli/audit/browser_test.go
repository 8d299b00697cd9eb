// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"image/color"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/testenv/browser"
)

// widths are those of a phone, of half a screen and of a screen, in pixels of CSS.
var widths = []int{360, 500, 760, 1200}

// measuring is a page that shows another one in frames of several widths, and measures it: the audit page itself runs no script.
const measuring = `<!doctype html><body><script>
const frames = %s.map(width => { const f = document.createElement("iframe"); f.width = width; f.height = 4000; f.src = "/audit"; document.body.append(f); return f })
addEventListener("load", () => {
  const all = frames.map(f => {
    const doc = f.contentDocument, width = f.contentWindow.innerWidth
    const outside = [...doc.querySelectorAll("body *")].filter(e => { const r = e.getBoundingClientRect(); return r.width > 0 && (r.right > width || r.left < 0) })
    const sizes = [...doc.querySelectorAll("svg text, .line span, td, li, p")].filter(e => e.getBoundingClientRect().height > 0).map(e => parseFloat(getComputedStyle(e).fontSize) * (e.getScreenCTM ? e.getScreenCTM().a : 1))
    const broken = [...doc.querySelectorAll(".line span, td, td small, h2")].filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflow == "visible" && getComputedStyle(e).display != "inline")
    const narrow = [...doc.querySelectorAll("td")].filter(e => e.textContent.length > 20 && e.getBoundingClientRect().width < 60)
    const name = e => e.outerHTML.slice(0, 120)
    return {width, scroll: doc.documentElement.scrollWidth, smallest: Math.min(...sizes), outside: outside.map(name), broken: broken.map(name), narrow: narrow.map(name)}
  })
  document.body.innerHTML = "<pre>"; document.querySelector("pre").textContent = JSON.stringify(all)
})
</script>`

// TestRenderPage_FitsEveryWidth: nothing is outside of the page, names stay in their place, and no text is too small to read.
func TestRenderPage_FitsEveryWidth(t *testing.T) {
	chromium := browser.FindOrSkip(t)
	var page bytes.Buffer
	if err := renderPage(&page, auditOf(longNamedKeys(), quarter, clitest.Now), "all namespaces", quarter, clitest.Now); err != nil {
		t.Fatal(err)
	}
	list, _ := json.Marshal(widths)
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		answer.Header().Set("Content-Type", "text/html; charset=utf-8")
		if request.URL.Path == "/audit" {
			_, _ = answer.Write(page.Bytes())
			return
		}
		_, _ = fmt.Fprintf(answer, measuring, list)
	}))
	defer server.Close()
	dom, err := browser.DumpPage(t.Context(), chromium, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(dom, "<pre>")
	text, _, _ = strings.Cut(text, "</pre>")
	var measured []struct {
		Width, Scroll           int
		Smallest                float64
		Outside, Broken, Narrow []string
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(text)), &measured); err != nil || len(measured) != len(widths) {
		t.Fatalf("%v: %s", err, dom)
	}
	const readable = 11
	for _, m := range measured {
		if m.Scroll > m.Width || len(m.Outside)+len(m.Broken)+len(m.Narrow) > 0 || m.Smallest < readable {
			t.Errorf("at %d px: %d px wide, smallest text %.1f px, outside %q, broken %q, narrow %q", m.Width, m.Scroll, m.Smallest, m.Outside, m.Broken, m.Narrow)
		}
	}
}

// picture is where TestRenderPage_FollowsTheColorScheme writes its light picture. That of the docs is written anew with
// go test ./internal/cli/audit -run ColorScheme -picture=$PWD/docs/images/audit-page.png
var picture = flag.String("picture", "", "the file for the picture of the page, in light colors")

// TestRenderPage_FollowsTheColorScheme: dark on a light page, and light on a dark one, with the keys drawn.
func TestRenderPage_FollowsTheColorScheme(t *testing.T) {
	chromium := browser.FindOrSkip(t)
	var page bytes.Buffer
	if err := renderPage(&page, auditOf(picturedKeys(), quarter, clitest.Now), "all namespaces", quarter, clitest.Now); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(source, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	file := cmp.Or(*picture, filepath.Join(t.TempDir(), "page.png"))
	light, err := browser.Window{Width: 1100, Height: 760, Scheme: browser.Light}.Picture(t.Context(), chromium, "file://"+source, file)
	if err != nil {
		t.Fatal(err)
	}
	dark, err := browser.Window{Width: 1100, Height: 760, Scheme: browser.Dark}.Picture(t.Context(), chromium, "file://"+source, filepath.Join(t.TempDir(), "page.png"))
	if err != nil {
		t.Fatal(err)
	}
	clitest.CheckPicture(t, light, color.NRGBA{0xff, 0xff, 0xff, 0xff})
	clitest.CheckPicture(t, dark, color.NRGBA{0x14, 0x18, 0x1e, 0xff})
}

// picturedKeys are those that the picture in docs/audit.md shows. What is known of a key agrees: uses are tracked since 150 days ago, or
// since the current revision was issued.
func picturedKeys() []v1alpha1.DGbotAPIKey {
	const long = `The key violates the rules of environment "production": spec.rotation.overlap is 336h0m0s, and rotation.maxOverlap is 168h0m0s: set a shorter overlap`
	var keys []v1alpha1.DGbotAPIKey
	add := func(environment, namespace, name string, issued, used int, change func(*v1alpha1.DGbotAPIKey)) {
		k := clitest.Healthy(name)
		k.Spec.Environment, k.Namespace, k.CreationTimestamp = environment, namespace, *ago(max(issued, 200))
		k.Status.Current.KeyID, k.Status.Current.IssuedAt = fmt.Sprintf("7Hq2xV0aBc%02d", len(keys)), *ago(issued)
		k.Status.TrackedSince, k.Status.LastUsedAt, k.Status.NextRotationAt = ago(min(issued, 150)), ago(used), clitest.At(time.Duration(90-issued)*clitest.Day)
		change(k)
		keys = append(keys, *k)
	}
	manual := func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation, k.Status.NextRotationAt = nil, nil }
	conditioned := func(condition string) func(*v1alpha1.DGbotAPIKey) {
		return func(k *v1alpha1.DGbotAPIKey) {
			k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Message: long})
		}
	}
	unused := func(stage v1alpha1.AuditStage) func(*v1alpha1.DGbotAPIKey) {
		return func(k *v1alpha1.DGbotAPIKey) {
			k.Status.Audit = &v1alpha1.AuditStatus{Stage: stage, UnusedSince: k.Status.LastUsedAt}
		}
	}
	healthy := func(*v1alpha1.DGbotAPIKey) {}
	add("production", "finance", "old-report", 44, 96, unused(v1alpha1.AuditUnused))
	add("production", "finance", "year-end-report", 56, 0, func(k *v1alpha1.DGbotAPIKey) { k.Status.LastUsedAt = nil })
	add("production", "platform", "search", 380, 2, manual)
	add("production", "sales", "crm-sync", 68, 5, conditioned(v1alpha1.PolicyViolationCondition))
	add("production", "sales", "import", 60, 125, unused(v1alpha1.AuditDisabled))
	add("production", "sales", "newsletter", 103, 1, manual)
	add("production", "support", "mobile-app", 71, 0, healthy)
	add("production", "support", "partner", 25, 8, func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = clitest.At(20 * clitest.Day) })
	add("production", "support", "website-backend", 19, 0, healthy)
	add("staging", "platform", "ci", 35, 1, healthy)
	add("staging", "platform", "experiment", 98, 0, func(k *v1alpha1.DGbotAPIKey) { manual(k); k.Status.LastUsedAt = nil })
	add("staging", "platform", "load-test", 50, 12, func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	add("staging", "support", "website-test", 62, 3, manual)
	add("legacy", "sales", "fax-gateway", 80, 15, conditioned(v1alpha1.EnvironmentMissingCondition))
	return keys
}

// ago returns the time a number of days before clitest.Now.
func ago(days int) *metav1.Time { return clitest.At(-time.Duration(days) * clitest.Day) }

// longNamedKeys are risky keys, and some whose names are as long as Kubernetes allows.
func longNamedKeys() []v1alpha1.DGbotAPIKey {
	keys := riskyKeys()
	for i, length := range []int{63, 120, 253} {
		k := clitest.Healthy(strings.Repeat("production-server-", 20)[:length-1] + strconv.Itoa(i))
		k.Namespace = strings.Repeat("n", 63)
		k.Spec.Environment = "e" + strings.Repeat("m", 31)
		k.Spec.Label = strings.Repeat("W", 100)
		k.Generation = 7
		k.Spec.Scopes = []v1alpha1.Scope{"*"}
		keys = append(keys, *k)
	}
	return keys
}
