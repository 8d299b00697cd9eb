// SPDX-License-Identifier: Apache-2.0

// Package proof tests with the built programs that a confirmed withdrawal is true: from confirmedAt on no registered verifier accepts the key,
// whatever is frozen, killed or deleted meanwhile.
package proof

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// staleness is --max-staleness of the verifiers, the smallest that there is, and gone how long one must be silent to count as gone.
const (
	staleness = 5 * time.Second
	gone      = staleness + 30*time.Second
	// soon is how long a proof may take that waits for nothing but the time after the operator's start in which it confirms nothing.
	soon = 15 * time.Second
)

var (
	world *testenv.World
	admin client.WithWatch
)

func TestMain(m *testing.M) {
	options := testenv.Options{
		AuditOperator: true, Config: []string{"verifier"}, Build: []func() error{controlplane.BuildOperator, controlplane.BuildVerifier}, Within: 2 * time.Minute,
	}
	os.Exit(testenv.RunSuite(options, prepare, func() (int, error) { return m.Run(), nil }))
}

func prepare(_ context.Context, started *testenv.World) error {
	world, admin = started, started.Admin
	return nil
}

var must = testenv.Must

// trial is a namespace with one key, and verifiers of that namespace that are asked for it all the time.
type trial struct {
	*testenv.Namespace
	t    *testing.T
	text string

	mutex     sync.Mutex
	accepted  []answer
	verifiers []*verifier
}

// answer is one acceptance of the key.
type answer struct {
	by         string
	began, end time.Time
}

// verifier is a verifier of a trial, with the name of its Lease.
type verifier struct {
	*testenv.Verifier
	lease string
}

// newTrial starts a manager, unless it gets one that runs already, and issues the key.
func newTrial(t *testing.T) *trial {
	t.Helper()
	t.Parallel()
	p := &trial{Namespace: world.NewNamespace(t, "proof-"), t: t}
	return p
}

// issue creates the key. A manager must run.
func (p *trial) issue() {
	p.t.Helper()
	p.CreateKey("leaked", nil)
	p.AwaitReady("leaked")
	p.text = p.KeyText("leaked")
}

// manage runs a manager for the namespace of the trial.
func (p *trial) manage(config *rest.Config) *process.Program {
	p.t.Helper()
	if config == nil {
		var err error
		config, err = world.ServiceAccountConfig(p.t.Context(), controlplane.OperatorNamespace, controlplane.OperatorAccount)
		must(p.t, err)
	}
	program, err := world.StartOperatorWith(config, controlplane.OperatorNamespace, &world.Log, "--leader-elect=false", "--require-environment=false", "--watch-namespaces="+p.Name)
	must(p.t, err)
	testenv.StopAtEnd(p.t, program)
	return program
}

// verify runs a verifier through a proxy and asks it for the key until the trial ends; no proxy if nil.
func (p *trial) verify(through *proxy, args ...string) *verifier {
	p.t.Helper()
	config, err := world.ServiceAccountConfig(p.t.Context(), controlplane.OperatorNamespace, controlplane.VerifierAccount)
	must(p.t, err)
	if through != nil {
		config = through.config(config)
	}
	address := testenv.FreeAddress(p.t)
	v := &verifier{Verifier: &testenv.Verifier{Address: address, Client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}}}}
	before := p.leases()
	v.Program, err = world.StartVerifierWith(config, &world.Log, append([]string{
		"--http-bind-address=" + address, "--drain-delay=0s", "--namespace=" + p.Name, "--max-staleness=" + staleness.String(), "--usage-namespace=" + controlplane.OperatorNamespace,
	}, args...)...)
	must(p.t, err)
	testenv.StopAtEnd(p.t, v.Program)
	p.Eventually("the verifier accepts the key", func() bool { return v.code(p.t.Context(), p.text) == http.StatusOK })
	if !slices.Contains(args, "--register=false") {
		p.Eventually("the verifier says in its Lease what it has applied", func() bool { return len(p.leases()) > len(before) })
	}
	for name := range p.leases() {
		if _, known := before[name]; !known {
			v.lease = name
		}
	}
	p.verifiers = append(p.verifiers, v)
	go p.ask(v)
	return v
}

