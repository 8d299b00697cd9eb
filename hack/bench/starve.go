// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/test/starvation"
)

// How many keys find their Secret's name taken, how many something else is in the way of for each such thing, and how many
// healthy ones are measured among them.
const (
	conflicting = 500
	blocked     = 20
	healthy     = 50
)

// starve measures how long a key takes to be Ready, alone and among many that cannot be.
func (w *measurement) starve(ctx context.Context, result *report) error {
	figures.Progress("issuing %d keys one by one", healthy)
	if err := result.ready(ctx, w, "alone", &result.AloneMilliseconds); err != nil {
		return err
	}
	figures.Progress("making a world in which %d keys cannot be issued", conflicting+4*blocked)
	hard, err := starvation.Make(ctx, w.Admin, starvation.Size{Conflicts: conflicting, Blocked: blocked})
	if err != nil {
		return err
	}
	defer hard.Close()
	figures.Progress("issuing %d keys one by one", healthy)
	return result.ready(ctx, w, "among", &result.AmongMilliseconds)
}

func (r *report) ready(ctx context.Context, w *measurement, namespace string, into *[]float64) error {
	took, err := starvation.TimesToReady(ctx, w.Admin, namespace, healthy)
	for _, time := range took {
		*into = append(*into, float64(time.Microseconds())/1000)
	}
	return err
}
