// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// troupe are two managers without leader election, each behind a proxy of its own.
type troupe struct {
	credentials *rest.Config
	// scraped is where the metrics of the second manager are. The first has none: it would make a certificate at each start, which takes a
	// good part of a life that ends after a second, and kills are to fall on writes.
	scraped string
	proxies [2]*proxy
	logs    [2]*os.File
	kills   atomic.Int64
	pauses  atomic.Int64
	freezes atomic.Int64
}

func newTroupe(ctx context.Context, folder string) (*troupe, error) {
	credentials, err := world.ServiceAccountConfig(ctx, controlplane.OperatorNamespace, controlplane.OperatorAccount)
	if err != nil {
		return nil, err
	}
	t := &troupe{credentials: credentials}
	if t.scraped, err = process.FreeAddress(); err != nil {
		return nil, err
	}
	for i := range t.proxies {
		if t.proxies[i], err = newProxy(credentials); err != nil {
			return nil, err
		}
		if t.logs[i], err = os.Create(filepath.Join(folder, fmt.Sprintf("manager-%d.log", i))); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *troupe) close() {
	for i := range t.proxies {
		t.proxies[i].close()
		_ = t.logs[i].Close()
	}
}

// said returns the last that each manager has logged of namespaces in complaints: "namespace/name: what".
func (t *troupe) said(complaints []string) []string {
	var all []string
	for i, log := range t.logs {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			return append(all, err.Error())
		}
		lines := strings.Split(string(text), "\n")
		for _, complaint := range complaints {
			where, _, _ := strings.Cut(strings.TrimPrefix(complaint, "chatbot "), ":")
			namespace, name, _ := strings.Cut(where, "/")
			about := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
				return !strings.Contains(line, namespace) || !strings.Contains(line, name) || strings.Contains(line, "workqueue_items")
			})
			all = append(all, fmt.Sprintf("manager %d of %s/%s:", i, namespace, name))
			all = append(all, about[max(0, len(about)-15):]...)
		}
	}
	return all
}

func (t *troupe) start(i int) (*process.Program, error) {
	args := []string{"--leader-elect=false", "--zap-log-level=10"}
	if i == 1 {
		args = append(args, "--metrics-bind-address="+t.scraped)
	}
	return world.StartOperatorWith(t.proxies[i].config(t.credentials), controlplane.OperatorNamespace, t.logs[i], args...)
}

// harass runs both managers until the context ends: each is killed after a random time and started again, stopped in its
// tracks on the way or shown a world that stands still.
func (t *troupe) harass(ctx context.Context) error {
	var group sync.WaitGroup
	var failures [2]error
	for i := range t.proxies {
		group.Go(func() {
			for ctx.Err() == nil && failures[i] == nil {
				failures[i] = t.oneLife(ctx, i)
			}
		})
	}
	group.Wait()
	return errors.Join(failures[:]...)
}

func (t *troupe) oneLife(ctx context.Context, i int) error {
	manager, err := t.start(i)
	if err != nil {
		return err
	}
	// Half of them die while they start, when everything is due at once; some run long enough to converge.
	life := time.Duration(300+rand.ExpFloat64()*900) * time.Millisecond
	if rand.IntN(12) == 0 {
		life += 11*time.Second + rand.N(5*time.Second) // in its first 10 seconds it confirms no withdrawal
	}
	switch rand.IntN(6) {
	case 0:
		pause(ctx, life)
		t.pauses.Add(1)
		err = manager.Pause()
		pause(ctx, rand.N(6*time.Second))
		err = errors.Join(err, manager.Resume())
		pause(ctx, life)
	case 1:
		pause(ctx, life)
		t.freezes.Add(1)
		t.proxies[i].frozen.Store(true)
		pause(ctx, rand.N(5*time.Second))
		t.proxies[i].frozen.Store(false)
		pause(ctx, life)
	default:
		pause(ctx, life)
	}
	select {
	case <-manager.Exited():
		// A lost API server may end it: with an error, never with a panic, which the log is searched for.
		return err
	default:
	}
	t.kills.Add(1)
	return errors.Join(err, manager.Kill())
}

// shake crashes etcd and the API server in turns until the context ends, every time they have been up for a while.
func shake(ctx context.Context, every time.Duration, crashes *atomic.Int64) error {
	for turn := 0; ; turn++ {
		pause(ctx, every/2+rand.N(every))
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		crash := world.CrashAPIServer
		if turn%2 == 1 {
			crash = world.CrashEtcd
		}
		if err := crash(); err != nil {
			return err
		}
		crashes.Add(1)
	}
}

// startManagers runs the managers without faults until the end of the test.
func (s *storm) startManagers() {
	s.t.Helper()
	for i := range s.troupe.proxies {
		manager, err := s.troupe.start(i)
		must(s.t, err)
		s.t.Cleanup(func() { must(s.t, manager.Stop()) })
	}
}
