// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/continuity"
	"dgbot.io/key-operator/internal/verify/index"
)

// watchSpan returns for how long a watch is requested. An idle API server may send nothing during a watch, so the answer to the
// next request is the sign of life.
func watchSpan(maxStaleness time.Duration) time.Duration {
	return min(max(maxStaleness/3, time.Second), 45*time.Second)
}

// listSpan is the largest time that a complete list may take.
const listSpan = 10 * time.Minute

// listPause is the largest time between two objects of a list. A proxy that accepts all requests and delivers nothing must not
// delay the next attempt by listSpan.
const listPause = 30 * time.Second

// fullPause is the least time between two lists of which the store has no room for all objects.
const fullPause = 5 * time.Minute

// pageSize is the number of objects in a page of an API server that does not stream lists, by default.
const pageSize = 500

// watcher keeps a store up to date with the objects of one namespace, or of all. It is no client-go reflector, which gathers the
// whole list before it passes it on and keeps every object: that takes many times the memory of the index.
type watcher struct {
	watched
	// number is the position of this watch among those of its Freshness.
	number    int32
	client    rest.Interface
	namespace string // empty for all
	// environment selects records; empty for all.
	environment string
	store       store
	// changes counts changes of the answers from the store.
	changes   func() int64
	freshness *Freshness
	failures  prometheus.Counter
	ignored   *ignored
	log       logr.Logger
	span      time.Duration
	pageSize  int64

	// era is the number of the era in which run lists and watches.
	era        int64
	generation int32
	// asked is the time of the request for the current list or watch.
	asked moment
	// version is the resource version at which the store is complete; empty if a list is the next step.
	version string
	// leftOut is set if the store had no room for an object since the current list began, and listed is when that list was complete.
	leftOut bool
	listed  moment
}

// run keeps the store up to date until the context ends, while the process is registered. Each registration begins with a complete list.
func (w *watcher) run(ctx context.Context) {
	for {
		e := w.freshness.registration.await(ctx)
		if e == nil {
			return
		}
		w.era, w.version = e.number, ""
		w.runUntil(ctx, e.ended)
	}
}

// runUntil keeps the store up to date until the context or the era ends. It retries failed requests with a back-off; meanwhile the freshness
// ages.
//
// After any failure the next step is a complete list, never a watch from the last version: the API server may have restarted
// with an etcd that was restored from a backup. It then accepts a watch at a version of its future, and sends nothing until it
// reaches that version. A comparison of versions is not enough, because the restored etcd may be past the last version already.
// A renewal of this process's Lease is not enough either. That it is accepted proves that etcd has the renewal before, and all earlier
// changes; the index may hold later ones, which a restored etcd lacks. It proves nothing about the cache of the API server that serves the
// watch, which may be another one and behind, or about records if Leases are in an etcd of their own. A complete list is read from etcd.
// A watch that lasted its time is no failure: the connection lasted until the next request.
func (w *watcher) runUntil(ctx context.Context, ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go cancelAfter(ctx, ended, cancel)
	for failures := 0; ctx.Err() == nil; {
		lasted, err := w.follow(ctx)
		if lasted {
			failures = 0
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		w.version = ""
		w.freshness.interrupted(int(w.number))
		delay := relistDelay(failures, w.span)
		failures++
		w.log.Info("The watch failed; a complete list follows", "resource", w.resource, "namespace", w.namespace, "environment", w.environment,
			"delay", delay.Round(time.Millisecond).String(), "error", err.Error())
		w.failures.Inc()
		pause(ctx, delay)
	}
}

// relistDelay returns the delay before the next complete list after a number of consecutive failures. Only a watch that lasted
// its time ends the count, a complete list does not: an API server that breaks each watch must not be listed at the rate at
// which it breaks them. The delay is random, because verifiers lose their connections at the same time. It is far below the
// age at which a verifier is no longer ready.
func relistDelay(failures int, span time.Duration) time.Duration {
	const first = time.Second
	longest := min(first<<min(failures, 10), max(span/4, first))
	return wait.Jitter(longest/5, 4)
}

// follow lists or watches once. lasted reports whether it was a watch that lasted its time.
func (w *watcher) follow(ctx context.Context) (lasted bool, err error) {
	if w.version == "" {
		return false, w.list(ctx)
	}
	if err := w.watch(ctx); err != nil {
		return false, err
	}
	if w.leftOut && w.freshness.pulse.beat().since(w.listed) > fullPause {
		w.version = "" // there may be room now
	}
	return true, nil
}

func (w *watcher) options(span time.Duration, version string) metav1.ListOptions {
	seconds := int64(span.Seconds())
	options := metav1.ListOptions{AllowWatchBookmarks: true, TimeoutSeconds: &seconds, ResourceVersion: version}
	if w.environment != "" {
		options.FieldSelector = fields.OneTermEqualSelector("spec.environment", w.environment).String()
	}
	return options
}

// list stores all objects, and removes the others from the store. Only a complete list, which the API server reads consistently, counts for the
// freshness: a part of it does not prove that the history is the present one.
func (w *watcher) list(ctx context.Context) error {
	w.generation++
	w.leftOut = false
	w.asked = w.freshness.pulse.beat()
	options := w.options(listSpan, "")
	stream := true
	options.SendInitialEvents, options.ResourceVersionMatch = &stream, metav1.ResourceVersionMatchNotOlderThan
	err := w.listAsStream(ctx, options)
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return w.listInPages(ctx) // streaming of lists is disabled
	}
	return err
}

