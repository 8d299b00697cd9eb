// SPDX-License-Identifier: Apache-2.0

// Package clusters tests the built verifier with two control planes: one that it runs in, and another one whose keys it accepts, as far as its
// file of sources allows.
package clusters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// staleness is --max-staleness of the verifiers, the smallest that there is.
const staleness = 5 * time.Second

var (
	// home is where the verifiers run, and eu the other cluster.
	home, eu *testenv.World
	// managers are those of home and of eu.
	managers [2]*process.Program
)

// manage starts the manager of a cluster.
func manage(ctx context.Context, world *testenv.World, number int) (err error) {
	managers[number], err = world.StartOperator(ctx, &world.Log, "--leader-elect=false", "--require-environment=false")
	return err
}

func TestMain(m *testing.M) {
	options := testenv.Options{
		Config: []string{"verifier"}, Build: []func() error{controlplane.BuildOperator, controlplane.BuildVerifier}, Within: 2 * time.Minute,
	}
	os.Exit(testenv.RunSuite(options, func(ctx context.Context, started *testenv.World) (err error) {
		home = started
		if eu, err = testenv.Start(ctx, testenv.Options{Config: []string{"verifier-source"}, Within: 2 * time.Minute}); err != nil {
			return err
		}
		if err := errors.Join(manage(ctx, home, 0), manage(ctx, eu, 1)); err != nil {
			return errors.Join(err, eu.Stop())
		}
		return nil
	}, func() (int, error) {
		code := m.Run()
		var err error
		for _, manager := range managers {
			err = errors.Join(err, manager.Stop())
		}
		return code, errors.Join(err, eu.Stop())
	}))
}

var must = testenv.Must

// verifier is a verifier of a test, with its file of sources.
type verifier struct {
	*testenv.Verifier
	t       *testing.T
	folder  string
	metrics string
	// eu leads to the other cluster.
	eu *testenv.Proxy
}

// newVerifier prepares the folder of a verifier, with a kubeconfig of the other cluster, eu.kubeconfig.
func newVerifier(t *testing.T) *verifier {
	t.Helper()
	v := &verifier{t: t, folder: t.TempDir(), eu: eu.NewProxy(t)}
	v.write("eu.kubeconfig", kubeconfig(t, "https://"+v.eu.Address))
	return v
}

// kubeconfig returns what the script of config/verifier-source, which docs/clusters.md names, prints in the other cluster.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	content, err := eu.SourceKubeconfig(t.Context(), server)
	must(t, err)
	return string(content)
}

func (v *verifier) write(name, content string) {
	v.t.Helper()
	// By renaming, as a mounted ConfigMap is replaced: the verifier must not read a half of it.
	path := filepath.Join(v.folder, name)
	must(v.t, os.WriteFile(path+".new", []byte(content), 0o600))
	must(v.t, os.Rename(path+".new", path))
}

// file returns a file of sources with the other cluster and fields of its entry.
func file(fields string) string {
	return "sources:\n- name: home\n- {name: eu, kubeconfig: eu.kubeconfig, usageNamespace: dgbot-system, " + fields + "}\n"
}

// staging lets the other cluster vouch for staging.
const staging = "environments: [staging]"

// start starts the verifier with a file, and waits until it is ready.
func (v *verifier) start(sources string, args ...string) *verifier {
	v.t.Helper()
	v.write("sources.yaml", sources)
	v.metrics = testenv.FreeAddress(v.t)
	v.Verifier = home.RunVerifier(v.t, append([]string{
		"--source-config=" + filepath.Join(v.folder, "sources.yaml"), "--max-staleness=" + staleness.String(), "--usage-flush-interval=200ms",
		"--metrics-bind-address=" + v.metrics, "--metrics-secure=false",
	}, args...)...)
	v.Client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	must(v.t, v.AwaitReady(v.t.Context(), 20*time.Millisecond, time.Minute))
	return v
}

// answer is what /v1/verify says of a key.
type answer struct {
	Valid                                                        bool
	Environment, Cluster, Label, Namespace, Name, UID, ChatbotID string
	Scopes                                                       []string
}

func (v *verifier) ask(text string) (int, answer) {
	v.t.Helper()
	var a answer
	code, body, err := v.Verify(v.t.Context(), text)
	must(v.t, err)
	must(v.t, json.Unmarshal(body, &a))
	return code, a
}

// becomes waits until a key is answered with a code.
func (v *verifier) becomes(what, text string, want int) {
	v.t.Helper()
	home.EventuallySeen(v.t, fmt.Sprintf("%s: %d", what, want), func() (bool, string) {
		code, a := v.ask(text)
		return code == want, fmt.Sprintf("%d %+v", code, a)
	})
}

// answers fails the test unless a key is answered with a code now.
func (v *verifier) answers(what, text string, want int) {
	v.t.Helper()
	if code, a := v.ask(text); code != want {
		v.t.Errorf("%s: %d %+v, want %d", what, code, a, want)
	}
}

// metric returns the value of a metric, with its labels, as the verifier exposes it; empty for none.
func (v *verifier) metric(name string) string {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, "http://"+v.metrics+"/metrics", nil)
	must(v.t, err)
	_, body, err := v.Ask(request)
	must(v.t, err)
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// issue creates a key in a namespace, and returns its text.
func issue(n *testenv.Namespace, name, environment string, change func(*v1alpha1.DGbotAPIKey)) string {
	n.T.Helper()
	n.CreateKey(name, func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Environment = environment
		if change != nil {
			change(k)
		}
	})
	n.AwaitReady(name)
	return n.KeyText(name)
}

// unknown returns the text of a key that no cluster knows any longer.
func unknown(t *testing.T, environment string) string {
	t.Helper()
	n := eu.NewNamespace(t, "unknown-")
	text := issue(n, "key", environment, nil)
	must(t, eu.Admin.Delete(t.Context(), n.Key("key")))
	n.Eventually("its records are gone", func() bool { return len(n.Records("")) == 0 })
	return text
}

// registrations returns the Leases of verifiers in the other cluster.
func registrations(t *testing.T) []coordinationv1.Lease {
	t.Helper()
	var leases coordinationv1.LeaseList
	must(t, eu.Admin.List(t.Context(), &leases, client.InNamespace(controlplane.OperatorNamespace), client.MatchingLabels{v1alpha1.VerifierLabel: "true"}))
	return leases.Items
}
