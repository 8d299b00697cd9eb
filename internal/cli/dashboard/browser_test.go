// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"image/color"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
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
    // A control is reached by the keyboard if it takes the focus, is in the order of the tab key, and shows that it has the focus.
    const controls = [...doc.querySelectorAll("button, input")]
    const reaches = e => { e.focus({focusVisible: true}); return doc.activeElement === e && e.tabIndex === 0 && f.contentWindow.getComputedStyle(e).outlineStyle != "none" }
    return {width, scroll: doc.documentElement.scrollWidth, outside: outside.map(e => e.outerHTML.slice(0, 120)), text: doc.body.innerText, reached: controls.filter(reaches).length, controls: controls.length, scripts: doc.querySelectorAll("script").length, images: doc.querySelectorAll("img").length}
  })
  frames.forEach(f => f.remove())
  document.body.innerHTML = "<pre>"; document.querySelector("pre").textContent = JSON.stringify(all)
}, 50)
</script>`

// serveOnce serves the page with a stream that ends after its first view: the browser prints a page once nothing is being fetched. At
// measure are frames that show the page, which have to be of the same origin to be measured.
func serveOnce(t *testing.T, s *served) (page, measure string) {
	t.Helper()
	list, _ := json.Marshal(widths)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/measure" {
			answer.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(answer, measuring, list, "/"+s.secret+"/")
			return
		}
		if strings.HasSuffix(request.URL.Path, "/views") {
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
	return server.URL + "/" + s.secret + "/", server.URL + "/measure"
}

// picture is where TestPage_FollowsTheColorScheme writes its light picture. That of the docs is written anew with
// go test ./internal/cli/dashboard -run ColorScheme -picture=$PWD/docs/images/dashboard.png
var picture = flag.String("picture", "", "the file for the picture of the page, in light colors")

// TestPage_FollowsTheColorScheme: dark on a light page, and light on a dark one, with the keys drawn.
func TestPage_FollowsTheColorScheme(t *testing.T) {
	chromium := browser.FindOrSkip(t)
	url, _ := serveOnce(t, serve(t, picturedKeys()...))
	file := cmp.Or(*picture, filepath.Join(t.TempDir(), "page.png"))
	light, err := browser.Window{Width: 1180, Height: 860, Scheme: browser.Light}.Picture(t.Context(), chromium, url, file)
	if err != nil {
		t.Fatal(err)
	}
	dark, err := browser.Window{Width: 1180, Height: 860, Scheme: browser.Dark}.Picture(t.Context(), chromium, url, filepath.Join(t.TempDir(), "page.png"))
	if err != nil {
		t.Fatal(err)
	}
	clitest.CheckPicture(t, light, color.NRGBA{0xff, 0xff, 0xff, 0xff})
	clitest.CheckPicture(t, dark, color.NRGBA{0x14, 0x18, 0x1e, 0xff})
}

// TestPage_SaysThatTheProgramHasEnded, once the browser could not connect again for a while, and still shows the keys.
func TestPage_SaysThatTheProgramHasEnded(t *testing.T) {
	chromium := browser.FindOrSkip(t)
	url, _ := serveOnce(t, serve(t, clitest.Healthy("web")))
	dom, err := browser.DumpPage(t.Context(), chromium, url)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(dom, `role="alert">kubectl dgbot dashboard does not answer.`) || !strings.Contains(dom, "support/web") {
		t.Errorf("the page does not say that nothing answers, or shows no keys: %s", dom)
	}
}

// picturedKeys are those that the picture in docs/kubectl-dgbot.md shows, with messages as the operator writes them.
func picturedKeys() []*v1alpha1.DGbotAPIKey {
	const (
		conflict = `Secret "crm-sync" already exists and is not owned by this DGbotAPIKey: the operator does not change it; ` +
			`delete the Secret, or delete this DGbotAPIKey and create it again with an unused name in spec.secret.name`
		unused = `The key has not been used since 2026-08-20T10:00:00Z: the audit of environment "production" disables the key at 2026-12-18T10:00:00Z; ` +
			`to keep the key, use it, or set annotation keys.dgbot.io/kept-at of the DGbotAPIKey to the current time (RFC 3339, whole seconds)`
		disabled = `No revision is valid, because spec.state is Disabled; set spec.state to Active to enable the key again`
	)
	ids := []string{"a7Xw02KdVqTn", "Zp41mBsR8yLe", "7Hq2xV0aBcD9", "Qe6tJ3uNfW0k", "mV9cT5hYx2Ga", "r0LdS8PzE4bU"}
	var keys []*v1alpha1.DGbotAPIKey
	add := func(environment, namespace, name, label string, change func(*v1alpha1.DGbotAPIKey)) {
		key := clitest.Healthy(name)
		key.Spec.Environment, key.Namespace, key.Spec.Label = environment, namespace, label
		key.Status.Current.KeyID = ids[len(keys)]
		change(key)
		keys = append(keys, key)
	}
	add("production", "sales", "crm-sync", "CRM synchronization", func(k *v1alpha1.DGbotAPIKey) {
		k.Status = v1alpha1.DGbotAPIKeyStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse, Reason: v1alpha1.SecretConflictReason, Message: conflict},
			{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.SecretConflictReason, Message: conflict},
		}}
	})
	add("production", "finance", "old-report", "Yearly report", func(k *v1alpha1.DGbotAPIKey) {
		k.Status.LastUsedAt, k.Status.Audit = clitest.At(-99*clitest.Day), &v1alpha1.AuditStatus{Stage: v1alpha1.AuditUnused}
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: v1alpha1.UnusedCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.NotUsedReason, Message: unused})
	})
	add("production", "support", "mobile-app", "Mobile app", func(*v1alpha1.DGbotAPIKey) {})
	add("production", "support", "website-backend", "Website backend", func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Current.IssuedAt, k.Status.TrackedSince, k.Status.NextRotationAt = *clitest.At(-19 * time.Hour), clitest.At(-19*time.Hour), clitest.At(89*clitest.Day)
		k.Status.Previous = []v1alpha1.RevisionStatus{{Revision: 2, KeyID: "3kD8sW1mNxRt", IssuedAt: *clitest.At(-88 * clitest.Day), NotAfter: clitest.At(5 * time.Hour)}}
	})
	add("staging", "platform", "ci", "Integration tests", func(*v1alpha1.DGbotAPIKey) {})
	add("staging", "platform", "load-test", "Load test", func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.State = v1alpha1.StateDisabled
		k.Status.Conditions = []metav1.Condition{
			{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse, Reason: v1alpha1.DisabledReason, Message: disabled},
			{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.DisabledReason, Message: disabled},
		}
	})
	return keys
}

// TestPage_ShowsKeysInABrowser: each key with its state, nothing outside of the page, and hostile text as text.
func TestPage_ShowsKeysInABrowser(t *testing.T) {
	chromium := browser.FindOrSkip(t)
	long := conditioned(strings.Repeat("production-server-", 15)[:253], "Unused=NotUsed")
	long.Namespace, long.Spec.Label = strings.Repeat("n", 63), clitest.Hostile
	_, url := serveOnce(t, serve(t, clitest.Healthy("web"), conditioned("taken", "Ready=SecretConflict", "Stalled=SecretConflict"), long))
	dom, err := browser.DumpPage(t.Context(), chromium, url)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(dom, "<pre>")
	text, _, _ = strings.Cut(text, "</pre>")
	var measured []struct {
		Width, Scroll, Scripts, Images int
		Reached, Controls              int
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
		if m.Controls != 6 || m.Reached != m.Controls {
			t.Errorf("at %d px the keyboard reaches %d of %d controls", m.Width, m.Reached, m.Controls)
		}
		for _, want := range []string{"support/web", "support/taken", "● SecretConflict", "SecretConflict: because", "● Ready", "need a person", "production", "r3, issued"} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("at %d px the page does not show %q:\n%s", m.Width, want, m.Text)
			}
		}
	}
}
