// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/internal/continuity"
)

// answerTimeout bounds how long an informer's request may go without an answer, or a streamed list without an event. The API server
// ends a list after 60 s. Without this bound, a proxy that swallows one request would keep the cache from being filled until
// the manager is restarted.
const answerTimeout = 70 * time.Second

var errUnanswered = errors.New("the API server did not answer in time")

// cacheReads are the lists and watches of one informer. They notify two observers: history decides which requests have to be consistent,
// and state records whether the cache is filled and up to date.
type cacheReads struct {
	// ListerWatcher has the methods without a context, which the informer does not call.
	toolscache.ListerWatcher
	source  toolscache.ListerWatcherWithContext
	clock   clock.PassiveClock
	history *historyReads
	state   *cacheState
}

// ListWithContext lists the objects, or one page of them.
func (r *cacheReads) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	before := r.history.prepareList(&options)
	request, cancel := context.WithTimeoutCause(ctx, answerTimeout, errUnanswered)
	defer cancel()
	list, err := r.source.ListWithContext(request, options)
	if err == nil {
		err = r.history.observeList(list, before)
	}
	if err != nil {
		err = explain(request, err)
		r.state.failed(ctx, err)
		return nil, err
	}
	r.state.progressed()
	return list, nil
}

// WatchWithContext watches the objects. Where the API server streams lists, the informer also lists in this way.
func (r *cacheReads) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	lists := options.SendInitialEvents != nil && *options.SendInitialEvents
	before, err := r.history.prepareWatch(&options, lists)
	if err != nil {
		return nil, err
	}
	asked := r.clock.Now()
	request, cancel := context.WithCancelCause(ctx)
	unanswered := time.AfterFunc(answerTimeout, func() { cancel(errUnanswered) })
	source, err := r.source.WatchWithContext(request, options)
	switch {
	case err != nil:
		err = explain(request, err)
		unanswered.Stop()
		cancel(nil)
		r.history.lose()
		if !lists || !apierrors.IsInvalid(err) { // which is how an API server answers that does not stream lists
			r.state.failed(ctx, err)
		}
		if lists {
			// Without its type: the informer would repeat the stream after some errors, and never list. The error of a list says more:
			// while one Secret cannot be decrypted, the stream is answered with 429, and the list with the name of that Secret.
			err = errors.New(err.Error())
		}
		return nil, err
	case !lists && continuity.Elapsed(asked, r.clock.Now()) > continuity.Slack:
		// client-go repeats a watch request whose connection ended without an answer, and a proxy may hold the request.
		unanswered.Stop()
		source.Stop()
		cancel(nil)
		r.history.lose()
		return nil, apierrors.NewResourceExpired("the API server accepted the watch late, which may hide a restart; a complete list follows")
	}
	stream := &cacheStream{
		source: source, reads: r, events: make(chan watch.Event), stopped: make(chan struct{}),
		unanswered: unanswered, cancel: cancel, asked: asked, lists: lists, before: before,
	}
	if options.TimeoutSeconds != nil {
		stream.span = time.Duration(*options.TimeoutSeconds) * time.Second
	}
	if !lists {
		unanswered.Stop()
		stream.open(ctx)
	}
	go stream.forward(ctx, request)
	return stream, nil
}

// explain adds to the error of a request that it was canceled for lack of an answer.
func explain(request context.Context, err error) error {
	if errors.Is(context.Cause(request), errUnanswered) {
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	return err
}

// cacheStream is a watch of cacheReads.
type cacheStream struct {
	source  watch.Interface
	reads   *cacheReads
	events  chan watch.Event
	stopped chan struct{}
	stop    sync.Once

	// unanswered cancels the request unless each event of the streamed list resets it.
	unanswered *time.Timer
	cancel     context.CancelCauseFunc

	asked time.Time
	span  time.Duration
	// lists reports that the stream is in the list at its beginning, and before is the version that was read before that.
	lists  bool
	before string

	mutex sync.Mutex
	// ended reports that the stream shows no further changes.
	ended bool
}

// ResultChan returns the events.
func (s *cacheStream) ResultChan() <-chan watch.Event { return s.events }

// Stop ends the watch.
func (s *cacheStream) Stop() {
	s.stop.Do(func() {
		close(s.stopped)
		s.end()
		s.unanswered.Stop()
		s.cancel(nil)
		s.source.Stop()
	})
}

// open notes that changes arrive from now on.
func (s *cacheStream) open(ctx context.Context) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.ended {
		s.reads.state.watching(ctx)
	}
}

// end notes that no further changes arrive. The informer opens its next watch after this one was stopped or its channel was closed, so
// the order of both is kept.
func (s *cacheStream) end() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.ended {
		s.ended = true
		s.reads.state.unwatched()
	}
}

// forward hands the events on until the stream ends or is stopped. The request's context ends with the request, ctx with the informer.
func (s *cacheStream) forward(ctx, request context.Context) {
	defer close(s.events)
	for event := range s.source.ResultChan() {
		if err := s.observe(ctx, event); err != nil {
			event = watch.Event{Type: watch.Error, Object: &apierrors.NewInternalError(err).ErrStatus}
		}
		select {
		case s.events <- event:
		case <-s.stopped:
			s.drain()
			return
		}
	}
	select {
	case <-s.stopped:
		return
	default:
	}
	s.unanswered.Stop()
	s.end()
	if errors.Is(context.Cause(request), errUnanswered) {
		s.reads.state.failed(ctx, errUnanswered)
	}
	if s.lists || !continuity.EndedOnTime(s.asked, s.reads.clock.Now(), s.span) {
		s.reads.history.lose()
	}
}

// drain reads what the source still sends. A watch.Filter, which controller-runtime puts around watches of metadata, blocks for
// good on an event that is not read, even after it was stopped.
func (s *cacheStream) drain() {
	for range s.source.ResultChan() {
		continue
	}
}

// observe notifies the observers of an event. It returns an error if the event proves that the history was replaced.
func (s *cacheStream) observe(ctx context.Context, event watch.Event) error {
	object, err := apimeta.Accessor(event.Object)
	if event.Type == watch.Error || err != nil {
		s.reads.history.lose()
		if event.Type == watch.Error {
			s.reads.state.failed(ctx, apierrors.FromObject(event.Object))
		}
		return nil // an event that cannot be read proves nothing
	}
	switch {
	case !s.lists:
		s.reads.history.advance(object.GetResourceVersion())
	case event.Type == watch.Bookmark && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true":
		s.lists = false
		s.unanswered.Stop()
		if err := s.reads.history.compareList(object.GetResourceVersion(), s.before); err != nil {
			return err
		}
		s.reads.history.complete(object.GetResourceVersion())
		s.open(ctx)
	default:
		s.unanswered.Reset(answerTimeout)
		s.reads.state.progressed()
		if event.Type == watch.Added {
			return s.reads.history.compare(object)
		}
	}
	return nil
}
