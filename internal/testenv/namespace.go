// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// Namespace is a namespace of a test's own. Its methods end the test at an error.
type Namespace struct {
	T    *testing.T
	Name string

	world *World
}

// NewNamespace creates a namespace whose name begins with a prefix.
func (w *World) NewNamespace(t *testing.T, prefix string) *Namespace {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	Must(t, w.Admin.Create(t.Context(), namespace))
	return w.Namespace(t, namespace.Name)
}

// Namespace returns a namespace that exists.
func (w *World) Namespace(t *testing.T, name string) *Namespace {
	return &Namespace{T: t, Name: name, world: w}
}

// CreateKey creates a key as NewKey makes it, with a change that may be nil.
func (n *Namespace) CreateKey(name string, change func(*v1alpha1.DGbotAPIKey)) {
	n.T.Helper()
	Must(n.T, n.world.Admin.Create(n.T.Context(), NewKey(n.Name, name, change)))
}

// EditKey changes a key with a patch, as a user does.
func (n *Namespace) EditKey(name string, change func(*v1alpha1.DGbotAPIKey)) {
	n.T.Helper()
	key := n.Key(name)
	before := key.DeepCopy()
	change(key)
	Must(n.T, n.world.Admin.Patch(n.T.Context(), key, client.MergeFrom(before)))
}

// PatchKey changes a key with a merge patch.
func (n *Namespace) PatchKey(name, patch string) {
	n.T.Helper()
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: n.Name, Name: name}}
	Must(n.T, n.world.Admin.Patch(n.T.Context(), key, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// Key returns a key.
func (n *Namespace) Key(name string) *v1alpha1.DGbotAPIKey {
	n.T.Helper()
	key := &v1alpha1.DGbotAPIKey{}
	Must(n.T, n.world.Admin.Get(n.T.Context(), types.NamespacedName{Namespace: n.Name, Name: name}, key))
	return key
}

// Secret returns a Secret; nil if there is none.
func (n *Namespace) Secret(name string) *corev1.Secret {
	n.T.Helper()
	secret, err := ReadSecret(n.T.Context(), n.world.Admin, n.Name, name)
	Must(n.T, err)
	return secret
}

// KeyText returns the key text in a Secret; the empty string if there is no Secret.
func (n *Namespace) KeyText(secret string) string {
	n.T.Helper()
	published := n.Secret(secret)
	if published == nil {
		return ""
	}
	text := string(published.Data[v1alpha1.DefaultSecretKey])
	n.world.Remember(text)
	return text
}

// Records returns the records of a key, or of all keys of the namespace if the key's name is empty.
func (n *Namespace) Records(key string) []v1alpha1.DGbotAPIKeyRecord {
	n.T.Helper()
	records, err := ReadRecords(n.T.Context(), n.world.Admin, n.Name, key)
	Must(n.T, err)
	return records
}

// Verdict returns a verifier's verdict on a key text at present.
func (n *Namespace) Verdict(text string) standing.Verdict {
	n.T.Helper()
	return VerdictOf(RecordOf(n.Records(""), text), time.Now())
}

// Eventually waits until a condition holds.
func (n *Namespace) Eventually(what string, condition func() bool) {
	n.T.Helper()
	n.world.Eventually(n.T, what, condition)
}

// AwaitReady waits until a key is Ready in its present generation. The API server may be away meanwhile.
func (n *Namespace) AwaitReady(name string) {
	n.T.Helper()
	key := &v1alpha1.DGbotAPIKey{}
	n.world.await(n.T, pollInterval, n.world.limit(), name+" is Ready", func() (bool, string) {
		if err := n.world.Admin.Get(n.T.Context(), types.NamespacedName{Namespace: n.Name, Name: name}, key); err != nil {
			return false, err.Error()
		}
		return IsReady(key), fmt.Sprintf("%+v", key.Status.Conditions)
	})
}

// AwaitNotReady waits until a key is not Ready for a reason, in its present generation, and returns the condition.
func (n *Namespace) AwaitNotReady(name, reason string) *metav1.Condition {
	n.T.Helper()
	var condition *metav1.Condition
	n.Eventually(name+" is not Ready for "+reason, func() bool {
		condition = Readiness(n.Key(name))
		return condition != nil && condition.Status == metav1.ConditionFalse && condition.Reason == reason
	})
	return condition
}
