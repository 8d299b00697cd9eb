// SPDX-License-Identifier: Apache-2.0

// Package proof tests with the built programs that a confirmed withdrawal is true: from confirmedAt on no registered verifier accepts the key,
// whatever is frozen, killed or deleted meanwhile.
package proof

import (
	"context"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// askEvery is the pause between two requests of a trial to a verifier.
	askEvery = 5 * time.Millisecond
)

var (
	world *testenv.World
	admin client.WithWatch
)

// atOnce is how many trials run at the same time: they mostly wait until something has been silent for long enough.
const atOnce = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
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

// newTrial creates a namespace in which nothing runs yet. Verifiers register there, so that those of other trials are not in scope before they say
// what they watch.
func newTrial(t *testing.T) *trial {
	t.Helper()
	t.Parallel()
	return furnish(t)
}

// furnish creates a namespace in which managers and verifiers of a trial may keep Leases.
func furnish(t *testing.T) *trial {
	t.Helper()
	p := &trial{Namespace: world.NewNamespace(t, "proof-"), t: t}
	p.permitLeases("register", controlplane.VerifierAccount, "get", "create", "update")
	p.permitLeases("follow", controlplane.OperatorAccount, "get", "list", "watch", "create", "update", "delete")
	return p
}

// permitLeases gives an account rights on Leases in the namespace of the trial.
func (p *trial) permitLeases(name, account string, verbs ...string) {
	p.t.Helper()
	must(p.t, admin.Create(p.t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{coordinationv1.GroupName}, Resources: []string{"leases"}, Verbs: verbs}},
	}))
	must(p.t, admin.Create(p.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: controlplane.OperatorNamespace, Name: account}},
	}))
}

// startTrial starts a manager, has the key issued, and starts a verifier that follows.
func startTrial(t *testing.T) *trial {
	t.Helper()
	p := newTrial(t)
	p.manage(place{})
	p.issue()
	p.verify(place{})
	return p
}

// issue creates the key. A manager must run.
func (p *trial) issue() {
	p.t.Helper()
	p.CreateKey("leaked", nil)
	p.AwaitReady("leaked")
	p.text = p.KeyText("leaked")
}

// place is where a program of a trial runs.
type place struct {
	// through is what stands between the program and the API server; nil for nothing.
	through *proxy
	// ahead is by how much its clock is ahead of the machine's.
	ahead time.Duration
	// pod is the name of its pod; none if empty.
	pod string
}

// run starts a program under its account.
func (p *trial) run(name, account string, at place, args ...string) *process.Program {
	p.t.Helper()
	config, err := world.ServiceAccountConfig(p.t.Context(), controlplane.OperatorNamespace, account)
	must(p.t, err)
	if at.through != nil {
		config = at.through.config(config)
	}
	binary, environment := filepath.Join(controlplane.Repository(), "bin", name), []string{"POD_NAME=" + at.pod}
	if at.ahead != 0 {
		binary, environment = withOtherClock(p.t, name), append(environment, clockAhead+"="+at.ahead.String())
	}
	program, err := world.StartBinary(binary, config, &world.Log, args, environment...)
	must(p.t, err)
	testenv.StopAtEnd(p.t, program)
	return program
}

// manage runs a manager for the namespace of the trial.
func (p *trial) manage(at place, args ...string) *process.Program {
	p.t.Helper()
	return p.run("manager", controlplane.OperatorAccount, at, append([]string{
		"--health-probe-bind-address=0", "--metrics-bind-address=0", "--leader-elect=false", "--leader-election-namespace=" + p.Name,
		"--require-environment=false", "--watch-namespaces=" + p.Name, "--usage-namespace=" + p.Name,
	}, args...)...)
}

// verify runs a verifier, and asks it for the key until the trial ends.
func (p *trial) verify(at place, args ...string) *verifier {
	p.t.Helper()
	v := p.startVerifier(at, args...)
	p.Eventually("the verifier accepts the key", func() bool { return v.code(p.t.Context(), p.text) == http.StatusOK })
	return v
}

// startVerifier is verify without waiting until the verifier accepts the key.
func (p *trial) startVerifier(at place, args ...string) *verifier {
	p.t.Helper()
	address := testenv.FreeAddress(p.t)
	v := &verifier{Verifier: &testenv.Verifier{Address: address, Client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}}}}
	before := p.leases()
	v.Program = p.run("verifier", controlplane.VerifierAccount, at, append([]string{
		"--http-bind-address=" + address, "--grpc-bind-address=0", "--metrics-bind-address=0", "--drain-delay=0s", "--namespace=" + p.Name,
		"--max-staleness=" + staleness.String(), "--usage-namespace=" + p.Name,
	}, args...)...)
	if !slices.Contains(args, "--register=false") {
		p.Eventually("the verifier registers", func() bool { return len(p.leases()) > len(before) })
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
	var list coordinationv1.LeaseList
	must(p.t, admin.List(p.t.Context(), &list, client.InNamespace(p.Name), client.MatchingLabels{v1alpha1.VerifierLabel: "true"}))
	all := map[string]coordinationv1.Lease{}
	for _, lease := range list.Items {
		all[lease.Name] = lease
	}
	return all
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
		case <-time.After(askEvery):
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

// expectPending fails unless the status names a verifier among those that may accept the key. Others may have followed since: the names are at most a minute
// old.
func (p *trial) expectPending(v *verifier) {
	p.t.Helper()
	if pending := p.propagation().Pending; !slices.Contains(pending, v.lease) {
		p.t.Errorf("%s is not among those that are pending: %v", v.lease, pending)
	}
}
