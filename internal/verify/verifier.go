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
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/collector"
	"dgbot.io/key-operator/internal/verify/client"
	"dgbot.io/key-operator/internal/verify/feed"
	"dgbot.io/key-operator/internal/verify/register"
	"dgbot.io/key-operator/internal/verify/serve"
	"dgbot.io/key-operator/internal/verify/usage"
)

// Verifier connects the parts of a verifier: the feed keeps keys and chatbots up to date, the server answers requests from them, and the
// reporter writes when keys were used.
type Verifier struct {
	feed     *feed.Feed
	server   *serve.Server
	reporter *usage.Reporter
	// registrar is nil if the verifier does not register.
	registrar *register.Registrar
}

// New returns a Verifier for the API server of a configuration.
func New(config *rest.Config, options Options, log logr.Logger) (*Verifier, error) {
	records, err := client.ForRecords(config)
	if err != nil {
		return nil, err
	}
	secrets, err := client.ForSecrets(config)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	v := &Verifier{feed: feed.New(records, secrets, feed.Options{
		Environments: options.Environments, Namespaces: options.Namespaces, Bound: options.Bound, Register: options.Register,
	}, registry, log)}
	v.server = serve.New(options.Serve, serve.Data{
		Keys: v.feed.Keys, Chatbots: v.feed.Chatbots, KeyFreshness: v.feed.KeyFreshness, ChatbotFreshness: v.feed.ChatbotFreshness,
	}, config, registry, log)
	options.Usage.Environments = options.Environments
	v.reporter = usage.New(v.feed.Keys, records, options.Usage, registry, log)
	if options.Register {
		v.registrar, err = register.New(config, register.Options{
			Pod: options.Pod, Namespace: options.Usage.Namespace, MaxStaleness: options.Bound.MaxStaleness, Serve: options.Bound.Serve,
		}, v.feed.KeyFreshness, registry, log)
		if err != nil {
			return nil, err
		}
	}
	if len(options.Namespaces) > 0 {
		return v, nil // a Lease speaks for all keys of an environment
	}
	leases, err := coordinationclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	v.reporter.RenewLeases(leases)
	return v, nil
}

// headroom is the memory for garbage, in bytes. Twice the live heap, as Go has it, would be too much for a million records.
const headroom = 48 << 20

// Run serves until the context ends and the last request is answered. It returns an error if it cannot listen, or if the API server rejects the
// registration of this process.
func (v *Verifier) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	// Nothing is answered before the registration, but a process that cannot listen leaves none behind.
	if err := v.server.Start(ctx, group); err != nil {
		return err
	}
	// The feed runs until the last request is answered; then the reporter reports once more, and the registrar writes that nothing is answered.
	feeding, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	registered, deregister := context.WithCancel(context.WithoutCancel(ctx))
	defer deregister()
	registering := v.register(ctx, registered, group)
	go v.feed.Run(feeding)
	go collector.Collector{Headroom: headroom, IsFilled: v.feed.KeyFreshness.Synced}.Tune(feeding)
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		v.reporter.Run(feeding)
	}()
	err := group.Wait()
	stop()
	<-reported
	deregister()
	<-registering
	return err
}

// register keeps the registration until a context ends, and closes the channel that it returns after the last write. A rejection of the
// registration ends the group.
func (v *Verifier) register(ctx, registered context.Context, group *errgroup.Group) <-chan struct{} {
	ended := make(chan struct{})
	if v.registrar == nil {
		close(ended)
		return ended
	}
	rejected := make(chan error, 1)
	go func() {
		defer close(ended)
		rejected <- v.registrar.Run(registered)
	}()
	group.Go(func() error {
		select {
		case err := <-rejected:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	return ended
}
