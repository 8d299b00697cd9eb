// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	// firstListSilence is how long the first list of a cache may show nothing, and firstListTimeout how long it may take in all, before
	// controllers start without the cache. A list goes on after that.
	firstListSilence = 2 * time.Second
	firstListTimeout = 30 * time.Second
	firstListPoll    = 100 * time.Millisecond
	// maxOutdated is how long /readyz tolerates that a filled cache is not watched. Informers retry within it, most often more than once.
	maxOutdated = 30 * time.Second
)

var errFirstListSlow = errors.New("the first list is not complete; the manager works without this cache until it is")

// cacheState is the state of one informer's cache: whether the cache was ever filled, whether it is watched, and what the last read
// failed with.
type cacheState struct {
	kind     schema.GroupVersionKind
	resource string
	clock    clock.PassiveClock
	// filled reports that the informer has put a complete list into its cache. It stays true.
	filled func() bool

	mutex sync.Mutex
	// namespace is where the cached objects are; empty for all namespaces, and for kinds without one.
	namespace string
	tolerance tolerance
	// progress is when the first list last showed something: it began, a page or an event arrived.
	progress time.Time
	// outdated is since when the cache is not watched; zero while it is.
	outdated time.Time
	// failure is what the last read failed with; nil once a watch was accepted.
	failure error
}

// tolerance describes how the manager works without a cache.
type tolerance struct {
	// forbidden: that the objects may not be read is a supported configuration. They count as missing, and /readyz is not affected.
	forbidden bool
	// consequence is what to log when a read fails: what still works, and what to do.
	consequence string
}

const (
	namespaceRefused = "A namespace of --watch-namespaces cannot be read, and is not served as it should be; the others are. " +
		"Create it and give the manager's account the Role of config/overlays/namespaced/watched in it, or take it off the list"
	leasesRefused = "The Leases of --usage-namespace cannot be read: uses count as not tracked, and no withdrawal is proven. Give the manager's " +
		"account a Role there that may get, list, watch and delete leases, as config/rbac does in the manager's own namespace"
	cacheFailed = "A cache cannot be read from the API server. The manager retries with back-off; correct what the error names. Meanwhile: "
)

// consequences are what the manager does while a kind cannot be listed or watched.
var consequences = map[string]string{ //nolint:gosec // "Secret" is a kind, and its value a sentence
	v1alpha1.APIKeyKind:       "changes of keys are not noticed, revocation and deletion included. Records stay as they are, and verifiers still enforce their expiry",
	v1alpha1.APIKeyRecordKind: "keys are revoked if the API server lists the key's records when they are needed. Changed and orphaned records are not noticed",
	v1alpha1.ChatbotKind: "changes of chatbots are not noticed, revocation and deletion of HMAC secrets included. " +
		"Keys are revoked all the same, and read their chatbot from the API server",
	v1alpha1.EnvironmentKind: "keys and chatbots are revoked all the same. Keys read their rules from the API server, and notice changed rules at their next reconciliation",
	"Secret":                 "keys and chatbots are revoked all the same. Lost and altered Secrets are noticed at the next reconciliation",
	"ConfigMap":              "keys and chatbots are revoked all the same. Lost and altered ConfigMaps and reservations of chatbot IDs are noticed at the next reconciliation",
	"Namespace":              "keys and chatbots are revoked all the same. Changed labels of namespaces are noticed at the next reconciliation of each key",
	"Lease":                  "keys and chatbots are revoked all the same. Whether uses are tracked is read from the API server when it is needed",
}

// toleranceOf returns how the manager works without the cache of a kind in a namespace. The ConfigMaps and Secrets of the identity
// namespace are never optional: they hold the reservations of chatbot IDs and the replicas of HMAC secrets for the whole cluster.
func toleranceOf(kind schema.GroupVersionKind, namespace string, watched []string) tolerance {
	identity := namespace == v1alpha1.IdentityNamespace && kind.Group == ""
	switch {
	case kind.Group == coordinationv1.GroupName:
		return tolerance{true, leasesRefused}
	case namespace != "" && !identity && len(watched) > 0:
		return tolerance{true, namespaceRefused}
	}
	return tolerance{false, cacheFailed + consequences[kind.Kind]}
}

