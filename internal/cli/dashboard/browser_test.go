// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/testenv/browser"
)

// widths are those of a phone, of half a screen and of a screen, in pixels of CSS.
var widths = []int{360, 760, 1200}

// measuring shows the dashboard in frames of several widths, waits until each has drawn its keys, and measures them.
const measuring = `<!doctype html><body><script>
const frames = %s.map(width => { const f = document.createElement("iframe"); f.width = width; f.height = 3000; f.src = %q; document.body.append(f); return f })
const wait = setInterval(() => {
  if (!frames.every(f => f.contentDocument && f.contentDocument.documentElement.dataset.drawn)) return
  clearInterval(wait)
  const all = frames.map(f => {
    const doc = f.contentDocument, width = f.contentWindow.innerWidth
    const outside = [...doc.querySelectorAll("body *")].filter(e => { const r = e.getBoundingClientRect(); return r.width > 0 && (r.right > width + 1 || r.left < 0) })
    return {width, scroll: doc.documentElement.scrollWidth, outside: outside.map(e => e.outerHTML.slice(0, 120)), text: doc.body.innerText, scripts: doc.querySelectorAll("script").length, images: doc.querySelectorAll("img").length}
  })
  frames.forEach(f => f.remove())
  document.body.innerHTML = "<pre>"; document.querySelector("pre").textContent = JSON.stringify(all)
}, 50)
</script>`

// TestPage_ShowsKeysInABrowser: each key with its state, nothing outside of the page, and hostile text as text.
func TestPage_ShowsKeysInABrowser(t *testing.T) {
	chromium := browser.FindOrSkip(t)
	long := conditioned(strings.Repeat("production-server-", 15)[:253], "Unused=NotUsed")
	long.Namespace, long.Spec.Label = strings.Repeat("n", 63), clitest.Hostile
	s := serve(t, clitest.Healthy("web"), conditioned("taken", "Ready=SecretConflict", "Stalled=SecretConflict"), long)
	list, _ := json.Marshal(widths)
	// The frames have to be of the same origin to be measured.
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/measure" {
			answer.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(answer, measuring, list, "/"+s.secret+"/")
			return
		}
		if strings.HasSuffix(request.URL.Path, "/views") {
			// The browser prints a page once nothing is being fetched, and a stream has no end.
			answer.Header().Set("Content-Type", "text/event-stream")
			views, _ := json.Marshal(s.view())
			_, _ = fmt.Fprintf(answer, "retry: 600000\ndata: %s\n\n", views)
			return
		}
		s.ServeHTTP(answer, request)
	}))
	s.host = server.Listener.Addr().String()
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	dom, err := browser.DumpPage(t.Context(), chromium, server.URL+"/measure")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(dom, "<pre>")
	text, _, _ = strings.Cut(text, "</pre>")
	var measured []struct {
		Width, Scroll, Scripts, Images int
		Outside                        []string
		Text                           string
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(text)), &measured); err != nil || len(measured) != len(widths) {
		t.Fatalf("%v: %.2000s", err, dom)
	}
	for _, m := range measured {
		if m.Scroll > m.Width || len(m.Outside) > 0 || m.Scripts != 1 || m.Images != 0 {
			t.Errorf("at %d px: %d px wide, %d scripts, %d images, outside %q", m.Width, m.Scroll, m.Scripts, m.Images, m.Outside)
		}
		for _, want := range []string{"support/web", "support/taken", "● SecretConflict", "SecretConflict: because", "● Ready", "need a person", "production", "r3, issued"} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("at %d px the page does not show %q:\n%s", m.Width, want, m.Text)
			}
		}
	}
}
