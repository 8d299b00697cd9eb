// SPDX-License-Identifier: Apache-2.0

// Package verifier tests the built verifier beside the built manager: each under its own service account on a real control
// plane, asked over HTTP.
package verifier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

var (
	cluster *controlplane.Cluster
	admin   client.WithWatch
	printed process.Log
	// operator runs all the time.
	operator *process.Program
)

// within bounds every wait; nothing takes nearly as long on an idle machine.
const within = 60 * time.Second

func TestMain(m *testing.M) {
	if err := errors.Join(controlplane.BuildOperator(), controlplane.BuildVerifier()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(controlplane.RunSuite(controlplane.Options{}, prepare, func() (int, error) { return m.Run(), operator.Stop() }))
}

func prepare(ctx context.Context, started *controlplane.Cluster) (err error) {
	cluster = started
	if admin, err = cluster.Furnish(ctx, "verifier"); err != nil {
		return err
	}
	operator, err = cluster.StartOperator(ctx, &printed, "--leader-elect=false")
	return err
}

// verifier is one that runs.
type verifier struct {
	t       *testing.T
	program *process.Program
	address string
	client  *http.Client
	scheme  string
}

// startVerifier runs a verifier for the test, with its log in one place with the manager's.
func startVerifier(t *testing.T, args ...string) *verifier {
	t.Helper()
	v := &verifier{t: t, address: freeAddress(t), client: &http.Client{Timeout: 10 * time.Second}, scheme: "http"}
	program, err := cluster.StartVerifier(t.Context(), &printed, append([]string{"--http-bind-address=" + v.address, "--drain-delay=0s"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	v.program = program
	t.Cleanup(func() {
		select {
		case <-program.Exited():
		default:
			if err := program.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return v
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := process.FreeAddress()
	must(t, err)
	return address
}

// get returns the status code of a path; 0 where nobody answers.
func (v *verifier) get(path string) int {
	response, err := v.client.Get(v.scheme + "://" + v.address + path)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func (v *verifier) ready() {
	v.t.Helper()
	eventually(v.t, "the verifier is ready", func() bool { return v.get("/readyz") == http.StatusOK })
}

// ends waits until the verifier has ended by itself, and well.
func (v *verifier) ends() {
	v.t.Helper()
	select {
	case <-v.program.Exited():
		must(v.t, v.program.Err())
	case <-time.After(within):
		v.t.Error("it does not end")
	}
}

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

// verify asks whether a key is good; 0 where nobody answers.
func (v *verifier) verify(text string) (code int, said identity) {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.scheme+"://"+v.address+"/v1/verify", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+text)
	response, err := v.client.Do(request)
	if err != nil {
		return 0, said
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, said
	}
	if err := json.Unmarshal(body, &said); err != nil {
		v.t.Errorf("%d: %s: %v", response.StatusCode, body, err)
	}
	return response.StatusCode, said
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
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, within, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("not within %s: %s\n%s", within, what, printed.String())
	}
}

// place is a namespace of a test's own.
type place struct {
	t    *testing.T
	name string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "verifier-"}}
	must(t, admin.Create(t.Context(), namespace))
	return &place{t: t, name: namespace.Name}
}

// key creates a key and returns its text.
func (p *place) key(name, environment string) string {
	p.t.Helper()
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.name, Name: name},
		Spec: v1alpha1.DGbotAPIKeySpec{
			Label: "CRM", Environment: environment, Scopes: []v1alpha1.Scope{"conversations.read"},
			Rotation: &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: time.Hour}},
		},
	}
	rules := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: environment}}
	must(p.t, client.IgnoreAlreadyExists(admin.Create(p.t.Context(), rules)))
	must(p.t, admin.Create(p.t.Context(), key))
	eventually(p.t, name+" is Ready", func() bool {
		must(p.t, admin.Get(p.t.Context(), client.ObjectKeyFromObject(key), key))
		return apimeta.IsStatusConditionTrue(key.Status.Conditions, v1alpha1.ReadyCondition)
	})
	return p.text(name)
}

func (p *place) text(name string) string {
	p.t.Helper()
	secret := &corev1.Secret{}
	must(p.t, admin.Get(p.t.Context(), types.NamespacedName{Namespace: p.name, Name: name}, secret))
	return string(secret.Data[v1alpha1.DefaultSecretKey])
}

// patch changes the key crm.
func (p *place) patch(patch string) {
	p.t.Helper()
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: p.name, Name: "crm"}}
	must(p.t, admin.Patch(p.t.Context(), key, client.RawPatch(types.MergePatchType, []byte(patch))))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
