// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"dgbot.io/key-operator/api/v1alpha1"
)

// newInformerFunc is the type of cache.Options.NewInformer.
type newInformerFunc = func(toolscache.ListerWatcher, runtime.Object, time.Duration, toolscache.Indexers) toolscache.SharedIndexInformer

// inPages returns a constructor of informers that read lists in pages.
func inPages(scheme *runtime.Scheme, construct newInformerFunc) newInformerFunc {
	return func(source toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
		pages := &pagedLists{ListerWatcher: source, source: toolscache.ToListerWatcherWithContext(source), size: defaultPageSize}
		if kind, err := apiutil.GVKForObject(example, scheme); err == nil && pageSizes[kind.Kind] > 0 {
			pages.size = pageSizes[kind.Kind]
		}
		return construct(pages, example, resync, indexers)
	}
}

// pageSizes are how many objects of a kind one answer to a list holds at most, and defaultPageSize that of other kinds, which only
// the operator and cluster admins write. A page is in memory twice while it is decoded. A ConfigMap, and the metadata of a Secret, has up
// to 1.5 MiB; that of a key or chatbot is bounded by config/policy. API servers that stream lists, which is the default since
// Kubernetes 1.34, send one object at a time.
var pageSizes = map[string]int64{"ConfigMap": 16, "Secret": 16, v1alpha1.APIKeyKind: 100, v1alpha1.ChatbotKind: 100}

const defaultPageSize = 500

// pagedLists are the lists of one informer, read in pages. The informer's own pages do not bound its memory: it asks for lists that the
// API server answers from its watch cache, in one piece, and strips them only when all are there.
type pagedLists struct {
	// ListerWatcher has the methods without a context, which nothing calls.
	toolscache.ListerWatcher
	source toolscache.ListerWatcherWithContext
	size   int64
}

// ListWithContext returns all objects, stripped. The list is consistent: the API server divides no other.
func (p *pagedLists) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	options.Limit, options.Continue, options.ResourceVersion, options.ResourceVersionMatch = p.size, "", "", ""
	var all []runtime.Object
	for {
		list, err := p.source.ListWithContext(ctx, options)
		if err != nil {
			return nil, err
		}
		page, err := apimeta.ListAccessor(list)
		if err != nil {
			return nil, err
		}
		err = apimeta.EachListItem(list, func(item runtime.Object) error {
			all = append(all, item)
			_, err := Strip(item)
			return err
		})
		if err != nil {
			return nil, err
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return list, apimeta.SetList(list, all)
		}
	}
}

// WatchWithContext watches. The informer strips events one by one, those of a streamed list included.
func (p *pagedLists) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return p.source.WatchWithContext(ctx, options)
}
