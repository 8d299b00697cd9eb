// SPDX-License-Identifier: Apache-2.0

// Package api tests what the API server makes of manifests with config/default installed: what it rejects and in which
// words, what it accepts, and that the operator can decode whatever it accepts. No operator runs.
package api

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/controllers"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var (
	cluster *controlplane.Cluster
	admin   client.Client
)

const (
	namespace = "tenant"

	// clusterAdmin is bound to cluster-admin in the whole cluster.
	clusterAdmin = "carol"
	// namespaceAdmin may do everything with everything in the namespace, as far as a RoleBinding goes.
	namespaceAdmin = "alice"
	// editor may edit keys, and use the environment staging only.
	editor = "bob"
)

func TestMain(m *testing.M) {
	os.Exit(controlplane.RunSuite(controlplane.Options{}, prepare, func() (int, error) { return m.Run(), nil }))
}

func prepare(ctx context.Context, started *controlplane.Cluster) error {
	cluster = started
	if err := cluster.Install(ctx); err != nil {
		return err
	}
	var err error
	if admin, err = clientOf(""); err != nil {
		return err
	}
	for _, object := range people() {
		if err := admin.Create(ctx, object); err != nil {
			return fmt.Errorf("creating %T %s: %w", object, object.GetName(), err)
		}
	}
	return waitForPolicies(ctx)
}

// people are the users of the tests and what they may do.
func people() []client.Object {
	binding := func(user, role string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: user}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		}
	}
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: clusterAdmin},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: clusterAdmin}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		},
		binding(namespaceAdmin, "cluster-admin"),
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "key-editor"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"keys.dgbot.io"}, Resources: []string{"dgbotapikeys", "dgbotapikeys/status", "dgbotchatbots"}, Verbs: []string{"*"}},
			{APIGroups: []string{"keys.dgbot.io"}, Resources: []string{"dgbotenvironments"}, ResourceNames: []string{"staging"}, Verbs: []string{"use"}},
		}},
		binding(editor, "key-editor"),
	}
}

// clientOf returns a client of a user that validates strictly, as kubectl does; of the cluster's first admin where user
// is empty.
func clientOf(user string) (client.Client, error) {
	scheme, err := controllers.Scheme()
	if err != nil {
		return nil, err
	}
	config := cluster.Config
	if user != "" {
		config = cluster.UserConfig(user)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	return client.WithFieldValidation(c, metav1.FieldValidationStrict), nil
}

// waitForPolicies waits until each policy has refused something: they take effect about a second after they are created.
func waitForPolicies(ctx context.Context) error {
	alice, err := clientOf(namespaceAdmin)
	if err != nil {
		return err
	}
	bob, err := clientOf(editor)
	if err != nil {
		return err
	}
	key := object(goodKey)
	if err := admin.Create(ctx, key); err != nil {
		return err
	}
	record := object(goodRecord)
	if err := admin.Create(ctx, record); err != nil {
		return err
	}
	defer func() { _, _ = admin.Delete(ctx, key), admin.Delete(ctx, record) }()
	probes := map[string]func() error{
		"dgbot-apikeys": func() error { return bob.Create(ctx, object(goodKey), client.DryRunAll) },
		"dgbot-chatbots": func() error {
			return alice.Create(ctx, object(goodChatbot, `{"spec": {"chatbotID": "cb_known"}}`), client.DryRunAll)
		},
		"dgbot-records": func() error { return alice.Create(ctx, object(goodRecord), client.DryRunAll) },
		"dgbot-apikey-status": func() error {
			return alice.Status().Patch(ctx, key.DeepCopy(), mergePatch(`{"status":{"observedGeneration":7}}`), client.DryRunAll)
		},
		"dgbot-record-status": func() error {
			return alice.Status().Patch(ctx, record.DeepCopy(), mergePatch(`{"metadata":{"labels":{"a":"b"}}}`), client.DryRunAll)
		},
	}
	for policy, probe := range probes {
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
			err := probe()
			return apierrors.IsForbidden(err) && strings.Contains(err.Error(), policy), nil
		})
		if err != nil {
			return fmt.Errorf("policy %s does not take effect: %w", policy, err)
		}
	}
	return nil
}

const goodKey = `{
  "apiVersion": "keys.dgbot.io/v1alpha1", "kind": "DGbotAPIKey",
  "metadata": {"name": "crm", "namespace": "tenant"},
  "spec": {
    "label": "Production server", "environment": "production", "scopes": ["conversations.read"],
    "chatbotRef": {"name": "support-bot"},
    "expiresAt": "2126-01-01T00:00:00Z",
    "rotation": {"interval": "2160h", "overlap": "24h"},
    "secret": {"name": "dgbot-production", "key": "token", "template": {"labels": {"app": "crm"}}}
  }
}`

const goodRecord = `{
  "apiVersion": "keys.dgbot.io/v1alpha1", "kind": "DGbotAPIKeyRecord",
  "metadata": {"name": "crm-00000000-r1", "namespace": "tenant", "labels": {"keys.dgbot.io/api-key": "0-0"}},
  "spec": {
    "apiKeyRef": {"name": "crm", "uid": "0-0"}, "revision": 1, "cause": "FirstIssue", "keyID": "abcdefABCDEF",
    "hash": "sha256:0000000000000000000000000000000000000000000000000000000000000000", "environment": "production",
    "issuedAt": "2026-01-01T00:00:00Z", "label": "Production server", "notAfter": "2126-01-01T00:00:00Z"
  }
}`

const goodChatbot = `{
  "apiVersion": "keys.dgbot.io/v1alpha1", "kind": "DGbotChatbot",
  "metadata": {"name": "support-bot", "namespace": "tenant"},
  "spec": {
    "displayName": "Support bot", "environment": "production",
    "widget": {"configMapName": "web", "scriptURL": "https://cdn.example.com:8443/widget.js?v=1&a=b"},
    "identityVerification": {
      "rotation": {"interval": "2160h", "overlap": "24h", "requestedAt": "2026-01-01T00:00:00Z", "revokeIssuedBefore": "2026-01-01T00:00:00Z"},
      "secret": {"name": "web-identity", "template": {"labels": {"team": "web"}}}, "acceptPlain": true
    }
  }
}`

// object makes an object of a JSON manifest and merge patches on top of it.
func object(manifest string, patches ...string) *unstructured.Unstructured {
	content := []byte(manifest)
	for _, patch := range patches {
		var err error
		if content, err = jsonpatch.MergePatch(content, []byte(patch)); err != nil {
			panic(fmt.Sprintf("patch %s: %v", patch, err))
		}
	}
	result := &unstructured.Unstructured{}
	if err := json.Unmarshal(content, result); err != nil {
		panic(fmt.Sprintf("manifest %s: %v", content, err))
	}
	return result
}

func mergePatch(patch string) client.Patch {
	return client.RawPatch("application/merge-patch+json", []byte(patch))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
