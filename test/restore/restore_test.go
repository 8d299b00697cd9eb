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
	"net/url"
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
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// writes is how far the old history goes beyond the backup.
const writes = 400

// TestRestore_IsFollowedWhereVersionsLieInTheFuture: the API server is back with revisions that are lower than those that the
// verifier and the manager have seen.
func TestRestore_IsFollowedWhereVersionsLieInTheFuture(t *testing.T) {
	w := newWorld(t)
	w.restore()
	w.follows()
}

// TestRestore_IsFollowedWhereVersionsWerePassed: until the connection is back, the restored history has gone beyond the
// revisions that the verifier and the manager have seen.
func TestRestore_IsFollowedWhereVersionsWerePassed(t *testing.T) {
	w := newWorld(t)
	w.proxy.cut()
	w.restore()
	for present := 0; present <= w.reached; {
		written := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "passing-"}}
		must(t, admin.Create(t.Context(), written))
		present = revision(t, written.ResourceVersion)
	}
	w.proxy.open(t)
	w.follows()
}

// world is a namespace with keys and a chatbot, a backup from when they were there, and a verifier and a manager that have
// followed the history beyond it.
type world struct {
	t         *testing.T
	namespace string
	proxy     *proxy
	manager   *deployment
	verifier  *process.Program
	address   string
	backup    string
	// reached is the revision up to which the old history goes.
	reached int
	// keys are the texts by the names of their DGbotAPIKeys.
	keys map[string]string
	bot  *v1alpha1.DGbotChatbot
	// signature is one of the chatbot's visitor u-1.
	signature string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "restore-"}}
	must(t, admin.Create(t.Context(), namespace))
	w := &world{t: t, namespace: namespace.Name, keys: map[string]string{}}
	server, err := url.Parse(cluster.Config.Host)
	must(t, err)
	if server.Host == "" {
		server.Host = cluster.Config.Host
	}
	w.proxy = newProxy(t, server.Host)
	w.manager = deployManager(t, w.through(controlplane.OperatorAccount))
	for _, name := range []string{"kept", "revoked", "deleted"} {
		w.issue(name)
	}
	w.createChatbot()
	w.backup, err = cluster.BackUpEtcd()
	must(t, err)
	eventually(t, "the API server is back after the backup", w.apiServerAnswers)
	w.startVerifier()
	for name, text := range w.keys {
		w.becomes("the key "+name, text, http.StatusOK)
	}
	w.identifies(w.signature, http.StatusOK)
	w.writeBeyond()
	return w
}

// through returns the config of a service account, by way of the proxy.
func (w *world) through(account string) *rest.Config {
	w.t.Helper()
	config, err := cluster.ServiceAccountConfig(w.t.Context(), controlplane.OperatorNamespace, account)
	must(w.t, err)
	config.Host = "https://" + w.proxy.address
	return config
}

func (w *world) startVerifier() {
	w.t.Helper()
	var err error
	w.address, err = process.FreeAddress()
	must(w.t, err)
	w.verifier, err = cluster.StartVerifierWith(w.through(controlplane.VerifierAccount), &printed, "--http-bind-address="+w.address,
		"--drain-delay=0s", "--max-staleness=10m")
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, w.verifier.Stop()) })
}

// issue creates a key and waits until it is Ready.
func (w *world) issue(name string) {
	w.t.Helper()
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.DGbotAPIKeySpec{Label: "CRM", Environment: "staging", Scopes: []v1alpha1.Scope{"conversations.read"}},
	}
	must(w.t, admin.Create(w.t.Context(), key))
	eventually(w.t, name+" is Ready", func() bool {
		return admin.Get(w.t.Context(), client.ObjectKeyFromObject(key), key) == nil && apimeta.IsStatusConditionTrue(key.Status.Conditions, v1alpha1.ReadyCondition)
	})
	w.keys[name] = string(w.secret(name).Data[v1alpha1.DefaultSecretKey])
}

func (w *world) createChatbot() {
	w.t.Helper()
	w.bot = &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "bot"},
		Spec: v1alpha1.DGbotChatbotSpec{
			DisplayName: "Support bot", Environment: "staging", IdentityVerification: &v1alpha1.IdentityVerification{AcceptPlain: true},
		},
	}
	must(w.t, admin.Create(w.t.Context(), w.bot))
	eventually(w.t, "the chatbot is Ready", func() bool {
		return admin.Get(w.t.Context(), client.ObjectKeyFromObject(w.bot), w.bot) == nil && apimeta.IsStatusConditionTrue(w.bot.Status.Conditions, v1alpha1.ReadyCondition)
	})
	w.signature = w.sign()
}

// sign returns the plain signature of visitor u-1 by the chatbot's present HMAC secret.
func (w *world) sign() string {
	w.t.Helper()
	mac := hmac.New(sha256.New, w.secret("bot-identity").Data[v1alpha1.IdentitySecretKey])
	_, _ = mac.Write([]byte("u-1"))
	return hex.EncodeToString(mac.Sum(nil))
}

func (w *world) secret(name string) *corev1.Secret {
	w.t.Helper()
	secret := &corev1.Secret{}
	must(w.t, admin.Get(w.t.Context(), types.NamespacedName{Namespace: w.namespace, Name: name}, secret))
	return secret
}

