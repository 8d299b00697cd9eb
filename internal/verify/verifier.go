// SPDX-License-Identifier: Apache-2.0

// Package verify is the data plane: it verifies API keys and the identities of visitors from memory. It watches DGbotAPIKeyRecords,
// which hold hashes, and the Secrets of the identity namespace.
package verify

import (
	"context"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/collector"
	"dgbot.io/key-operator/internal/verify/serve"
	"dgbot.io/key-operator/internal/verify/source"
)

// Verifier connects the parts of a verifier: the sources keep keys and chatbots up to date and report uses, the server answers requests.
type Verifier struct {
	sources *sources
	server  *serve.Server
}

// New returns a Verifier. Home is the cluster that it runs in, or that --kubeconfig names; nil for none, which is possible if the sources have
// kubeconfigs.
func New(home *rest.Config, options Options, log logr.Logger) (*Verifier, error) {
	return newVerifier(home, options, source.Connect, log)
}

func newVerifier(home *rest.Config, options Options, connect connector, log logr.Logger) (*Verifier, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	sources, err := newSources(home, options, connect, registry, log)
	if err != nil {
		return nil, err
	}
	guard := home // reviews the tokens of those who read metrics
	if guard == nil {
		guard = sources.first().config
	}
	server := serve.New(options.Serve, sources.data(), guard, registry, prometheus.GathererFunc(sources.gather), log)
	sources.use = server.Use
	return &Verifier{sources, server}, nil
}

// headroom is the memory for garbage, in bytes. Twice the live heap, as Go has it, would be too much for a million records.
const headroom = 48 << 20

// Run serves until the context ends and the last request is answered. It returns an error if it cannot listen, or if the API server of the first
// source rejects the registration of this process.
func (v *Verifier) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	// Nothing is answered before the registration, but a process that cannot listen leaves none behind.
	if err := v.server.Start(ctx, group); err != nil {
		return err
	}
	// The sources are followed until the last request is answered; then they report uses once more, and write that nothing is answered.
	answering, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	v.sources.start(answering)
	go collector.Collector{Headroom: headroom, IsFilled: v.sources.first().KeyFreshness.Synced}.Tune(answering)
	group.Go(func() error { return v.sources.follow(ctx) })
	err := group.Wait()
	end()
	v.sources.wait()
	return err
}
