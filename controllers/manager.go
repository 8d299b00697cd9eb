// SPDX-License-Identifier: Apache-2.0

// Package controllers makes a manager of the controllers, which reconcile the kinds of api/v1alpha1:
//
//	apikeys         DGbotAPIKey: records, the Secret, status
//	chatbots        DGbotChatbot: the chatbot ID, its ConfigMap, the HMAC secret with its replica
//	environments    DGbotEnvironment: its status; the rules are enforced key by key
//	records         deletes records whose key does not own them
//	leases          deletes the Leases of verifiers that renew them no longer
//	objectmetrics   exports a few series for each key and chatbot
//
// These packages do not know each other. What several of them need lies below internal:
//
//	caching       what the caches hold, and what happens while they cannot be filled
//	read          bounded reads, and failed reads as part of an observation
//	write         the outcome of a write, retries, redaction, status and events
//	published     ownership and contents of what is published for an owner
//	queue         the order of requests, and what wakes a controller
//	ranks         the rank of a key in its environment
//	reservation   the ConfigMap that reserves a chatbot ID
//	rules         what the rules of an environment refer to
//	verifiers     the registered verifiers, and the keys that wait for them
//
// A controller observes, has internal/lifecycle plan, applies the plan, and reports. It decides nothing about keys itself. The order of
// writes is the point: a key is in a record before it is in the Secret, the Secret is written with the resourceVersion that was read before
// the key was minted, and nothing is minted or deleted because a cache says so. The API server is the lock between instances; leader
// election only saves work.
package controllers

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/chatbots"
	"dgbot.io/key-operator/controllers/environments"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/verifiers"
	"dgbot.io/key-operator/controllers/leases"
	"dgbot.io/key-operator/controllers/objectmetrics"
	"dgbot.io/key-operator/controllers/records"
	"dgbot.io/key-operator/internal/collector"
	"dgbot.io/key-operator/internal/servertime"
)

// Options of the manager, as its flags say.
type Options struct {
	LeaderElect             bool
	LeaderElectionNamespace string
	MetricsBindAddress      string
	HealthProbeBindAddress  string
	MaxConcurrentReconciles int
	// WatchNamespaces are the namespaces to work in; none for all.
	WatchNamespaces Namespaces
	// SecretAccess is SecretAccessWatch or SecretAccessGetOnly.
	SecretAccess string
	// SecretCheckInterval is how often Secrets are looked at that are not watched.
	SecretCheckInterval time.Duration
	// UsageNamespace is the namespace of the usage Leases.
	UsageNamespace string
	// RequireEnvironment holds back the first issue of keys whose environment has no DGbotEnvironment.
	RequireEnvironment bool
}

// How the manager learns of changes to Secrets.
const (
	SecretAccessWatch   = "watch"
	SecretAccessGetOnly = "get-only"
)

// minSecretCheckInterval keeps a mistake from becoming a load: 1,000 keys are then 1,000 reads a second.
const minSecretCheckInterval = time.Second

// Validate returns an error that names the first invalid flag; nil if all are valid.
func (o *Options) Validate() error {
	switch {
	case o.MaxConcurrentReconciles < 1:
		return fmt.Errorf("--max-concurrent-reconciles is %d: want at least 1", o.MaxConcurrentReconciles)
	case o.SecretAccess != SecretAccessWatch && o.SecretAccess != SecretAccessGetOnly:
		return fmt.Errorf("--secret-access is %q: want %s or %s", o.SecretAccess, SecretAccessWatch, SecretAccessGetOnly)
	case o.SecretCheckInterval < minSecretCheckInterval:
		return fmt.Errorf("--secret-check-interval is %s: want at least %s", o.SecretCheckInterval, minSecretCheckInterval)
	}
	if problems := validation.IsDNS1123Label(o.UsageNamespace); len(problems) > 0 {
		return fmt.Errorf("--usage-namespace is %q, which cannot be the name of a namespace: %s", o.UsageNamespace, strings.Join(problems, "; "))
	}
	return nil
}

// Scheme returns the kinds that the manager reads and writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}

