// SPDX-License-Identifier: Apache-2.0

// Package restore tests the built manager and verifier while etcd is restored from a backup under them.
package restore

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var (
	world *testenv.World
	admin client.WithWatch
)

func TestMain(m *testing.M) {
	options := testenv.Options{
		Config: []string{"verifier"}, Build: []func() error{controlplane.BuildOperator, controlplane.BuildVerifier},
		// The longest wait is for an informer that has backed off for up to a minute.
		Within: 3 * time.Minute,
	}
	os.Exit(testenv.RunSuite(options, prepare, func() (int, error) { return m.Run(), nil }))
}

func prepare(_ context.Context, started *testenv.World) error {
	world, admin = started, started.Admin
	return nil
}

var must = testenv.Must

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	world.Eventually(t, what, condition)
}

// deployment keeps a manager running, as a Deployment does: it is started again whenever it ends.
type deployment struct {
	config  *rest.Config
	stop    context.CancelFunc
	stopped sync.WaitGroup

	mutex sync.Mutex
	// ends are how it ended.
	ends []error
}

func deployManager(t *testing.T, config *rest.Config) *deployment {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	d := &deployment{config: config, stop: stop}
	d.stopped.Go(func() {
		for ctx.Err() == nil {
			d.runOnce(ctx)
		}
	})
	t.Cleanup(func() {
		stop()
		d.stopped.Wait()
	})
	return d
}

func (d *deployment) runOnce(ctx context.Context) {
	program, err := world.StartOperatorWith(d.config, controlplane.OperatorNamespace, &world.Log, "--leader-elect=false", "--require-environment=false")
	if err == nil {
		select {
		case <-ctx.Done():
			_ = program.Stop()
			return
		case <-program.Exited():
			err = program.Err()
		}
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.ends = append(d.ends, err)
}

// ended returns how the manager has ended so far.
func (d *deployment) ended() []error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return append([]error{}, d.ends...)
}