func (w *watcher) listAsStream(ctx context.Context, options metav1.ListOptions) error {
	ctx, cancel := context.WithTimeout(ctx, listSpan+lagging)
	defer cancel()
	standstill := time.AfterFunc(listPause, cancel)
	defer standstill.Stop()
	stream, err := w.open(ctx, options)
	if err != nil {
		return err
	}
	defer stream.Stop()
	return w.takeList(stream, standstill)
}

// listInPages lists without client-go's pager, which reads several pages ahead and does not return the resource version of a list that it
// does not hold as a whole.
func (w *watcher) listInPages(ctx context.Context) error {
	options := w.options(w.span, "")
	options.AllowWatchBookmarks, options.TimeoutSeconds, options.Limit = false, nil, w.pageSize
	for {
		page, err := w.takePage(ctx, options)
		if err != nil {
			return err
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			w.complete(page.GetResourceVersion())
			return nil
		}
	}
}

func (w *watcher) takePage(ctx context.Context, options metav1.ListOptions) (metav1.ListInterface, error) {
	ctx, cancel := context.WithTimeout(ctx, listPause)
	defer cancel()
	list := w.newList()
	if err := w.request(options).Do(ctx).Into(list); err != nil {
		return nil, err
	}
	if err := apimeta.EachListItem(list, func(o runtime.Object) error { w.take(o); return nil }); err != nil {
		return nil, err
	}
	return apimeta.ListAccessor(list)
}

func (w *watcher) request(options metav1.ListOptions) *rest.Request {
	return w.client.Get().NamespaceIfScoped(w.namespace, w.namespace != "").Resource(w.resource).
		SpecificallyVersionedParams(&options, metav1.ParameterCodec, metav1.SchemeGroupVersion)
}

// complete notes that the store has all objects at a resource version.
func (w *watcher) complete(version string) {
	w.store.sweep(w.number, w.generation)
	w.version, w.listed = version, w.asked
	w.freshness.leftOut(int(w.number), w.leftOut)
	w.freshness.applied(int(w.number), version)
	w.freshness.answered(int(w.number), w.asked)
	w.freshness.listed(int(w.number), w.era)
	w.freshness.registration.notify()
}

// open opens a stream of events. client-go retries no failure of it, as it does by default: each failure may hide a restart of
// the API server.
func (w *watcher) open(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return w.request(options).MaxRetries(0).Watch(ctx)
}

