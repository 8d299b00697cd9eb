// SPDX-License-Identifier: Apache-2.0

// Package verifiers knows the registered verifiers, and wakes keys whose withdrawals they have confirmed.
//
// A verifier says in its Lease up to which version it has applied the records. The Leases come from a watch; two things need more than that:
//
//	a verifier that has been silent for long enough counts as gone   only after the Leases were listed live: the watch may have stopped
//	a version above all that this instance has seen of the records   only after a live list of records shows that it exists
//
// Silence is measured on this process's monotonic clock, from the last renewal that it saw or from its start. The time of the renewal itself is
// the verifier's clock, and compared with nothing but the end of a revision.
package verifiers

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

const (
	// maxReports is how many reports of a verifier are kept, to know when it reached a version. Beyond the last two, they have at most maxVersions.
	maxReports  = 16
	maxVersions = 4096
	// absenceSpan is how long after its start an instance confirms nothing. A verifier whose Lease was deleted, or lost with a
	// restored etcd, finds out at its next renewal, up to 5 seconds and a request of 2 seconds later, and answers until then.
	absenceSpan = 10 * time.Second
)

// Registry knows the registered verifiers. The fields must be set before use. It is safe for concurrent use.
type Registry struct {
	// Live reads Leases and records from the API server.
	Live client.Reader
	// Namespace has the Leases.
	Namespace string
	// RecordNamespace is a namespace whose records may be listed; empty for all.
	RecordNamespace string
	// Clock tells the time of the API server.
	Clock clock.PassiveClock
	// Silence is the clock by which silence is measured: monotonic, as long as nothing sets it in a test.
	Silence clock.PassiveClock
	// Synced reports whether the Leases have been read. Nil counts as true.
	Synced func() bool
	// Cached reads the Leases that the watch has shown; nil in tests that deliver each of them.
	Cached client.Reader

	mutex sync.Mutex
	// started is when this instance began to watch, by Silence; zero in tests that do not depend on it.
	started time.Time
	known   map[string]*verifier
	// newest is the highest resourceVersion of records that certainly exists.
	newest string
	// doubted is set while a verifier reports a higher one. askedAt is when the API server was asked for it, by Silence, and askDelay for how long
	// it is not asked again.
	doubted  bool
	askedAt  time.Time
	askDelay time.Duration
	// listedAt is when the Leases were last listed live, by Silence.
	listedAt time.Time
	// deletedSize is the memory of the verifiers whose Lease was deleted, and evicted describes those that did not fit in.
	deletedSize int
	evicted     evicted
	// changes counts what could confirm a withdrawal.
	changes int
	waiting waiting
}

// verifier is a registered verifier, as its Lease was last seen.
type verifier struct {
	name string
	// leaseVersion is the resourceVersion of its Lease, and otherHistory the one that it had before etcd was restored.
	leaseVersion, otherHistory string
	registration.Registration
	reports []report
	// knownFrom is when the verifier was seen first, by Registry.Silence.
	knownFrom time.Time
	// renewedAt is when its last renewal was seen, by Registry.Silence.
	renewedAt time.Time
	// isDeleted is set once another client has deleted the Lease. The process may still answer. deletedSize is then its part of
	// Registry.deletedSize.
	isDeleted   bool
	deletedSize int
	presence    propagation.Presence
	since       time.Time
}

// report is what a verifier stated in a renewal.
type report struct {
	observed map[registration.Watch]string
	renewed  time.Time
	// seenAt is when it was seen, by Registry.Silence.
	seenAt time.Time
}

