// SPDX-License-Identifier: Apache-2.0

// Package progress reports what a command does while it works for minutes.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"
)

// interval is how long a step may be silent.
const interval = 10 * time.Second

// Step runs do. Before, at every interval, and after, it writes a line to standard error: standard output has results only.
func Step(what string, do func() error) error { return step(os.Stderr, what, interval, do) }

func step(out io.Writer, what string, every time.Duration, do func() error) error {
	began := time.Now()
	since := func() time.Duration { return time.Since(began).Round(100 * time.Millisecond) }
	_, _ = fmt.Fprintf(out, "%s ...\n", what)
	done, reported := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(reported)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_, _ = fmt.Fprintf(out, "%s ... %s\n", what, since())
			case <-done:
				return
			}
		}
	}()
	err := do()
	close(done)
	<-reported
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	_, _ = fmt.Fprintf(out, "%s: %s in %s\n", what, outcome, since())
	return err
}
