// SPDX-License-Identifier: Apache-2.0

// Package policy tests the admission policies of config/default on an API server, without an operator: what they warn of, what
// they reject, and what passes without a message. It covers keys in clear text, and requests and metadata of our kinds.
package policy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

const (
	// ordinary has no label, so writers are warned.
	ordinary = "ordinary"
	// strict refuses.
	strict = "strict"
	// exempt has the policy switched off.
	exempt = "exempt"

	label = "keys.dgbot.io/leaks"
)

var (
	cluster *controlplane.Cluster
	admin   client.Client
	heard   = &listener{}
	// audit is the path of the API server's audit log.
	audit string
	// key is the key that leaks in these tests.
	key string
)

func TestMain(m *testing.M) {
	folder, err := process.TempDir("policy")
	if err == nil {
		audit = filepath.Join(folder, "audit.log")
		err = os.WriteFile(filepath.Join(folder, "policy.yaml"),
			[]byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {level: Metadata, namespaces: ["+ordinary+"]}\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := controlplane.RunSuite(controlplane.Options{APIServerArgs: map[string][]string{
		"audit-policy-file": {filepath.Join(folder, "policy.yaml")}, "audit-log-path": {audit}, "audit-log-mode": {"blocking"},
	}}, prepare, func() (int, error) { return m.Run(), nil })
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

func prepare(ctx context.Context, started *controlplane.Cluster) error {
	cluster = started
	minted, err := apikey.Mint("production")
	if err != nil {
		return err
	}
	key = minted.Reveal()
	if err := cluster.Install(ctx); err != nil {
		return err
	}
	config := rest.CopyConfig(cluster.Config)
	config.WarningHandler = heard
	if admin, err = client.New(config, client.Options{Scheme: scheme.Scheme}); err != nil {
		return err
	}
	for name, labels := range map[string]map[string]string{ordinary: nil, strict: {label: "deny"}, exempt: {label: "allow"}} {
		if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}); err != nil {
			return err
		}
	}
	return waitForPolicies(ctx)
}

// waitForPolicies waits until each binding has said something: they take effect about a second after they are created.
func waitForPolicies(ctx context.Context) error {
	labelled := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "probe", Labels: map[string]string{label: "yes"}}}
	leak, large := configMap(map[string]string{"x": key}), configMap(map[string]string{"x": padded(key, 300_000)})
	for binding, probe := range map[string]func() (said, error){
		"dgbot-leaks":        func() (said, error) { return create(ctx, ordinary, leak) },
		"dgbot-leaks-deny":   func() (said, error) { return create(ctx, strict, leak) },
		"dgbot-leaks-notice": func() (said, error) { return create(ctx, ordinary, large) },
		"dgbot-requests":     func() (said, error) { return create(ctx, ordinary, apiKey(annotated("keys.dgbot.io/unknown", ""))) },
		"dgbot-sizes":        func() (said, error) { return create(ctx, ordinary, tooLarge()) },
		"dgbot-notices":      func() (said, error) { return create(ctx, ordinary, apiKey(annotated("helm.sh/hook", "pre-install"))) },
		"dgbot-verifiers": func() (said, error) {
			return during(func() error { return admin.Create(ctx, registered("probe", "another user"), client.DryRunAll) })
		},
		"dgbot-namespace-labels": func() (said, error) {
			return during(func() error { return admin.Create(ctx, labelled.DeepCopy(), client.DryRunAll) })
		},
	} {
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
			said, err := probe()
			return strings.Contains(said.all(), "with binding '"+binding+"'"), err
		})
		if err != nil {
			return fmt.Errorf("binding %s does not take effect: %w", binding, err)
		}
	}
	return nil
}

// listener keeps the warnings of the request that is under way.
type listener struct {
	mutex    sync.Mutex
	warnings []string
}

func (l *listener) HandleWarningHeader(_ int, _ string, text string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.warnings = append(l.warnings, text)
}

// said is the answer to a write.
type said struct {
	warnings []string
	// refusal is empty if the write was accepted.
	refusal string
}

func (s said) all() string { return strings.Join(append(slices.Clone(s.warnings), s.refusal), "\n") }

// during does a write and collects what is said of it. An error is what no policy has said.
func during(write func() error) (said, error) {
	heard.mutex.Lock()
	heard.warnings = nil
	heard.mutex.Unlock()
	err := write()
	heard.mutex.Lock()
	defer heard.mutex.Unlock()
	result := said{warnings: slices.Clone(heard.warnings)}
	if (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
		result.refusal, err = err.Error(), nil
	}
	return result, err
}

// create tells what is said when the object is created in the namespace, without creating it.
func create(ctx context.Context, namespace string, object client.Object) (said, error) {
	object, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		return said{}, fmt.Errorf("%T is no object", object)
	}
	object.SetNamespace(namespace)
	return during(func() error { return admin.Create(ctx, object, client.DryRunAll) })
}

func mustCreate(t *testing.T, namespace string, object client.Object) said {
	t.Helper()
	result, err := create(t.Context(), namespace, object)
	must(t, err)
	return result
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const remedy = `. Take it out, and read it from the Secret that its DGbotAPIKey publishes (secretKeyRef, or a volume). Users who could read ` +
	`this have the key: replace it with "kubectl annotate dgkey NAME -n NAMESPACE --overwrite keys.dgbot.io/revoke-issued-before=$(date -u +%FT%TZ)"`

// found is the sentence about keys in these places.
func found(places string) string { return "a DGbot API key stands in clear text in " + places + remedy }

func kept(places string) string {
	return "a DGbot API key stands in clear text, as it did before this update, in " + places +
		`. Take it out, and replace it with "kubectl annotate dgkey NAME -n NAMESPACE --overwrite keys.dgbot.io/revoke-issued-before=$(date -u +%FT%TZ)"`
}

func unsearched(what string) string {
	return "not searched for DGbot API keys: there " + what + ". Search the manifest with gitleaks (docs/leaks.md)"
}

// expect compares what was said with the sentences wanted. A warning names policy and binding, a refusal the object too.
func (s said) expect(t *testing.T, warnings []string, refusal string) {
	t.Helper()
	var got []string
	for _, warning := range s.warnings {
		if _, sentence, ok := strings.Cut(warning, "': "); ok && strings.HasPrefix(warning, "Validation failed for ValidatingAdmissionPolicy 'dgbot-leaks") {
			warning = sentence
		}
		got = append(got, warning)
	}
	if !slices.Equal(got, warnings) {
		t.Errorf("warned:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(warnings, "\n"))
	}
	const denied = "ValidatingAdmissionPolicy 'dgbot-leaks' with binding 'dgbot-leaks-deny' denied request: "
	if _, sentence, _ := strings.Cut(s.refusal, denied); sentence != refusal || s.refusal == "" != (refusal == "") {
		t.Errorf("refused:\n%s\nwant:\n%s", s.refusal, refusal)
	}
	if strings.Contains(s.all(), key[len(key)-20:]) {
		t.Errorf("what is said shows the key")
	}
}

func configMap(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: data}
}

// padded is a text of n characters that ends with tail.
func padded(tail string, n int) string { return strings.Repeat(" ", n-len(tail)) + tail }
