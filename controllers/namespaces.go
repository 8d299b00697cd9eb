// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Namespaces are those that the manager works in, as a flag takes them: a list with commas, more than once. Empty stands
// for all, but cannot be asked for with an empty value: a template that comes to nothing must not mean the whole cluster.
type Namespaces []string

// String returns the list with commas.
func (n *Namespaces) String() string {
	if n == nil {
		return ""
	}
	return strings.Join(*n, ",")
}

// Set adds the namespaces of a list.
func (n *Namespaces) Set(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			return errors.New("a namespace is empty: name each one, or leave the flag out to work in all")
		}
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return fmt.Errorf("%q cannot be the name of a namespace: %s", name, strings.Join(problems, "; "))
		}
		if !slices.Contains(*n, name) {
			*n = append(*n, name)
		}
	}
	return nil
}

const (
	namespaceRefused = "A namespace of --watch-namespaces cannot be read, and is not served as it should be; the others are. " +
		"Create it and give the manager's account the Role of config/overlays/namespaced/watched in it, or take it off the list"
	leasesRefused = "The Leases of --usage-namespace cannot be read: uses count as not tracked. Give the manager's account a Role there " +
		"that may list and watch leases, as config/rbac does in the manager's own namespace"
)

// newInformer makes the informers of a manager that works in all namespaces: only what the verifiers say can be done
// without.
func newInformer(reads toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	if _, ok := example.(*coordinationv1.Lease); ok {
		return newPatientInformer(reads, example, resync, indexers)
	}
	return toolscache.NewSharedIndexInformer(reads, example, resync, indexers)
}

// newPatientInformer makes informers that serve a namespace from when it can be read on.
//
// Controllers wait until all informers have read all they are to read, and give up after two minutes. With one namespace
// of many that does not exist yet, or whose Role is missing, nobody would be served, and a restart (an upgrade, say)
// after one tenant has deleted a namespace would be an outage for all others. So a namespace that may not be read counts
// as an empty one until it may be. Nothing is minted or deleted on the word of a cache, so that an empty one harms nobody.
// The informer itself goes on asking, with a back-off of up to a minute.
//
// Once it has been read, a refusal stays an error: what is in the cache stays there, and is not taken for deleted.
func newPatientInformer(reads toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	patient := &patientReads{ListerWatcher: reads, reads: toolscache.ToListerWatcherWithContext(reads), advice: namespaceRefused}
	if _, ok := example.(*coordinationv1.Lease); ok {
		patient.advice = leasesRefused
	}
	return toolscache.NewSharedIndexInformer(patient, example, resync, indexers)
}

// patientReads are the reads of one kind in one namespace.
type patientReads struct {
	// ListerWatcher has the methods without a context, which nothing calls.
	toolscache.ListerWatcher
	reads toolscache.ListerWatcherWithContext
	// advice is what to log when they are refused.
	advice string

	mutex sync.Mutex
	// read says whether the namespace could ever be read.
	read bool
	// refusal is what the API server answered last; empty if it allowed it.
	refusal string
}

// ListWithContext returns nothing for a namespace that has never been readable.
func (p *patientReads) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := p.reads.ListWithContext(ctx, options)
	if p.note(ctx, err) && apierrors.IsForbidden(err) {
		return &metav1.PartialObjectMetadataList{}, nil
	}
	return list, err
}

// WatchWithContext also is how the informer reads what there is, where the API server streams lists.
func (p *patientReads) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	stream, err := p.reads.WatchWithContext(ctx, options)
	p.note(ctx, err)
	return stream, err
}

// note keeps the outcome of a read, logs when it changes, and says whether the namespace has never been readable.
func (p *patientReads) note(ctx context.Context, err error) (never bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	switch {
	case err == nil:
		if p.refusal != "" {
			ctrl.LoggerFrom(ctx).Info("What could not be read can be read now", "was", p.refusal)
		}
		p.read, p.refusal = true, ""
	case apierrors.IsForbidden(err) && p.refusal == "":
		ctrl.LoggerFrom(ctx).Error(err, p.advice)
		p.refusal = err.Error()
	}
	return !p.read
}
