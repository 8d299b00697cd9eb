// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"context"
	"fmt"
	"io"
	"time"

	"k8s.io/utils/clock"

	"dgbot.io/key-operator/internal/cli/display"
)

// progress shows in a terminal how much a scan has read.
type progress struct {
	line  *display.StatusLine
	clock clock.PassiveClock
	files int
	bytes int64
	last  time.Time
}

// showEvery is the time between two updates in the terminal.
const showEvery = 500 * time.Millisecond

func newProgress(out io.Writer, clock clock.PassiveClock) progress {
	return progress{line: display.NewStatusLine(out), clock: clock, last: clock.Now()}
}

func (p *progress) read(n int) {
	p.bytes += int64(n)
	if now := p.clock.Now(); p.line.IsShown() && now.Sub(p.last) >= showEvery {
		p.last = now
		p.line.Show("scanning: %s, %s", display.Counted(p.files, "file"), sizeText(p.bytes))
	}
}

func (p *progress) end() { p.line.Clear() }

// countingReader counts the bytes that are read, and fails when the context ends: a pipe may have no end.
type countingReader struct {
	ctx      context.Context //nolint:containedctx // a reader lives as long as one call
	in       io.Reader
	progress *progress
}

func (w *countingReader) Read(into []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.in.Read(into)
	w.progress.read(n)
	return n, err
}

func sizeText(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
