// SPDX-License-Identifier: Apache-2.0

// Package figures is what the benchmarks share: progress, and summaries of what they measured.
package figures

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// Main parses the flags, runs a benchmark until it ends or is interrupted, and prints what it returns as the page that it is
// in text, or as JSON. The process ends with 1 where it fails and 2 where the flags are wrong.
func Main[R fmt.Stringer](name string, run func(context.Context) (R, error)) {
	output := flag.String("o", "table", "table or json")
	flag.Parse()
	if *output != "table" && *output != "json" || flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "%s: want flags only, and -o table or json: see --help\n", name)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	report, err := run(ctx)
	stop()
	if err == nil && *output == "json" {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	if *output == "table" {
		fmt.Print(report)
	}
}

// Progress shows on a terminal what the benchmark does; figures go to standard output, so that they can be piped.
func Progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Spread is the median, with the least and the most.
func Spread(format string, values []float64) string {
	return fmt.Sprintf(format+" ("+format+" to "+format+")", Median(values), slices.Min(values), slices.Max(values))
}

// Median of at least one value.
func Median(values []float64) float64 { return Quantile(values, 0.5) }

// Quantile is the value that a share of at least one value does not exceed.
func Quantile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// Ratios of two series, one by one: what is compared was measured next to each other.
func Ratios(dividends, divisors []float64) []float64 {
	ratios := make([]float64, len(dividends))
	for i := range dividends {
		ratios[i] = dividends[i] / divisors[i]
	}
	return ratios
}