// Observe notes a Lease as it is now.
func (r *Registry) Observe(lease *coordinationv1.Lease) {
	if !registration.IsLease(lease) {
		r.observeLoss(lease.Name)
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.observe(lease)
	r.confirmAll()
}

func (r *Registry) observe(lease *coordinationv1.Lease) {
	now := r.Silence.Now()
	v := r.known[lease.Name]
	if v == nil {
		if r.known == nil {
			r.known = map[string]*verifier{}
		}
		v = &verifier{name: lease.Name, knownFrom: now, renewedAt: now}
		r.known[lease.Name] = v
	}
	if len(v.reports) > 0 && (registration.Reaches(v.leaseVersion, lease.ResourceVersion) || lease.ResourceVersion == v.otherHistory) {
		return // a live list has shown more than the watch does yet
	}
	v.leaseVersion = lease.ResourceVersion
	renewed := time.Time{}
	if lease.Spec.RenewTime != nil {
		renewed = lease.Spec.RenewTime.Time
	}
	stated := registration.Of(lease)
	if len(v.reports) > 0 && !renewed.Equal(v.last().renewed) {
		v.renewedAt = now
		if v.presence == propagation.Gone {
			v.presence = propagation.Present
		}
	}
	v.Registration = stated
	r.setDeleted(v, false)
	if stated.Stopped && v.presence != propagation.Stopped {
		v.presence, v.since = propagation.Stopped, now
	}
	r.doubt(v, stated.Observed)
	v.reports = append(v.reports, report{stated.Observed, renewed, now})
	v.trimReports()
	r.changes++
}

// doubt notes if a verifier reports versions of which this instance does not know that they exist. If it reports them for the first time, they are
// asked for soon.
func (r *Registry) doubt(v *verifier, observed map[registration.Watch]string) {
	for watch, version := range observed {
		if registration.Reaches(r.newest, version) {
			continue
		}
		if r.doubted = true; len(v.reports) == 0 || v.last().observed[watch] != version {
			r.askDelay = 0
		}
	}
}

// trimReports bounds the memory that the reports of a verifier take.
func (v *verifier) trimReports() {
	versions := 0
	for i := len(v.reports) - 1; i >= 0; i-- {
		versions += len(v.reports[i].observed)
		if kept := len(v.reports) - i; kept > maxReports || kept > 2 && versions > maxVersions {
			v.reports = slices.Delete(v.reports, 0, i+1)
			return
		}
	}
}

func (v *verifier) last() *report { return &v.reports[len(v.reports)-1] }

// NoteVersion notes a resourceVersion of a record, as a write was answered or an event has it.
func (r *Registry) NoteVersion(version string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if registration.IsVersion(version) && !registration.Reaches(r.newest, version) {
		r.newest = version
		r.changes++
	}
}

// Version returns the highest resourceVersion of records that certainly exists; empty for none.
func (r *Registry) Version() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.newest
}

// NoteWrite notes the resourceVersion of a record that this instance wrote, and the Version before the request. In one history the later one is
// higher. If it is not, etcd was restored: what verifiers reported before that does not count, and neither do the versions of their Leases.
func (r *Registry) NoteWrite(before, version string) {
	if registration.Reaches(before, version) {
		r.restart(version)
	}
	r.NoteVersion(version)
}

func (r *Registry) restart(version string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.newest = version
	for _, v := range r.known {
		v.leaseVersion, v.otherHistory = "", v.leaseVersion
		for i := range v.reports {
			v.reports[i].observed = nil
		}
	}
	r.changes++
}

// View returns what is known of the verifiers that may accept the records of a namespace and environment. Before it says that there are none, it
// lists the Leases live.
func (r *Registry) View(ctx context.Context, namespace, environment string) propagation.View {
	if r.Synced != nil && !r.Synced() {
		return propagation.View{Unreadable: true}
	}
	view := r.view(scope{namespace, environment})
	if len(view.Verifiers) > 0 || view.Unreadable {
		return view
	}
	if err := r.listLive(ctx); err != nil {
		return propagation.View{Unreadable: true}
	}
	return r.view(scope{namespace, environment})
}

func (r *Registry) view(s scope) propagation.View {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err := r.readCache(); err != nil {
		return propagation.View{Unreadable: true}
	}
	return propagation.View{Verifiers: r.inScope(s), CompleteFrom: r.completeFrom(), Incomplete: r.evicted.serves}
}

