// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built manager as it is installed: config/default on a real control plane, the binary under its
// own service account.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

var (
	cluster *controlplane.Cluster
	admin   client.WithWatch
	// operatorLog is everything that every manager of the suite printed, at the highest verbosity.
	operatorLog process.Log
)

// within bounds every wait; nothing takes nearly as long on an idle machine.
const within = 60 * time.Second

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := process.TempDir("audit")
	var audit map[string][]string
	if err == nil {
		defer func() { _ = os.RemoveAll(folder) }()
		audit, auditLog, err = controlplane.OperatorAudit(folder)
	}
	if err = errors.Join(err, controlplane.BuildOperator()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return controlplane.RunSuite(controlplane.Options{APIServerArgs: audit}, prepare, func() (int, error) {
		code := m.Run()
		if code != 0 || flag.Lookup("test.run").Value.String() != "" {
			return code, nil
		}
		return code, afterwards(context.Background())
	})
}

func prepare(ctx context.Context, started *controlplane.Cluster) (err error) {
	cluster = started
	admin, err = cluster.Furnish(ctx)
	return err
}

// startOperator runs a manager for the test.
func startOperator(t *testing.T, args ...string) *process.Program {
	t.Helper()
	operator, err := cluster.StartOperator(t.Context(), &operatorLog, append([]string{"--zap-log-level=10"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-operator.Exited():
		default:
			if err := operator.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return operator
}

// place is a namespace of a test's own.
type place struct {
	t    *testing.T
	name string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	if err := admin.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return &place{t: t, name: namespace.Name}
}

func (p *place) apply(name string, change func(*v1alpha1.DGbotAPIKey)) {
	p.t.Helper()
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.name, Name: name},
		Spec: v1alpha1.DGbotAPIKeySpec{
			Label: "Production server", Environment: "production",
			Rotation: &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: time.Hour}},
		},
	}
	if change != nil {
		change(key)
	}
	if err := admin.Create(p.t.Context(), key); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) edit(name string, change func(*v1alpha1.DGbotAPIKey)) {
	p.t.Helper()
	key := p.key(name)
	before := key.DeepCopy()
	change(key)
	if err := admin.Patch(p.t.Context(), key, client.MergeFrom(before)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) key(name string) *v1alpha1.DGbotAPIKey {
	p.t.Helper()
	key := &v1alpha1.DGbotAPIKey{}
	if err := admin.Get(p.t.Context(), types.NamespacedName{Namespace: p.name, Name: name}, key); err != nil {
		p.t.Fatal(err)
	}
	return key
}

// secret returns a Secret, nil where there is none.
func (p *place) secret(name string) *corev1.Secret {
	p.t.Helper()
	secret := &corev1.Secret{}
	err := admin.Get(p.t.Context(), types.NamespacedName{Namespace: p.name, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return secret
}

func (p *place) text(name string) string {
	p.t.Helper()
	secret := p.secret(name)
	if secret == nil {
		return ""
	}
	text := string(secret.Data[v1alpha1.DefaultSecretKey])
	remember(text)
	return text
}

// records returns those of one key, or of all where name is empty.
func (p *place) records(name string) []v1alpha1.DGbotAPIKeyRecord {
	p.t.Helper()
	var list v1alpha1.DGbotAPIKeyRecordList
	if err := admin.List(p.t.Context(), &list, client.InNamespace(p.name)); err != nil {
		p.t.Fatal(err)
	}
	var records []v1alpha1.DGbotAPIKeyRecord
	for _, record := range list.Items {
		if name == "" || record.Spec.APIKeyRef.Name == name {
			records = append(records, record)
		}
	}
	return records
}

// verify says of a key text what a verifier would say now.
func (p *place) verify(text string) standing.Verdict {
	p.t.Helper()
	for _, record := range p.records("") {
		if text != "" && record.Spec.Hash == apikey.Hash([]byte(text)) {
			return standing.Admit(&record, time.Now())
		}
	}
	return "Unknown"
}

// eventually polls until the condition holds.
func (p *place) eventually(what string, condition func() bool) {
	p.t.Helper()
	p.patiently(30*time.Millisecond, within, what, condition)
}

// patiently is for what takes long, or is dear to look at.
func (p *place) patiently(interval, limit time.Duration, what string, condition func() bool) {
	p.t.Helper()
	err := wait.PollUntilContextTimeout(p.t.Context(), interval, limit, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		p.t.Fatalf("not within %s: %s\nlast lines of the operator:\n%s", limit, what, tail(operatorLog.String(), 30))
	}
}

func (p *place) ready(name string) {
	p.t.Helper()
	p.eventually(name+" is Ready", func() bool {
		key := p.key(name)
		condition := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
		return condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == key.Generation
	})
}

func (p *place) notReady(name, reason string) *metav1.Condition {
	p.t.Helper()
	var condition *metav1.Condition
	p.eventually(name+" is not Ready for "+reason, func() bool {
		key := p.key(name)
		condition = apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
		return condition != nil && condition.Status == metav1.ConditionFalse && condition.Reason == reason && condition.ObservedGeneration == key.Generation
	})
	return condition
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
