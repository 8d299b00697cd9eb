// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// gives asserts that a call with something on standard input ends with a code and says something, and never the key.
func (s *shell) gives(code int, stdin, key string, want []string, args ...string) string {
	s.T.Helper()
	out, said, got := s.run(stdin, args...)
	all := out + said
	if got != code || exposes(all, key) {
		s.T.Fatalf("%v: exit code %d, want %d\n%s", args, got, code, apikey.Redact(all))
	}
	for _, one := range want {
		if !strings.Contains(all, one) {
			s.T.Errorf("%v does not say %q:\n%s", args, one, all)
		}
	}
	return out
}

// TestALeakedKey is identified, verified, found in files and revoked, by an editor of its namespace.
func TestALeakedKey(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("web", func(k *v1alpha1.DGbotAPIKey) { k.Spec.Scopes = []v1alpha1.Scope{"conversations.*"} })
	s.AwaitReady("web")
	leaked := s.KeyText("web")
	limited := `in namespace "` + s.Name + `", which is all you may look at`
	stray, err := apikey.Mint("staging")
	must(t, err)

	t.Run("a forged key", func(*testing.T) {
		forged := sibling(leaked)
		s.gives(0, forged, leaked, []string{"No record has this key"}, "identify")
		s.gives(3, forged, leaked, []string{"no record knows"}, "compromise", "-", "--yes")
		s.gives(3, forged, leaked, []string{"no record has this key"}, "verify")
	})
	t.Run("identify", func(t *testing.T) {
		s.gives(0, leaked, leaked, []string{s.Key("web").Status.Current.KeyID, "valid: revision 1 of DGbotAPIKey " + s.Name + "/web"}, "identify")
		s.gives(0, leaked, leaked, []string{"kubectl get dgrec -A"}, "identify", "--offline")
		s.gives(0, leaked, leaked, []string{"kubectl get dgrec -A", "note: no cluster was asked"}, "identify", "--server=https://127.0.0.1:1")
		s.gives(0, stray.Reveal(), stray.Reveal(), []string{"No record has this key " + limited}, "identify")
		var it struct {
			KeyID  string
			Holder struct {
				Valid     bool
				Name, Why string
			}
		}
		must(t, json.Unmarshal([]byte(s.gives(0, leaked, leaked, nil, "identify", "-o", "json")), &it))
		if !it.Holder.Valid || it.Holder.Name != "web" || it.KeyID == "" {
			t.Errorf("%+v", it)
		}
	})
	t.Run("verify", func(*testing.T) { s.verifies(leaked, stray.Reveal()) })
	t.Run("scan", func(t *testing.T) { s.scans(t, leaked, stray.Reveal()) })
	t.Run("compromise", func(t *testing.T) {
		s.refuses(2, leaked, "add --yes", "compromise", "-")
		s.refuses(2, leaked, "say which keys", "compromise", "-", "--all", "--yes")
		s.refuses(2, leaked, "goes without names", "compromise", "-", "web", "--yes")
		s.refuses(2, leaked, "want names of DGbotAPIKeys", "rotate", "-")
		s.refuses(3, leaked+"\n"+stray.Reveal(), "there are 2 keys in this", "compromise", "-", "--yes")
		s.refuses(3, stray.Reveal(), "no record knows", "compromise", "-", "--yes")
		inALog := "21:14:43 GET /v1/conversations Authorization: Bearer " + leaked + " 200"
		// No verifier runs.
		s.gives(3, inALog, leaked, []string{"valid: revision 1", "revision 2", "nothing is proven: VerifiersUnknown: "}, "compromise", "-", "--yes", "--wait")
		if next := s.KeyText("web"); s.Verdict(leaked) != standing.Revoked || s.Verdict(next) != standing.Admitted {
			t.Errorf("after compromise the keys are %s and %s", s.Verdict(leaked), s.Verdict(next))
		}
		version := s.Key("web").ResourceVersion
		s.gives(0, leaked, leaked, []string{"not valid any more (Revoked)", "nothing was done"}, "compromise", "-", "--yes", "--wait")
		if s.Key("web").ResourceVersion != version {
			t.Error("something was done for a key that is dead")
		}
	})
}

