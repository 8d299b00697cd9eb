// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"dgbot.io/key-operator/internal/testenv/process"
)

// sample is what has been used up to a moment.
type sample struct {
	// processor is the time that each process has had, in seconds.
	processor map[string]float64
	// requests are those that the API server has answered, by what they were.
	requests map[string]float64
}

func (w *measurement) look(ctx context.Context) (sample, error) {
	s := sample{processor: map[string]float64{}}
	numbers := map[string]int{"bench and bare client": os.Getpid()}
	if w.manager != nil {
		numbers["manager"] = w.manager.ProcessNumber()
	}
	for _, program := range []string{"etcd", "kube-apiserver"} {
		number, err := w.ProcessNumber(program)
		if err != nil {
			return s, err
		}
		numbers[program] = number
	}
	for name, number := range numbers {
		used, err := process.ProcessorSeconds(number)
		if err != nil {
			return s, err
		}
		s.processor[name] = used
	}
	var err error
	s.requests, err = w.requests(ctx)
	return s, err
}

// requests counts what the API server has answered, watches and its own traffic aside.
func (w *measurement) requests(ctx context.Context) (map[string]float64, error) {
	text, err := w.raw.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	counts := map[string]float64{}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, pair := range metric.GetLabel() {
			labels[pair.GetName()] = pair.GetValue()
		}
		switch labels["resource"] {
		case "dgbotapikeys", "dgbotapikeyrecords", "secrets", "events":
		default:
			continue
		}
		if labels["verb"] == "WATCH" || labels["group"] == "" && labels["resource"] == "events" {
			continue
		}
		what := labels["verb"] + " " + labels["resource"]
		if labels["subresource"] != "" {
			what += "/" + labels["subresource"]
		}
		if labels["dry_run"] != "" {
			what += " (dry run)"
		}
		counts[what] += metric.GetCounter().GetValue()
	}
	return counts, nil
}

// idle waits until a process has done nothing for a second, and returns when that began.
func idle(ctx context.Context, number int) (time.Time, error) {
	last, err := process.ProcessorSeconds(number)
	since := time.Now()
	for err == nil && time.Since(since) < time.Second {
		select {
		case <-ctx.Done():
			return since, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		var used float64
		// A tick now and then is the runtime's own.
		if used, err = process.ProcessorSeconds(number); used > last+0.015 {
			last, since = used, time.Now()
		}
	}
	return since, err
}
