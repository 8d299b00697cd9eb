// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// chatbot creates a chatbot with an HMAC secret.
func (p *place) chatbot(change func(*v1alpha1.IdentityVerification)) *v1alpha1.DGbotChatbot {
	p.T.Helper()
	bot := &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "bot"},
		Spec: v1alpha1.DGbotChatbotSpec{DisplayName: "Support bot", Environment: "production", IdentityVerification: &v1alpha1.IdentityVerification{
			Rotation: &v1alpha1.IdentityRotation{Overlap: &metav1.Duration{Duration: time.Hour}},
		}},
	}
	if change != nil {
		change(bot.Spec.IdentityVerification)
	}
	must(p.T, admin.Create(p.T.Context(), bot))
	eventually(p.T, "the chatbot is Ready", func() bool {
		must(p.T, admin.Get(p.T.Context(), client.ObjectKeyFromObject(bot), bot))
		return apimeta.IsStatusConditionTrue(bot.Status.Conditions, v1alpha1.ReadyCondition)
	})
	return bot
}

// mount writes the chatbot's Secret into a folder as a kubelet does: files behind a link that is changed at once.
func (p *place) mount(folder string) (secret *corev1.Secret) {
	p.T.Helper()
	secret = &corev1.Secret{}
	must(p.T, admin.Get(p.T.Context(), types.NamespacedName{Namespace: p.Name, Name: "bot-identity"}, secret))
	data := filepath.Join(folder, "..data-"+secret.ResourceVersion)
	must(p.T, os.MkdirAll(data, 0o700))
	for name, content := range secret.Data {
		must(p.T, os.WriteFile(filepath.Join(data, name), content, 0o600))
		link := filepath.Join(folder, name)
		_ = os.Remove(link)
		must(p.T, os.Symlink(filepath.Join("..data", name), link))
	}
	_ = os.Remove(filepath.Join(folder, "..data"))
	must(p.T, os.Symlink(filepath.Base(data), filepath.Join(folder, "..data")))
	return secret
}

func (p *place) annotateBot(annotation string, at time.Time) {
	p.T.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{annotation: at.UTC().Format(time.RFC3339)}}})
	must(p.T, err)
	bot := &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "bot"}}
	must(p.T, admin.Patch(p.T.Context(), bot, client.RawPatch(types.MergePatchType, patch)))
}

// rotated waits until another HMAC secret is published than the one that was.
func (p *place) rotated(than *corev1.Secret) {
	p.T.Helper()
	eventually(p.T, "another HMAC secret is published", func() bool {
		secret := &corev1.Secret{}
		err := admin.Get(p.T.Context(), client.ObjectKeyFromObject(than), secret)
		if apierrors.IsNotFound(err) {
			return false
		}
		must(p.T, err)
		return string(secret.Data["hmac-secret"]) != string(than.Data["hmac-secret"])
	})
}

// identify asks for a visitor.
func (v *verifier) identify(request map[string]string) (code int, body string) {
	v.t.Helper()
	text, err := json.Marshal(request)
	must(v.t, err)
	response, err := v.Client.Post(v.URL()+"/v1/identity/verify", "application/json", strings.NewReader(string(text)))
	must(v.t, err)
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(response.Body)
	must(v.t, err)
	return response.StatusCode, string(said)
}

func (v *verifier) identityBecomes(what, token string, code int) {
	v.t.Helper()
	eventually(v.t, what, func() bool {
		got, _ := v.identify(map[string]string{"token": token})
		return got == code
	})
}

// snippets are the examples of docs/visitor-identity.md, and how each is run.
var snippets = []struct {
	name, language, file, program string
	args                          []string
	// strange: it takes any user ID.
	strange bool
}{
	{"Go", "go", "sign.go", "go", []string{"run"}, true},
	{"Node.js", "js", "sign.js", "node", nil, true},
	{"Python", "python", "sign.py", "python3", nil, true},
	{"shell", "sh", "sign.sh", "openssl", nil, false},
}

// snippet returns the n-th block of a language in the guide.
func snippet(t *testing.T, language string, n int) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(controlplane.Repository(), "docs", "visitor-identity.md"))
	must(t, err)
	blocks := regexp.MustCompile("(?s)```"+language+"\n(.*?)```\n").FindAllStringSubmatch(string(page), -1)
	if len(blocks) <= n {
		t.Fatalf("the guide has %d blocks of %s", len(blocks), language)
	}
	return blocks[n][1]
}

