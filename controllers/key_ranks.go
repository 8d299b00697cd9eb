// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// keyRanks orders by age the keys of each environment in each namespace where the rules count them. Listing the keys for each key, from
// the cache or live, would make the creation of n keys cost n² reads.
//
// A group is built from the cache once, and events keep it up to date from then on. A cache may lack an older key, so that a key is
// issued for the first time only by a live list. One such list serves all keys that had existed for CountedAfter when it began: no
// older key than these can have appeared after that.
type keyRanks struct {
	// kept reports that events are delivered to observe.
	kept bool

	mutex  sync.Mutex
	groups map[groupName]*keyGroup
	// woken is when the keys of a group were last woken.
	woken map[groupName]time.Time
}

// groupName identifies the keys of an environment in a namespace.
type groupName struct{ namespace, environment string }

func groupOf(key *v1alpha1.DGbotAPIKey) groupName {
	return groupName{key.Namespace, key.Spec.Environment}
}

// keyGroup holds the keys of one group.
type keyGroup struct {
	// order and removals are guarded by the mutex of keyRanks. removals counts the keys that left the order, or moved in it: a live
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

// keyAge places a key: creation has whole seconds, so the uid decides between keys of one second.
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

// rank returns the key's place among all keys of the order, the oldest being 1, and among those for the same chatbot. The key itself
// need not be in the order.
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

// observe takes over an event. before is nil for a key that appeared, and after for one that is gone.
func (r *keyRanks) observe(before, after *v1alpha1.DGbotAPIKey) {
	if before != nil && after != nil && !movesUp(before, after) {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if before != nil {
		if group := r.groups[groupOf(before)]; group != nil {
			if group.order.remove(before) {
				group.removals++
			}
			if len(group.order.all) == 0 {
				delete(r.groups, groupOf(before))
			}
		}
	}
	if after != nil && after.DeletionTimestamp.IsZero() {
		if group := r.groups[groupOf(after)]; group != nil {
			group.order.add(after)
		}
	}
}

// movesUp reports whether a change of a key lets a younger one take its place.
func movesUp(before, after *v1alpha1.DGbotAPIKey) bool {
	return before.UID != after.UID || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!equality.Semantic.DeepEqual(before.Spec.ChatbotRef, after.Spec.ChatbotRef)
}

// group returns the group of a key. A new one is built from the cache. Events that the cache has seen already may be delivered after
// that: adding and removing a key again changes nothing, and the last event of each key is right.
func (r *keyRanks) group(ctx context.Context, cached client.Reader, key *v1alpha1.DGbotAPIKey) (*keyGroup, error) {
	name := groupOf(key)
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
	if r.kept && len(group.order.all) > 0 {
		if r.groups == nil {
			r.groups = map[groupName]*keyGroup{}
		}
		r.groups[name] = group
	}
	return group, nil
}

func listGroup(ctx context.Context, reader client.Reader, name groupName) ([]v1alpha1.DGbotAPIKey, error) {
	var keys v1alpha1.DGbotAPIKeyList
	err := reader.List(ctx, &keys, client.InNamespace(name.namespace), client.MatchingFields{environmentField: name.environment}, client.UnsafeDisableDeepCopy)
	return keys.Items, reading(err, "the DGbotAPIKeys of environment %q in namespace %q", name.environment, name.namespace)
}

// of returns the key's ranks as the cache has them.
func (r *keyRanks) of(ctx context.Context, cached client.Reader, key *v1alpha1.DGbotAPIKey) (rank, chatbotRank int, err error) {
	group, err := r.group(ctx, cached, key)
	if err != nil {
		return 0, 0, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	rank, chatbotRank = group.order.rank(key)
	return rank, chatbotRank, nil
}

// confirmed returns the key's ranks by a live list that shows every older key.
func (r *keyRanks) confirmed(ctx context.Context, cached, live client.Reader, key *v1alpha1.DGbotAPIKey, now func() time.Time) (rank, chatbotRank int, err error) {
	group, err := r.group(ctx, cached, key)
	if err != nil {
		return 0, 0, err
	}
	select {
	case group.listing <- struct{}{}:
		defer func() { <-group.listing }()
	case <-ctx.Done():
		return 0, 0, reading(ctx.Err(), "the DGbotAPIKeys of environment %q in namespace %q", key.Spec.Environment, key.Namespace)
	}
	r.mutex.Lock()
	removals := group.removals
	r.mutex.Unlock()
	// That the list shows the key itself counts as well: by a clock that is ahead, the list would seem to be younger than the key.
	valid := r.kept && group.removed == removals && group.listed.contains(key) && !group.began.Before(lifecycle.CountedAt(key))
	if !valid {
		began := now()
		keys, err := listGroup(ctx, live, groupOf(key))
		if err != nil {
			return 0, 0, err
		}
		group.listed, group.began, group.removed = orderOf(keys), began, removals
	}
	rank, chatbotRank = group.listed.rank(key)
	return rank, chatbotRank, nil
}

// ranksOf returns the key's ranks among the keys of its environment in its namespace, and among those of them that are for the same
// chatbot. Keys that are being deleted have none. Only a first issue needs a live list: what was issued goes on, whatever its rank.
func (r *APIKeyReconciler) ranksOf(ctx context.Context, key *v1alpha1.DGbotAPIKey, isLive bool) (rank, chatbotRank int, err error) {
	if isLive && key.Status.Current == nil && !r.Clock.Now().Before(lifecycle.CountedAt(key)) {
		return r.ranks.confirmed(ctx, r.Client, r.Live, key, r.Clock.Now)
	}
	return r.ranks.of(ctx, r.Client, key)
}

// wakeCounted delivers the events of keys to the ranks, and wakes the keys of a group when one of them makes room. That may be thousands
// of keys, and as many of them may go: a group is woken at most once in usageDelay.
func (r *APIKeyReconciler) wakeCounted() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	observe := func(ctx context.Context, before, after client.Object, queue queue) {
		old, _ := before.(*v1alpha1.DGbotAPIKey)
		next, _ := after.(*v1alpha1.DGbotAPIKey)
		r.ranks.observe(old, next)
		if old == nil || next != nil && !movesUp(old, next) || !r.isCounted(ctx, old) || !r.ranks.wakes(groupOf(old), r.Clock.Now()) {
			return
		}
		for _, request := range r.keysWhere(ctx, client.InNamespace(old.Namespace), client.MatchingFields{environmentField: old.Spec.Environment}) {
			wakeLater(queue, request)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue queue) { observe(ctx, nil, e.Object, queue) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue queue) {
			observe(ctx, e.ObjectOld, e.ObjectNew, queue)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue queue) { observe(ctx, e.Object, nil, queue) },
	}
}

// isCounted reports whether the rules of a key's environment limit the number of its keys, as far as the cache has them.
func (r *APIKeyReconciler) isCounted(ctx context.Context, key *v1alpha1.DGbotAPIKey) bool {
	rules := &v1alpha1.DGbotEnvironment{}
	found, err := get(ctx, r.Client, types.NamespacedName{Name: key.Spec.Environment}, rules)
	return err == nil && found && countsKeys(&rules.Spec)
}

// wakes reports whether the keys of a group are to be woken, and notes that they were. Those that were woken less than usageDelay ago
// have yet to be looked at, and will see what has changed since.
func (r *keyRanks) wakes(name groupName, now time.Time) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if since := now.Sub(r.woken[name]); since >= 0 && since < usageDelay {
		return false
	}
	for other, at := range r.woken {
		if now.Sub(at) >= usageDelay {
			delete(r.woken, other)
		}
	}
	if r.woken == nil {
		r.woken = map[groupName]time.Time{}
	}
	r.woken[name] = now
	return true
}

// countsKeys reports whether the rules of an environment limit the number of its keys.
func countsKeys(rules *v1alpha1.DGbotEnvironmentSpec) bool {
	return rules.MaxKeysPerNamespace != nil || rules.OneKeyPerChatbot
}
