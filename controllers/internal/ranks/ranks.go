// SPDX-License-Identifier: Apache-2.0

// Package ranks keeps the order of the keys that maxKeysPerNamespace and oneKeyPerChatbot count.
package ranks

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/rules"
	"dgbot.io/key-operator/internal/lifecycle/effective"
)

// Index ranks the keys of each environment in each namespace by age, if the rules count them. Listing the keys for each key, from the
// cache or live, would make the creation of n keys cost n² reads.
//
// A group is built from the cache once, and events keep it up to date from then on. A cache may lack an older key, so that a key is
// issued for the first time only by a live list. One such list serves all keys that had existed for some seconds when it began (see effective.CountedAt): no
// older key than these can have appeared after that.
type Index struct {
	// Kept is set if all events of keys are passed to Observe, so that a group that was built once can be trusted.
	Kept bool

	mutex  sync.Mutex
	groups map[Group]*keyGroup
	// woken is when the keys of a group were last woken.
	woken map[Group]time.Time
}

// Group identifies the keys of an environment in a namespace.
type Group struct{ namespace, environment string }

// GroupOf returns the group of a key.
func GroupOf(key *v1alpha1.DGbotAPIKey) Group {
	return Group{key.Namespace, key.Spec.Environment}
}

// keyGroup holds the keys of one group.
type keyGroup struct {
	// order and removals are guarded by the mutex of Index. removals counts the keys that left the order, or moved in it: a live
	// list from before the last removal may count too many.
	order    keyOrder
	removals int
	// listing holds a token while a goroutine uses the fields below: the order that was listed live last, when that list began, and
	// what removals was then.
	listing chan struct{}
	listed  keyOrder
	began   time.Time
	removed int
}

// keyAge is the position of a key: creation has whole seconds, so the uid decides between keys of one second.
type keyAge struct {
	created int64
	uid     types.UID
}

func ageOf(key *v1alpha1.DGbotAPIKey) keyAge { return keyAge{key.CreationTimestamp.Unix(), key.UID} }

func (a keyAge) compare(b keyAge) int {
	return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.uid, b.uid))
}

// keyOrder holds keys by age, and those of each chatbot by age.
type keyOrder struct {
	all       []keyAge
	ofChatbot map[string][]keyAge
}

func orderOf(keys []v1alpha1.DGbotAPIKey) keyOrder {
	o := keyOrder{ofChatbot: map[string][]keyAge{}}
	for i := range keys {
		if key := &keys[i]; key.DeletionTimestamp.IsZero() {
			o.all = append(o.all, ageOf(key))
			if ref := key.Spec.ChatbotRef; ref != nil {
				o.ofChatbot[ref.Name] = append(o.ofChatbot[ref.Name], ageOf(key))
			}
		}
	}
	slices.SortFunc(o.all, keyAge.compare)
	for name := range o.ofChatbot {
		slices.SortFunc(o.ofChatbot[name], keyAge.compare)
	}
	return o
}

// rank returns the position of the key among all keys of the order, the oldest being 1, and among those for the same chatbot. The key
// itself need not be in the order.
func (o *keyOrder) rank(key *v1alpha1.DGbotAPIKey) (rank, chatbotRank int) {
	older, _ := slices.BinarySearchFunc(o.all, ageOf(key), keyAge.compare)
	olderOfChatbot := 0
	if ref := key.Spec.ChatbotRef; ref != nil {
		olderOfChatbot, _ = slices.BinarySearchFunc(o.ofChatbot[ref.Name], ageOf(key), keyAge.compare)
	}
	return older + 1, olderOfChatbot + 1
}

func (o *keyOrder) contains(key *v1alpha1.DGbotAPIKey) bool {
	_, found := slices.BinarySearchFunc(o.all, ageOf(key), keyAge.compare)
	return found
}

func (o *keyOrder) add(key *v1alpha1.DGbotAPIKey) {
	insert := func(ages []keyAge) []keyAge {
		at, found := slices.BinarySearchFunc(ages, ageOf(key), keyAge.compare)
		if found {
			return ages
		}
		return slices.Insert(ages, at, ageOf(key))
	}
	o.all = insert(o.all)
	if ref := key.Spec.ChatbotRef; ref != nil {
		o.ofChatbot[ref.Name] = insert(o.ofChatbot[ref.Name])
	}
}

// remove reports whether the key was in the order.
func (o *keyOrder) remove(key *v1alpha1.DGbotAPIKey) bool {
	without := func(ages []keyAge) []keyAge {
		if at, found := slices.BinarySearchFunc(ages, ageOf(key), keyAge.compare); found {
			return slices.Delete(ages, at, at+1)
		}
		return ages
	}
	before := len(o.all)
	o.all = without(o.all)
	if ref := key.Spec.ChatbotRef; ref != nil {
		if o.ofChatbot[ref.Name] = without(o.ofChatbot[ref.Name]); len(o.ofChatbot[ref.Name]) == 0 {
			delete(o.ofChatbot, ref.Name)
		}
	}
	return len(o.all) < before
}

