// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/testenv/process"
)

// settled is how long a verifier has to give memory back that it needed for something else.
const settled = 3 * time.Second

// remember measures what a verifier occupies without records and with them, and how long it takes to be ready.
func (w *measurement) remember(ctx context.Context, r *report) error {
	for range w.rounds {
		if err := w.start(ctx, &r.EmptyMiB, &r.EmptyReadySeconds); err != nil {
			return err
		}
	}
	if err := w.fill(ctx); err != nil {
		return err
	}
	figures.Progress("starting the verifier among %d records, %d times", w.records, w.rounds)
	for range w.rounds {
		if err := w.start(ctx, &r.RecordsMiB, &r.ReadySeconds); err != nil {
			return err
		}
	}
	return nil
}

// stream measures what a verifier occupies that knows more records than an API server can be filled with in minutes, also
// while it answers.
func (w *measurement) stream(ctx context.Context, r *report) error {
	figures.Progress("streaming %d records", w.streamed)
	address, err := process.FreeAddress()
	if err != nil {
		return err
	}
	records := &recordStream{records: w.streamed}
	stub := &http.Server{Addr: address, Handler: records, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- stub.ListenAndServe() }()
	err = w.measureStreamed(ctx, &rest.Config{Host: "http://" + address}, records, r)
	err = errors.Join(err, stub.Close())
	if serving := <-failed; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	return err
}

func (w *measurement) measureStreamed(ctx context.Context, config *rest.Config, records *recordStream, r *report) (err error) {
	v, err := w.startVerifier(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Stop()) }()
	r.StreamedReadySeconds = v.readyAfter.Seconds()
	if err := v.occupies(&r.StreamedMiB); err != nil {
		return err
	}
	figures.Progress("asking over %s among %d records", overCheck, w.streamed)
	for range w.rounds {
		if err := w.load(ctx, server{theVerifier, v.ProcessNumber(), askOverHTTP(v.Address, checkRequest, records.texts)}, &r.StreamedAnswers); err != nil {
			return err
		}
	}
	return v.occupies(&r.StreamedAskedMiB)
}

// start starts a verifier, adds to its figures what it occupies and how long it took to be ready, and stops it.
func (w *measurement) start(ctx context.Context, mib, ready *[]float64) error {
	v, err := w.startVerifier(ctx, nil)
	if err != nil {
		return err
	}
	var occupied float64
	err = v.occupies(&occupied)
	*mib, *ready = append(*mib, occupied), append(*ready, v.readyAfter.Seconds())
	return errors.Join(err, v.Stop())
}

// occupies takes down a verifier's resident memory once it has had the time to give some back.
func (v *verifier) occupies(mib *float64) (err error) {
	time.Sleep(settled)
	*mib, err = process.ResidentMiB(v.ProcessNumber())
	return err
}
