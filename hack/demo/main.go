// SPDX-License-Identifier: Apache-2.0

// Command demo starts a control plane, the operator and the verifier on this machine and walks three keys through their whole life,
// checking each step; with --stay it starts them and leaves the rest to you. `make demo` and `make run` call it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"dgbot.io/key-operator/internal/scratch"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

func main() {
	stay := flag.Bool("stay", false, "start everything, print the KUBECONFIG to use, and run until interrupted")
	verbose := flag.Bool("verbose", false, "show the logs of operator and verifier")
	parent := flag.Int("parent", 0, "stop when this process, which started the demo, has ended")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), process.StopSignals()...)
	if *parent != 0 {
		go func() {
			waitForParent(*parent)
			stop()
		}()
	}
	err := run(ctx, *stay, *verbose)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nFAILED:", scratch.Explain(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, stay, verbose bool) (err error) {
	began := time.Now()
	s := &stack{verbose: verbose}
	defer func() {
		fmt.Println("\nStopping verifier, operator and control plane ...")
		err = errors.Join(err, s.stop())
	}()
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return errors.Join(err, s.logTail())
	}
	if stay {
		assets, err := controlplane.Assets()
		if err != nil {
			return err
		}
		i := instructions{kubeconfig: s.cluster.Kubeconfig, assets: assets, repository: controlplane.Repository(), verifierURL: s.verifier.URL()}
		fmt.Printf("\nThe control plane, the operator and the verifier run (%s). In another terminal:\n\n%s\n", since(began), i.commands())
		fmt.Printf("Logs: %s\nInterrupt (Ctrl-C) to stop and remove everything.\n", strings.Join(s.logPaths, ", "))
		return s.wait(ctx)
	}
	t := &tour{stack: s, terminal: terminal{ctx: ctx, cluster: s.cluster}}
	if err := t.walk(); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return errors.Join(err, s.logTail())
	}
	fmt.Printf("\nAll %d checks passed in %s.\n", t.checks, since(began))
	return nil
}

// waitForParent returns when the parent of this process is no longer the given one. SIGKILL of make reaches no child.
func waitForParent(parent int) {
	for os.Getppid() == parent {
		time.Sleep(200 * time.Millisecond)
	}
}

func since(began time.Time) time.Duration { return time.Since(began).Round(100 * time.Millisecond) }
