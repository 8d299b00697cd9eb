// SPDX-License-Identifier: Apache-2.0

// Command demo starts a control plane, the operator and the verifier on this machine and plays the chapters of test/scenarios there, each
// with its checks; with --stay it starts them and leaves the rest to you. `make demo` and `make run` call it.
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
	"time"

	"dgbot.io/key-operator/internal/scratch"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
	"dgbot.io/key-operator/internal/testenv/scenario"
)

// options are the command line.
type options struct {
	stay, verbose, list, all bool
	chapters, record         string
	parent                   int
}

// parse has flags of its own: libraries of tests register theirs on the common set.
func parse() options {
	var o options
	flags := flag.NewFlagSet("demo", flag.ExitOnError)
	flags.BoolVar(&o.list, "list", false, "list the chapters, and start nothing")
	flags.StringVar(&o.chapters, "chapter", "", "play only these chapters: names or numbers, separated by commas")
	flags.StringVar(&o.record, "record", "", "also write what is shown to this file, as a picture in SVG that moves")
	flags.BoolVar(&o.all, "all", false, "show all output of each command, not only its first lines")
	flags.BoolVar(&o.stay, "stay", false, "start everything, print the KUBECONFIG to use, and run until interrupted")
	flags.BoolVar(&o.verbose, "verbose", false, "show the logs of operator and verifier")
	flags.IntVar(&o.parent, "parent", 0, "stop when this process, which started the demo, has ended")
	_ = flags.Parse(os.Args[1:]) // it exits after an error
	return o
}

func main() {
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), process.StopSignals()...)
	if o.parent != 0 {
		go func() {
			waitForParent(o.parent)
			stop()
		}()
	}
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nFAILED:", scratch.Explain(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	began := time.Now()
	all, err := scenario.Load(filepath.Join(controlplane.Repository(), "test", "scenarios"))
	if err != nil {
		return err
	}
	chapters, err := choose(all, o.chapters)
	if err != nil {
		return err
	}
	if o.list {
		list(os.Stdout, chapters)
		return nil
	}
	s := &stack{verbose: o.verbose}
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
	if o.stay {
		return s.stay(ctx, began)
	}
	screen, recording := newScreen(os.Stdout, o.all), &recorder{out: os.Stdout, now: time.Now}
	if o.record != "" {
		screen.Out, screen.Color = recording, true
	}
	checks, err := play(ctx, s, chapters, screen)
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return errors.Join(err, s.logTail())
	}
	_, _ = fmt.Fprintf(screen.Out, "\nAll %d checks passed in %s.\n", checks, since(began))
	if o.record != "" {
		return recording.save(o.record)
	}
	return nil
}

// stay prints what a user types in another terminal, and waits.
func (s *stack) stay(ctx context.Context, began time.Time) error {
	assets, err := controlplane.Assets()
	if err != nil {
		return err
	}
	i := instructions{kubeconfig: s.cluster.Kubeconfig, assets: assets, repository: controlplane.Repository(), verifierURL: s.verifier.URL()}
	fmt.Printf("\nThe control plane, the operator and the verifier run (%s). In another terminal:\n\n%s\n", since(began), i.commands())
	fmt.Printf("Logs: %s\nInterrupt (Ctrl-C) to stop and remove everything.\n", strings.Join(s.logPaths, ", "))
	return s.wait(ctx)
}

// waitForParent returns when the parent of this process is no longer the given one. SIGKILL of make reaches no child.
func waitForParent(parent int) {
	for os.Getppid() == parent {
		time.Sleep(200 * time.Millisecond)
	}
}

func since(began time.Time) time.Duration { return time.Since(began).Round(100 * time.Millisecond) }
