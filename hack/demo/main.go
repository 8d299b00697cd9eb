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
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dgbot.io/key-operator/hack/scratch"
	"dgbot.io/key-operator/test/controlplane"
)

func main() {
	stay := flag.Bool("stay", false, "start everything, print the KUBECONFIG to use, and run until interrupted")
	verbose := flag.Bool("verbose", false, "show the logs of operator and verifier")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
		fmt.Printf("\nThe control plane, the operator and the verifier run (%s). In another terminal:\n\n", since(began))
		fmt.Printf("  export KUBECONFIG=%s\n  export PATH=%s:%s:$PATH\n", s.cluster.Kubeconfig, assets, filepath.Join(controlplane.Repository(), "bin"))
		fmt.Printf("  kubectl create namespace support\n  kubectl apply -k config/samples\n  kubectl get dgkey -n support\n\n")
		fmt.Printf("  key=$(kubectl get secret dgbot-production -n support -o jsonpath='{.data.api-key}' | base64 -d)\n")
		fmt.Printf("  curl -X POST -H \"Authorization: Bearer $key\" %s/v1/verify\n\n", s.verifierURL)
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

func since(began time.Time) time.Duration { return time.Since(began).Round(100 * time.Millisecond) }