func (s *shell) verifies(good, bad string) {
	s.gives(0, good, good, []string{"valid: revision 1"}, "verify")
	s.gives(0, good, good, []string{"valid"}, "verify", "--scope=conversations.read,conversations.write")
	s.gives(3, good, good, []string{"missing scopes: billing.read"}, "verify", "--scope=conversations.read", "--scope=billing.read")
	s.gives(3, bad, bad, []string{"no record has this key"}, "verify")
	s.gives(0, good, good, []string{`"valid": true`}, "verify", "-o", "json")
	s.gives(3, bad, bad, []string{`"valid": false`}, "verify", "-o", "json")
	s.refuses(2, good, "--url wants https", "verify", "--url=http://example.com")
	s.refuses(1, good, "connection refused", "verify", "--url=http://127.0.0.1:1")
	s.refuses(1, good, "connection refused", "verify", "--server=https://127.0.0.1:1")
}

func (s *shell) scans(t *testing.T, live, stray string) {
	folder := t.TempDir()
	write := func(name string, data string) {
		must(t, os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o755))
		must(t, os.WriteFile(filepath.Join(folder, name), []byte(data), 0o600))
	}
	write("clean.txt", "nothing here but dgbot_production_ and "+apikey.Redact(live))
	s.gives(0, "", live, []string{"1 file read"}, "scan", folder)
	write("app/.env", "PORT=80\nKEY="+live+"\n")
	write("app/server", "\x7fELF\x00"+stray+"\x00")
	write("secret.yaml", "data:\n  api-key: "+base64.StdEncoding.EncodeToString([]byte(live))+"\n")
	write(".git/config", live)
	must(t, os.Symlink(filepath.Join(folder, "app/.env"), filepath.Join(folder, "link")))
	for _, offline := range []bool{false, true} {
		args, mine, other := []string{"scan", folder, "-o", "csv"}, "Live", "Unknown"
		if offline {
			args, mine, other = append(args, "--offline"), "NotAsked", "NotAsked"
		}
		out := s.gives(3, "", live, []string{"3 keys found", "4 files read"}, args...)
		for _, want := range []string{
			mine + "," + filepath.Join(folder, "app/.env") + ":2:5,", mine + "," + filepath.Join(folder, "secret.yaml") + ":2:12,", other + "," + filepath.Join(folder, "app/server") + " (byte 5),",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("offline %t: no %q in\n%s", offline, want, out)
			}
		}
	}
	s.gives(3, "log: "+live, live, []string{"Live", "<stdin>:1:6", s.Name + "/web"}, "scan", "-")
	s.gives(3, "", live, []string{`"standing": "Live"`, `"base64": true`}, "scan", folder, "-o", "json")
	s.gives(1, "", live, []string{"not searched: ", "1 file was not searched"}, "scan", filepath.Join(folder, "app/.env"), "--max-size=10")
	s.gives(3, "log: "+live, live, []string{"NotAsked", "note: no cluster was asked"}, "scan", "-", "--server=https://127.0.0.1:1")
	s.refuses(2, "", "no such file", "scan", filepath.Join(folder, "gone"))
	pipe := filepath.Join(folder, "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	s.refuses(2, "", "neither a file nor a folder", "scan", pipe)
	s.refuses(2, "", "neither a file nor a folder", "scan", "/dev/zero")
	s.gives(3, "", live, []string{"3 keys found", filepath.Join(folder, "app/.env") + ":2:5"}, "scan", folder)
	must(t, os.Symlink(filepath.Join(folder, "app"), filepath.Join(folder, "named")))
	s.gives(3, "", live, []string{"2 keys found", filepath.Join(folder, "named/.env") + ":2:5"}, "scan", filepath.Join(folder, "named"))
	s.refuses(2, "", "say what to scan", "scan")
	s.refuses(2, "", "--max-size", "scan", ".", "--max-size=much")
	s.gives(2, "", live, []string{"a key does not belong on the command line"}, "scan", live)
}

// TestADryRun shows what the operator then does.
func TestADryRun(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("web", func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation = &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: 3 * time.Hour}}
	})
	s.AwaitReady("web")
	version := s.Key("web").ResourceVersion
	s.gives(0, "", s.KeyText("web"), []string{"at once", "revision 2 is issued (Request)", "(in 3h", "revision 1 stops verifying", "you may not read DGbotEnvironment"}, "rotate", "web", "--dry-run")
	s.gives(0, "", s.KeyText("web"), []string{"revision 1 is revoked for good", "revision 2 is issued (Revocation)"}, "compromise", "web", "--dry-run")
	s.refuses(2, "", "--output goes with --dry-run", "rotate", "web", "-o", "json")
	var foreseen []struct{ Happens []struct{ At metav1.Time } }
	must(t, json.Unmarshal([]byte(s.does("rotate", "web", "--dry-run", "-o", "json")), &foreseen))
	if s.Key("web").ResourceVersion != version {
		t.Error("a dry run has changed the key")
	}
	s.does("rotate", "web", "--wait")
	if ends := s.Records("web")[0].Spec.NotAfter; ends == nil || ends.Sub(foreseen[0].Happens[1].At.Time).Abs() > time.Minute {
		t.Errorf("revision 1 ends %s, and %s was foreseen", ends, foreseen[0].Happens[1].At)
	}
}

