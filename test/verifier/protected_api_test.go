// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestTheExampleAPIIsProtected: the program that docs/protect-an-api.md tells newcomers to start.
func TestTheExampleAPIIsProtected(t *testing.T) {
	v := startVerifier(t)
	v.ready()
	p := newPlace(t)
	text := p.key("crm", "staging") // scope conversations.read
	v.becomes("the key", text, http.StatusOK)
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
