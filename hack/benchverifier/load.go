// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/testenv/process"
)

// asker asks one question after the other, each with the next key, and fails where a good key is not admitted.
type asker interface {
	ask(ctx context.Context, i int) error
	close() error
}

// dial returns one of several askers.
type dial func(ctx context.Context, i int) (asker, error)

// warmUp is how long a server is asked before anything is measured.
const warmUp = 500 * time.Millisecond

// server is one of those that are compared.
type server struct {
	name          string
	processNumber int
	dial          dial
}

// compare asks verifier and no-op server the same, in turns.
func (w *measurement) compare(ctx context.Context, r *report) error {
	v, err := w.startVerifier(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = v.Stop() }()
	n, err := startNoOp(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = n.stop() }()
	pairs := map[string][2]server{}
	for what, request := range map[string]func(string) []byte{overVerify: verifyRequest, overCheck: checkRequest} {
		pairs[what] = [2]server{
			{noOpServer, n.command.Process.Pid, askOverHTTP(n.http, request, w.texts)},
			{theVerifier, v.ProcessNumber(), askOverHTTP(v.Address, request, w.texts)},
		}
	}
	toNoOp, closeNoOp, err := askOverGRPC(n.grpc, w.texts)
	if err != nil {
		return err
	}
	defer closeNoOp()
	toVerifier, closeVerifier, err := askOverGRPC(v.grpc, w.texts)
	if err != nil {
		return err
	}
	defer closeVerifier()
	pairs[overGRPC] = [2]server{{noOpServer, n.command.Process.Pid, toNoOp}, {theVerifier, v.ProcessNumber(), toVerifier}}
	if err := w.takeTurns(ctx, pairs, r); err != nil {
		return err
	}
	return v.occupies(&r.RecordsAskedMiB)
}

// takeTurns asks the servers of each pair one after the other, so that both meet the same machine.
func (w *measurement) takeTurns(ctx context.Context, pairs map[string][2]server, r *report) error {
	for round := range w.rounds {
		for _, what := range protocols {
			figures.Progress("asking over %s: round %d of %d", what, round+1, w.rounds)
			for _, s := range pairs[what] {
				if err := w.load(ctx, s, r.of(what, s.name)); err != nil {
					return fmt.Errorf("%s, %s: %w", what, s.name, err)
				}
			}
		}
	}
	return nil
}

// load keeps a server busy with as many questions at once as there are connections.
func (w *measurement) load(ctx context.Context, s server, into *series) error {
	if _, err := w.ask(ctx, s, warmUp); err != nil {
		return err
	}
	before, err := process.ProcessorSeconds(s.processNumber)
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := w.ask(ctx, s, w.span)
	if err != nil {
		return err
	}
	elapsed := time.Since(began).Seconds()
	after, err := process.ProcessorSeconds(s.processNumber)
	if err != nil {
		return err
	}
	into.Rates = append(into.Rates, float64(len(took))/elapsed)
	into.Median = append(into.Median, figures.Quantile(took, 0.5))
	into.P99 = append(into.P99, figures.Quantile(took, 0.99))
	into.Processor = append(into.Processor, (after-before)*1e6/float64(len(took)))
	return nil
}

// ask asks for so long, and returns how long each answer took, in microseconds.
func (w *measurement) ask(ctx context.Context, s server, span time.Duration) ([]float64, error) {
	group, ctx := errgroup.WithContext(ctx)
	took := make([][]float64, w.connections)
	until := time.Now().Add(span)
	for c := range w.connections {
		group.Go(func() (err error) {
			a, err := s.dial(ctx, c)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, a.close()) }()
			for i, now := c, time.Now(); now.Before(until); i++ {
				if err := a.ask(ctx, i); err != nil {
					return err
				}
				answered := time.Now()
				took[c] = append(took[c], float64(answered.Sub(now).Nanoseconds())/1000)
				now = answered
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.Concat(took...), err
}
