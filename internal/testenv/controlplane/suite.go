// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/internal/testenv/process"
)

// RunSuite starts a control plane for the tests of a package, lets prepare set it up, runs them, and stops it. It returns
// the exit code for TestMain, and prints what went wrong outside of the tests.
func RunSuite(options Options, prepare func(context.Context, *Cluster) error, run func() (code int, err error)) int {
	ctrl.SetLogger(logr.Discard())
	code, err := runSuite(options, prepare, run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

func runSuite(options Options, prepare func(context.Context, *Cluster) error, run func() (int, error)) (code int, err error) {
	cluster, err := Start(options)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	go stopOnSignal(cluster)
	if err := prepare(context.Background(), cluster); err != nil {
		return 1, err
	}
	return run()
}

// stopOnSignal keeps an interrupted test run from leaving a control plane behind: deferred calls do not run then.
func stopOnSignal(cluster *Cluster) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, process.StopSignals()...)
	<-signals
	_ = cluster.Stop()
	os.Exit(1)
}
