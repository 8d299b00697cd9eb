// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"fmt"
	"strings"
	"sync"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"dgbot.io/key-operator/internal/continuity"
)

// history detects that the API server's history was replaced: etcd was restored from a backup under a running manager.
//
// client-go's informers do not detect it. After a lost connection they open a watch at the last version they saw, or list at no less than
// that version. The API server accepts the watch even if the version lies in its future. It sends nothing until it has passed that
// version, and has then omitted what happened in between. The cache shows a state that no longer exists.
//
// Therefore each informer lists completely after a lost connection (see historyReads), and whatever is read from the API
// server is compared with what the caches held before the request. A lower resourceVersion proves that the history was
// replaced. The manager then ends with an error and is started again by its Deployment: beside the caches, what reconcilers
// remember belongs to the old history as well.
type history struct {
	scheme *runtime.Scheme
	clock  clock.PassiveClock
	// replaced holds the first proof.
	replaced chan error

	mutex sync.Mutex
	reads map[schema.GroupKind][]*historyReads
}

func newHistory(scheme *runtime.Scheme) *history {
	return &history{scheme: scheme, clock: clock.RealClock{}, replaced: make(chan error, 1), reads: map[schema.GroupKind][]*historyReads{}}
}

// Start returns an error once the history was found to be replaced, which ends the manager.
func (h *history) Start(ctx context.Context) error {
	select {
	case err := <-h.replaced:
		return err
	case <-ctx.Done():
		return nil
	}
}

// NeedLeaderElection reports false: an instance that waits for the lease has the same caches.
func (h *history) NeedLeaderElection() bool { return false }

// follow returns the history's view of the reads of an informer of a kind.
func (h *history) follow(kind schema.GroupKind, informer toolscache.SharedIndexInformer) *historyReads {
	reads := &historyReads{kind: kind, informer: informer, prove: h.prove}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.reads[kind] = append(h.reads[kind], reads)
	return reads
}

// prove reports that the history was replaced, and returns the error that ends the manager.
func (h *history) prove(what, live, held string) error {
	err := fmt.Errorf("the API server's history was replaced, as by restoring etcd from a backup: %s has resourceVersion %s and the cache held %s already; "+
		"the manager ends, and its Deployment starts it again with empty caches", what, live, held)
	select {
	case h.replaced <- err:
	default: // there is a proof already
	}
	return err
}

func (h *history) readsOf(kind schema.GroupKind) []*historyReads {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.reads[kind]
}

// versions are the resourceVersions that the caches hold of objects with one name, by uid. They are taken before a live read:
// the API server reads consistently, so its answer cannot be older.
type versions map[types.UID]string

func (h *history) held(kind schema.GroupKind, name types.NamespacedName) versions {
	held := versions{}
	for _, reads := range h.readsOf(kind) {
		if object := reads.cached(name.String()); object != nil {
			held[object.GetUID()] = object.GetResourceVersion()
		}
	}
	return held
}

// reader returns the live reader, which compares what it reads with the caches.
func (h *history) reader(live client.Reader) client.Reader { return &historyReader{live, h} }

type historyReader struct {
	client.Reader
	history *history
}

// Get returns an error if the object is older than the cached one with its uid.
func (r *historyReader) Get(ctx context.Context, name client.ObjectKey, object client.Object, options ...client.GetOption) error {
	kind, err := apiutil.GVKForObject(object, r.history.scheme)
	if err != nil {
		return err
	}
	held := r.history.held(kind.GroupKind(), name)
	if err := r.Reader.Get(ctx, name, object, options...); err != nil {
		return err
	}
	if version := held[object.GetUID()]; continuity.Older(object.GetResourceVersion(), version) {
		return r.history.prove(kind.Kind+" "+name.String(), object.GetResourceVersion(), version)
	}
	return nil
}

// List returns an error if the list is older than what a cache of the kind has seen, or if one of its objects is older than the cached one
// with its uid.
func (r *historyReader) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	kind, err := apiutil.GVKForObject(list, r.history.scheme)
	if err != nil {
		return err
	}
	kind.Kind = strings.TrimSuffix(kind.Kind, "List")
	seen := r.history.newest(kind.GroupKind())
	if err := r.Reader.List(ctx, list, options...); err != nil {
		return err
	}
	// A further page has the version of the first one, which was read before.
	if (&client.ListOptions{}).ApplyOptions(options).Continue == "" && continuity.Older(list.GetResourceVersion(), seen) {
		return r.history.prove("a list of "+kind.Kind+" objects", list.GetResourceVersion(), seen)
	}
	return apimeta.EachListItem(list, func(item runtime.Object) error {
		object, err := apimeta.Accessor(item)
		if err != nil {
			return err
		}
		return r.confirm(ctx, kind, object)
	})
}

// confirm returns an error if an object of a list is older than the cached one with its uid, and a read of it alone proves that: it may
// have changed after the list. If it cannot be read, nothing is proven.
func (r *historyReader) confirm(ctx context.Context, kind schema.GroupVersionKind, listed metav1.Object) error {
	name := types.NamespacedName{Namespace: listed.GetNamespace(), Name: listed.GetName()}
	held := r.history.held(kind.GroupKind(), name)
	if !continuity.Older(listed.GetResourceVersion(), held[listed.GetUID()]) {
		return nil
	}
	now := &metav1.PartialObjectMetadata{}
	now.SetGroupVersionKind(kind)
	if r.Reader.Get(ctx, name, now) == nil && continuity.Older(now.GetResourceVersion(), held[now.GetUID()]) {
		return r.history.prove(kind.Kind+" "+name.String(), now.GetResourceVersion(), held[now.GetUID()])
	}
	return nil
}

// newest returns the highest resourceVersion that the caches of a kind have seen; empty for none.
func (h *history) newest(kind schema.GroupKind) (newest string) {
	for _, reads := range h.readsOf(kind) {
		if seen := reads.seen(); newest == "" || continuity.Older(newest, seen) {
			newest = seen
		}
	}
	return newest
}
