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
	if err := renderPage(&page, auditOf(riskyKeys(), quarter, clitest.Now), "all namespaces", quarter, clitest.Now); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(source, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	file := cmp.Or(*picture, filepath.Join(t.TempDir(), "page.png"))
	light, err := browser.Picture(t.Context(), chromium, "file://"+source, file, 1100, 760, browser.Light)
	if err != nil {
		t.Fatal(err)
	}
	dark, err := browser.Picture(t.Context(), chromium, "file://"+source, filepath.Join(t.TempDir(), "page.png"), 1100, 760, browser.Dark)
	if err != nil {
		t.Fatal(err)
	}
	clitest.CheckPicture(t, light, color.NRGBA{0xff, 0xff, 0xff, 0xff})
	clitest.CheckPicture(t, dark, color.NRGBA{0x14, 0x18, 0x1e, 0xff})
}

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