// Observe takes over an event. before is nil for a key that appeared, and after for one that is gone.
func (r *Index) Observe(before, after *v1alpha1.DGbotAPIKey) {
	if before != nil && after != nil && !MovesUp(before, after) {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if before != nil {
		if group := r.groups[GroupOf(before)]; group != nil {
			if group.order.remove(before) {
				group.removals++
			}
			if len(group.order.all) == 0 {
				delete(r.groups, GroupOf(before))
			}
		}
	}
	if after != nil && after.DeletionTimestamp.IsZero() {
		if group := r.groups[GroupOf(after)]; group != nil {
			group.order.add(after)
		}
	}
}

// MovesUp reports whether a change of a key lets a younger one take its place.
func MovesUp(before, after *v1alpha1.DGbotAPIKey) bool {
	return before.UID != after.UID || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!equality.Semantic.DeepEqual(before.Spec.ChatbotRef, after.Spec.ChatbotRef)
}

// group returns the group of a key. A new one is built from the cache. Events that the cache has seen already may be delivered after
// that: adding and removing a key again changes nothing, and the last event of each key is right.
func (r *Index) group(ctx context.Context, cached client.Reader, key *v1alpha1.DGbotAPIKey) (*keyGroup, error) {
	name := GroupOf(key)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if group := r.groups[name]; group != nil {
		return group, nil
	}
	keys, err := listGroup(ctx, cached, name)
	if err != nil {
		return nil, err
	}
	group := &keyGroup{order: orderOf(keys), listing: make(chan struct{}, 1)}
	if r.Kept && len(group.order.all) > 0 {
		if r.groups == nil {
			r.groups = map[Group]*keyGroup{}
		}
		r.groups[name] = group
	}
	return group, nil
}

func listGroup(ctx context.Context, reader client.Reader, name Group) ([]v1alpha1.DGbotAPIKey, error) {
	var keys v1alpha1.DGbotAPIKeyList
	err := reader.List(ctx, &keys, client.InNamespace(name.namespace), client.MatchingFields{rules.EnvironmentIndex: name.environment}, client.UnsafeDisableDeepCopy)
	return keys.Items, read.Wrap(err, "the DGbotAPIKeys of environment %q in namespace %q", name.environment, name.namespace)
}

// Of returns the key's ranks according to the cache.
func (r *Index) Of(ctx context.Context, cached client.Reader, key *v1alpha1.DGbotAPIKey) (rank, chatbotRank int, err error) {
	group, err := r.group(ctx, cached, key)
	if err != nil {
		return 0, 0, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	rank, chatbotRank = group.order.rank(key)
	return rank, chatbotRank, nil
}

// Confirmed returns the key's ranks by a live list that shows every older key.
func (r *Index) Confirmed(ctx context.Context, cached, live client.Reader, key *v1alpha1.DGbotAPIKey, now func() time.Time) (rank, chatbotRank int, err error) {
	group, err := r.group(ctx, cached, key)
	if err != nil {
		return 0, 0, err
	}
	select {
	case group.listing <- struct{}{}:
		defer func() { <-group.listing }()
	case <-ctx.Done():
		return 0, 0, read.Wrap(ctx.Err(), "the DGbotAPIKeys of environment %q in namespace %q", key.Spec.Environment, key.Namespace)
	}
	r.mutex.Lock()
	removals := group.removals
	r.mutex.Unlock()
	// The list must also contain the key itself: with a clock that is ahead, the list would seem to be younger than the key.
	valid := r.Kept && group.removed == removals && group.listed.contains(key) && !group.began.Before(effective.CountedAt(key.CreationTimestamp))
	if !valid {
		began := now()
		keys, err := listGroup(ctx, live, GroupOf(key))
		if err != nil {
			return 0, 0, err
		}
		group.listed, group.began, group.removed = orderOf(keys), began, removals
	}
	rank, chatbotRank = group.listed.rank(key)
	return rank, chatbotRank, nil
}

// Wakes reports whether to wake the keys of a group, and notes that they were woken. Keys that were woken less than queue.UsageDelay ago
// are not reconciled yet, and will observe the latest change.
func (r *Index) Wakes(name Group, now time.Time) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if since := now.Sub(r.woken[name]); since >= 0 && since < queue.UsageDelay {
		return false
	}
	for other, at := range r.woken {
		if now.Sub(at) >= queue.UsageDelay {
			delete(r.woken, other)
		}
	}
	if r.woken == nil {
		r.woken = map[Group]time.Time{}
	}
	r.woken[name] = now
	return true
}

// Counts reports whether the rules of an environment limit the number of its keys.
func Counts(rules *v1alpha1.DGbotEnvironmentSpec) bool {
	return rules.MaxKeysPerNamespace != nil || rules.OneKeyPerChatbot
}