// TestRightsThatAreMissing are named by every verb, and what is left is done.
func TestRightsThatAreMissing(t *testing.T) {
	startOperator(t)
	editor := newShell(t)
	editor.CreateKey("web", nil)
	editor.AwaitReady("web")
	text := editor.KeyText("web")
	stranger := &shell{place: editor.place, user: "stranger-in-" + editor.Name}
	for verb, args := range map[string][]string{
		"list": {"list"}, "audit": {"audit"}, "describe": {"describe", "web"}, "rotate": {"rotate", "web"}, "dry run": {"rotate", "web", "--dry-run"},
		"compromise": {"compromise", "web", "--yes"}, "revoke": {"revoke", "web", "--yes"}, "disable": {"disable", "web"}, "enable": {"enable", "web"},
	} {
		stranger.refuses(1, "", `resource "dgbotapikeys"`, args...)
		if _, said, _ := stranger.run("", args...); !strings.Contains(said, "have this right") {
			t.Errorf("%s does not say who has the right: %s", verb, said)
		}
	}
	stranger.refuses(1, text, `cannot list resource "dgbotapikeyrecords"`, "verify")
	stranger.refuses(1, text, `cannot list resource "dgbotapikeyrecords"`, "compromise", "-", "--yes")
	stranger.gives(0, text, text, []string{"cannot list resource", "kubectl get dgrec"}, "identify")
	stranger.gives(3, text, text, []string{"cannot list resource", "NotAsked"}, "scan", "-")

	limited := editor.reader("keys-only", rbacv1.PolicyRule{APIGroups: []string{"keys.dgbot.io"}, Resources: []string{"dgbotapikeys"}, Verbs: []string{"get", "list"}})
	limited.gives(0, "", text, []string{"you may not list dgbotapikeyrecords", "you may not list deployments.apps", "you may not list events", "Issued"}, "describe", "web")
}

// reader returns the shell of a user to whom only one rule in the namespace applies.
func (s *shell) reader(name string, rule rbacv1.PolicyRule) *shell {
	s.T.Helper()
	must(s.T, admin.Create(s.T.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: name}, Rules: []rbacv1.PolicyRule{rule}}))
	user := name + "-in-" + s.Name
	must(s.T, admin.Create(s.T.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}))
	return &shell{place: s.place, user: user}
}

// TestAnInterruptEndsWhatWaitsForInput, and what waits for a cluster, with the code that shells know.
func TestAnInterruptEndsWhatWaitsForInput(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("web", func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "missing"} })
	s.AwaitNotReady("web", v1alpha1.WaitingForChatbotReason)
	for _, args := range [][]string{{"scan", "-"}, {"rotate", "web", "--wait"}} {
		command := controlplane.Plugin(t.Context(), world.Kubeconfig, append([]string{"-n", s.Name, "--as=" + s.user}, args...)...)
		input, err := command.StdinPipe()
		must(t, err)
		said, err := command.StderrPipe()
		must(t, err)
		must(t, command.Start())
		if args[0] == "scan" {
			// More than a pipe holds: when it is written, some has been read.
			_, err = input.Write(make([]byte, 128<<10))
		} else {
			// It has come to waiting when it says for what.
			_, err = said.Read(make([]byte, 1))
		}
		must(t, err)
		must(t, command.Process.Signal(os.Interrupt))
		_ = command.Wait()
		if code := command.ProcessState.ExitCode(); code != 130 {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}

// sibling returns another key text with the same ID. Every client that has seen the ID, which is public, can make one.
func sibling(text string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	at := strings.LastIndexByte(text, '_') + 1
	first := "A"
	if text[at] == 'A' {
		first = "B"
	}
	body := text[:at] + first + text[at+1:len(text)-6]
	sum, checksum := crc32.ChecksumIEEE([]byte(body)), [6]byte{}
	for i := len(checksum) - 1; i >= 0; i-- {
		checksum[i], sum = digits[sum%62], sum/62
	}
	return body + string(checksum[:])
}
