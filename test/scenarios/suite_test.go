// SPDX-License-Identifier: Apache-2.0

// Package scenarios plays the scenarios in this folder, which the demo shows and docs quote.
package scenarios

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/scenario"
)

// TestScenarios plays all of them at once, against one operator and one verifier.
func TestScenarios(t *testing.T) {
	world := testenv.StartFor(t, testenv.Options{
		Config: []string{"verifier"},
		Build:  []func() error{controlplane.BuildOperator, controlplane.BuildVerifier, controlplane.BuildPlugin},
	})
	world.RunManager(t)
	verifier := world.RunVerifier(t, scenario.VerifierArgs...)
	testenv.Must(t, verifier.AwaitReady(t.Context(), 50*time.Millisecond, time.Minute))
	all, err := scenario.Load(".")
	testenv.Must(t, err)
	shown := &lines{}
	screen := &scenario.Screen{Out: shown, MostOutput: scenario.MostOutput}
	stage := scenario.Stage{Cluster: world.Cluster, Admin: world.Admin, Verifier: verifier, Home: t.TempDir()}
	t.Run("play", func(t *testing.T) {
		for _, script := range all {
			playing := stage
			if script.Number > 0 {
				playing.Screen = screen
			}
			params := playing.Params(t.Context())
			params.Files = []string{script.Path}
			testscript.Run(t, params)
		}
	})
	if most := 185; shown.count > most {
		t.Errorf("the chapters show %d lines, want at most %d: with its start and its summary, the demo has 200", shown.count, most)
	}
}

// lines counts the lines that are written.
type lines struct {
	mutex sync.Mutex
	count int
}

func (l *lines) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.count += bytes.Count(p, []byte("\n"))
	return len(p), nil
}
