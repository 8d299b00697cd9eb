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
	"dgbot.io/key-operator/controllers/internal/verifiers"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv"
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

// fixture is a namespace with one key, reconcilers that share a clock, and what tests ask about them.
type fixture struct {
	*testenv.Namespace
	clock  *clocktesting.FakePassiveClock
	client client.Client
	// requireEnvironment is the manager's flag.
	requireEnvironment bool
	// onCreate is called after a record was created, once.
	onCreate func()
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	world := &testenv.World{Cluster: cluster, Admin: live}
	now := time.Now().UTC().Truncate(time.Second)
	return &fixture{Namespace: world.NewNamespace(t, "matrix-"), clock: clocktesting.NewFakePassiveClock(now), client: live}
}

// operator returns a freshly started operator that writes through the given client.
func (w *fixture) operator(writes client.Client) *apikeys.Reconciler {
	return &apikeys.Reconciler{
		Client: writes, Live: live, Recorder: clientevents.NewFakeRecorder(1000), Clock: w.clock,
		Verifiers:      &verifiers.Registry{Live: live, Namespace: w.Name, Clock: w.clock, Silence: w.clock},
		UsageNamespace: w.Name, RequireEnvironment: w.requireEnvironment,
	}
}

const keyName = "production-server"

func (w *fixture) request() ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: keyName}}
}

func (w *fixture) create(change func(*v1alpha1.DGbotAPIKey)) {
	w.T.Helper()
	w.CreateKey(keyName, func(key *v1alpha1.DGbotAPIKey) {
		key.Spec.Scopes = []v1alpha1.Scope{"conversations.read"}
		if change != nil {
			change(key)
		}
	})
}

// edit changes the key as a user does.
func (w *fixture) edit(change func(*v1alpha1.DGbotAPIKey)) {
	w.T.Helper()
	w.EditKey(keyName, change)
}

func (w *fixture) key() *v1alpha1.DGbotAPIKey {
	w.T.Helper()
	return w.Key(keyName)
}

// secret returns the Secret of the key's name; nil where there is none.
func (w *fixture) secret() *corev1.Secret {
	w.T.Helper()
	return w.Secret(keyName)
}

func (w *fixture) editSecret(change func(*corev1.Secret)) {
	w.T.Helper()
	secret := w.secret()
	change(secret)
	if err := live.Update(w.T.Context(), secret); err != nil {
		w.T.Fatal(err)
	}
}

func (w *fixture) deleteSecret() {
	w.T.Helper()
	if err := live.Delete(w.T.Context(), w.secret()); err != nil {
		w.T.Fatal(err)
	}
}

func (w *fixture) records() []v1alpha1.DGbotAPIKeyRecord {
	w.T.Helper()
	return w.Records("")
}

// first returns the record of revision 1; nil where there is none.
func (w *fixture) first() *v1alpha1.DGbotAPIKeyRecord {
	w.T.Helper()
	for _, record := range w.records() {
		if record.Spec.Revision == 1 {
			return &record
		}
	}
	return nil
}

// published returns the record of the key that the Secret holds; nil where there is none.
func (w *fixture) published() *v1alpha1.DGbotAPIKeyRecord {
	w.T.Helper()
	secret := w.secret()
	if secret == nil {
		return nil
	}
	return testenv.RecordOf(w.records(), string(secret.Data[v1alpha1.DefaultSecretKey]))
}

// verifies returns the verdict of a verifier on the key in the Secret.
func (w *fixture) verifies() standing.Verdict {
	w.T.Helper()
	return testenv.VerdictOf(w.published(), w.clock.Now())
}

func (w *fixture) ready() *metav1.Condition {
	w.T.Helper()
	for _, condition := range w.key().Status.Conditions {
		if condition.Type == v1alpha1.ReadyCondition {
			return &condition
		}
	}
	return &metav1.Condition{Reason: "none"}
}

func (w *fixture) advance(by time.Duration) { w.clock.SetTime(w.clock.Now().Add(by)) }

func (w *fixture) second() *metav1.Time {
	return &metav1.Time{Time: w.clock.Now().UTC().Truncate(time.Second)}
}
