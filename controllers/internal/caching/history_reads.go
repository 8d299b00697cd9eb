// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"

	"dgbot.io/key-operator/internal/continuity"
)

// historyReads is the history's view of one informer's reads (see cacheReads). After a lost connection it makes the informer list
// completely: the watch that it tries to reopen fails as expired, and the list that follows is consistent, whatever version the informer
// asks for. The informer's own back-off (0.8 s to 60 s, random) bounds the rate.
type historyReads struct {
	informer toolscache.SharedIndexInformer
	kind     schema.GroupKind
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

// pending returns seen, and reports whether a complete list is necessary.
func (r *historyReads) pending() (version string, lost bool) {
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

// compare returns an error if a listed object is older than the cached one with its uid. While the informer lists, it watches nothing, so
// the cache holds only what was read before.
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

// compareList returns an error if a list as a whole is older than what was read before.
func (r *historyReads) compareList(version, before string) error {
	if continuity.Older(version, before) {
		return r.prove("a list of "+r.kind.Kind+" objects", version, before)
	}
	return nil
}

// prepareList makes a list consistent after a lost connection. It returns seen.
func (r *historyReads) prepareList(options *metav1.ListOptions) (before string) {
	before, lost := r.pending()
	if lost && options.Continue == "" {
		options.ResourceVersion, options.ResourceVersionMatch = "", ""
	}
	return before
}

// prepareWatch makes a streamed list consistent after a lost connection, and rejects any other watch then. It returns seen.
func (r *historyReads) prepareWatch(options *metav1.ListOptions, lists bool) (before string, err error) {
	before, lost := r.pending()
	switch {
	case lost && lists:
		options.ResourceVersion = ""
	case lost:
		return before, apierrors.NewResourceExpired("the connection to the API server was lost; a complete list follows")
	}
	return before, nil
}

// observeList notes a list, or a page of one, that was read while seen was before. It returns an error if the list proves that the history
// was replaced.
func (r *historyReads) observeList(list runtime.Object, before string) error {
	page, err := apimeta.ListAccessor(list)
	if err != nil {
		return err
	}
	// Only the first list of an informer accepts any version that the API server has; nothing was read before it.
	if err := r.compareList(page.GetResourceVersion(), before); err != nil {
		return err
	}
	err = apimeta.EachListItem(list, func(item runtime.Object) error {
		object, err := apimeta.Accessor(item)
		if err != nil {
			return err
		}
		return r.compare(object)
	})
	if err == nil && page.GetContinue() == "" {
		r.complete(page.GetResourceVersion())
	}
	return err
}

// complete notes that a complete list was read.
func (r *historyReads) complete(version string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.version, r.read, r.lost = version, true, false
}
