// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	namespaceRefused = "A namespace of --watch-namespaces cannot be read, and is not served as it should be; the others are. " +
		"Create it and give the manager's account the Role of config/overlays/namespaced/watched in it, or take it off the list"
	leasesRefused = "The Leases of --usage-namespace cannot be read: uses count as not tracked. Give the manager's account a Role there " +
		"that may list and watch leases, as config/rbac does in the manager's own namespace"
	cacheFailed = "A cache cannot be read from the API server. Keys and chatbots are revoked all the same; changes of these objects are not " +
		"noticed, and what depends on them is read when it is needed. Correct what the error names; the manager retries by itself"
)

// patientReads are the reads of one kind, in one namespace or in all, as an informer makes them.
//
// As long as the objects could never be listed they count as none, so that the informer is filled and controllers start. The operator
// issues and deletes nothing because an object is missing in a cache, and cachedClient does not read this one. The informer retries
// with a back-off of up to a minute.
//
// Once it has been read, a failure stays an error: what is in the cache stays there, and is not taken for deleted.
type patientReads struct {
	// ListerWatcher has the methods without a context, which nothing calls.
	toolscache.ListerWatcher
	reads    toolscache.ListerWatcherWithContext
	kind     schema.GroupVersionKind
	resource string
	// advice is what to log when a read fails.
	advice string
	// toleratesForbidden: that the objects may not be read is a way to run the manager, for one namespace of several and for
	// the Leases of verifiers. They count as none, and /readyz is not affected.
	toleratesForbidden bool

	mutex sync.Mutex
	// listed: the objects were read at least once, completely.
	listed bool
	// failure is what the last read failed with; nil if it succeeded.
	failure error
}

func newPatientReads(reads toolscache.ListerWatcher, kind schema.GroupVersionKind) *patientReads {
	resource, _ := apimeta.UnsafeGuessKindToResource(kind)
	return &patientReads{
		ListerWatcher: reads, reads: toolscache.ToListerWatcherWithContext(reads),
		kind: kind, resource: resource.Resource, advice: cacheFailed,
	}
}

// ListWithContext returns an empty list where the objects could never be listed.
func (p *patientReads) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := p.reads.ListWithContext(ctx, options)
	if err != nil {
		if p.failed(ctx, err); p.unfilled() != nil {
			return &metav1.PartialObjectMetadataList{}, nil //nolint:nilerr // the failure is noted, see check
		}
		return nil, err
	}
	if content, err := apimeta.ListAccessor(list); err == nil && content.GetContinue() == "" {
		p.succeeded(ctx)
	}
	return list, nil
}

// WatchWithContext watches, and also is how the informer reads what there is, where the API server streams lists. Where the
// objects could never be listed there is nothing to watch from: the error makes the informer list again.
func (p *patientReads) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	lists := options.SendInitialEvents != nil && *options.SendInitialEvents
	if failure := p.unfilled(); failure != nil && !lists {
		// Without its type, or the informer would repeat a refused connection or a 429 for good and never list again.
		return nil, errors.New(failure.Error())
	}
	stream, err := p.reads.WatchWithContext(ctx, options)
	switch {
	case err != nil:
		if p.failed(ctx, err); lists {
			// Without its type, or the informer would repeat some errors for good and never list.
			err = errors.New(err.Error())
		}
		return nil, err
	case !lists:
		p.succeeded(ctx)
		return stream, nil
	}
	return watch.Filter(stream, func(event watch.Event) (watch.Event, bool) {
		switch event.Type {
		case watch.Bookmark:
			if content, err := apimeta.Accessor(event.Object); err == nil && content.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
				p.succeeded(ctx)
			}
		case watch.Error:
			p.failed(ctx, apierrors.FromObject(event.Object))
		}
		return event, true
	}), nil
}

// succeeded notes that the objects were read.
func (p *patientReads) succeeded(ctx context.Context) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.failure != nil {
		ctrl.LoggerFrom(ctx).Info("A cache that could not be read from the API server can be read again", "resource", p.resource, "was", p.failure.Error())
	}
	p.listed, p.failure = true, nil
}

// failed notes that a read failed, and logs the first failure in a row. That a version is too old to watch from, or not there yet,
// is part of watching.
func (p *patientReads) failed(ctx context.Context, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		return
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.failure == nil {
		p.log(ctx, err)
	}
	p.failure = err
}

// logAgain logs a failure that lasts.
func (p *patientReads) logAgain(ctx context.Context) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.failure != nil {
		p.log(ctx, p.failure)
	}
}

func (p *patientReads) log(ctx context.Context, err error) {
	ctrl.LoggerFrom(ctx).Error(err, p.advice, "resource", p.resource, "group", p.kind.Group)
}

// tolerates reports whether a failure is a way to run the manager.
func (p *patientReads) tolerates(err error) bool {
	return p.toleratesForbidden && apierrors.IsForbidden(err)
}

// failing returns what the last read failed with; nil if it succeeded.
func (p *patientReads) failing() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.failure
}

// unfilled returns why the objects could never be listed; nil if they were, or if that was not tried yet.
func (p *patientReads) unfilled() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.listed {
		return nil
	}
	return p.failure
}
