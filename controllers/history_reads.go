// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/internal/continuity"
)

// historyReads are the lists and watches of one informer. After a lost connection they make it list completely: the watch
// that it tries to reopen fails as expired, and the list that follows is consistent, whatever version the informer asks for.
// The informer's own back-off (0.8 s to 60 s, random) bounds the rate.
type historyReads struct {
	// ListerWatcher has the methods without a context, which nothing calls.
	toolscache.ListerWatcher
	source   toolscache.ListerWatcherWithContext
	informer toolscache.SharedIndexInformer
	kind     schema.GroupKind
	clock    clock.PassiveClock
	// prove reports that the history was replaced.
	prove func(what, live, held string) error

	mutex sync.Mutex
	// version is the highest that was read; empty before anything was.
	version string
	// read reports that the informer has read something, and lost that the connection was lost since the last complete list.
	read, lost bool
}

// seen returns the highest resourceVersion that was read; empty for none.
func (r *historyReads) seen() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.version
}

// state returns seen, and whether a complete list is necessary.
func (r *historyReads) state() (version string, lost bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.version, r.lost
}

// lose notes that the connection was lost. While nothing was read, there is nothing to lose.
func (r *historyReads) lose() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.lost = r.read
}

// complete notes that a complete list was read.
func (r *historyReads) complete(version string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.version, r.read, r.lost = version, true, false
}

// advance notes the version of an event. A watch from no version on begins with objects in any order.
func (r *historyReads) advance(version string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.read = true
	if r.version == "" || continuity.Older(r.version, version) {
		r.version = version
	}
}

// cached returns what the informer holds under a key; nil for nothing.
func (r *historyReads) cached(key string) metav1.Object {
	item, found, err := r.informer.GetIndexer().GetByKey(strings.TrimPrefix(key, "/"))
	if err != nil || !found {
		return nil
	}
	object, err := apimeta.Accessor(item)
	if err != nil {
		return nil
	}
	return object
}

// compare fails where an object that was listed is older than the cached one with its uid. While the informer lists, it
// watches nothing, so that the cache holds only what was read before.
func (r *historyReads) compare(object metav1.Object) error {
	name := object.GetName()
	if object.GetNamespace() != "" {
		name = object.GetNamespace() + "/" + name
	}
	if held := r.cached(name); held != nil && held.GetUID() == object.GetUID() && continuity.Older(object.GetResourceVersion(), held.GetResourceVersion()) {
		return r.prove(r.kind.Kind+" "+name, object.GetResourceVersion(), held.GetResourceVersion())
	}
	return nil
}

// compareList fails where a list as a whole is older than what was read before.
func (r *historyReads) compareList(version, before string) error {
	if continuity.Older(version, before) {
		return r.prove("a list of "+r.kind.Kind+" objects", version, before)
	}
	return nil
}

// ListWithContext is consistent where the connection was lost.
func (r *historyReads) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	before, lost := r.state()
	if lost && options.Continue == "" {
		options.ResourceVersion, options.ResourceVersionMatch = "", ""
	}
	list, err := r.source.ListWithContext(ctx, options)
	if err != nil {
		return nil, err
	}
	page, err := apimeta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	// Only the first list of an informer takes whatever version the API server has at hand; nothing was read before it.
	if err := r.compareList(page.GetResourceVersion(), before); err != nil {
		return nil, err
	}
	err = apimeta.EachListItem(list, func(item runtime.Object) error {
		object, err := apimeta.Accessor(item)
		if err != nil {
			return err
		}
		return r.compare(object)
	})
	if err != nil {
		return nil, err
	}
	if page.GetContinue() == "" {
		r.complete(page.GetResourceVersion())
	}
	return list, nil
}

// WatchWithContext also is how the informer lists, where the API server streams lists.
func (r *historyReads) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	lists := options.SendInitialEvents != nil && *options.SendInitialEvents
	before, lost := r.state()
	switch {
	case lost && lists:
		options.ResourceVersion = ""
	case lost:
		return nil, apierrors.NewResourceExpired("the connection to the API server was lost; a complete list follows")
	}
	asked := r.clock.Now()
	source, err := r.source.WatchWithContext(ctx, options)
	if err != nil {
		r.lose()
		return nil, err
	}
	// client-go repeats a watch request whose connection ended without an answer, and a proxy may hold the request.
	if !lists && continuity.Elapsed(asked, r.clock.Now()) > continuity.Slack {
		source.Stop()
		r.lose()
		return nil, apierrors.NewResourceExpired("the API server accepted the watch late, which may hide a restart; a complete list follows")
	}
	stream := &historyStream{Interface: source, reads: r, events: make(chan watch.Event), stopped: make(chan struct{}), asked: asked, lists: lists, before: before}
	if options.TimeoutSeconds != nil {
		stream.span = time.Duration(*options.TimeoutSeconds) * time.Second
	}
	go stream.forward()
	return stream, nil
}

// historyStream is a watch of historyReads.
type historyStream struct {
	watch.Interface
	reads   *historyReads
	events  chan watch.Event
	stopped chan struct{}
	stop    sync.Once
	asked   time.Time
	span    time.Duration
	// lists reports that the stream is in the list at its beginning, and before is the version that was read before that.
	lists  bool
	before string
}

// ResultChan returns the events.
func (s *historyStream) ResultChan() <-chan watch.Event { return s.events }

// Stop ends the watch.
func (s *historyStream) Stop() {
	s.stop.Do(func() { close(s.stopped) })
	s.Interface.Stop()
}

// forward hands the events on until the stream ends or is stopped.
func (s *historyStream) forward() {
	defer close(s.events)
	for event := range s.Interface.ResultChan() {
		if err := s.note(event); err != nil {
			event = watch.Event{Type: watch.Error, Object: &apierrors.NewInternalError(err).ErrStatus}
		}
		select {
		case s.events <- event:
		case <-s.stopped:
			return
		}
	}
	select {
	case <-s.stopped:
	default:
		if s.lists || !continuity.EndedOnTime(s.asked, s.reads.clock.Now(), s.span) {
			s.reads.lose()
		}
	}
}

// note takes over what an event says of the version. It fails where the event proves that the history was replaced.
func (s *historyStream) note(event watch.Event) error {
	object, err := apimeta.Accessor(event.Object)
	if event.Type == watch.Error || err != nil {
		s.reads.lose()
		return nil //nolint:nilerr // an event that cannot be read proves nothing
	}
	switch {
	case !s.lists:
		s.reads.advance(object.GetResourceVersion())
	case event.Type == watch.Bookmark && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true":
		s.lists = false
		if err := s.reads.compareList(object.GetResourceVersion(), s.before); err != nil {
			return err
		}
		s.reads.complete(object.GetResourceVersion())
	case event.Type == watch.Added:
		return s.reads.compare(object)
	}
	return nil
}
