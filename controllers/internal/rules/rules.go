// SPDX-License-Identifier: Apache-2.0

// Package rules reads the objects that the rules of an environment refer to: namespaces, time zones and keys.
package rules

import (
	"context"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/read"
)

// Excludes reports whether the rules of an environment exclude a namespace.
func Excludes(ctx context.Context, reader client.Reader, rules *v1alpha1.DGbotEnvironmentSpec, namespace string) (bool, error) {
	if rules.NamespaceSelector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(rules.NamespaceSelector)
	if err != nil {
		// The API server accepts operators that do not exist. Such a selector selects nothing.
		return true, nil //nolint:nilerr // the conditions of the environment report it
	}
	of := read.Metadata("Namespace")
	found, err := read.Get(ctx, reader, types.NamespacedName{Name: namespace}, of)
	if err != nil || !found {
		return false, read.Wrap(err, "Namespace %q", namespace) // a Namespace that does not exist is being deleted
	}
	return !caching.SelectsNamespace(selector, of.Labels), nil
}

// EnvironmentIndex finds the keys of an environment: an index of the cache, and a selectable field of the API server.
const EnvironmentIndex = "spec.environment"

// locations caches time zones by name, nil for unknown ones: loading one reads and parses a file.
var locations sync.Map

// LocationOf returns the time zone with a name; nil if it is unknown.
func LocationOf(name string) *time.Location {
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

// EnvironmentOfLease returns the environment of a usage Lease; empty for other Leases.
func EnvironmentOfLease(lease client.Object) string {
	environment, ours := strings.CutPrefix(lease.GetName(), v1alpha1.UsageLeasePrefix)
	if !ours {
		return ""
	}
	return environment
}
