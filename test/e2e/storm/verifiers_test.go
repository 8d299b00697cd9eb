// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// verifiers are three registered verifiers: two have half of the namespaces each, the third has all of them.
type verifiers struct {
	credentials *rest.Config
	all         [3]*verifier
	ends        atomic.Int64
	kills       atomic.Int64
	pauses      atomic.Int64
	freezes     atomic.Int64
}

// verifier runs behind a proxy that breaks its writes and can hold back what its watches say.
type verifier struct {
	namespaces []string
	proxy      *proxy
	log        *os.File
	asked      *testenv.Verifier
	// stopped are the Leases of earlier processes that are known to say so, in clusters.
	stopped  map[string]bool
	clusters []client.Client
	// sources is the path of its file of sources; empty for one source.
	sources string
}

func newVerifiers(ctx context.Context, namespaces []string, folder string) (*verifiers, error) {
	credentials, err := world.ServiceAccountConfig(ctx, controlplane.OperatorNamespace, controlplane.VerifierAccount)
	if err != nil {
		return nil, err
	}
	all := &verifiers{credentials: credentials}
	half := len(namespaces) / 2
	for i, part := range [][]string{namespaces[:half], namespaces[half:], namespaces} {
		v := &verifier{namespaces: part, stopped: map[string]bool{}, clusters: []client.Client{admin}}
		v.asked = &testenv.Verifier{Client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}}}
		if v.asked.Address, err = process.FreeAddress(); err != nil {
			return nil, err
		}
		if v.proxy, err = newProxy(credentials); err != nil {
			return nil, err
		}
		if v.log, err = os.Create(filepath.Join(folder, fmt.Sprintf("verifier-%d.log", i))); err != nil {
			return nil, err
		}
		all.all[i] = v
	}
	return all, nil
}

func (all *verifiers) close() {
	for _, v := range all.all {
		v.proxy.close()
		_ = v.log.Close()
	}
}

// start starts a process. It reports uses only when it stops. With --namespace it does not renew the Lease that says that the uses of the
// environment are reported.
func (all *verifiers) start(v *verifier) (*process.Program, error) {
	args := []string{
		"--http-bind-address=" + v.asked.Address, "--drain-delay=0s", "--max-staleness=5s", "--usage-flush-interval=5m",
		"--usage-namespace=" + controlplane.OperatorNamespace,
	}
	if v.sources != "" {
		args = append(args, "--source-config="+v.sources)
	} else {
		for _, namespace := range v.namespaces {
			args = append(args, "--namespace="+namespace)
		}
	}
	return world.StartVerifierWith(v.proxy.config(all.credentials), v.log, args...)
}

// harass runs the verifiers until the context ends. It stops or kills each process again and again, and before that pauses it or freezes its watches.
func (all *verifiers) harass(ctx context.Context) error {
	var group sync.WaitGroup
	var failures [len(all.all)]error
	for i, v := range all.all {
		group.Go(func() {
			v.proxy.share.Store(*share)
			for ctx.Err() == nil && failures[i] == nil {
				failures[i] = all.oneLife(ctx, v)
			}
			v.proxy.share.Store(0)
		})
	}
	group.Wait()
	return errors.Join(failures[:]...)
}

func (all *verifiers) oneLife(ctx context.Context, v *verifier) error {
	program, err := all.start(v)
	if err != nil {
		return err
	}
	life := 4*time.Second + rand.N(8*time.Second)
	pause(ctx, life)
	switch rand.IntN(4) {
	case 0:
		all.pauses.Add(1)
		err = program.Pause()
		pause(ctx, rand.N(8*time.Second))
		err = errors.Join(err, program.Resume())
		pause(ctx, life)
	case 1, 2:
		all.freezes.Add(1)
		v.proxy.frozen.Store(true)
		pause(ctx, rand.N(5*time.Second))
		v.proxy.frozen.Store(false)
		pause(ctx, life)
	}
	all.ends.Add(1)
	if rand.IntN(3) > 0 {
		err = errors.Join(err, program.Stop())
	} else {
		all.kills.Add(1)
		err = errors.Join(err, program.Kill())
	}
	v.markStopped(ctx)
	return err
}

// startVerifiers runs the verifiers without faults until the end of the test, and has them asked until the context ends.
func (s *storm) startVerifiers(ctx context.Context, asking *sync.WaitGroup) {
	s.t.Helper()
	for _, v := range s.verifiers.all {
		program, err := s.verifiers.start(v)
		must(s.t, err)
		s.t.Cleanup(func() { must(s.t, program.Stop()) })
		asking.Go(func() { s.answers.ask(ctx, v) })
	}
}

// registered finds the names of Leases in the log of a verifier.
var registered = regexp.MustCompile(`is registered.*"lease": ?"([^"]+)"`)

// markStopped annotates the Leases of processes that have ended as stopped, as an administrator may do who made sure of that. Without it, a manager
// waits 35 s for a killed verifier, which is longer than most managers of a storm run. What fails is done after the next end of a process.
func (v *verifier) markStopped(ctx context.Context) {
	log, err := os.ReadFile(v.log.Name())
	if err != nil {
		return
	}
	for _, match := range registered.FindAllSubmatch(log, -1) {
		name := string(match[1])
		if v.stopped[name] {
			continue
		}
		var failed error
		for _, cluster := range v.clusters {
			failed = errors.Join(failed, client.IgnoreNotFound(markStopped(ctx, cluster, name)))
		}
		v.stopped[name] = failed == nil
	}
}

func markStopped(ctx context.Context, cluster client.Client, name string) error {
	lease := &coordinationv1.Lease{}
	err := cluster.Get(ctx, types.NamespacedName{Namespace: controlplane.OperatorNamespace, Name: name}, lease)
	if _, stopped := lease.Annotations[v1alpha1.StoppedAnnotation]; err != nil || stopped {
		return err
	}
	before := lease.DeepCopy()
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, v1alpha1.StoppedAnnotation, second(0))
	return cluster.Patch(ctx, lease, client.MergeFrom(before))
}

// deleteLeases deletes the Leases of all verifiers: those that were killed in one storm would concern the next one.
func deleteLeases(ctx context.Context) error {
	return admin.DeleteAllOf(ctx, &coordinationv1.Lease{}, client.InNamespace(controlplane.OperatorNamespace), client.MatchingLabels{v1alpha1.VerifierLabel: "true"})
}
