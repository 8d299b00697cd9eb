// SPDX-License-Identifier: Apache-2.0

// Package registration is the form in which a verifier registers: one Lease for each process, whose annotations say up to which version of
// the records it answers. Verifiers write it, the operator and the plugin read it.
package registration

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	// GoneAfter is for how much longer than its max-staleness a verifier must be silent to count as gone.
	GoneAfter = 30 * time.Second
	// Retention is how long the operator keeps the Lease of a verifier that is gone.
	Retention = time.Hour
	// LeaseDuration is spec.leaseDurationSeconds of each Lease.
	LeaseDuration = 15 * time.Second

	// longestStaleness is the largest max-staleness to which GoneAfter and Retention can be added.
	longestStaleness = time.Duration(math.MaxInt64) - GoneAfter - Retention

	// OnStaleDeny and OnStaleServe are the values of --on-stale, and of the annotation that states it.
	OnStaleDeny  = "deny"
	OnStaleServe = "serve"

	all = "*"
)

// Watch is what one watch of a verifier covers.
type Watch struct {
	// Namespace and Environment are empty for all.
	Namespace, Environment string
}

// Covers reports whether the watch delivers the records of a namespace and environment.
func (w Watch) Covers(namespace, environment string) bool {
	return (w.Namespace == "" || w.Namespace == namespace) && (w.Environment == "" || w.Environment == environment)
}

// String returns the watch as keys.dgbot.io/observed-versions has it.
func (w Watch) String() string {
	return cmp.Or(w.Namespace, all) + "/" + cmp.Or(w.Environment, all)
}

// Registration is what a Lease says about a verifier.
type Registration struct {
	// Observed has the resourceVersion of the records up to which each watch has been applied. It is empty before the first complete list.
	Observed map[Watch]string
	// MaxStaleness is the age of its records after which the verifier stops to answer.
	MaxStaleness time.Duration
	// Serves is set if it answers at a larger age as well.
	Serves bool
	// RegisteredBy is the user that writes the Lease.
	RegisteredBy string
	// Stopped is set once the process has given its last answer.
	Stopped bool
}

// Of returns what a Lease says. What it lacks, or what cannot be read, counts as the least favorable value: nothing observed, an endless
// max-staleness, and answers at any age.
func Of(lease *coordinationv1.Lease) Registration {
	r := Registration{RegisteredBy: lease.Annotations[v1alpha1.RegisteredByAnnotation], Serves: lease.Annotations[v1alpha1.OnStaleAnnotation] != OnStaleDeny}
	_, r.Stopped = lease.Annotations[v1alpha1.StoppedAnnotation]
	staleness, err := time.ParseDuration(lease.Annotations[v1alpha1.MaxStalenessAnnotation])
	if err != nil || staleness <= 0 || staleness > longestStaleness {
		r.Serves = true
	}
	r.MaxStaleness = staleness
	r.Observed = parseObserved(lease.Annotations[v1alpha1.ObservedVersionsAnnotation])
	return r
}

// State tells whether a verifier renews its registration, and whether it may still answer.
type State string

const (
	// Current verifiers renew their registration.
	Current State = "current"
	// Silent verifiers have missed renewals, and may still answer.
	Silent State = "silent"
	// Gone verifiers were silent for longer than they answer from old records. They deny every request until they register anew.
	Gone State = "gone"
	// Stopped verifiers have given their last answer.
	Stopped State = "stopped"
)

// State returns the state of a verifier whose last renewal was a silence ago. The caller chooses the clock that measures it.
func (r *Registration) State(silence time.Duration) State {
	longest, ends := r.LongestSilence()
	switch {
	case r.Stopped:
		return Stopped
	case ends && silence > longest:
		return Gone
	case silence > LeaseDuration:
		return Silent
	}
	return Current
}

// LongestSilence returns the silence beyond which a verifier counts as gone. It reports false for a verifier that never does, because it answers
// however old its records are.
func (r *Registration) LongestSilence() (longest time.Duration, ends bool) {
	if r.Serves {
		return 0, false
	}
	return r.MaxStaleness + GoneAfter, true
}

// parseObserved returns nil where a part of the text cannot be read.
func parseObserved(text string) map[Watch]string {
	observed := map[Watch]string{}
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, version, ok := strings.Cut(strings.TrimSpace(part), "=")
		namespace, environment, both := strings.Cut(name, "/")
		if !ok || !both || namespace == "" || environment == "" || !IsVersion(version) {
			return nil
		}
		watch := Watch{strings.TrimSuffix(namespace, all), strings.TrimSuffix(environment, all)}
		if earlier, twice := observed[watch]; twice && Reaches(version, earlier) {
			version = earlier
		}
		observed[watch] = version
	}
	return observed
}

// OnStale returns OnStaleServe if the verifier answers however old its records are, and OnStaleDeny if not.
func (r *Registration) OnStale() string {
	if r.Serves {
		return OnStaleServe
	}
	return OnStaleDeny
}

// Annotate sets what the registration says in a Lease.
func (r *Registration) Annotate(lease *coordinationv1.Lease, stoppedAt time.Time) {
	annotations := map[string]string{
		v1alpha1.MaxStalenessAnnotation: r.MaxStaleness.String(), v1alpha1.OnStaleAnnotation: r.OnStale(), v1alpha1.RegisteredByAnnotation: r.RegisteredBy,
	}
	if len(r.Observed) > 0 {
		var parts []string
		for watch, version := range r.Observed {
			parts = append(parts, fmt.Sprintf("%s=%s", watch, version))
		}
		slices.Sort(parts)
		annotations[v1alpha1.ObservedVersionsAnnotation] = strings.Join(parts, ",")
	}
	if r.Stopped {
		annotations[v1alpha1.StoppedAnnotation] = stoppedAt.UTC().Format(time.RFC3339)
	}
	lease.Labels = map[string]string{v1alpha1.VerifierLabel: "true"}
	lease.Annotations = annotations
}

// InScope reports whether a verifier may accept the records of a namespace and environment: one of its watches covers them, or it does not say
// what it watches.
func (r *Registration) InScope(namespace, environment string) bool {
	if len(r.Observed) == 0 {
		return true
	}
	for watch := range r.Observed {
		if watch.Covers(namespace, environment) {
			return true
		}
	}
	return false
}

// ObservedOf returns the version up to which every watch has been applied that covers a namespace and environment; empty for none.
func (r *Registration) ObservedOf(namespace, environment string) string {
	lowest := ""
	for watch, version := range r.Observed {
		if watch.Covers(namespace, environment) && (lowest == "" || Reaches(lowest, version)) {
			lowest = version
		}
	}
	return lowest
}

// IsLease reports whether a Lease is the registration of a verifier.
func IsLease(lease metav1.Object) bool {
	return lease.GetLabels()[v1alpha1.VerifierLabel] == "true"
}

// IsVersion reports whether a text is a resourceVersion that can be compared with another one.
func IsVersion(text string) bool {
	_, err := resourceversion.CompareResourceVersion(text, text)
	return err == nil
}

// Reaches reports whether a version is at least another one. A version that cannot be compared, such as an empty one, reaches none.
func Reaches(version, wanted string) bool {
	order, err := resourceversion.CompareResourceVersion(version, wanted)
	return err == nil && order >= 0
}
