// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// writes is how far the old history goes beyond the backup.
const writes = 400

// TestRestore_IsFollowedWhereVersionsLieInTheFuture: the API server is back with revisions that are lower than those that the
// verifier and the manager have seen.
func TestRestore_IsFollowedWhereVersionsLieInTheFuture(t *testing.T) {
	r := newRestored(t)
	r.restore()
	r.follows()
}

// TestRestore_IsFollowedWhereVersionsWerePassed: until the connection is back, the restored history has gone beyond the
// revisions that the verifier and the manager have seen.
func TestRestore_IsFollowedWhereVersionsWerePassed(t *testing.T) {
	r := newRestored(t)
	r.proxy.Cut()
	r.restore()
	r.pass()
	r.proxy.Open(t)
	r.follows()
}

// pass takes the restored history beyond all revisions of the old one.
func (r *restored) pass() {
	r.T.Helper()
	for present := 0; present <= r.reached; {
		written := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Name, GenerateName: "passing-"}}
		must(r.T, admin.Create(r.T.Context(), written))
		present = revision(r.T, written.ResourceVersion)
	}
}

// restored is a namespace with keys and a chatbot, a backup from when they were there, and a verifier and a manager that have
// followed the history beyond it.
type restored struct {
	*testenv.Namespace
	proxy    *testenv.Proxy
	manager  *deployment
	verifier *testenv.Verifier
	backup   string
	// reached is the revision up to which the old history goes.
	reached int
	// keys are the texts by the names of their DGbotAPIKeys.
	keys map[string]string
	bot  *v1alpha1.DGbotChatbot
	// signature is one of the chatbot's visitor u-1.
	signature string
}

func newRestored(t *testing.T) *restored {
	t.Helper()
	r := furnish(t)
	r.backUp()
	r.verifier = r.startVerifier(r.proxy)
	r.goBeyond()
	return r
}

// furnish has a manager issue the keys and the HMAC secret.
func furnish(t *testing.T) *restored {
	t.Helper()
	r := &restored{Namespace: world.NewNamespace(t, "restore-"), keys: map[string]string{}}
	r.proxy = world.NewProxy(t)
	r.manager = deployManager(t, r.through(r.proxy, controlplane.OperatorAccount))
	for _, name := range []string{"kept", "revoked", "deleted"} {
		r.issue(name)
	}
	r.createChatbot()
	return r
}

func (r *restored) backUp() {
	r.T.Helper()
	var err error
	r.backup, err = world.BackUpEtcd()
	must(r.T, err)
	eventually(r.T, "the API server is back after the backup", r.apiServerAnswers)
}

// goBeyond writes what the backup does not have, and waits until the verifier has followed.
func (r *restored) goBeyond() {
	r.T.Helper()
	for name, text := range r.keys {
		r.becomes("the key "+name, text, http.StatusOK)
	}
	r.identifies(r.signature, http.StatusOK)
	r.writeBeyond()
}

// through returns the config of a service account, by way of a proxy.
func (r *restored) through(p *testenv.Proxy, account string) *rest.Config {
	r.T.Helper()
	config, err := world.ServiceAccountConfig(r.T.Context(), controlplane.OperatorNamespace, account)
	must(r.T, err)
	config.Host = "https://" + p.Address
	return config
}

// startVerifier starts a verifier that answers for a long time without a connection.
func (r *restored) startVerifier(p *testenv.Proxy) *testenv.Verifier {
	r.T.Helper()
	address, err := process.FreeAddress()
	must(r.T, err)
	v := &testenv.Verifier{Address: address}
	v.Program, err = world.StartVerifierWith(r.through(p, controlplane.VerifierAccount), &world.Log, "--http-bind-address="+address,
		"--drain-delay=0s", "--max-staleness=10m")
	must(r.T, err)
	r.T.Cleanup(func() { must(r.T, v.Stop()) })
	return v
}

// issue creates a key and waits until it is Ready.
func (r *restored) issue(name string) {
	r.T.Helper()
	r.CreateKey(name, func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Label, k.Spec.Environment, k.Spec.Scopes, k.Spec.Rotation = "CRM", "staging", []v1alpha1.Scope{"conversations.read"}, nil
	})
	r.AwaitReady(name)
	r.keys[name] = r.KeyText(name)
}

func (r *restored) createChatbot() {
	r.T.Helper()
	r.bot = &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Name, Name: "bot"},
		Spec: v1alpha1.DGbotChatbotSpec{
			DisplayName: "Support bot", Environment: "staging", IdentityVerification: &v1alpha1.IdentityVerification{AcceptPlain: true},
		},
	}
	must(r.T, admin.Create(r.T.Context(), r.bot))
	eventually(r.T, "the chatbot is Ready", func() bool {
		return admin.Get(r.T.Context(), client.ObjectKeyFromObject(r.bot), r.bot) == nil && apimeta.IsStatusConditionTrue(r.bot.Status.Conditions, v1alpha1.ReadyCondition)
	})
	r.signature = r.sign()
}

// sign returns the plain signature of visitor u-1 by the chatbot's present HMAC secret.
func (r *restored) sign() string {
	r.T.Helper()
	mac := hmac.New(sha256.New, r.Secret("bot-identity").Data[v1alpha1.IdentitySecretKey])
	_, _ = mac.Write([]byte("u-1"))
	return hex.EncodeToString(mac.Sum(nil))
}

