// SPDX-License-Identifier: Apache-2.0

// Package restore tests the built manager and verifier while etcd is restored from a backup under them.
package restore

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
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

// proxy leads to the API server. While it is cut, it accepts no connection and has none.
type proxy struct {
	address, target string

	mutex       sync.Mutex
	listener    net.Listener
	connections []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	address, err := process.FreeAddress()
	must(t, err)
	p := &proxy{address: address, target: target}
	p.open(t)
	t.Cleanup(p.cut)
	return p
}

func (p *proxy) open(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", p.address)
	must(t, err)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.listener = listener
	go p.serve(listener)
}

func (p *proxy) serve(listener net.Listener) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = from.Close()
			continue
		}
		p.mutex.Lock()
		p.connections = append(p.connections, from, to)
		p.mutex.Unlock()
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			}()
		}
	}
}

func (p *proxy) cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_ = p.listener.Close()
	for _, connection := range p.connections {
		_ = connection.Close()
	}
	p.connections = nil
}
