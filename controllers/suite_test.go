// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientevents "k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var (
	cluster *controlplane.Cluster
	live    client.WithWatch
)

func TestMain(m *testing.M) {
	os.Exit(controlplane.RunSuite(controlplane.Options{}, prepare, func() (int, error) { return m.Run(), nil }))
}

func prepare(ctx context.Context, started *controlplane.Cluster) error {
	cluster = started
	if _, err := envtest.InstallCRDs(cluster.Config, envtest.CRDInstallOptions{Paths: []string{filepath.Join("..", "config", "crd", "bases")}}); err != nil {
		return err
	}
	if err := cluster.StartControllerManager(ctx, nil); err != nil {
		return err
	}
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	if live, err = client.NewWithWatch(cluster.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	return live.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.IdentityNamespace}})
}

// world is a namespace with one key, operators that share a clock, and what tests ask about them.
type world struct {
	t         *testing.T
	namespace string
	clock     *clocktesting.FakePassiveClock
	client    client.Client
	// requireEnvironment is the manager's flag.
	requireEnvironment bool
	// onCreate is called after a record was created, once.
	onCreate func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "matrix-"}}
	if err := live.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	return &world{t: t, namespace: namespace.Name, clock: clocktesting.NewFakePassiveClock(now), client: live}
}

// operator returns a freshly started operator that writes through the given client.
func (w *world) operator(writes client.Client) *apikeys.Reconciler {
	return &apikeys.Reconciler{
		Client: writes, Live: live, Recorder: clientevents.NewFakeRecorder(1000), Clock: w.clock,
		UsageNamespace: w.namespace, RequireEnvironment: w.requireEnvironment,
	}
}

const keyName = "production-server"

func (w *world) request() ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: keyName}}
}

func (w *world) create(change func(*v1alpha1.DGbotAPIKey)) {
	w.t.Helper()
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: keyName},
		Spec: v1alpha1.DGbotAPIKeySpec{
			Label: "Production server", Environment: "production", Scopes: []v1alpha1.Scope{"conversations.read"},
			Rotation: &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: time.Hour}},
		},
	}
	if change != nil {
		change(key)
	}
	if err := live.Create(w.t.Context(), key); err != nil {
		w.t.Fatal(err)
	}
}

// edit changes the key as a user does.
func (w *world) edit(change func(*v1alpha1.DGbotAPIKey)) {
	w.t.Helper()
	key := w.key()
	before := key.DeepCopy()
	change(key)
	if err := live.Patch(w.t.Context(), key, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) key() *v1alpha1.DGbotAPIKey {
	w.t.Helper()
	key := &v1alpha1.DGbotAPIKey{}
	if err := live.Get(w.t.Context(), w.request().NamespacedName, key); err != nil {
		w.t.Fatal(err)
	}
	return key
}

// secret returns the Secret of the key's name; nil where there is none.
func (w *world) secret() *corev1.Secret {
	w.t.Helper()
	secret := &corev1.Secret{}
	found, err := read.Get(w.t.Context(), live, w.request().NamespacedName, secret)
	if err != nil {
		w.t.Fatal(err)
	}
	if !found {
		return nil
	}
	return secret
}

func (w *world) editSecret(change func(*corev1.Secret)) {
	w.t.Helper()
	secret := w.secret()
	change(secret)
	if err := live.Update(w.t.Context(), secret); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deleteSecret() {
	w.t.Helper()
	if err := live.Delete(w.t.Context(), w.secret()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) records() []v1alpha1.DGbotAPIKeyRecord {
	w.t.Helper()
	var list v1alpha1.DGbotAPIKeyRecordList
	if err := live.List(w.t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// first returns the record of revision 1; nil where there is none.
func (w *world) first() *v1alpha1.DGbotAPIKeyRecord {
	w.t.Helper()
	for _, record := range w.records() {
		if record.Spec.Revision == 1 {
			return &record
		}
	}
	return nil
}

// published returns the record of the key that the Secret holds; nil where there is none.
func (w *world) published() *v1alpha1.DGbotAPIKeyRecord {
	w.t.Helper()
	secret := w.secret()
	if secret == nil {
		return nil
	}
	hash := apikey.Hash(secret.Data[v1alpha1.DefaultSecretKey])
	for _, record := range w.records() {
		if record.Spec.Hash == hash {
			return &record
		}
	}
	return nil
}

// verifies says what a verifier would say of the key in the Secret.
func (w *world) verifies() standing.Verdict {
	w.t.Helper()
	record := w.published()
	if record == nil {
		return "Unknown"
	}
	return standing.Admit(record, w.clock.Now())
}

func (w *world) ready() *metav1.Condition {
	w.t.Helper()
	for _, condition := range w.key().Status.Conditions {
		if condition.Type == v1alpha1.ReadyCondition {
			return &condition
		}
	}
	return &metav1.Condition{Reason: "none"}
}

func (w *world) advance(by time.Duration) { w.clock.SetTime(w.clock.Now().Add(by)) }

func (w *world) second() *metav1.Time {
	return &metav1.Time{Time: w.clock.Now().UTC().Truncate(time.Second)}
}