// inScope returns the verifiers of a scope, sorted by name. The mutex must be held.
func (r *Registry) inScope(s scope) []propagation.Verifier {
	var all []propagation.Verifier
	for _, v := range r.known {
		if v.InScope(s.namespace, s.environment) {
			all = append(all, r.describe(v, s))
		}
	}
	slices.SortFunc(all, func(a, b propagation.Verifier) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (r *Registry) describe(v *verifier, s scope) propagation.Verifier {
	described := propagation.Verifier{Name: v.name, Presence: v.presence, Serves: v.Serves}
	if v.presence != propagation.Present {
		described.PresenceFrom = r.dated(v.since)
	}
	for i := range v.reports {
		reported := &v.reports[i]
		described.Reports = append(described.Reports, propagation.Report{Version: r.believed(reported, s), Renewed: reported.renewed, SeenAt: r.dated(reported.seenAt)})
	}
	state := r.stateOf(v)
	described.IsSilent = state == registration.Silent || state == registration.Gone
	if longest, ends := v.LongestSilence(); ends {
		described.BoundAt = r.dated(v.renewedAt).Add(longest)
	}
	return described
}

// Wait has a key reconciled once the verifiers of its namespace and environment reject what was withdrawn.
func (r *Registry) Wait(key types.NamespacedName, environment string, awaited propagation.Awaited) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.waiting.put(key, scope{key.Namespace, environment}, awaited)
	r.confirm(scope{key.Namespace, environment})
}

// StopWaiting has a key wait no longer.
func (r *Registry) StopWaiting(key types.NamespacedName) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.waiting.remove(key)
}

// OnWake sets what to call with a key that should be reconciled: its withdrawal is confirmed, or its status says that no verifier is registered, and
// there is one. It must not block.
func (r *Registry) OnWake(wake func(types.NamespacedName)) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.waiting.wake = wake
}

func (r *Registry) confirmAll() {
	for s := range r.waiting.scopes {
		r.confirm(s)
	}
}

// confirm wakes the keys of a scope whose withdrawals all verifiers reject. The mutex must be held.
func (r *Registry) confirm(s scope) {
	queued := r.waiting.scopes[s]
	if queued == nil || r.Synced != nil && !r.Synced() || r.evicted.serves || r.completeFrom().After(r.Clock.Now()) {
		return // a key that waits is planned again when the absence of verifiers counts
	}
	if r.isHeldBack(queued, s) || r.readCache() != nil {
		return
	}
	if all, ok := r.frontier(s); ok {
		r.waiting.confirm(queued, all, r.changes)
		queued.slowest = all.slowest
	}
}

// isHeldBack reports whether no withdrawal of a scope can be confirmed, because none waits or because the slowest verifier of the last look has not
// reached the first one. Comparing all verifiers at each renewal takes more than a processor with 1,000 of them. The mutex must be held.
func (r *Registry) isHeldBack(q *queued, s scope) bool {
	if len(q.ending) > 0 {
		return false
	}
	if q.Len() == 0 {
		return true
	}
	v := r.known[q.slowest]
	return v != nil && v.answers(s) && !registration.Reaches(r.reached(v, s).version, q.heap[0].awaited.Version)
}

// frontier returns how far the verifiers of a scope have followed; false if there are none. The mutex must be held.
func (r *Registry) frontier(s scope) (all frontier, ok bool) {
	for _, v := range r.known {
		if !v.answers(s) {
			continue
		}
		own := r.reached(v, s)
		// Nothing reaches an empty version, which is the lowest all the same.
		if !ok || all.version != "" && !registration.Reaches(own.version, all.version) {
			all.version, all.slowest = own.version, v.name
		}
		if !ok || own.renewed.Before(all.renewed) {
			all.renewed = own.renewed
		}
		ok = true
	}
	return all, ok
}

// answers reports whether a verifier may answer for the keys of a scope.
func (v *verifier) answers(s scope) bool {
	return v.presence == propagation.Present && v.InScope(s.namespace, s.environment)
}

// reached returns how far a verifier has followed in a scope. One whose watch broke reports less than before, and has applied what it reported before
// all the same.
func (r *Registry) reached(v *verifier, s scope) frontier {
	own := frontier{}
	for i := len(v.reports) - 1; i >= 0; i-- {
		if version := r.believed(&v.reports[i], s); version != "" && !registration.Reaches(own.version, version) {
			own = frontier{version: version, renewed: v.reports[i].renewed}
		}
	}
	return own
}

// believed returns the version of a scope that a report has; empty if that version is not known to exist. The verifier may have followed another
// history, before etcd was restored.
func (r *Registry) believed(reported *report, s scope) string {
	of := registration.Registration{Observed: reported.observed}
	if version := of.ObservedOf(s.namespace, s.environment); registration.Reaches(r.newest, version) {
		return version
	}
	return ""
}
