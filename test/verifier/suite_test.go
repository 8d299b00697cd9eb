// SPDX-License-Identifier: Apache-2.0

// Package verifier tests the built verifier beside the built manager: each under its own service account on a real control
// plane, asked over HTTP.
package verifier

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

var (
	world *testenv.World
	admin client.WithWatch
	// operator runs all the time.
	operator *process.Program
)

func TestMain(m *testing.M) {
	options := testenv.Options{Config: []string{"verifier"}, Build: []func() error{controlplane.BuildOperator, controlplane.BuildVerifier}}
	os.Exit(testenv.RunSuite(options, prepare, func() (int, error) { return m.Run(), operator.Stop() }))
}

func prepare(ctx context.Context, started *testenv.World) (err error) {
	world, admin = started, started.Admin
	operator, err = world.StartOperator(ctx, &world.Log, "--leader-elect=false")
	return err
}

var must = testenv.Must

// verifier is a verifier that runs for a test.
type verifier struct {
	*testenv.Verifier
	t *testing.T
}

// startVerifier runs a verifier for the test, with its log in one place with the manager's.
func startVerifier(t *testing.T, args ...string) *verifier {
	t.Helper()
	v := &verifier{Verifier: world.RunVerifier(t, args...), t: t}
	v.Client = &http.Client{Timeout: 10 * time.Second}
	return v
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := process.FreeAddress()
	must(t, err)
	return address
}

// get returns the status code of a path; 0 if the verifier does not answer.
func (v *verifier) get(path string) int { return v.Get(v.t.Context(), path) }

func (v *verifier) ready() {
	v.t.Helper()
	must(v.t, v.AwaitReady(v.t.Context(), 20*time.Millisecond, within))
}

// ends waits until the verifier has ended by itself, without an error.
func (v *verifier) ends() {
	v.t.Helper()
	select {
	case <-v.Exited():
		must(v.t, v.Err())
	case <-time.After(within):
		v.t.Error("the verifier does not end")
	}
}

// within bounds what a test waits for by itself.
const within = time.Minute

// identity is the body of a good answer.
type identity struct {
	Valid       bool     `json:"valid"`
	KeyID       string   `json:"keyID"`
	Environment string   `json:"environment"`
	Label       string   `json:"label"`
	Scopes      []string `json:"scopes"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Revision    int64    `json:"revision"`
}

// verify presents a key; the code is 0 if the verifier does not answer.
func (v *verifier) verify(text string) (code int, said identity) {
	v.t.Helper()
	code, body, err := v.Verify(v.t.Context(), text)
	if err != nil {
		return 0, said
	}
	if err := json.Unmarshal(body, &said); err != nil {
		v.t.Errorf("%d: %s: %v", code, body, err)
	}
	return code, said
}

// becomes waits until a key is answered with a code.
func (v *verifier) becomes(what, text string, code int) {
	v.t.Helper()
	eventually(v.t, fmt.Sprintf("%s is answered with %d", what, code), func() bool {
		got, _ := v.verify(text)
		return got == code
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	world.Eventually(t, what, condition)
}

// place is a namespace of a test's own.
type place struct{ *testenv.Namespace }

func newPlace(t *testing.T) *place {
	t.Helper()
	return &place{world.NewNamespace(t, "verifier-")}
}

// key creates a key and returns its text.
func (p *place) key(name, environment string) string {
	p.T.Helper()
	rules := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: environment}}
	must(p.T, client.IgnoreAlreadyExists(admin.Create(p.T.Context(), rules)))
	p.CreateKey(name, func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Label, k.Spec.Environment, k.Spec.Scopes = "CRM", environment, []v1alpha1.Scope{"conversations.read"}
	})
	p.AwaitReady(name)
	return p.KeyText(name)
}
