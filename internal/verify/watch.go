// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// watchSpan is how long a watch lasts before it is opened anew: an API server at which nothing is written may say nothing
// for as long as a watch lasts, so opening the next one is what shows that it is there.
func watchSpan(maxStaleness time.Duration) time.Duration {
	return min(max(maxStaleness/3, time.Second), 45*time.Second)
}

// listSpan is how long the first, complete list may take to arrive.
const listSpan = 10 * time.Minute

// pageSize is how many objects come at once from an API server that cannot stream them.
const pageSize = 500

// store is where a watcher brings what it is told.
type store interface {
	// put takes an object over. The error says why it counts for nothing.
	put(o runtime.Object, source, generation int32) error
	remove(o runtime.Object)
	// sweep forgets what a source had before a generation.
	sweep(source, generation int32)
}

// watched is a kind that can be watched.
type watched struct {
	// resource is its name in paths, and in the log.
	resource string
	newList  func() runtime.Object
}

// watcher keeps the objects of one namespace, or of all, in a store. It is no client-go reflector: that one gathers the
// whole list before it hands it on, which takes many times the memory of the index, and keeps every object.
type watcher struct {
	watched
	source    int32
	client    rest.Interface
	namespace string // empty for all
	// environment is that of the records; empty for all.
	environment string
	store       store
	freshness   *Freshness
	metrics     *metrics
	log         logr.Logger
	span        time.Duration

	generation int32
	// version is the resource version up to which the store is complete; empty where a list must come first.
	version string
}

// newClient returns a client for a group of kinds. Its own limit would only delay: there are a handful of requests a minute.
func newClient(config *rest.Config, group schema.GroupVersion, addToScheme func(*runtime.Scheme) error) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := addToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, group)
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &group, "/apis"
	if group.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.QPS = -1
	return rest.RESTClientFor(config)
}

// run keeps the index up to date until the context ends. Whatever fails is tried again; meanwhile the freshness tells how
// old things are.
func (w *watcher) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		err := w.follow(ctx)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if gone(err) {
			w.version = ""
		}
		w.log.Info("Watching failed and is tried again", "resource", w.resource, "namespace", w.namespace, "environment", w.environment, "error", err.Error())
		w.metrics.watchFailures.Inc()
		failures = min(failures+1, 5)
		pause(ctx, wait.Jitter(time.Duration(1<<failures)*100*time.Millisecond, 0.5))
	}
}

// gone says whether the API server no longer knows the resource version, or does not know it yet: after it was restored
// from a backup.
func gone(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsInvalid(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

func (w *watcher) follow(ctx context.Context) error {
	if w.version == "" {
		return w.list(ctx)
	}
	_, err := w.watch(ctx, w.options(w.span, w.version))
	return err
}

func (w *watcher) options(span time.Duration, version string) metav1.ListOptions {
	seconds := int64(span.Seconds())
	options := metav1.ListOptions{AllowWatchBookmarks: true, TimeoutSeconds: &seconds, ResourceVersion: version}
	if w.environment != "" {
		options.FieldSelector = fields.OneTermEqualSelector("spec.environment", w.environment).String()
	}
	return options
}

// list takes over all there is, and forgets those that are no longer there.
func (w *watcher) list(ctx context.Context) error {
	w.generation++
	options := w.options(listSpan, "")
	stream := true
	options.SendInitialEvents, options.ResourceVersionMatch = &stream, metav1.ResourceVersionMatchNotOlderThan
	complete, err := w.watch(ctx, options)
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return w.listInPages(ctx) // streaming can be switched off
	}
	if err == nil && !complete {
		return errors.New("the list ended before it was complete")
	}
	return err
}

func (w *watcher) listInPages(ctx context.Context) error {
	options := w.options(w.span, "")
	options.AllowWatchBookmarks, options.TimeoutSeconds, options.Limit = false, nil, pageSize
	for {
		list := w.newList()
		if err := w.request(options).Do(ctx).Into(list); err != nil {
			return err
		}
		if err := apimeta.EachListItem(list, func(o runtime.Object) error { w.take(o); return nil }); err != nil {
			return err
		}
		page, err := apimeta.ListAccessor(list)
		if err != nil {
			return err
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			w.complete(page.GetResourceVersion())
			return nil
		}
	}
}

func (w *watcher) request(options metav1.ListOptions) *rest.Request {
	return w.client.Get().NamespaceIfScoped(w.namespace, w.namespace != "").Resource(w.resource).
		SpecificallyVersionedParams(&options, metav1.ParameterCodec, metav1.SchemeGroupVersion)
}

// complete: the store has all there is at a resource version.
func (w *watcher) complete(version string) {
	w.store.sweep(w.source, w.generation)
	w.version = version
	w.freshness.synced(int(w.source))
	w.freshness.delivered(int(w.source))
}

// watch opens a watch and hands on what it says until it ends, or until it has said everything that was there when it
// began. Where it is no list, an end before its time is an error.
func (w *watcher) watch(ctx context.Context, options metav1.ListOptions) (complete bool, err error) {
	span := time.Duration(*options.TimeoutSeconds) * time.Second
	ctx, cancel := context.WithTimeout(ctx, span+lagging)
	defer cancel()
	options.Watch = true
	stream, err := w.request(options).Watch(ctx)
	if err != nil {
		return false, err
	}
	defer stream.Stop()
	if options.SendInitialEvents != nil {
		return w.takeList(stream)
	}
	w.freshness.accepted(int(w.source))
	began := w.freshness.now()
	err = w.takeEvents(stream)
	// The API server ends it when the time is over, give or take a little.
	if err == nil && w.freshness.now().Sub(began) < span*3/4 {
		err = errors.New("the watch ended before its time")
	}
	if err != nil {
		w.freshness.brokeOff(int(w.source))
	} else {
		w.freshness.lasted(int(w.source))
	}
	return false, err
}

// takeList takes over objects until the bookmark that says that there are no more. The mark alone does not say that: an
// annotation can be on an object as well.
func (w *watcher) takeList(stream watch.Interface) (complete bool, err error) {
	for event := range stream.ResultChan() {
		object, err := w.takeEvent(event)
		if err != nil {
			return false, err
		}
		if event.Type == watch.Bookmark && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
			w.complete(object.GetResourceVersion())
			return true, nil
		}
	}
	return false, nil
}

func (w *watcher) takeEvents(stream watch.Interface) error {
	for event := range stream.ResultChan() {
		object, err := w.takeEvent(event)
		if err != nil {
			return err
		}
		w.version = object.GetResourceVersion()
		w.freshness.delivered(int(w.source))
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
	err := w.store.put(o, w.source, w.generation)
	if object, failed := apimeta.Accessor(o); err != nil && failed == nil {
		w.log.Info("An object was ignored", "resource", w.resource, "namespace", object.GetNamespace(), "name", object.GetName(), "error", err.Error())
	}
}

func pause(ctx context.Context, span time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}