// NewManager returns a manager that runs all reconcilers.
func NewManager(config *rest.Config, options Options) (ctrl.Manager, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	cacheOptions, err := cacheOptions(options)
	if err != nil {
		return nil, err
	}
	caches := caching.New(scheme, options.WatchNamespaces)
	cacheOptions.NewInformer = caches.Informers()
	// Warnings are what webhooks and policies say about the objects they are shown: published keys among them.
	config = rest.CopyConfig(config)
	config.WarningHandler, config.WarningHandlerWithContext = nil, rest.NoWarnings{}
	now := servertime.New(reportClock)
	config.Wrap(now.Observing)
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Cache:  cacheOptions,
		Client: client.Options{
			FieldOwner:      v1alpha1.ManagedBy,
			FieldValidation: metav1.FieldValidationStrict,
			Cache:           &client.CacheOptions{},
		},
		Metrics: metricsserver.Options{
			BindAddress:    options.MetricsBindAddress,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress:        options.HealthProbeBindAddress,
		LeaderElection:                options.LeaderElect,
		LeaderElectionID:              "dgbot-manager.keys.dgbot.io",
		LeaderElectionNamespace:       options.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	if err := caches.AddTo(mgr); err != nil {
		return nil, err
	}
	if err := addReconcilers(mgr, caches, now, options); err != nil {
		return nil, err
	}
	if err := mgr.Add(garbage{collector.Collector{Headroom: garbageHeadroom}}); err != nil {
		return nil, err
	}
	if err := objectmetrics.AddTo(mgr, now); err != nil {
		return nil, fmt.Errorf("setting up the metrics of keys: %w", err)
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("readyz", healthz.Ping)
}

// garbageHeadroom is the memory for garbage, in bytes. Twice the live heap, as Go has it, would be too much for tens of thousands of keys.
const garbageHeadroom = 24 << 20

// garbage keeps the garbage of the process within bounds.
type garbage struct{ collector.Collector }

// Start returns when the context ends.
func (g garbage) Start(ctx context.Context) error {
	g.Tune(ctx)
	return nil
}

// NeedLeaderElection reports false: an instance that waits to become the leader fills caches as well.
func (garbage) NeedLeaderElection() bool { return false }

// reportClock logs when the clock of this machine is found to be wrong, and when it is right again.
func reportClock(ahead time.Duration) {
	log := ctrl.Log.WithName("clock")
	if ahead == 0 {
		log.Info("The clock of this machine agrees with the API server's again")
		return
	}
	log.Info("The clock of this machine is wrong, or the API server's: until they agree, the API server's counts. Synchronize them", "ahead", ahead.String())
}

func addReconcilers(mgr ctrl.Manager, caches *caching.Caches, now clock.PassiveClock, options Options) error {
	concurrency := options.MaxConcurrentReconciles
	live := caches.Live(mgr.GetAPIReader())
	cached := caches.Client(mgr.GetClient(), live, append(apikeys.Indexes(), chatbots.Indexes()...)...)
	forRecords := &records.Reconciler{Client: cached, Live: live}
	if err := forRecords.SetupWithManager(mgr, concurrency); err != nil {
		return fmt.Errorf("setting up the record controller: %w", err)
	}
	registered := &verifiers.Registry{
		Live: live, Namespace: options.UsageNamespace, RecordNamespace: options.WatchNamespaces.first(), Clock: now, Silence: clock.RealClock{},
	}
	if err := registered.AddTo(mgr); err != nil {
		return err
	}
	forKeys := &apikeys.Reconciler{
		Client:   cached,
		Live:     live,
		Recorder: mgr.GetEventRecorder(v1alpha1.ManagedBy),
		Clock:    now,

		Verifiers:      registered,
		UsageNamespace: options.UsageNamespace, RequireEnvironment: options.RequireEnvironment,
	}
	forEnvironments := &environments.Reconciler{Client: cached, Recorder: mgr.GetEventRecorder(v1alpha1.ManagedBy), Clock: now}
	if err := forEnvironments.SetupWithManager(mgr, concurrency); err != nil {
		return fmt.Errorf("setting up the environment controller: %w", err)
	}
	forChatbots := &chatbots.Reconciler{
		Client: cached, Live: live, Recorder: mgr.GetEventRecorder(v1alpha1.ManagedBy), Clock: now,
		Namespaces: options.WatchNamespaces,
	}
	if options.SecretAccess == SecretAccessGetOnly {
		forKeys.SecretCheckInterval, forChatbots.SecretCheckInterval = options.SecretCheckInterval, options.SecretCheckInterval
	}
	if err := forChatbots.SetupWithManager(mgr, concurrency); err != nil {
		return fmt.Errorf("setting up the chatbot controller: %w", err)
	}
	if err := forKeys.SetupWithManager(mgr, concurrency); err != nil {
		return fmt.Errorf("setting up the key controller: %w", err)
	}
	// It measures how long it has not seen a renewal, for which the monotonic clock of the machine is right.
	forLeases := &leases.Reconciler{Client: cached, Clock: clock.RealClock{}}
	if err := forLeases.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the controller of the verifiers' Leases: %w", err)
	}
	return nil
}

// cacheOptions keep plaintext and foreign objects out of memory: of ConfigMaps only those with the chatbot label are watched, of
// Secrets only those with the operator's label (with get-only, those of the identity namespace), and of Secrets the metadata only.
// What users can make large is stripped (see caching.Strip). A typed read of a Secret through the cache, which would start a watch
// with the bytes, fails.
func cacheOptions(o Options) (cache.Options, error) {
	ofChatbots, err := labels.NewRequirement(v1alpha1.ChatbotLabel, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, err
	}
	secrets := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{v1alpha1.ManagedByLabel: v1alpha1.ManagedBy})}
	configMaps := cache.ByObject{Label: labels.NewSelector().Add(*ofChatbots)}
	in := func(namespace string) cache.Config { return cache.Config{Transform: caching.TransformIn(namespace)} }
	options := cache.Options{
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            caching.Strip,
		ByObject: map[client.Object]cache.ByObject{
			&coordinationv1.Lease{}: {Namespaces: map[string]cache.Config{o.UsageNamespace: in(o.UsageNamespace)}},
		},
	}
	if len(o.WatchNamespaces) > 0 {
		options.DefaultNamespaces = map[string]cache.Config{}
		for _, namespace := range o.WatchNamespaces {
			options.DefaultNamespaces[namespace] = in(namespace)
		}
		// Reservations of chatbot IDs, and replicas of HMAC secrets, are cluster-wide.
		configMaps.Namespaces, secrets.Namespaces = maps.Clone(options.DefaultNamespaces), maps.Clone(options.DefaultNamespaces)
		configMaps.Namespaces[v1alpha1.IdentityNamespace], secrets.Namespaces[v1alpha1.IdentityNamespace] = in(v1alpha1.IdentityNamespace), in(v1alpha1.IdentityNamespace)
	}
	if o.SecretAccess == SecretAccessGetOnly {
		secrets.Namespaces = map[string]cache.Config{v1alpha1.IdentityNamespace: in(v1alpha1.IdentityNamespace)}
	}
	options.ByObject[&corev1.ConfigMap{}], options.ByObject[&corev1.Secret{}] = configMaps, secrets
	return options, nil
}
