// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/scratch"
	"dgbot.io/key-operator/internal/testenv/scenario"
)

// newScreen shows chapters, in color where the plugin would show a table in color.
func newScreen(out *os.File, all bool) *scenario.Screen {
	screen := &scenario.Screen{Out: out, Color: display.HasColor(out), MostOutput: scenario.MostOutput}
	if all {
		screen.MostOutput = 0
	}
	return screen
}

// choose returns the chapters of the demo, or the scenarios that are named: by name or by number.
func choose(all []scenario.Script, names string) (chosen []scenario.Script, err error) {
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" {
			wanted[strings.TrimPrefix(name, "0")] = true
		}
	}
	for _, script := range all {
		isNamed := wanted[script.Name] || script.Number > 0 && wanted[strconv.Itoa(script.Number)]
		delete(wanted, script.Name)
		delete(wanted, strconv.Itoa(script.Number))
		if isNamed || names == "" && script.Number > 0 {
			chosen = append(chosen, script)
		}
	}
	for name := range wanted {
		return nil, fmt.Errorf("there is no chapter %q: --list shows them", name)
	}
	return chosen, nil
}

func list(out io.Writer, chapters []scenario.Script) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "CHAPTER\tNAME\tTITLE")
	for _, chapter := range chapters {
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\n", chapter.Number, chapter.Name, chapter.Title)
	}
	_ = table.Flush()
}

// play plays the chapters, closes with what was shown, how many checks each had and how long it took, and returns the number of all checks.
func play(ctx context.Context, s *stack, chapters []scenario.Script, screen *scenario.Screen) (checks int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	admin, err := s.cluster.AdminClient()
	if err != nil {
		return 0, err
	}
	acts, wait := begin(ctx, scenario.Stage{Cluster: s.cluster, Admin: admin, Verifier: &s.verifier, Home: s.folder}, chapters, screen)
	var summary strings.Builder
	table := tabwriter.NewWriter(&summary, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "CHAPTER\tSHOWN\tCHECKS\tSECONDS")
	for i, chapter := range chapters {
		acts[i].shown.begin()
		if err := <-acts[i].ended; err != nil {
			cancel()
			wait()
			return 0, scratch.Explain(err)
		}
		checks += chapter.Checks
		_, _ = fmt.Fprintf(table, "%d %s\t%s\t%d\t%.1f\n", chapter.Number, chapter.Name, chapter.Title, chapter.Checks, acts[i].took.Seconds())
	}
	_ = table.Flush()
	title := "What was shown"
	if len(chapters) > 1 {
		title += ": the chapters ran at the same time" // so their seconds add up to more than the demo took
	}
	screen.Title(title)
	for line := range strings.Lines(summary.String()) {
		_, _ = fmt.Fprint(screen.Out, "   "+line)
	}
	return checks, nil
}

// atOnce is how many chapters are played at the same time: most of a chapter is waiting for what takes seconds by itself.
const atOnce = 7

// act is a chapter that is played.
type act struct {
	shown *turn
	ended chan error
	took  time.Duration
}

// begin plays the chapters, some at once, each with a screen of its own that shows nothing before it is the chapter's turn. wait returns
// when none is being played.
func begin(ctx context.Context, stage scenario.Stage, chapters []scenario.Script, screen *scenario.Screen) (acts []*act, wait func()) {
	acts = make([]*act, len(chapters))
	free := make(chan struct{}, atOnce)
	for i := range chapters {
		acts[i] = &act{shown: &turn{out: screen.Out}, ended: make(chan error, 1)}
	}
	var playing sync.WaitGroup
	playing.Go(func() {
		for i, chapter := range chapters {
			free <- struct{}{}
			playing.Go(func() {
				defer func() { <-free }()
				began, own := time.Now(), *screen
				own.Out = acts[i].shown
				own.Title(fmt.Sprintf("%d  %s", chapter.Number, chapter.Title))
				shown := stage
				shown.Screen = &own
				err := shown.Play(ctx, chapter)
				acts[i].took = time.Since(began)
				acts[i].ended <- err
			})
		}
	})
	return acts, playing.Wait
}

// turn keeps what is written until it is its turn.
type turn struct {
	mutex sync.Mutex
	out   io.Writer
	kept  bytes.Buffer
	begun bool
}

func (t *turn) Write(p []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.begun {
		return t.out.Write(p)
	}
	return t.kept.Write(p)
}

// begin shows what was kept, and from now on everything at once.
func (t *turn) begin() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.begun = true
	_, _ = t.kept.WriteTo(t.out)
}
