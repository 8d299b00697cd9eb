// SPDX-License-Identifier: Apache-2.0

// Package feed keeps the index up to date with the API server: it lists and watches records and replicas of HMAC secrets, and knows how
// old the content of the index may be.
package feed

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/verify/index"
)

// Options select what a Feed watches.
type Options struct {
	// Limits select keys and chatbots, and bound what the cluster may vouch for.
	Limits index.Limits
	// PageSize is that of lists that are not streamed; 0 for the default.
	PageSize int64
	// Identity is set if the Feed watches chatbots as well.
	Identity bool
	Bound    Bound
	// Register is set if the process registers. Then it lists records and answers requests only while it is registered.
	Register bool
}

// Feed keeps keys and chatbots up to date with the API server.
type Feed struct {
	Keys *index.Keys
	// KeyFreshness is that of Keys.
	KeyFreshness *Freshness
	// Chatbots are empty without Options.Identity.
	Chatbots *index.Chatbots
	// ChatbotFreshness is that of Chatbots. It is separate: keys are verified while HMAC secrets cannot be read.
	ChatbotFreshness *Freshness

	pulse    *pulse
	watchers []*watcher
	log      logr.Logger
}

// New returns a Feed with a watch for the records of each namespace and environment and, with Options.Identity, one for the replicas of HMAC
// secrets.
func New(records, secrets rest.Interface, options Options, registry prometheus.Registerer, log logr.Logger) *Feed {
	limits := &options.Limits
	watches := watchesOf(oneAtLeast(limits.Namespaces), oneAtLeast(limits.Environments))
	f := &Feed{Keys: &index.Keys{}, Chatbots: index.NewChatbots(limits.Environments, limits.Namespaces), pulse: newPulse(clock.RealClock{}.Now), log: log}
	f.Keys.Restrict(*limits)
	f.KeyFreshness = newFreshness(watches, f.pulse, options.Bound, options.Register)
	f.ChatbotFreshness = newFreshness(make([]registration.Watch, 1), f.pulse, options.Bound, false)
	failures, ignored := f.register(registry, options.Identity)
	span := watchSpan(options.Bound.MaxStaleness)
	for i, watch := range watches {
		f.watchers = append(f.watchers, &watcher{
			watched: watchedRecords, number: int32(i),
			client: records, namespace: watch.Namespace, environment: watch.Environment, log: log, span: span,
			store: typedStore[*v1alpha1.DGbotAPIKeyRecord]{f.Keys}, changes: f.Keys.Changes, freshness: f.KeyFreshness, failures: failures,
			ignored: newIgnored(ignored), pageSize: cmp.Or(options.PageSize, pageSize),
		})
	}
	if !options.Identity {
		return f
	}
	f.watchers = append(f.watchers, &watcher{
		watched: watchedSecrets, client: secrets, namespace: v1alpha1.IdentityNamespace, log: log, span: span,
		store: typedStore[*corev1.Secret]{f.Chatbots}, changes: func() int64 { return 0 }, freshness: f.ChatbotFreshness, failures: failures,
		ignored: newIgnored(ignored), pageSize: pageSize,
	})
	return f
}

func watchesOf(namespaces, environments []string) (watches []registration.Watch) {
	for _, namespace := range namespaces {
		for _, environment := range environments {
			watches = append(watches, registration.Watch{Namespace: namespace, Environment: environment})
		}
	}
	return watches
}

// oneAtLeast returns the names, sorted and once each. No names stand for all, which one watch without a name covers.
func oneAtLeast(names []string) []string {
	if len(names) == 0 {
		return []string{""}
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// Run watches, and logs changes of the freshness, until the context ends.
func (f *Feed) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, w := range f.watchers {
		group.Go(func() { w.run(ctx) })
	}
	group.Go(func() { f.pulse.run(ctx) })
	group.Go(func() { f.KeyFreshness.report(ctx, f.log) })
	group.Wait()
}
