// SPDX-License-Identifier: Apache-2.0

// Package testenv furnishes a World for suites, the demo and benchmarks: a control plane on which the operator is installed, a client,
// and what tests do with keys, Secrets, records and verifiers there.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// Options describe a World.
type Options struct {
	// APIServerArgs are added to the arguments of the API server, as in controlplane.Options.
	APIServerArgs map[string][]string
	// AuditOperator has the API server log the requests of the operator's account to AuditLog of the World.
	AuditOperator bool
	// Build lists the programs that are built before the control plane starts, such as controlplane.BuildOperator.
	Build []func() error
	// Config lists the folders of config that are installed in addition to config/default and config/environments.
	Config []string
	// WithoutControllers omits the controller manager. Garbage collection deletes records without a key, which some benchmarks need.
	WithoutControllers bool
	// Within bounds every wait of the World; 60 seconds if zero.
	Within time.Duration
}

// World is a control plane on which the operator is installed. Managers and verifiers run as soon as the user starts them.
// Its methods may be called by several goroutines.
type World struct {
	*controlplane.Cluster
	// Admin may do everything.
	Admin client.WithWatch
	// Log holds what managers and verifiers print that were started by RunManager and RunVerifier.
	Log process.Log
	// AuditLog is the path of the API server's audit log, if Options asked for it.
	AuditLog string
	// Within bounds every wait.
	Within time.Duration

	// texts are the key texts that KeyText has returned.
	texts sync.Map
}

// Start builds the programs, starts a control plane and installs the operator. The caller stops the World.
func Start(ctx context.Context, options Options) (*World, error) {
	w, started, err := build(options)
	if err != nil {
		return nil, err
	}
	if w.Cluster, err = controlplane.Start(started); err != nil {
		return nil, err
	}
	if err := w.furnish(ctx, options); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	return w, nil
}

// StartFor starts a World that stops at the end of the test.
func StartFor(t testing.TB, options Options) *World {
	t.Helper()
	w, err := Start(t.Context(), options)
	Must(t, err)
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// RunSuite starts a World for the tests of a package, calls prepare, runs the tests and stops the World. It returns the exit code for
// TestMain, and prints the errors that occur outside of tests.
func RunSuite(options Options, prepare func(context.Context, *World) error, run func() (code int, err error)) int {
	w, started, err := build(options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return controlplane.RunSuite(started, func(ctx context.Context, cluster *controlplane.Cluster) error {
		w.Cluster = cluster
		if err := w.furnish(ctx, options); err != nil {
			return err
		}
		return prepare(ctx, w)
	}, run)
}

// build builds the programs, and returns a World without a control plane and the options for its start.
func build(options Options) (*World, controlplane.Options, error) {
	w := &World{Within: options.Within}
	args := maps.Clone(options.APIServerArgs)
	if options.AuditOperator {
		folder, err := process.TempDir("audit")
		if err != nil {
			return nil, controlplane.Options{}, err
		}
		audit, log, err := controlplane.OperatorAudit(folder)
		if err != nil {
			return nil, controlplane.Options{}, err
		}
		maps.Copy(audit, args)
		args, w.AuditLog = audit, log
	}
	for _, program := range options.Build {
		if err := program(); err != nil {
			return nil, controlplane.Options{}, err
		}
	}
	return w, controlplane.Options{APIServerArgs: args}, nil
}

// furnish installs the operator.
func (w *World) furnish(ctx context.Context, options Options) error {
	if err := w.Install(ctx); err != nil {
		return err
	}
	for _, name := range options.Config {
		if err := w.InstallFrom(ctx, filepath.Join(controlplane.Repository(), "config", name)); err != nil {
			return err
		}
	}
	if !options.WithoutControllers {
		if err := w.StartControllerManager(ctx, nil); err != nil {
			return err
		}
	}
	var err error
	w.Admin, err = w.AdminClient()
	return err
}

// RunManager starts bin/manager for the test, with its output in Log.
func (w *World) RunManager(t testing.TB, args ...string) *process.Program {
	t.Helper()
	manager, err := w.StartOperator(t.Context(), &w.Log, args...)
	Must(t, err)
	StopAtEnd(t, manager)
	return manager
}

// RunVerifier starts bin/verifier for the test, with its output in Log. It serves HTTP, and stops without a delay.
func (w *World) RunVerifier(t testing.TB, args ...string) *Verifier {
	t.Helper()
	address := FreeAddress(t)
	v := &Verifier{Address: address}
	var err error
	v.Program, err = w.StartVerifier(t.Context(), &w.Log, append([]string{"--http-bind-address=" + address, "--drain-delay=0s"}, args...)...)
	Must(t, err)
	StopAtEnd(t, v.Program)
	return v
}

// FreeAddress returns an address that a program of the test may listen on. No other test gets it, not even one of another package that runs at
// the same time.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := process.FreeAddress()
	Must(t, err)
	return address
}

// StopAtEnd stops a program at the end of the test, unless it has ended by then.
func StopAtEnd(t testing.TB, program *process.Program) {
	t.Helper()
	t.Cleanup(func() {
		t.Helper()
		StopIfRunning(t, program)
	})
}

// StopIfRunning stops a program unless it has ended.
func StopIfRunning(t testing.TB, program *process.Program) {
	t.Helper()
	select {
	case <-program.Exited():
	default:
		if err := program.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// LogTail returns the last lines of Log.
func (w *World) LogTail(lines int) string { return Tail(w.Log.String(), lines) }

// Tail returns the last lines of a text.
func Tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Remember adds a key text to those that Texts returns.
func (w *World) Remember(text string) {
	if text != "" {
		w.texts.Store(text, true)
	}
}

// Texts returns all key texts that KeyText has returned, in any order: tests look for them where no key may be.
func (w *World) Texts() []string {
	var all []string
	w.texts.Range(func(text, _ any) bool {
		if text, ok := text.(string); ok {
			all = append(all, text)
		}
		return true
	})
	return all
}
