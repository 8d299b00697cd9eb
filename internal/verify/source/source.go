// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/verify/client"
	"dgbot.io/key-operator/internal/verify/feed"
	"dgbot.io/key-operator/internal/verify/index"
	"dgbot.io/key-operator/internal/verify/register"
	"dgbot.io/key-operator/internal/verify/usage"
)

// Options configure a Source.
type Options struct {
	// Limits say which records count.
	Limits index.Limits
	// PageSize is that of lists that are not streamed; 0 for the default.
	PageSize int64
	// IsFirst is set for the source whose chatbots are known as well, and in whose cluster it is stated since when uses are tracked.
	IsFirst bool
	Bound   feed.Bound
	// Register makes the process register by a Lease in Usage.Namespace, which names Pod. With RetryRejections, Run returns no error.
	Register, RetryRejections bool
	Pod                       string
	Usage                     usage.Options
}

// Source follows one cluster.
type Source struct {
	*feed.Feed
	reporter *usage.Reporter
	// registrar is nil if the process does not register.
	registrar *register.Registrar
}

// New returns a Source that follows the cluster of a configuration.
func New(config *rest.Config, options Options, registry prometheus.Registerer, log logr.Logger) (*Source, error) {
	records, err := client.ForRecords(config)
	if err != nil {
		return nil, err
	}
	secrets, err := client.ForSecrets(config)
	if err != nil {
		return nil, err
	}
	s := &Source{Feed: feed.New(records, secrets, feed.Options{
		Limits: options.Limits, PageSize: options.PageSize, Identity: options.IsFirst, Bound: options.Bound, Register: options.Register,
	}, registry, log)}
	options.Usage.Environments = options.Limits.Environments
	s.reporter = usage.New(s.Keys, records, options.Usage, registry, log)
	if options.Register {
		s.registrar, err = register.New(config, register.Options{
			Pod: options.Pod, Namespace: options.Usage.Namespace, MaxStaleness: options.Bound.MaxStaleness, Serve: options.Bound.Serve,
			RetryRejections: options.RetryRejections,
		}, s.KeyFreshness, registry, log)
		if err != nil {
			return nil, err
		}
	}
	if !options.IsFirst || len(options.Limits.Namespaces) > 0 {
		return s, nil // a Lease of an environment speaks for all its keys
	}
	leases, err := coordinationclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	s.reporter.RenewLeases(leases)
	return s, nil
}

// Run follows the cluster until the context ends. The caller ends it after the last answer from this source. Then Run reports uses once more,
// writes that the process gives no more answers, and returns. If the API server rejects the registration at the start, it returns the error.
func (s *Source) Run(ctx context.Context) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	// The registration ends after everything else: in it stands that the process gives no more answers.
	registered, deregister := context.WithCancel(context.WithoutCancel(ctx))
	defer deregister()
	rejected := make(chan error, 1)
	go func() {
		defer close(rejected)
		if s.registrar == nil {
			return
		}
		if err := s.registrar.Run(registered); err != nil {
			rejected <- err
			stop()
		}
	}()
	var group sync.WaitGroup
	group.Go(func() { s.Feed.Run(following) })
	group.Go(func() { s.reporter.Run(following) })
	group.Wait()
	deregister()
	return <-rejected
}

// Answers reports whether requests may be answered from this source at a time: it is registered, and its records are listed.
func (s *Source) Answers(now time.Time) bool { return s.KeyFreshness.Answers(now) }
