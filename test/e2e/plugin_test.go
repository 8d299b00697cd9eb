// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// shell runs kubectl dgbot as a user with the rights of an editor of one namespace.
type shell struct {
	*place
	user string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	must(t, controlplane.BuildPlugin())
	return newPlace(t).shell("edit")
}

// shell is one of a user with a role in the namespace.
func (p *place) shell(role string) *shell {
	p.T.Helper()
	s := &shell{place: p, user: role + "-of-" + p.Name}
	must(p.T, admin.Create(p.T.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: s.user}},
	}))
	return s
}

// run calls kubectl dgbot in the namespace, and returns what it said and its exit code.
func (s *shell) run(stdin string, args ...string) (out, said string, code int) {
	s.T.Helper()
	command := controlplane.Plugin(s.T.Context(), world.Kubeconfig, append([]string{"-n", s.Name, "--as=" + s.user}, args...)...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.T.Fatal(err)
	}
	return stdout.String(), stderr.String(), command.ProcessState.ExitCode()
}

// does asserts that a call succeeds.
func (s *shell) does(args ...string) string {
	s.T.Helper()
	out, said, code := s.run("", args...)
	if code != 0 {
		s.T.Fatalf("%v: exit code %d\n%s%s", args, code, out, said)
	}
	return out + said
}

// refuses asserts that a call ends with a code, and with one line that says why.
func (s *shell) refuses(code int, stdin, why string, args ...string) {
	s.T.Helper()
	out, said, got := s.run(stdin, args...)
	if got != code || !strings.Contains(said, why) || strings.Count(said, "\n") != 1 || out != "" {
		s.T.Errorf("%v: exit code %d, want %d and %q\n%s%s", args, got, code, why, out, said)
	}
}

func TestThePluginByAnEditor(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("web", func(k *v1alpha1.DGbotAPIKey) { k.Labels = map[string]string{"team": "web"} })
	s.CreateKey("crm", nil)
	s.AwaitReady("web")
	s.AwaitReady("crm")
	first := s.KeyText("web")

	t.Run("list", func(t *testing.T) { s.lists(t) })
	said := s.does("rotate", "web", "--wait")
	if !strings.Contains(said, "rotation requested") || !strings.Contains(said, "revision 2") {
		t.Errorf("rotate said %q", said)
	}
	second := s.KeyText("web")
	if second == first || s.Verdict(first) != standing.Admitted || s.Verdict(second) != standing.Admitted || s.Key("web").Spec.Rotation != nil && s.Key("web").Spec.Rotation.RequestedAt != nil {
		t.Errorf("after rotate the keys are %s and %s, spec %+v", s.Verdict(first), s.Verdict(second), s.Key("web").Spec.Rotation)
	}
	for _, fields := range s.Key("web").ManagedFields {
		// Flux takes away what such managers have set and Git does not have: the request would go before it is served.
		if strings.HasPrefix(fields.Manager, "kubectl") {
			t.Errorf("the plugin writes as %s", fields.Manager)
		}
	}
	if out, said, code := s.run("", "compromise", "-l", "team=web", "--wait", "--yes"); code != 3 || !strings.Contains(out, "has revision 3") || !strings.Contains(said, "nothing is proven") {
		t.Errorf("without a verifier: exit code %d\n%s%s", code, out, said)
	}
	if third := s.KeyText("web"); s.Verdict(first) != standing.Revoked || s.Verdict(second) != standing.Revoked || s.Verdict(third) != standing.Admitted {
		t.Errorf("after compromise the keys are %s, %s and %s", s.Verdict(first), s.Verdict(second), s.Verdict(third))
	}
	s.does("disable", "--all")
	s.AwaitNotReady("web", v1alpha1.DisabledReason)
	s.AwaitNotReady("crm", v1alpha1.DisabledReason)
	s.does("enable", "web", "crm")
	s.AwaitReady("web")
	s.AwaitReady("crm")
	if kept := s.Key("crm").Annotations[v1alpha1.KeptAtAnnotation]; kept == "" {
		t.Error("enable does not say that the key is kept")
	}
	s.refuses(2, "", "--yes", "revoke", "crm")
	s.refuses(2, "", "--yes", "compromise", "crm")
	s.refuses(3, "n\n", "nothing was done", "revoke", "crm")
	s.AwaitReady("crm")
	s.does("revoke", "crm", "--yes")
	s.AwaitNotReady("crm", v1alpha1.RevokedReason)
	s.does("enable", "crm")
	s.AwaitReady("crm")
	if n := s.Key("crm").Status.Current.Revision; n != 2 {
		t.Errorf("revision %d after a key was revoked and enabled", n)
	}
}

