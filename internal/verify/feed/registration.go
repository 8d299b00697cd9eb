// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"dgbot.io/key-operator/internal/registration"
)

// maxUnrenewed is the largest age of the last successful renewal at which a verifier is ready.
const maxUnrenewed = 30 * time.Second

// registrationState is what a Freshness knows of the registration of this process. Without one, requests are not answered. With one, the records
// must have been listed completely since it began: an earlier list may lack a change that the operator already counts as followed by all
// registered verifiers. One goroutine registers; all other use is concurrent.
type registrationState struct {
	// required is false where registration is off: then the only era has begun.
	required bool
	// renewed is when the last successful renewal was sent; nil for never.
	renewed atomic.Pointer[moment]
	// lastRenewed is the same under whatever registration: the metric must not start again when a verifier that has lost its Lease cannot
	// register anew.
	lastRenewed atomic.Pointer[moment]
	// present is the number of the present era, at least 1.
	present atomic.Int64
	// changed holds a value if the answers changed since it was read last.
	changed chan struct{}

	mutex sync.Mutex
	era   *era
}

// era is the time of one registration, until it is replaced or had expired.
type era struct {
	number int64
	// begun is closed once the process is registered, and ended at the end of the era.
	begun, ended chan struct{}
}

func newEra(number int64) *era {
	return &era{number: number, begun: make(chan struct{}), ended: make(chan struct{})}
}

// begin sets the state of a process that is not registered yet.
func (r *registrationState) begin(required bool) {
	r.required, r.changed, r.era = required, make(chan struct{}, 1), newEra(1)
	r.present.Store(r.era.number)
	if !required {
		close(r.era.begun)
	}
}

// Attempt notes that a write of the registration is about to be sent. The caller calls accepted once the API server has accepted this
// write, and not if it is unknown. The time counts from the sending, as the process may be stopped before it reads the answer.
func (f *Freshness) Attempt() (accepted func()) {
	sent := f.pulse.beat()
	return func() { f.accept(sent) }
}

func (f *Freshness) accept(sent moment) {
	r := &f.registration
	r.mutex.Lock()
	defer r.mutex.Unlock()
	earlier := r.renewed.Load()
	if earlier != nil && f.pulse.beat().since(*earlier) > f.bound.MaxStaleness && !f.bound.Serve {
		// The operator may have counted this verifier as gone. See Answers for the order.
		r.restart()
	}
	if earlier == nil || sent.since(*earlier) > 0 {
		r.renewed.Store(&sent)
		r.lastRenewed.Store(&sent)
	}
	select {
	case <-r.era.begun:
	default:
		close(r.era.begun)
	}
}

// Reset ends the registration: requests are no longer answered until an Attempt is accepted and a complete list follows it.
func (f *Freshness) Reset() {
	r := &f.registration
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.restart()
	r.renewed.Store(nil)
}

// restart begins another era. The caller holds the mutex.
func (r *registrationState) restart() {
	ended := r.era
	r.era = newEra(ended.number + 1)
	r.present.Store(r.era.number)
	close(ended.ended)
}

// await returns the present era once it has begun; nil if the context ends first.
func (r *registrationState) await(ctx context.Context) *era {
	for {
		r.mutex.Lock()
		e := r.era
		r.mutex.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-e.ended:
		case <-e.begun:
			return e
		}
	}
}

// notify notes that the answers changed.
func (r *registrationState) notify() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Changed returns a channel from which a value can be read after the answers changed, or a list is complete. Reported uses and bookmarks change
// no answer.
func (f *Freshness) Changed() <-chan struct{} { return f.registration.changed }

// age returns the time since the last successful renewal was sent; 0 where registration is off.
func (r *registrationState) age(now moment) time.Duration {
	if !r.required {
		return 0
	}
	renewed := r.renewed.Load()
	if renewed == nil {
		return forever
	}
	return now.since(*renewed)
}

// unproven stands in a registration for the version of a watch that was interrupted: a version that all records of the watch have reached.
// The verifier keeps the watch's scope, and confirms nothing. An API server that returns with a restored etcd counts from a lower version, so
// that the last one applied would confirm what comes later.
const unproven = "1"

// Observed returns up to which version each watch of records has been applied; empty until each is listed completely in the present era. It
// is called by the goroutine that registers.
func (f *Freshness) Observed() map[registration.Watch]string {
	if !f.Synced() {
		return nil
	}
	observed := map[registration.Watch]string{}
	for i := range f.watches {
		version := unproven
		if applied := f.watches[i].applied.Load(); applied != nil {
			version = *applied
		}
		observed[f.watches[i].watch] = version
	}
	return observed
}

// applied notes that the index holds all changes up to a version. It comes after the index, so that the version is never ahead of it.
func (f *Freshness) applied(i int, version string) { f.watches[i].applied.Store(&version) }

// interrupted notes that a watch broke.
func (f *Freshness) interrupted(i int) { f.watches[i].applied.Store(nil) }