func newCacheState(kind schema.GroupVersionKind, clock clock.PassiveClock, filled func() bool) *cacheState {
	return &cacheState{kind: kind, resource: cachedKinds[kind.GroupKind()], clock: clock, filled: filled, outdated: clock.Now()}
}

// place notes in which namespace the cached objects are, and how the manager works without them.
func (s *cacheState) place(namespace string, tolerance tolerance) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.namespace, s.tolerance = namespace, tolerance
}

// serves reports whether a read in a namespace, or in all of them if it is empty, needs the cache.
func (s *cacheState) serves(namespace string) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.namespace == "" || namespace == "" || s.namespace == namespace
}

// awaitFirstList returns when the cache was filled, or a read of it failed. A first list that takes too long counts as such a failure: an
// API server that hangs, or that answers 429 (which client-go repeats), must not keep controllers from starting.
func (s *cacheState) awaitFirstList(ctx context.Context) {
	began := s.clock.Now()
	s.progressed()
	_ = wait.PollUntilContextCancel(ctx, firstListPoll, true, func(ctx context.Context) (bool, error) {
		if now := s.clock.Now(); now.Sub(began) > firstListTimeout || now.Sub(s.lastProgress()) > firstListSilence {
			s.failed(ctx, errFirstListSlow)
		}
		return s.filled() || s.failing() != nil, nil
	})
}

func (s *cacheState) lastProgress() time.Time {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.progress
}

// progressed notes that a list goes on.
func (s *cacheState) progressed() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.progress = s.clock.Now()
}

// watching notes that the API server accepted a watch.
func (s *cacheState) watching(ctx context.Context) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failure != nil {
		ctrl.LoggerFrom(ctx).Info("A cache that could not be read from the API server can be read again",
			"resource", s.resource, "namespace", s.namespace, "was", s.failure.Error())
	}
	s.failure, s.outdated = nil, time.Time{}
}

// unwatched notes that the watch ended.
func (s *cacheState) unwatched() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.outdated.IsZero() {
		s.outdated = s.clock.Now()
	}
}

// failed notes that a read failed, and logs the first failure in a row, and the answer that replaces errFirstListSlow. That a version
// is too old to watch from, or not there yet, is part of watching.
func (s *cacheState) failed(ctx context.Context, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failure == nil || errors.Is(s.failure, errFirstListSlow) {
		s.log(ctx, err)
	}
	s.failure = err
}

// logAgain logs a failure that lasts.
func (s *cacheState) logAgain(ctx context.Context) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failure != nil {
		s.log(ctx, s.failure)
	}
}

func (s *cacheState) log(ctx context.Context, err error) {
	ctrl.LoggerFrom(ctx).Error(err, s.tolerance.consequence, "resource", s.resource, "group", s.kind.Group, "namespace", s.namespace)
}

// failing returns what the last read failed with; nil if it succeeded.
func (s *cacheState) failing() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.failure
}

// usable reports whether controllers may start: the cache was filled, or it is known that this fails.
func (s *cacheState) usable() bool { return s.filled() || s.failing() != nil }

// tolerated reports whether the cache is empty in a supported configuration.
func (s *cacheState) tolerated() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.tolerance.forbidden && apierrors.IsForbidden(s.failure)
}

// check returns an error while the cache is not filled, and once it has been without a watch for maxOutdated.
func (s *cacheState) check() error {
	if s.tolerated() {
		return nil
	}
	filled := s.filled() // before the lock, so that the informer's own lock never waits for it
	s.mutex.Lock()
	defer s.mutex.Unlock()
	failure, objects := s.failure, s.resource
	if s.namespace != "" {
		objects += " in namespace " + s.namespace
	}
	switch {
	case !filled && failure == nil:
		return fmt.Errorf("%s cannot be cached yet: the first list is not complete", objects)
	case !filled:
		return fmt.Errorf("%s cannot be cached: %w", objects, failure)
	case s.outdated.IsZero() || s.clock.Since(s.outdated) <= maxOutdated:
		return nil
	case failure == nil:
		failure = errUnanswered
	}
	return fmt.Errorf("%s cannot be cached, and the cache is out of date since %s: %w", objects, s.outdated.UTC().Format(time.RFC3339), failure)
}
