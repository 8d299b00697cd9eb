// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/browser"
)

// website serves a page with a snippet in it, and the script that the snippet loads, and keeps what it has sent.
type website struct {
	snippet string
	mutex   sync.Mutex
	sent    bytes.Buffer
	paths   []string
}

func (w *website) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	kind, text := "text/html", "<!doctype html><title>Shop</title><body>"+w.snippet+"</body>"
	if strings.HasPrefix(request.URL.Path, "/widget.js") {
		// What a widget does: it finds its own element, and reads whose it is.
		kind, text = "text/javascript", `document.body.append("I am " + document.querySelector("script[data-chatbot-id]").dataset.chatbotId + " at " + location.pathname)`
	}
	w.paths = append(w.paths, request.URL.RequestURI())
	w.sent.WriteString(text)
	answer.Header().Set("Content-Type", kind)
	_, _ = answer.Write([]byte(text))
}

// TestABrowserFindsTheChatbotID in a page with the published snippet, and gets nothing secret with it.
func TestABrowserFindsTheChatbotID(t *testing.T) {
	chromium := browser.FindOrSkip(t)
	site := &website{}
	server := httptest.NewTLSServer(site)
	t.Cleanup(server.Close)

	startOperator(t)
	p := newPlace(t)
	script := server.URL + "/widget.js?theme=dark&v=2"
	must(t, admin.Create(t.Context(), &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "bot"},
		Spec: v1alpha1.DGbotChatbotSpec{
			DisplayName: `"><script>alert(1)</script>`, Environment: "production", Widget: &v1alpha1.WidgetSpec{ScriptURL: script},
			IdentityVerification: &v1alpha1.IdentityVerification{},
		},
	}))
	id := p.bot("bot", v1alpha1.PublishedReason).Status.ChatbotID
	p.CreateKey("key", func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"} })
	p.AwaitReady("key")
	widget := &corev1.ConfigMap{}
	must(t, admin.Get(t.Context(), types.NamespacedName{Namespace: p.Name, Name: "bot-widget"}, widget))
	site.mutex.Lock()
	site.snippet = widget.Data[v1alpha1.WidgetSnippet]
	site.mutex.Unlock()

	page, err := browser.DumpPage(t.Context(), chromium, server.URL+"/shop")
	must(t, err)
	if want := fmt.Sprintf("I am %s at /shop", id); !strings.Contains(page, want) {
		t.Errorf("the page does not say %q:\n%s", want, page)
	}
	site.mutex.Lock()
	defer site.mutex.Unlock()
	if !strings.Contains(strings.Join(site.paths, " "), "/widget.js?theme=dark&v=2") {
		t.Errorf("the browser asked for %q", site.paths)
	}
	entries := p.Secret("key").Data
	for _, name := range []string{v1alpha1.IdentitySecretKey, v1alpha1.IdentityKID} {
		if entries[name] = p.Secret("bot-identity").Data[name]; len(entries[name]) < 16 {
			t.Fatalf("entry %s has %d bytes", name, len(entries[name]))
		}
	}
	for what, got := range map[string]string{"sent": site.sent.String(), "shown": page} {
		for name, value := range entries {
			// The chatbot ID is public, and so is the environment's name.
			if name != v1alpha1.SecretChatbotID && len(value) > 10 && strings.Contains(got, string(value)) && name != v1alpha1.SecretType {
				t.Errorf("what was %s holds entry %s of the Secret", what, name)
			}
		}
		if strings.Contains(got, "dgbot_") || strings.Contains(got, "alert(1)") {
			t.Errorf("what was %s holds something of a key, or the name of the chatbot as markup:\n%s", what, got)
		}
	}
}
