// SPDX-License-Identifier: Apache-2.0

// Command bench measures the built manager on a control plane of its own, against a bare client that makes the same
// writes with the same concurrency on the same API server in the same run. `make bench` calls it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"dgbot.io/key-operator/hack/figures"
)

// settings are what the flags say.
type settings struct {
	keys, concurrency, rounds, foreign, large int
	// profiles is the folder for the API server's processor profiles; none where it is empty.
	profiles string
}

func main() {
	var s settings
	flag.IntVar(&s.keys, "n", 2000, "how many keys")
	flag.IntVar(&s.concurrency, "concurrency", 8, "how many keys are applied at once, and worked on at once by manager and bare client")
	flag.IntVar(&s.rounds, "rounds", 3, "how often issue and rotation are measured")
	flag.IntVar(&s.foreign, "foreign", 20000, "how many Secrets of 1 KiB of others the manager's memory is measured with")
	flag.IntVar(&s.large, "large", 30, "how many Secrets of 1 MiB of others come to them")
	flag.StringVar(&s.profiles, "profiles", "", "an existing folder for processor profiles of the API server, for 'go tool pprof'")
	figures.Main("bench", func(ctx context.Context) (*report, error) { return run(ctx, &s) })
}

func run(ctx context.Context, s *settings) (result *report, err error) {
	w, err := startMeasurement(ctx, *s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	result = newReport(*s)
	if result.EmptyMiB, err = w.memoryOfAnIdleManager(ctx); err != nil {
		return nil, err
	}
	for round := range s.rounds {
		for _, by := range []string{bare, operator} {
			if err := w.round(ctx, result, by); err != nil {
				return nil, fmt.Errorf("round %d of the %s: %w", round+1, by, err)
			}
			if last := round == s.rounds-1 && by == operator; !last {
				if err := w.purge(ctx); err != nil {
					return nil, fmt.Errorf("tidying up after the %s: %w", by, err)
				}
			}
		}
	}
	if err := w.restartAndCrowd(ctx, result); err != nil {
		return nil, err
	}
	return result, w.starve(ctx, result)
}
