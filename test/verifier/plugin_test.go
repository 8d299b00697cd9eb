// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestThePluginAsksAVerifier with the key from standard input, and passes on what it says.
func TestThePluginAsksAVerifier(t *testing.T) {
	must(t, controlplane.BuildPlugin())
	p := newPlace(t)
	good := p.key("web", "production")
	v := startVerifier(t)
	v.ready()
	v.becomes("the key", good, 200)
	stray, err := apikey.Mint("production")
	must(t, err)
	for _, tc := range []struct {
		text string
		code int
		want string
		args []string
	}{
		{good, 0, "valid: the verifier accepts it", nil},
		{good, 0, "valid: the verifier accepts it", []string{"--url=http://" + v.Address + "/v1/verify"}},
		{good, 0, `"name": "web"`, []string{"-o", "json"}},
		{good, 3, "missing scopes: billing.write", []string{"--scope=billing.write"}},
		{good, 2, "does not take the scopes No!", []string{"--scope=No!"}},
		{stray.Reveal(), 3, "the verifier refuses it", nil},
		{stray.Reveal(), 3, `"valid": false`, []string{"-o", "json"}},
	} {
		command := controlplane.Plugin(t.Context(), "/nowhere", append([]string{"verify", "--url=http://" + v.Address}, tc.args...)...)
		command.Stdin = strings.NewReader(tc.text)
		said, err := command.CombinedOutput()
		if command.ProcessState == nil {
			t.Fatal(err)
		}
		if code := command.ProcessState.ExitCode(); code != tc.code || !strings.Contains(string(said), tc.want) || strings.Contains(string(said), tc.text) {
			t.Errorf("%v: exit code %d, want %d and %q:\n%s", tc.args, code, tc.code, tc.want, apikey.Redact(string(said)))
		}
	}
}
