// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// environmentOf returns what the rules of the key's environment say of it, as the reader has them. A revision is issued by what the
// live reader says, the absence of an environment included: a cache may lack one that was created a moment ago, whose rules the key
// would escape, and may have one that is gone.
func (r *APIKeyReconciler) environmentOf(ctx context.Context, reader client.Reader, key *v1alpha1.DGbotAPIKey, isLive bool) (lifecycle.Environment, error) {
	env := lifecycle.Environment{Required: r.RequireEnvironment}
	rules := &v1alpha1.DGbotEnvironment{}
	found, err := get(ctx, reader, types.NamespacedName{Name: key.Spec.Environment}, rules)
	if err == nil && !found && r.RequireEnvironment {
		env.Known = r.knownEnvironments(ctx)
		return env, nil
	}
	if err != nil || !found {
		return env, reading(err, "DGbotEnvironment %q", key.Spec.Environment)
	}
	env.Rules, env.Windows = &rules.Spec, lifecycle.WindowsOf(&rules.Spec, locationOf)
	if env.Excluded, err = excluded(ctx, reader, &rules.Spec, key.Namespace); err != nil {
		return env, err
	}
	if countsKeys(&rules.Spec) {
		env.Rank, env.ChatbotRank, err = r.ranksOf(ctx, key, isLive)
	}
	return env, err
}

// knownEnvironments returns the names of the DGbotEnvironments that the cache has. Only a message uses them, so it returns none where
// they cannot be listed.
func (r *APIKeyReconciler) knownEnvironments(ctx context.Context) []string {
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

// excluded says whether the rules of an environment do not select a namespace.
func excluded(ctx context.Context, reader client.Reader, rules *v1alpha1.DGbotEnvironmentSpec, namespace string) (bool, error) {
	if rules.NamespaceSelector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(rules.NamespaceSelector)
	if err != nil {
		// The API server takes operators that do not exist: nothing is selected by them.
		return true, nil //nolint:nilerr // it is said in the environment's conditions
	}
	of := metadataOf("Namespace")
	found, err := get(ctx, reader, types.NamespacedName{Name: namespace}, of)
	if err != nil || !found {
		return false, reading(err, "Namespace %q", namespace) // it is about to go
	}
	return !selectsNamespace(selector, of.Labels), nil
}

// environmentField finds the keys of an environment: an index of the cache, and a selectable field of the API server.
const environmentField = "spec.environment"

// locations are the time zones that were asked for, nil ones included: loading one reads and parses a file.
var locations sync.Map

// locationOf returns a time zone; nil where it is not known.
func locationOf(name string) *time.Location {
	if known, ok := locations.Load(name); ok {
		location, _ := known.(*time.Location)
		return location
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		location = nil
	}
	locations.Store(name, location)
	return location
}