// run writes a snippet into a file, as a user does who copies it, and runs it.
func run(t *testing.T, mount, content, file, program string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	must(t, os.WriteFile(path, []byte(content), 0o600))
	if strings.HasSuffix(file, ".sh") {
		program, args = "sh", append([]string{path}, args...)
	} else {
		at := len(args) - 1
		args = append(append(append([]string{}, args[:at]...), path), args[at:]...)
	}
	command := exec.CommandContext(t.Context(), program, args...)
	command.Env = append(os.Environ(), "DGBOT_IDENTITY="+mount)
	command.Dir = filepath.Dir(path)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// has reports whether a program is there. In CI, which installs them where it can, a missing one is a failure.
func has(t *testing.T, program string) bool {
	t.Helper()
	_, err := exec.LookPath(program)
	if err != nil && os.Getenv("REQUIRE_"+strings.ToUpper(program)) != "" {
		t.Fatalf("%s is not there", program)
	}
	return err == nil
}

// TestTheSigningGuide runs every snippet of the guide as it stands there, before and after a rotation.
func TestTheSigningGuide(t *testing.T) {
	p, v, mount := newPlace(t), startVerifier(t), t.TempDir()
	p.chatbot(func(iv *v1alpha1.IdentityVerification) { iv.AcceptPlain = true })
	first := p.mount(mount)
	v.ready()
	ran := 0
	tokens := map[string]string{}
	for round, users := range [][]string{{"u-1", `Zoë "the" <b>\`}, {"u-2"}} {
		for _, s := range snippets {
			if !has(t, s.program) {
				continue
			}
			ran++
			for i, user := range users {
				if i > 0 && !s.strange {
					continue
				}
				token := run(t, mount, snippet(t, s.language, 0), s.file, s.program, append(s.args, user)...)
				v.identityBecomes(s.name+"'s token is good", token, http.StatusOK)
				_, body := v.identify(map[string]string{"token": token})
				var payload map[string]any
				if err := json.Unmarshal([]byte(body), &payload); err != nil || payload["userId"] != user {
					t.Errorf("%s vouches for %s, asked for %q", s.name, body, user)
				}
				tokens[s.name] = token
			}
		}
		if round == 0 {
			p.annotateBot(v1alpha1.RotateRequestedAtAnnotation, time.Now())
			p.rotated(first)
			if second := p.mount(mount); string(second.Data["hmac-secret-previous"]) != string(first.Data["hmac-secret"]) || string(second.Data["kid-previous"]) != string(first.Data["kid"]) {
				t.Error("the Secret does not have the previous HMAC secret")
			}
			for name, token := range tokens {
				v.identityBecomes(name+"'s token of before is still good", token, http.StatusOK)
			}
		}
	}
	if ran < 2 {
		t.Errorf("%d snippets were run", ran)
	}
	if has(t, "openssl") {
		hash := run(t, mount, snippet(t, "sh", 1), "plain.sh", "sh", "u-1")
		request := map[string]string{"chatbotId": string(first.Data["chatbot-id"]), "userId": "u-1", "hash": hash}
		if code, body := v.identify(request); code != http.StatusOK || strings.TrimSpace(body) != `{"chatbotId":"`+request["chatbotId"]+`","userId":"u-1"}` {
			t.Errorf("plain: %d %s", code, body)
		}
		request["userId"] = "u-2"
		if code, _ := v.identify(request); code != http.StatusUnauthorized {
			t.Errorf("plain of another visitor: %d", code)
		}
	}
}

// TestALeakedHMACSecret is revoked at once, and a deleted chatbot's with it.
func TestALeakedHMACSecret(t *testing.T) {
	p, v, mount := newPlace(t), startVerifier(t), t.TempDir()
	bot := p.chatbot(nil)
	first := p.mount(mount)
	v.ready()
	sign := func() string {
		return run(t, mount, snippet(t, "go", 0), "sign.go", "go", "run", "u-1")
	}
	leaked := sign()
	v.identityBecomes("the token is good", leaked, http.StatusOK)
	if code, body := v.identify(map[string]string{"token": strings.Replace(leaked, ".", ".e", 1)}); code != http.StatusUnauthorized || strings.TrimSpace(body) != `{"valid":false}` {
		t.Errorf("a tampered payload: %d %s", code, body)
	}
	// It must be a second at which no earlier one was issued.
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(bot), bot))
	p.annotateBot(v1alpha1.RevokeIssuedBeforeAnnotation, bot.Status.Current.IssuedAt.Time)
	v.identityBecomes("a revoked secret's token is refused", leaked, http.StatusUnauthorized)
	p.rotated(first)
	if second := p.mount(mount); len(second.Data) != 3 {
		t.Errorf("the Secret has %d entries", len(second.Data))
	}
	next := sign()
	v.identityBecomes("the next secret's token is good", next, http.StatusOK)
	must(t, admin.Delete(t.Context(), bot))
	v.identityBecomes("a deleted chatbot's token is refused", next, http.StatusUnauthorized)
}

// TestTheSnippetsTakeASecretAsItStands, a line end at its end included.
func TestTheSnippetsTakeASecretAsItStands(t *testing.T) {
	p, v, mount := newPlace(t), startVerifier(t), t.TempDir()
	must(t, admin.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "existing"}, Data: map[string][]byte{"hmac": []byte("a long secret of theirs\n")},
	}))
	p.chatbot(func(iv *v1alpha1.IdentityVerification) {
		iv.ImportFrom, iv.AcceptPlain = &v1alpha1.ImportSource{Name: "existing", Key: "hmac"}, true
	})
	secret := p.mount(mount)
	v.ready()
	for _, s := range snippets {
		if has(t, s.program) {
			token := run(t, mount, snippet(t, s.language, 0), s.file, s.program, append(s.args, "u-1")...)
			v.identityBecomes(s.name+"'s token is good", token, http.StatusOK)
		}
	}
	if !has(t, "openssl") {
		return
	}
	hash := run(t, mount, snippet(t, "sh", 1), "plain.sh", "sh", "u-1")
	if code, body := v.identify(map[string]string{"chatbotId": string(secret.Data["chatbot-id"]), "userId": "u-1", "hash": hash}); code != http.StatusOK {
		t.Errorf("plain: %d %s", code, body)
	}
}