func (s *shell) lists(t *testing.T) {
	table := s.does("list")
	for _, want := range []string{"NAMESPACE", "LAST-USED", "web", "crm", "Ready", s.Key("web").Status.Current.KeyID} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	if wide := s.does("list", "-o", "wide", "-l", "team=web"); !strings.Contains(wide, "REVISION") || strings.Contains(wide, "crm") {
		t.Errorf("%s", wide)
	}
	var list v1alpha1.DGbotAPIKeyList
	must(t, json.Unmarshal([]byte(s.does("list", "-o", "json")), &list))
	if len(list.Items) != 2 || list.Items[0].Name != "crm" || list.Kind != "DGbotAPIKeyList" {
		t.Errorf("%+v", list)
	}
	rows, err := csv.NewReader(strings.NewReader(s.does("list", "-o", "csv"))).ReadAll()
	must(t, err)
	if len(rows) != 3 || rows[0][0] != "NAMESPACE" || rows[2][1] != "web" {
		t.Errorf("%v", rows)
	}
	if yaml := s.does("list", "-o", "yaml"); !strings.Contains(yaml, "kind: DGbotAPIKeyList") {
		t.Errorf("%s", yaml)
	}
}

// TestThePluginRefuses with one line, a code of its own, and nothing done.
func TestThePluginRefuses(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("web", nil)
	s.AwaitReady("web")
	text, version := s.KeyText("web"), s.Key("web").ResourceVersion
	s.refuses(1, "", "cannot list resource", "list", "-A")
	s.refuses(1, "", `there is no DGbotAPIKey "gone"`, "rotate", "gone")
	s.refuses(2, "", "want names of DGbotAPIKeys", "rotate", "dgkey/web")
	s.refuses(2, "", "want names of DGbotAPIKeys", "rotate", "")
	s.refuses(2, "", "--selector", "rotate", "-l", "a=(")
	s.refuses(2, "", "--timeout", "rotate", "web", "--wait", "--timeout=0s")
	s.refuses(1, "", "is selected", "rotate", "-l", "team=none")
	s.refuses(1, "", "connection refused", "list", "--server=https://127.0.0.1:1")
	s.refuses(1, "", "no cluster to talk to", "list", "--kubeconfig=/nowhere")
	s.refuses(2, "", "say which keys", "rotate")
	s.refuses(2, "", "in one way", "rotate", "web", "--all")
	s.refuses(2, "", "--output", "list", "-o", "xml")
	s.refuses(2, "", "takes no names", "list", "web")
	s.refuses(2, "", "unknown flag", "list", "--colors")
	s.refuses(2, "", "there is no verb", "rotatee", "web")
	for _, verb := range []string{"rotate", "compromise", "revoke", "disable", "enable", "identify"} {
		_, said, code := s.run("", verb, text)
		if code != 2 || !strings.Contains(said, "a key does not belong on the command line") || exposes(said, text) {
			t.Errorf("%s with a key: exit code %d, %q", verb, code, strings.ReplaceAll(said, text, "…"))
		}
	}
	for _, args := range [][]string{{text}, {"list", "-o", text}, {"list", "--" + text}, {"rotate", "-l", text + "="}} {
		if _, said, code := s.run("", args...); code == 0 || exposes(said, text) {
			t.Errorf("a key in an odd place: exit code %d, %q", code, strings.ReplaceAll(said, text, "…"))
		}
	}
	out, said, code := s.run(text+"\n", "identify")
	if code != 0 || exposes(out+said, text) || !strings.Contains(out, s.Key("web").Status.Current.KeyID) {
		t.Errorf("identify: exit code %d", code)
	}
	s.refuses(3, "glpat-abc\n", "not a DGbot API key", "identify")
	s.refuses(3, text[:len(text)-1]+"!", "not a DGbot API key", "identify")
	s.refuses(2, "", "nothing on standard input", "identify")
	if now := s.Key("web").ResourceVersion; now != version {
		t.Error("something was done")
	}
	viewer := s.shell("view")
	for _, verb := range []string{"rotate", "compromise", "disable", "enable"} {
		args := []string{verb, "web"}
		if verb == "compromise" {
			args = append(args, "--yes")
		}
		viewer.refuses(1, "", `cannot patch resource "dgbotapikeys"`, args...)
	}
}
