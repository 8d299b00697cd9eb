// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/ranks"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/rules"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

// environmentOf returns what the rules of the key's environment say of it, as the reader has them. A revision is issued by what the
// live reader says, the absence of an environment included: a cache may lack one that was created a moment ago, whose rules the key
// would escape, and may have one that is gone.
func (r *Reconciler) environmentOf(ctx context.Context, reader client.Reader, key *v1alpha1.DGbotAPIKey, isLive bool) (effective.Environment, error) {
	env := effective.Environment{Required: r.RequireEnvironment}
	environment := &v1alpha1.DGbotEnvironment{}
	found, err := read.Get(ctx, reader, types.NamespacedName{Name: key.Spec.Environment}, environment)
	if err == nil && !found && r.RequireEnvironment {
		env.Known = r.knownEnvironments(ctx)
		return env, nil
	}
	if err != nil || !found {
		return env, read.Wrap(err, "DGbotEnvironment %q", key.Spec.Environment)
	}
	env.Rules, env.Windows = &environment.Spec, schedule.WindowsOf(&environment.Spec, rules.LocationOf)
	if env.Excluded, err = rules.Excludes(ctx, reader, &environment.Spec, key.Namespace); err != nil {
		return env, err
	}
	if ranks.Counts(&environment.Spec) {
		env.Rank, env.ChatbotRank, err = r.ranksOf(ctx, key, isLive)
	}
	return env, err
}

// knownEnvironments returns the names of the DGbotEnvironments that the cache has. Only a message uses them, so it returns none where
// they cannot be listed.
func (r *Reconciler) knownEnvironments(ctx context.Context) []string {
	var all v1alpha1.DGbotEnvironmentList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	names := make([]string, 0, len(all.Items))
	for i := range all.Items {
		names = append(names, all.Items[i].Name)
	}
	return names
}

// ranksOf returns the key's ranks among the keys of its environment in its namespace, and among those of them that are for the same
// chatbot. Keys that are being deleted have none. Only a first issue needs a live list: what was issued goes on, whatever its rank.
func (r *Reconciler) ranksOf(ctx context.Context, key *v1alpha1.DGbotAPIKey, isLive bool) (rank, chatbotRank int, err error) {
	if isLive && key.Status.Current == nil && !r.Clock.Now().Before(effective.CountedAt(key.CreationTimestamp)) {
		return r.ranks.Confirmed(ctx, r.Client, r.Live, key, r.Clock.Now)
	}
	return r.ranks.Of(ctx, r.Client, key)
}

// unknownEnvironmentIndex finds the keys that wait for their environment to exist: their message names those that do.
const (
	unknownEnvironmentIndex = "unknownEnvironment"
	waiting                 = "waiting"
)

// setUpEnvironments registers what wakes keys because of the rules of their environment: a change of the rules, of a namespace's
// labels, and of an older key that counted.
func (r *Reconciler) setUpEnvironments(mgr ctrl.Manager, keys *builder.Builder) (*builder.Builder, error) {
	for name, valueOf := range map[string]func(*v1alpha1.DGbotAPIKey) []string{
		rules.EnvironmentIndex: func(key *v1alpha1.DGbotAPIKey) []string { return []string{key.Spec.Environment} },
		unknownEnvironmentIndex: func(key *v1alpha1.DGbotAPIKey) []string {
			if readyReason(&key.Status) != v1alpha1.EnvironmentUnknownReason {
				return nil
			}
			return []string{waiting}
		},
	} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotAPIKey{}, name, func(o client.Object) []string {
			key, ok := o.(*v1alpha1.DGbotAPIKey)
			if !ok {
				return nil
			}
			return valueOf(key)
		}); err != nil {
			return nil, err
		}
	}
	r.ranks.Kept = true
	return keys.
		Watches(&v1alpha1.DGbotEnvironment{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return append(r.keysWhere(ctx, client.MatchingFields{rules.EnvironmentIndex: o.GetName()}),
				r.keysWhere(ctx, client.MatchingFields{unknownEnvironmentIndex: waiting})...)
		}), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return r.keysWhere(ctx, client.InNamespace(o.GetName()))
		}), builder.OnlyMetadata, builder.WithPredicates(labelsChanged())).
		Watches(&v1alpha1.DGbotAPIKey{}, r.wakeCounted()), nil
}

// labelsChanged leaves out that a namespace appears: its keys come after it.
func labelsChanged() predicate.Predicate {
	return predicate.And[client.Object](predicate.LabelChangedPredicate{}, predicate.Funcs{CreateFunc: func(event.CreateEvent) bool { return false }})
}

// wakeCounted delivers the events of keys to the ranks, and wakes the keys of a group when one of them makes room. That may be thousands
// of keys, and as many of them may go: a group is woken at most once in queue.UsageDelay.
func (r *Reconciler) wakeCounted() handler.EventHandler {
	type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]
	observe := func(ctx context.Context, before, after client.Object, to requests) {
		old, _ := before.(*v1alpha1.DGbotAPIKey)
		next, _ := after.(*v1alpha1.DGbotAPIKey)
		r.ranks.Observe(old, next)
		if old == nil || next != nil && !ranks.MovesUp(old, next) || !r.isCounted(ctx, old) || !r.ranks.Wakes(ranks.GroupOf(old), r.Clock.Now()) {
			return
		}
		for _, request := range r.keysWhere(ctx, client.InNamespace(old.Namespace), client.MatchingFields{rules.EnvironmentIndex: old.Spec.Environment}) {
			queue.AddLater(to, request)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, to requests) { observe(ctx, nil, e.Object, to) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, to requests) {
			observe(ctx, e.ObjectOld, e.ObjectNew, to)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, to requests) { observe(ctx, e.Object, nil, to) },
	}
}

// isCounted reports whether the rules of a key's environment limit the number of its keys, as far as the cache has them.
func (r *Reconciler) isCounted(ctx context.Context, key *v1alpha1.DGbotAPIKey) bool {
	rules := &v1alpha1.DGbotEnvironment{}
	found, err := read.Get(ctx, r.Client, types.NamespacedName{Name: key.Spec.Environment}, rules)
	return err == nil && found && ranks.Counts(&rules.Spec)
}