// writeBeyond writes what the backup does not have: a key, and many changes of records and HMAC secrets, which verifier and
// manager both watch.
func (w *world) writeBeyond() {
	w.t.Helper()
	var records v1alpha1.DGbotAPIKeyRecordList
	must(w.t, admin.List(w.t.Context(), &records, client.InNamespace(w.namespace)))
	var replicas corev1.SecretList
	must(w.t, admin.List(w.t.Context(), &replicas, client.InNamespace(v1alpha1.IdentityNamespace)))
	if len(records.Items) == 0 || len(replicas.Items) == 0 {
		w.t.Fatalf("%d records, %d replicas", len(records.Items), len(replicas.Items))
	}
	for i := range writes {
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/count":"%d"}}}`, i))
		for _, object := range []client.Object{&records.Items[i%len(records.Items)], &replicas.Items[i%len(replicas.Items)]} {
			must(w.t, admin.Patch(w.t.Context(), object, patch))
		}
	}
	// The last write: a verifier that accepts this key has received all records before it.
	w.issue("lost")
	w.becomes("the key of after the backup", w.keys["lost"], http.StatusOK)
	w.reached = w.version()
}

// version returns the revision of the history at present.
func (w *world) version() int {
	w.t.Helper()
	var list corev1.NamespaceList
	must(w.t, admin.List(w.t.Context(), &list, client.Limit(1)))
	return revision(w.t, list.ResourceVersion)
}

func revision(t *testing.T, resourceVersion string) int {
	t.Helper()
	number, err := strconv.Atoi(resourceVersion)
	must(t, err)
	return number
}

// restore restores etcd. A good key is accepted throughout.
func (w *world) restore() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			if code := w.verify(w.keys["kept"]); code != http.StatusOK {
				w.t.Errorf("a good key is answered with %d during the restore", code)
				return
			}
		}
	})
	must(w.t, cluster.RestoreEtcd(w.backup))
	eventually(w.t, "the API server is back after the restore", w.apiServerAnswers)
	cancel()
	asking.Wait()
	if now := w.version(); now >= w.reached {
		w.t.Fatalf("the restored history is at %d already, the old one at %d", now, w.reached)
	}
}

func (w *world) apiServerAnswers() bool {
	return cluster.Kubectl(w.t.Context(), "get", "--raw", "/readyz").Run() == nil
}

// follows makes changes in the restored history, and waits until the verifier and the manager follow each.
func (w *world) follows() {
	w.t.Helper()
	w.becomes("the key that the backup does not have", w.keys["lost"], http.StatusUnauthorized)
	revoked := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "revoked"}}
	must(w.t, admin.Patch(w.t.Context(), revoked, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Revoked"}}`))))
	deleted := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "deleted"}}
	must(w.t, admin.Delete(w.t.Context(), deleted))
	w.issue("created")
	for name, code := range map[string]int{
		"revoked": http.StatusUnauthorized, "deleted": http.StatusUnauthorized, "lost": http.StatusUnauthorized, "created": http.StatusOK, "kept": http.StatusOK,
	} {
		w.becomes("the key "+name, w.keys[name], code)
	}
	w.rotateIdentity()
	if code := w.get("/readyz"); code != http.StatusOK {
		w.t.Errorf("/readyz: %d", code)
	}
	select {
	case <-w.verifier.Exited():
		w.t.Errorf("the verifier ended: %v", w.verifier.Err())
	default:
	}
	ends := w.manager.ended()
	if len(ends) != 1 || ends[0] == nil || !strings.Contains(printed.String(), "the API server's history was replaced") {
		w.t.Errorf("the manager ended %d times (%v), want once because the history was replaced\n%s", len(ends), ends, printed.String())
	}
}

// rotateIdentity revokes the chatbot's HMAC secret.
func (w *world) rotateIdentity() {
	w.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"identityVerification":{"rotation":{"revokeIssuedBefore":%q}}}}`, time.Now().UTC().Format(time.RFC3339))
	must(w.t, admin.Patch(w.t.Context(), w.bot, client.RawPatch(types.MergePatchType, []byte(patch))))
	w.identifies(w.signature, http.StatusUnauthorized)
	eventually(w.t, "the chatbot has another HMAC secret", func() bool { return w.sign() != w.signature })
	w.identifies(w.sign(), http.StatusOK)
}

func (w *world) becomes(what, text string, code int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%s is answered with %d", what, code), func() bool { return w.verify(text) == code })
}

// verify returns the status code of a key; 0 if the verifier does not answer.
func (w *world) verify(text string) int {
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+w.address+"/v1/verify", nil)
	if err != nil {
		return 0
	}
	request.Header.Set("Authorization", "Bearer "+text)
	return codeOf(http.DefaultClient.Do(request))
}

func (w *world) identifies(signature string, code int) {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"chatbotId": w.bot.Status.ChatbotID, "userId": "u-1", "hash": signature})
	must(w.t, err)
	eventually(w.t, fmt.Sprintf("the signature of a visitor is answered with %d", code), func() bool {
		return codeOf(http.Post("http://"+w.address+"/v1/identity/verify", "application/json", bytes.NewReader(body))) == code
	})
}

func (w *world) get(path string) int { return codeOf(http.Get("http://" + w.address + path)) }

func codeOf(response *http.Response, err error) int {
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}