// writeBeyond writes what the backup does not have: a key, and many changes of records and HMAC secrets, which verifier and
// manager both watch.
func (r *restored) writeBeyond() {
	r.T.Helper()
	records := r.Records("")
	var replicas corev1.SecretList
	must(r.T, admin.List(r.T.Context(), &replicas, client.InNamespace(v1alpha1.IdentityNamespace)))
	if len(records) == 0 || len(replicas.Items) == 0 {
		r.T.Fatalf("%d records, %d replicas", len(records), len(replicas.Items))
	}
	for i := range writes {
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/count":"%d"}}}`, i))
		for _, object := range []client.Object{&records[i%len(records)], &replicas.Items[i%len(replicas.Items)]} {
			must(r.T, admin.Patch(r.T.Context(), object, patch))
		}
	}
	// The last write: a verifier that accepts this key has received all records before it.
	r.issue("lost")
	r.becomes("the key of after the backup", r.keys["lost"], http.StatusOK)
	r.reached = r.version()
}

// version returns the revision of the history at present.
func (r *restored) version() int {
	r.T.Helper()
	var list corev1.NamespaceList
	must(r.T, admin.List(r.T.Context(), &list, client.Limit(1)))
	return revision(r.T, list.ResourceVersion)
}

func revision(t *testing.T, resourceVersion string) int {
	t.Helper()
	number, err := strconv.Atoi(resourceVersion)
	must(t, err)
	return number
}

// restore restores etcd. A good key is never rejected: it is accepted until the verifier finds that its registration belongs to the old history, and
// then denied with 503 until the verifier has registered anew and listed completely.
func (r *restored) restore() {
	r.T.Helper()
	ctx, cancel := context.WithCancel(r.T.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			if code := r.verify(r.keys["kept"]); code != http.StatusOK && code != http.StatusServiceUnavailable {
				r.T.Errorf("a good key is answered with %d during the restore", code)
				return
			}
		}
	})
	must(r.T, world.RestoreEtcd(r.backup))
	eventually(r.T, "the API server is back after the restore", r.apiServerAnswers)
	cancel()
	asking.Wait()
	if now := r.version(); now >= r.reached {
		r.T.Fatalf("the restored history is at %d already, the old one at %d", now, r.reached)
	}
}

func (r *restored) apiServerAnswers() bool {
	return world.Kubectl(r.T.Context(), "get", "--raw", "/readyz").Run() == nil
}

// follows makes changes in the restored history, and waits until the verifier and the manager follow each.
func (r *restored) follows() {
	r.T.Helper()
	r.becomes("the key that the backup does not have", r.keys["lost"], http.StatusUnauthorized)
	r.PatchKey("revoked", `{"spec":{"state":"Revoked"}}`)
	deleted := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: r.Name, Name: "deleted"}}
	must(r.T, admin.Delete(r.T.Context(), deleted))
	r.issue("created")
	for name, code := range map[string]int{
		"revoked": http.StatusUnauthorized, "deleted": http.StatusUnauthorized, "lost": http.StatusUnauthorized, "created": http.StatusOK, "kept": http.StatusOK,
	} {
		r.becomes("the key "+name, r.keys[name], code)
	}
	r.rotateIdentity()
	if code := r.verifier.Get(r.T.Context(), "/readyz"); code != http.StatusOK {
		r.T.Errorf("/readyz: %d", code)
	}
	select {
	case <-r.verifier.Exited():
		r.T.Errorf("the verifier ended: %v", r.verifier.Err())
	default:
	}
	ends := r.manager.ended()
	if len(ends) != 1 || ends[0] == nil || !strings.Contains(world.Log.String(), "the API server's history was replaced") {
		r.T.Errorf("the manager ended %d times (%v), want once because the history was replaced\n%s", len(ends), ends, world.Log.String())
	}
}

// rotateIdentity revokes the chatbot's HMAC secret.
func (r *restored) rotateIdentity() {
	r.T.Helper()
	patch := fmt.Sprintf(`{"spec":{"identityVerification":{"rotation":{"revokeIssuedBefore":%q}}}}`, time.Now().UTC().Format(time.RFC3339))
	must(r.T, admin.Patch(r.T.Context(), r.bot, client.RawPatch(types.MergePatchType, []byte(patch))))
	r.identifies(r.signature, http.StatusUnauthorized)
	eventually(r.T, "the chatbot has another HMAC secret", func() bool { return r.sign() != r.signature })
	r.identifies(r.sign(), http.StatusOK)
}

func (r *restored) becomes(what, text string, code int) {
	r.T.Helper()
	eventually(r.T, fmt.Sprintf("%s is answered with %d", what, code), func() bool { return r.verify(text) == code })
}

// verify returns the status code of a key; 0 if the verifier does not answer.
func (r *restored) verify(text string) int {
	code, _, _ := r.verifier.Verify(r.T.Context(), text) // without an answer, the code is 0
	return code
}

func (r *restored) identifies(signature string, code int) {
	r.T.Helper()
	body, err := json.Marshal(map[string]string{"chatbotId": r.bot.Status.ChatbotID, "userId": "u-1", "hash": signature})
	must(r.T, err)
	eventually(r.T, fmt.Sprintf("the signature of a visitor is answered with %d", code), func() bool {
		return codeOf(http.Post(r.verifier.URL()+"/v1/identity/verify", "application/json", bytes.NewReader(body))) == code
	})
}

func codeOf(response *http.Response, err error) int {
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}
