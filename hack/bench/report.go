// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"dgbot.io/key-operator/hack/figures"
)

// What is measured by rounds.
const (
	issue    = "issue"
	rotation = "rotation"
	// revocation is that of all keys at once, which are compromised: until the last record in use is revoked. The operator tries to
	// publish a new key before each, the bare client does not.
	revocation = "revocation"
)

var measured = []string{issue, rotation, revocation}

// report holds all figures of a run. Rates are keys per second; memory is resident, in MiB.
type report struct {
	Keys        int                `json:"keys"`
	Concurrency int                `json:"concurrency"`
	Processors  int                `json:"processors"`
	Series      map[string]*series `json:"series"`
	// RestartSeconds is from the start of the manager's process until it has nothing to do; RestartWrites is how many
	// objects two restarts have written.
	RestartSeconds float64 `json:"restartSeconds"`
	RestartWrites  int     `json:"restartWrites"`
	EmptyMiB       float64 `json:"emptyMiB"`
	FullMiB        float64 `json:"fullMiB"`
	CrowdedMiB     float64 `json:"crowdedMiB"`
	Foreign        int     `json:"foreignSecrets"`
	Large          int     `json:"foreignSecretsOf1MiB"`
	// AloneMilliseconds are the times from the creation of a key to Ready, one key after the other; AmongMilliseconds the
	// same among keys that cannot be issued.
	AloneMilliseconds []float64 `json:"millisecondsToReadyAlone"`
	AmongMilliseconds []float64 `json:"millisecondsToReadyAmongBlocked"`
}

// series is one thing done by one of the two, round by round.
type series struct {
	name  string
	Rates []float64 `json:"keysPerSecond"`
	// Processor is the time that each process had for 1,000 keys, in seconds; Requests are those for one key. Both are of
	// the last round.
	Processor map[string]float64 `json:"processorSecondsPer1000Keys"`
	Requests  map[string]float64 `json:"requestsPerKey"`
}

func newReport(s settings) *report {
	return &report{Keys: s.keys, Concurrency: s.concurrency, Processors: runtime.NumCPU(), Foreign: s.foreign, Large: s.large, Series: map[string]*series{}}
}

func (r *report) of(what, by string) *series {
	name := what + ", " + by
	if r.Series[name] == nil {
		r.Series[name] = &series{name: name}
	}
	return r.Series[name]
}

func (s *series) add(rate float64, before, after sample, keys int) {
	s.Rates = append(s.Rates, rate)
	s.Processor, s.Requests = map[string]float64{}, map[string]float64{}
	for name, used := range after.processor {
		s.Processor[name] = (used - before.processor[name]) / float64(keys) * 1000
	}
	for what, count := range after.requests {
		// What happens now and then is not the keys'.
		if each := (count - before.requests[what]) / float64(keys); each > 0.02 {
			s.Requests[what] = each
		}
	}
}

// String is the report as a page.
func (r *report) String() string {
	var page strings.Builder
	fmt.Fprintf(&page, "%d keys, %d at once, %d processors; median (least to most) of %d rounds\n\n",
		r.Keys, r.Concurrency, r.Processors, len(r.of(issue, bare).Rates))
	fmt.Fprintf(&page, "%-10s %-24s %-24s %s\n", "", "bare client, keys/s", "operator, keys/s", "ratio")
	for _, what := range measured {
		first, second := r.of(what, bare).Rates, r.of(what, operator).Rates
		fmt.Fprintf(&page, "%-10s %-24s %-24s %s\n", what, figures.Spread("%.0f", first), figures.Spread("%.0f", second), figures.Spread("%.2f", figures.Ratios(second, first)))
	}
	perThousand := (r.FullMiB - r.EmptyMiB) / float64(r.Keys) * 1000
	fmt.Fprintf(&page, "\nrestart with %d keys: idle after %.1f s; objects written by two restarts: %d\n", r.Keys, r.RestartSeconds, r.RestartWrites)
	fmt.Fprintf(&page, "resident memory: %.0f MiB without keys, %.0f MiB with them: %.1f MiB for 1,000\n", r.EmptyMiB, r.FullMiB, perThousand)
	fmt.Fprintf(&page, "with %d Secrets of 1 KiB and %d of 1 MiB of others: %.0f MiB (%+.0f)\n", r.Foreign, r.Large, r.CrowdedMiB, r.CrowdedMiB-r.FullMiB)
	fmt.Fprintf(&page, "one key, from its creation to Ready: %s ms alone, %s ms among %d that cannot be issued (ratio of the medians %.2f)\n",
		figures.Spread("%.0f", r.AloneMilliseconds), figures.Spread("%.0f", r.AmongMilliseconds), conflicting+4*blocked, figures.Median(r.AmongMilliseconds)/figures.Median(r.AloneMilliseconds))
	for _, what := range measured {
		fmt.Fprintf(&page, "\n%s, last round\n%-36s %12s %12s\n", what, "", bare, operator)
		table(&page, "processor s for 1,000 keys: ", r.of(what, bare).Processor, r.of(what, operator).Processor)
		table(&page, "requests for a key: ", r.of(what, bare).Requests, r.of(what, operator).Requests)
	}
	return page.String()
}

func table(page *strings.Builder, title string, first, second map[string]float64) {
	fmt.Fprintln(page, title)
	both := maps.Clone(first)
	maps.Copy(both, second)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		fmt.Fprintf(page, "  %-36s %10.2f %12.2f\n", name, first[name], second[name])
	}
}
