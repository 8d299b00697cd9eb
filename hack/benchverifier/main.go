// SPDX-License-Identifier: Apache-2.0

// Command benchverifier measures the built verifier: its answers against those of a server of the same kind that decides
// nothing, its memory and its start among many records, and how soon it rejects a key that was revoked. `make bench` calls it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"dgbot.io/key-operator/hack/figures"
)

// settings are what the flags say.
type settings struct {
	records, streamed, revocations, connections, rounds int
	span                                                time.Duration
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == noOpCommand {
		if err := serveNoOp(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "benchverifier:", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	flag.IntVar(&s.records, "records", 100_000, "how many records the API server holds while answers, start and memory are measured")
	flag.IntVar(&s.streamed, "streamed", 1_000_000, "how many records memory is measured with once more, from a stub of an API server")
	flag.IntVar(&s.revocations, "revocations", 300, "how many keys are revoked, one by one")
	flag.IntVar(&s.connections, "connections", 16, "how many questions are asked at once")
	flag.IntVar(&s.rounds, "rounds", 5, "how often answers and the start are measured")
	flag.DurationVar(&s.span, "span", 4*time.Second, "how long each server is asked in a round")
	figures.Main("benchverifier", func(ctx context.Context) (*report, error) { return run(ctx, &s) })
}

func run(ctx context.Context, s *settings) (r *report, err error) {
	w, err := startMeasurement(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	r = newReport(s)
	// In this order: the manager would take the many records for orphans.
	if err := w.revoke(ctx, r); err != nil {
		return nil, fmt.Errorf("revocations: %w", err)
	}
	if err := w.remember(ctx, r); err != nil {
		return nil, fmt.Errorf("%d records: %w", s.records, err)
	}
	if err := w.compare(ctx, r); err != nil {
		return nil, fmt.Errorf("answers: %w", err)
	}
	if err := w.stream(ctx, r); err != nil {
		return nil, fmt.Errorf("%d records: %w", s.streamed, err)
	}
	return r, nil
}