func (v *verifier) code(ctx context.Context, text string) int {
	code, _, _ := v.Verify(ctx, text) // 0 without an answer
	return code
}

// leases returns the Leases of the verifiers of the trial.
func (p *trial) leases() map[string]coordinationv1.Lease {
	p.t.Helper()
	var all coordinationv1.LeaseList
	must(p.t, admin.List(p.t.Context(), &all, client.InNamespace(controlplane.OperatorNamespace), client.MatchingLabels{v1alpha1.VerifierLabel: "true"}))
	own := map[string]coordinationv1.Lease{}
	for _, lease := range all.Items {
		if strings.HasPrefix(lease.Annotations[v1alpha1.ObservedVersionsAnnotation], p.Name+"/") {
			own[lease.Name] = lease
		}
	}
	return own
}

func (p *trial) ask(v *verifier) {
	for p.t.Context().Err() == nil {
		began := time.Now()
		if v.code(p.t.Context(), p.text) == http.StatusOK {
			p.mutex.Lock()
			p.accepted = append(p.accepted, answer{v.lease, began, time.Now()})
			p.mutex.Unlock()
		}
		select {
		case <-p.t.Context().Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// withdraw revokes the key, and returns once the status tells of the withdrawal.
func (p *trial) withdraw() *v1alpha1.Propagation {
	p.t.Helper()
	p.EditKey("leaked", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	p.Eventually("the status tells of the withdrawal", func() bool { return p.propagation() != nil })
	return p.propagation()
}

func (p *trial) propagation() *v1alpha1.Propagation { return p.Key("leaked").Status.Propagation }

// awaitProof waits until the withdrawal is confirmed, and checks that it is true from then on.
func (p *trial) awaitProof(within time.Duration) *v1alpha1.Propagation {
	p.t.Helper()
	proof := p.propagation()
	for end := time.Now().Add(within); proof.ConfirmedAt == nil; proof = p.propagation() {
		if time.Now().After(end) {
			p.t.Fatalf("not confirmed within %s: %+v\nlast lines of the log:\n%s", within, proof, world.LogTail(60))
		}
		p.watch(20 * time.Millisecond)
	}
	p.watch(time.Second)
	p.check(proof)
	return proof
}

// watch has the verifiers asked for a while longer.
func (p *trial) watch(span time.Duration) {
	select {
	case <-p.t.Context().Done():
	case <-time.After(span):
	}
}

// check fails if a verifier has accepted the key after the proof.
func (p *trial) check(proof *v1alpha1.Propagation) {
	p.t.Helper()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, a := range p.accepted {
		if a.began.After(proof.ConfirmedAt.Time) {
			p.t.Errorf("verifier %s accepted the key in a request that began %s after confirmedAt", a.by, a.began.Sub(proof.ConfirmedAt.Time))
		}
	}
	if len(p.accepted) == 0 {
		p.t.Error("no verifier ever accepted the key: nothing was tested")
	}
}

// staysUnproven fails if the withdrawal is confirmed within a time.
func (p *trial) staysUnproven(span time.Duration) {
	p.t.Helper()
	for end := time.Now().Add(span); time.Now().Before(end); p.watch(100 * time.Millisecond) {
		if now := p.propagation(); now.ConfirmedAt != nil {
			p.t.Fatalf("it is confirmed: %+v", now)
		}
	}
}

// expectPending waits until the status names one verifier and no other. It is rewritten once a minute.
func (p *trial) expectPending(lease string) {
	p.t.Helper()
	p.Eventually("only "+lease+" is pending", func() bool { return fmt.Sprint(p.propagation().Pending) == "["+lease+"]" })
}
