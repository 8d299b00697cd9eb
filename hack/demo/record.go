// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// recorder writes on to a terminal, and keeps each line with the time at which it came.
type recorder struct {
	out   io.Writer
	now   func() time.Time
	lines []recorded
	part  []byte
}

type recorded struct {
	at   time.Time
	text string
}

func (r *recorder) Write(p []byte) (int, error) {
	r.part = append(r.part, p...)
	for {
		line, rest, ended := bytes.Cut(r.part, []byte("\n"))
		if !ended {
			break
		}
		r.lines = append(r.lines, recorded{r.now(), string(line)})
		r.part = rest
	}
	return r.out.Write(p)
}

// The picture, in characters and in units of the drawing. A pause is no longer than longestPause, so that it does not bore, and no shorter
// than shortestPause, so that it can be read.
const (
	columns, rows           = 112, 26
	letterWidth, lineHeight = 8.4, 19.0
	margin                  = 14.0
	shortestPause           = 220 * time.Millisecond
	longestPause            = 1500 * time.Millisecond
	lastPause               = 6 * time.Second
)

const pictureStart = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 WIDTH HEIGHT" width="WIDTH" height="HEIGHT" role="img" aria-label="A recording of make demo">
<style>
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d7dde5; white-space: pre }
.b { font-weight: bold; fill: #ffffff } .c { fill: #7cc7ff } .f { fill: #aab4c0 }
@keyframes scroll {
FRAMES}
#film { animation: scroll DURATION step-end infinite }
@media (prefers-reduced-motion: reduce) { #film { animation: none } }
</style>
<rect width="100%" height="100%" rx="8" fill="#14181e"/>
<svg x="MARGIN" y="MARGIN" width="INNERWIDTH" height="INNERHEIGHT">
<g id="film">
`

// picture draws the recording: a strip of all lines, of which the last that came is at the bottom of the window. It moves by style alone,
// so that it runs where scripts do not, such as in a README.
func (r *recorder) picture() []byte {
	var frames, strip strings.Builder
	at, whole := time.Duration(0), r.duration()
	for i, line := range r.lines {
		offset := float64(rows-1-i) * lineHeight
		_, _ = fmt.Fprintf(&frames, "%.3f%% { transform: translateY(%gpx) }\n", 100*at.Seconds()/whole.Seconds(), offset)
		_, _ = fmt.Fprintf(&strip, "<text y=\"%g\"%s\n", float64(i)*lineHeight+14, styled(line.text))
		at += r.pause(i)
	}
	width, height := columns*letterWidth, rows*lineHeight
	number := func(value float64) string { return strconv.FormatFloat(value, 'f', 1, 64) }
	start := strings.NewReplacer("INNERWIDTH", number(width), "INNERHEIGHT", number(height), "WIDTH", number(width+2*margin), "HEIGHT", number(height+2*margin),
		"MARGIN", number(margin), "DURATION", number(whole.Seconds())+"s", "FRAMES", frames.String()).Replace(pictureStart)
	return []byte(start + strip.String() + "</g>\n</svg>\n</svg>\n")
}

// pause is how long a line is the last one.
func (r *recorder) pause(i int) time.Duration {
	if i == len(r.lines)-1 {
		return lastPause
	}
	return min(max(r.lines[i+1].at.Sub(r.lines[i].at), shortestPause), longestPause)
}

func (r *recorder) duration() (whole time.Duration) {
	for i := range r.lines {
		whole += r.pause(i)
	}
	return whole
}

// styled returns the rest of a text element: its class, by the color that the line begins with, and its letters, up to the width.
func styled(line string) string {
	class := ""
	for code, name := range map[string]string{"\x1b[1m": "b", "\x1b[36m": "c", "\x1b[2m": "f"} {
		if text, is := strings.CutPrefix(line, code); is {
			class, line = ` class="`+name+`"`, strings.TrimSuffix(text, "\x1b[0m")
		}
	}
	if letters := []rune(line); len(letters) > columns {
		line = string(letters[:columns-1]) + "…"
	}
	var escaped bytes.Buffer
	_ = xml.EscapeText(&escaped, []byte(line)) // a buffer does not fail
	return class + ">" + escaped.String() + "</text>"
}

// save writes the recording to a file.
func (r *recorder) save(path string) error {
	return os.WriteFile(path, r.picture(), 0o644) //nolint:gosec // a picture that all may see
}