// watch stores the objects of events after the version of the store. It returns nil if the watch lasted its time, and if a gap of the process
// ended it: then only the answer to a new request proves that the store is up to date. Every other end is an error.
func (w *watcher) watch(ctx context.Context) error {
	options := w.options(w.span, w.version)
	span := time.Duration(*options.TimeoutSeconds) * time.Second
	ctx, cancel := context.WithTimeout(ctx, span+lagging)
	defer cancel()
	pulse := w.freshness.pulse
	woken := pulse.next()
	asked := pulse.beat()
	// Since the request for the list, or for the watch before: what was read may have waited in buffers, and the API server may have another
	// history by now, in which it accepts the version.
	if err := w.ranSince(w.asked); err != nil {
		return err
	}
	w.asked = asked
	stream, err := w.open(ctx, options)
	if err != nil {
		return err
	}
	defer stream.Stop()
	// A proxy may have delayed the request while the API server restarted.
	if took := pulse.beat().since(w.asked); took > continuity.Slack {
		return fmt.Errorf("the API server accepted the watch after %s, which may hide a restart", took.Round(time.Millisecond))
	}
	w.freshness.answered(int(w.number), w.asked)
	go cancelAfter(ctx, woken, cancel)
	failed := w.takeEvents(stream)
	lasted := pulse.beat().since(w.asked)
	if err := w.ranSince(w.asked); err != nil {
		return err
	}
	_, paused := pulse.gapAfter(w.asked)
	switch {
	case paused && (failed == nil || ctx.Err() != nil):
		return nil
	case failed != nil:
		return failed
	case !continuity.EndedOnTime(w.asked.at, w.asked.at.Add(lasted), span):
		return fmt.Errorf("the watch ended after %s instead of %s", lasted.Round(time.Millisecond), span)
	}
	return nil
}

// ranSince returns an error if, after a moment, the process did not run for so long that the API server may have been restarted meanwhile.
func (w *watcher) ranSince(asked moment) error {
	if paused, was := w.freshness.pulse.gapAfter(asked); was && paused.length > continuity.Slack {
		return fmt.Errorf("the process did not run for %s, which may hide a restart of the API server", paused.length.Round(time.Millisecond))
	}
	return nil
}

// takeList stores objects until the bookmark that marks the end of the list. The annotation of another event does not count: a
// user can annotate an object.
func (w *watcher) takeList(stream watch.Interface, standstill *time.Timer) error {
	for event := range stream.ResultChan() {
		standstill.Reset(listPause)
		object, err := w.takeEvent(event)
		if err != nil {
			return err
		}
		if event.Type == watch.Bookmark && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
			w.complete(object.GetResourceVersion())
			return nil
		}
	}
	return errors.New("the list ended before it was complete")
}

func (w *watcher) takeEvents(stream watch.Interface) error {
	for event := range stream.ResultChan() {
		before := w.changes()
		object, err := w.takeEvent(event)
		if err != nil {
			return err
		}
		w.version = object.GetResourceVersion()
		w.freshness.applied(int(w.number), w.version)
		w.freshness.delivered(int(w.number), w.asked)
		if w.changes() != before {
			w.freshness.registration.notify()
		}
	}
	return nil
}

func (w *watcher) takeEvent(event watch.Event) (metav1.Object, error) {
	if event.Type == watch.Error {
		return nil, apierrors.FromObject(event.Object)
	}
	object, err := apimeta.Accessor(event.Object)
	if err != nil {
		return nil, fmt.Errorf("the API server sent a %T", event.Object)
	}
	switch event.Type {
	case watch.Deleted:
		w.store.remove(event.Object)
	case watch.Added, watch.Modified:
		w.take(event.Object)
	}
	return object, nil
}

func (w *watcher) take(o runtime.Object) {
	err := w.store.put(o, w.number, w.generation)
	if err == nil {
		return
	}
	if errors.Is(err, index.ErrFull) {
		w.leftOut = true
		w.freshness.leftOut(int(w.number), true)
	}
	if object, failed := apimeta.Accessor(o); failed == nil {
		w.ignored.note(w.log.WithValues("resource", w.resource), object, err)
	}
}

// cancelAfter cancels a context after a channel is closed.
func cancelAfter(ctx context.Context, closed <-chan struct{}, cancel context.CancelFunc) {
	select {
	case <-closed:
		cancel()
	case <-ctx.Done():
	}
}

func pause(ctx context.Context, span time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}
