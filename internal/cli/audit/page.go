// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/flags"
)

//go:embed page.html.tmpl
var pageText string

var pageTemplate = template.Must(template.New("audit").Parse(pageText))

// auditPage is what the page shows.
type auditPage struct {
	Where, At, UnusedAfter string
	Totals                 []total
	Environments           []environmentPicture
	Rows                   []pageRow
}

type total struct {
	Name string
	N    int
	Risk string
}

// pageRow is a key in the table.
type pageRow struct {
	keyAudit
	RiskName, StateText, Issued, LastUsed, Next string
	Whys                                        []string
}

// environmentPicture shows, of each key of an environment, how old it is and when it was used last. Places are in percent of its width,
// so that it fits any screen and its texts keep their size.
type environmentPicture struct {
	Name  string
	Ticks []tick
	// Bound is where unused keys begin; nil if that is off the scale.
	Bound *tick
	Bars  []bar
	// More is how many keys the picture leaves out.
	More int
}

// tick is a time on the axis. Anchor is the part of its text that is there.
type tick struct {
	X            float64
	Text, Anchor string
}

// bar is a key: from when it was issued until now, with a dot where it was used last.
type bar struct {
	X, Length, Used   float64
	IsUsed            bool
	Name, Risk, Title string
}

const (
	// nowAt is the right end of a picture.
	nowAt = 100.0
	// shortestBar is how long the bar of a key is that was issued just now. A shorter one would be hidden behind its dot.
	shortestBar = 1.5
	// atEdge is how near to the left edge half of a text would be outside.
	atEdge = 8.0
	// mostBars keeps a picture on a printed page; those with the highest risk come first.
	mostBars = 40
)

// writePage writes the audit as a page to the file of --html, or to standard output for -. It renders the page first, so that an error
// leaves no partial file. It writes in place and does not rename, because the path may be a link or a device.
func (a *audit) writePage(all []keyAudit, where string) error {
	var page bytes.Buffer
	if err := renderPage(display.NewWriter(&page), all, where, time.Duration(a.unusedAfter), a.Clock.Now()); err != nil {
		return fmt.Errorf("rendering the page: %w", err)
	}
	if a.page == "-" {
		_, err := page.WriteTo(a.Streams.Out)
		return err
	}
	if err := os.WriteFile(a.page, page.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return display.Writef(a.Streams.Out, "%s in %s\n", display.Counted(len(all), "key"), a.page)
}

func renderPage(out io.Writer, all []keyAudit, where string, unusedAfter time.Duration, now time.Time) error {
	page := auditPage{Where: where, At: now.UTC().Format("2006-01-02 15:04 MST"), UnusedAfter: duration.HumanDuration(unusedAfter), Totals: totals(all)}
	var names []string
	for i := range all {
		if !slices.Contains(names, all[i].Environment) {
			names = append(names, all[i].Environment)
		}
		page.Rows = append(page.Rows, rowOf(&all[i], now))
	}
	slices.Sort(names)
	for _, name := range names {
		page.Environments = append(page.Environments, draw(name, all, unusedAfter, now))
	}
	return pageTemplate.Execute(out, page)
}

func totals(all []keyAudit) []total {
	count := func(is func(*keyAudit) bool) (n int) {
		for i := range all {
			if is(&all[i]) {
				n++
			}
		}
		return n
	}
	of := func(r risk) int { return count(func(a *keyAudit) bool { return a.Risk == r }) }
	return []total{
		{"keys", len(all), ""},
		{"with high risk", of(high), high.String()}, {"medium", of(medium), medium.String()}, {"low", of(low), low.String()},
		{"never used", count(func(a *keyAudit) bool { return a.IssuedAt != nil && a.LastUsedAt == nil }), ""},
	}
}

func rowOf(a *keyAudit, now time.Time) pageRow {
	row := pageRow{keyAudit: *a, RiskName: a.Risk.String(), StateText: a.stateText, Issued: display.TimeText(a.IssuedAt, now), LastUsed: lastUse(a, now)}
	switch {
	case a.NextStageAt != nil:
		row.Next = "next stage of the audit " + display.DueText(a.NextStageAt, now)
	case a.ExpiresAt != nil && (a.NextRotation == nil || a.ExpiresAt.Before(a.NextRotation)):
		row.Next = "expires " + display.TimeText(a.ExpiresAt, now)
	case a.NextRotation != nil:
		row.Next = "rotated " + display.TimeText(a.NextRotation, now)
	}
	for _, f := range a.Findings {
		row.Whys = append(row.Whys, f.What)
	}
	return row
}

func lastUse(a *keyAudit, now time.Time) string {
	if a.LastUsedAt == nil {
		return "never known"
	}
	return display.TimeText(a.LastUsedAt, now)
}

// draw makes the picture of one environment. What is revoked is not in it.
func draw(name string, all []keyAudit, unusedAfter time.Duration, now time.Time) environmentPicture {
	p := environmentPicture{Name: name}
	var keys []*keyAudit
	longest := 7 * 24 * time.Hour
	for i := range all {
		if a := &all[i]; a.Environment == name && a.IssuedAt != nil && a.State != v1alpha1.RevokedReason {
			keys = append(keys, a)
		}
	}
	if len(keys) > mostBars {
		p.More = len(keys) - mostBars
		keys = keys[:mostBars]
	}
	for _, a := range keys {
		longest = max(longest, now.Sub(a.IssuedAt.Time), age(a.LastUsedAt, now))
	}
	at := func(ago time.Duration) float64 {
		return math.Round(10*nowAt*(1-min(1, float64(max(0, ago))/float64(longest)))) / 10
	}
	for _, a := range keys {
		b := bar{
			X: at(now.Sub(a.IssuedAt.Time)), Used: at(age(a.LastUsedAt, now)), IsUsed: a.LastUsedAt != nil,
			Name: a.Namespace + "/" + a.Name, Risk: a.Risk.String(),
			Title: fmt.Sprintf("%s/%s (%s): issued %s, last used %s. %s", a.Namespace, a.Name, a.Label, display.TimeText(a.IssuedAt, now), lastUse(a, now), a.why()),
		}
		b.X = min(b.X, nowAt-shortestBar)
		b.Length = math.Round(10*(nowAt-b.X)) / 10
		p.Bars = append(p.Bars, b)
	}
	for _, days := range ticksFor(longest) {
		t := tick{at(time.Duration(days) * flags.Day), fmt.Sprintf("%dd ago", days), "middle"}
		if t.X < atEdge {
			t.Anchor = "start"
		}
		p.Ticks = append(p.Ticks, t)
	}
	if unusedAfter < longest {
		p.Bound = &tick{X: at(unusedAfter)}
	}
	return p
}

func age(at *metav1.Time, now time.Time) time.Duration {
	if at == nil {
		return 0
	}
	return now.Sub(at.Time)
}

// ticksFor are round numbers of days, four or five of them.
func ticksFor(longest time.Duration) []int {
	days := longest.Hours() / 24
	step := 1
	for _, s := range []int{1, 2, 5, 10, 15, 30, 60, 90, 180, 365, 730} {
		step = s
		if days/float64(s) <= 6 {
			break
		}
	}
	var all []int
	for d := step; float64(d) <= days; d += step {
		all = append(all, d)
	}
	return all
}
