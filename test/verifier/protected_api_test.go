// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestTheExampleAPIIsProtected: the program that docs/protect-an-api.md tells newcomers to start.
func TestTheExampleAPIIsProtected(t *testing.T) {
	v := startVerifier(t)
	v.ready()
	p := newPlace(t)
	text := p.key("crm", "staging") // scope conversations.read
	v.becomes("the key", text, http.StatusOK)
	address := startAPI(t, v)
	ask := func(method, key string) (code int, body string) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/conversations", nil)
		must(t, err)
		if key != "" {
			request.Header.Set("Authorization", "Bearer "+key)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, ""
		}
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(response.Body)
		must(t, err)
		return response.StatusCode, string(content)
	}
	eventually(t, "it answers", func() bool { code, _ := ask("GET", ""); return code == http.StatusUnauthorized })
	if code, body := ask("GET", text); code != http.StatusOK || !strings.Contains(body, p.Name+"/crm") || !strings.Contains(body, "of staging") {
		t.Errorf("a good key is answered with %d: %s", code, body)
	}
	if code, _ := ask("POST", text); code != http.StatusForbidden {
		t.Errorf("without the scope: %d", code)
	}
	p.PatchKey("crm", `{"spec":{"state":"Revoked"}}`)
	eventually(t, "a revoked key is refused", func() bool { code, _ := ask("GET", text); return code == http.StatusUnauthorized })
	must(t, v.Stop())
	if code, _ := ask("GET", text); code != http.StatusServiceUnavailable {
		t.Errorf("without a verifier: %d", code)
	}
}

// startAPI starts the example API, and returns its address.
func startAPI(t *testing.T, v *verifier) string {
	t.Helper()
	address, binary := freeAddress(t), filepath.Join(t.TempDir(), "protectedapi")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./hack/protectedapi")
	build.Dir = controlplane.Repository()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	api := exec.Command(binary, "--verifier=http://"+v.Address, "--address="+address)
	api.Stdout, api.Stderr = &world.Log, &world.Log
	must(t, api.Start())
	t.Cleanup(func() { _ = api.Process.Kill(); _ = api.Wait() })
	return address
}

// exchange is a command of docs/protect-an-api.md, and the answer that the page shows.
type exchange struct{ command, answer string }

// exchanges returns those of each block that the page leaves to this test.
func exchanges(t *testing.T) (all [][]exchange) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(controlplane.Repository(), "docs", "protect-an-api.md"))
	must(t, err)
	for _, block := range strings.Split(string(page), "<!-- run by: test/verifier -->\n")[1:] {
		var shown []exchange
		for line := range strings.Lines(block) {
			text, isCode := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
			command, isCommand := strings.CutPrefix(text, "$ ")
			switch {
			case isCode && isCommand:
				shown = append(shown, exchange{command: command})
			case isCode && len(shown) > 0:
				shown[len(shown)-1].answer += text
			}
			if !isCode && text != "" {
				break
			}
		}
		all = append(all, shown)
	}
	return all
}

var keyID = regexp.MustCompile(`key [0-9A-Za-z]{12}`)

// TestProtectAnAPI_AnswersAsThePageShows runs the requests of docs/protect-an-api.md: before a rotation, after it, and after a leak. The
// scenario "protect" runs the commands between them.
func TestProtectAnAPI_AnswersAsThePageShows(t *testing.T) {
	if !has(t, "curl") {
		t.Skip("curl is not there")
	}
	v := startVerifier(t)
	v.ready()
	p, folder := newPlace(t), t.TempDir()
	keep := func(file, text string, code int) {
		t.Helper()
		v.becomes(file, text, code)
		must(t, os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600))
	}
	next := func(previous, change string) (text string) {
		t.Helper()
		p.PatchKey("reporting", change)
		eventually(t, "another key is published", func() bool { text = p.KeyText("reporting"); return text != previous })
		return text
	}
	first := p.key("reporting", "staging")
	keep("key.txt", first, http.StatusOK)
	address := startAPI(t, v)
	pages := exchanges(t)
	if len(pages) != 3 {
		t.Fatalf("the page has %d blocks for this test, want 3", len(pages))
	}
	answers := func(shown []exchange) {
		t.Helper()
		for _, e := range shown {
			command := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(e.command, "127.0.0.1:8000", address))
			command.Dir = folder
			out, err := command.Output()
			must(t, err)
			want := keyID.ReplaceAllString(strings.ReplaceAll(e.answer, "analytics/", p.Name+"/"), "key ID")
			if got := keyID.ReplaceAllString(strings.TrimSpace(string(out)), "key ID"); got != want {
				t.Errorf("%s prints %q, the page has %q", e.command, got, want)
			}
		}
	}
	eventually(t, "the API answers", func() bool {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			_ = connection.Close()
		}
		return err == nil
	})
	answers(pages[0])
	second := next(first, `{"spec":{"rotation":{"overlap":"24h","requestedAt":"`+time.Now().UTC().Format(time.RFC3339)+`"}}}`)
	keep("old.txt", first, http.StatusOK)
	keep("key.txt", second, http.StatusOK)
	answers(pages[1])
	// A second ahead, so that it covers the revision that was issued just now: the operator waits for it.
	third := next(second, `{"spec":{"rotation":{"revokeIssuedBefore":"`+time.Now().Add(2*time.Second).UTC().Format(time.RFC3339)+`"}}}`)
	keep("leaked.txt", second, http.StatusUnauthorized)
	keep("key.txt", third, http.StatusOK)
	answers(pages[2])
}
