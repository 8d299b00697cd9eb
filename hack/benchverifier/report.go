// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"strings"

	"dgbot.io/key-operator/hack/figures"
)

// What answers are asked for over.
const (
	overVerify = "POST /v1/verify"
	overCheck  = "GET /check"
	overGRPC   = "gRPC ext_authz"
)

var protocols = []string{overVerify, overCheck, overGRPC}

// Who answers.
const (
	noOpServer  = "no-op server"
	theVerifier = "verifier"
)

// report holds all figures of a run.
type report struct {
	Processors  int                `json:"processors"`
	Connections int                `json:"connections"`
	Records     int                `json:"records"`
	Streamed    int                `json:"streamedRecords"`
	Answers     map[string]*series `json:"answers"`
	// Memory is resident, in MiB: after the start, and after answers.
	EmptyMiB             []float64 `json:"emptyMiB"`
	RecordsMiB           []float64 `json:"recordsMiB"`
	RecordsAskedMiB      float64   `json:"recordsAskedMiB"`
	StreamedMiB          float64   `json:"streamedMiB"`
	StreamedAskedMiB     float64   `json:"streamedAskedMiB"`
	StreamedAnswers      series    `json:"streamedAnswers"`
	EmptyReadySeconds    []float64 `json:"emptyReadySeconds"`
	ReadySeconds         []float64 `json:"readySeconds"`
	StreamedReadySeconds float64   `json:"streamedReadySeconds"`
	// RevocationMilliseconds are from the sending of a revocation to the first refusal.
	RevocationMilliseconds []float64 `json:"revocationMilliseconds"`
	// ProofMilliseconds are from the write of a revocation to its confirmation, and ProofInARowMilliseconds those of revocations right after
	// another one.
	ProofMilliseconds       []float64 `json:"proofMilliseconds"`
	ProofInARowMilliseconds []float64 `json:"proofInARowMilliseconds"`
}

// series is one server asked in one way, round by round: answers per second, and microseconds for an answer.
type series struct {
	Rates     []float64 `json:"answersPerSecond"`
	Median    []float64 `json:"medianMicroseconds"`
	P99       []float64 `json:"p99Microseconds"`
	Processor []float64 `json:"processorMicroseconds"`
}

func newReport(s *settings) *report {
	return &report{Processors: runtime.NumCPU(), Connections: s.connections, Records: s.records, Streamed: s.streamed, Answers: map[string]*series{}}
}

func (r *report) of(what, by string) *series {
	name := what + ", " + by
	if r.Answers[name] == nil {
		r.Answers[name] = &series{}
	}
	return r.Answers[name]
}

// bytesPerRecord is what a verifier with records occupies beyond an empty one.
func (r *report) bytesPerRecord(records int, mib ...float64) string {
	each := make([]float64, len(mib))
	for i := range mib {
		each[i] = (mib[i] - figures.Median(r.EmptyMiB)) * (1 << 20) / float64(records)
	}
	if len(each) == 1 {
		return fmt.Sprintf("%.0f", each[0])
	}
	return figures.Spread("%.0f", each)
}

// String is the report as a page.
func (r *report) String() string {
	var page strings.Builder
	fmt.Fprintf(&page, "%d processors, %d questions at once among %d records; median (least to most) of %d rounds\n\n",
		r.Processors, r.Connections, r.Records, len(r.of(overCheck, theVerifier).Rates))
	fmt.Fprintf(&page, "%-34s %-30s %-20s %-20s %s\n", "", "answers/s", "p50, µs", "p99, µs", "processor, µs per answer")
	for _, what := range protocols {
		for _, by := range []string{noOpServer, theVerifier} {
			r.of(what, by).row(&page, what+", "+by)
		}
		ratios := figures.Ratios(r.of(what, theVerifier).Rates, r.of(what, noOpServer).Rates)
		fmt.Fprintf(&page, "%-34s %s of the no-op server\n\n", "", figures.Spread("%.2f", ratios))
	}
	r.StreamedAnswers.row(&page, fmt.Sprintf("%s, among %d", overCheck, r.Streamed))
	fmt.Fprintf(&page, "\nfrom the start of the process to ready: %s s without records, %s with %d of the API server, %.1f with %d from a stub\n",
		figures.Spread("%.2f", r.EmptyReadySeconds), figures.Spread("%.2f", r.ReadySeconds), r.Records, r.StreamedReadySeconds, r.Streamed)
	fmt.Fprintf(&page, "resident memory: %s MiB without records, %s with %d, %.0f with %d\n",
		figures.Spread("%.0f", r.EmptyMiB), figures.Spread("%.0f", r.RecordsMiB), r.Records, r.StreamedMiB, r.Streamed)
	fmt.Fprintf(&page, "bytes for a record: %s and %s; after the answers, with the garbage they leave: %s and %s\n",
		r.bytesPerRecord(r.Records, r.RecordsMiB...), r.bytesPerRecord(r.Streamed, r.StreamedMiB),
		r.bytesPerRecord(r.Records, r.RecordsAskedMiB), r.bytesPerRecord(r.Streamed, r.StreamedAskedMiB))
	late := r.RevocationMilliseconds
	fmt.Fprintf(&page, "%d revocations, one by one, from the sending to the first refusal: p50 %.0f ms, p99 %.0f ms, worst %.0f ms\n",
		len(late), figures.Median(late), figures.Quantile(late, 0.99), figures.Quantile(late, 1))
	for _, proofs := range []struct {
		of           string
		milliseconds []float64
	}{{"after a pause", r.ProofMilliseconds}, {"right after another one", r.ProofInARowMilliseconds}} {
		fmt.Fprintf(&page, "%d proofs of a revocation %s, from its write to confirmedAt: p50 %.0f ms, p99 %.0f ms, worst %.0f ms\n",
			len(proofs.milliseconds), proofs.of, figures.Median(proofs.milliseconds), figures.Quantile(proofs.milliseconds, 0.99), figures.Quantile(proofs.milliseconds, 1))
	}
	return page.String()
}

func (s *series) row(page *strings.Builder, title string) {
	fmt.Fprintf(page, "%-34s %-30s %-20s %-20s %s\n", title,
		figures.Spread("%.0f", s.Rates), figures.Spread("%.0f", s.Median), figures.Spread("%.0f", s.P99), figures.Spread("%.1f", s.Processor))
}
