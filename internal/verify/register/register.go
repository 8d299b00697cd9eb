// SPDX-License-Identifier: Apache-2.0

// Package register keeps the registration of a verifier process: a Lease of its own that says up to which version of the records the process
// answers. By these Leases the operator knows when the last verifier rejects a withdrawn key.
package register

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/internal/registration"
)

const (
	// renewalInterval is the largest time between two renewals; a quarter of --max-staleness is another.
	renewalInterval = 5 * time.Second
	// changeInterval is the time between two renewals because of changes. One may come early: what withdraws a key often issues another one
	// first, and the renewal for that must not hold up the one that confirms the withdrawal.
	changeInterval = time.Second
	// gatherSpan is how long a renewal waits for further changes after the first: the operator withdraws the revisions of a key one after
	// the other.
	gatherSpan = 15 * time.Millisecond
	// writeTimeout is the largest time that a request may take.
	writeTimeout = 2 * time.Second
	// rejectionGrace is for how long rejections of the first registration are retried: the API server applies roles a moment after they were
	// created, and a new namespace admits Leases a moment later.
	rejectionGrace = 5 * time.Second
	// longestDelay is the largest delay before the next attempt to register.
	longestDelay = 15 * time.Second
	// stable is how long a registration must last so that the next one follows without a delay.
	stable = time.Minute
)

// Options configure a Registrar.
type Options struct {
	// Pod is the name of the pod, or else of the host.
	Pod string
	// Namespace is the namespace of the Lease.
	Namespace string
	// MaxStaleness and Serve are the bound within which the verifier answers, which the registration states.
	MaxStaleness time.Duration
	Serve        bool
	// RetryRejections makes Run try again after every rejection. By default it returns the rejection of the first registration.
	RetryRejections bool
}

// Records are the records from which the verifier answers.
type Records interface {
	// Observed returns up to which version each watch has been applied; empty before all are listed completely in the present registration.
	Observed() map[registration.Watch]string
	// Changed returns a channel from which a value can be read after the answers changed.
	Changed() <-chan struct{}
	// Attempt notes that a write of the registration is about to be sent. accepted is called once the API server has accepted it.
	Attempt() (accepted func())
	// Reset ends the registration: no request is answered until an Attempt is accepted and a complete list follows it.
	Reset()
}

// Registrar keeps the registration of this process.
type Registrar struct {
	leases   coordinationclient.LeaseInterface
	reviews  authenticationclient.SelfSubjectReviewInterface
	options  Options
	records  Records
	failures prometheus.Counter
	log      logr.Logger
	now      func() time.Time

	// user is the user name of this process, as the API server knows it.
	user string
	own  ownLease
}

// New returns a Registrar that registers with the API server of a configuration.
func New(config *rest.Config, options Options, records Records, registry prometheus.Registerer, log logr.Logger) (*Registrar, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // a renewal after a change must not wait
	leases, err := coordinationclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	reviews, err := authenticationclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	r := &Registrar{
		leases: leases.Leases(options.Namespace), reviews: reviews.SelfSubjectReviews(), options: options, records: records, log: log, now: clock.RealClock{}.Now,
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dgbot_verifier_registration_failures_total", Help: "Failed writes of the registration of this verifier; each is tried again.",
		}),
	}
	registry.MustRegister(r.failures)
	return r, nil
}

// Run registers and renews the registration until the context ends. The caller ends the context after the verifier has given its last answer:
// then Run writes that the verifier is stopped, and returns. It returns an error if the API server rejects the first registration, unless
// rejections are retried.
func (r *Registrar) Run(ctx context.Context) error {
	if err := r.registerFirst(ctx); err != nil {
		return err
	}
	for restarts := 0; ctx.Err() == nil; restarts++ {
		began := r.now()
		cause := r.renewUntil(ctx)
		if cause == nil {
			break
		}
		r.records.Reset()
		r.log.Error(cause, "The registration is replaced: requests are denied until the records are listed completely", "lease", r.own.name)
		if r.now().Sub(began) > stable {
			restarts = 0
		}
		earlier := r.own
		r.registerAgain(ctx, restarts)
		r.retire(earlier) // at the end of the process as well
	}
	r.stop()
	return nil
}

// registerFirst registers for the first time. It waits for an API server that does not answer, and returns the error of one that rejects the
// registration.
func (r *Registrar) registerFirst(ctx context.Context) error {
	var rejected time.Time
	r.own.rename(r.options.Pod)
	for failures := 0; ctx.Err() == nil; failures++ {
		err := r.register(ctx)
		if err == nil {
			return nil
		}
		switch now := r.now(); {
		case !isRejection(err):
			rejected = time.Time{}
		case rejected.IsZero():
			rejected = now
		case now.Sub(rejected) < rejectionGrace:
		case !r.options.RetryRejections:
			return advise(err, r.options.Namespace)
		default:
			err = advise(err, r.options.Namespace)
		}
		r.backOff(ctx, err, delay(failures))
	}
	return nil
}

// registerAgain registers under another name. It retries until it is registered, or the context ends.
func (r *Registrar) registerAgain(ctx context.Context, failures int) {
	r.own.rename(r.options.Pod)
	if failures > 0 {
		pause(ctx, delay(failures-1))
	}
	for ; ctx.Err() == nil; failures++ {
		err := r.register(ctx)
		if err == nil {
			return
		}
		if isRejection(err) {
			err = advise(err, r.options.Namespace)
		}
		r.backOff(ctx, err, delay(failures))
	}
}

// backOff notes a failed registration, and waits.
func (r *Registrar) backOff(ctx context.Context, err error, delay time.Duration) {
	if ctx.Err() != nil {
		return
	}
	r.failures.Inc()
	r.log.Info("Registering this verifier failed and is tried again", "in", delay.Round(time.Millisecond).String(), "error", err.Error())
	pause(ctx, delay)
}

// delay returns the delay before the next attempt after a number of failures. It is random, as verifiers start at the same time.
func delay(failures int) time.Duration {
	most := min(time.Second<<min(failures, 5), longestDelay)
	return most/2 + rand.N(most/2) //nolint:gosec // spreads load
}

// renewUntil renews the registration in intervals, and soon after the answers changed. It returns nil after the context ended, and an error if
// the registration is no longer the one that this process wrote.
func (r *Registrar) renewUntil(ctx context.Context) error {
	interval := min(renewalInterval, r.options.MaxStaleness/4)
	// spent is the time until which the renewals because of changes use up one for each changeInterval.
	due, spent := r.now().Add(interval), time.Time{}
	for {
		changed, ok := r.awaitDue(ctx, due, spent)
		if !ok {
			return nil
		}
		began := r.now()
		if changed {
			spent = later(spent, began).Add(changeInterval)
		}
		err := r.update(ctx, false)
		due = began.Add(interval)
		switch {
		case err == nil:
		case errors.Is(err, errReplaced):
			return err
		default:
			r.failures.Inc()
			r.log.Info("Renewing the registration failed and is tried again", "lease", r.own.name, "error", err.Error())
			if changed {
				due = began.Add(changeInterval) // what it would have confirmed is still to confirm
			}
		}
	}
}

// awaitDue returns when the next renewal should be sent: at the time due, or after the answers changed, which it reports. ok is false if the context
// has ended.
func (r *Registrar) awaitDue(ctx context.Context, due, spent time.Time) (changed, ok bool) {
	timer := time.NewTimer(due.Sub(r.now()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, false
	case <-timer.C:
		select {
		case <-r.records.Changed(): // the renewal states it
			return true, true
		default:
			return false, true
		}
	case <-r.records.Changed():
	}
	pause(ctx, max(gatherSpan, spent.Add(-changeInterval).Sub(r.now())))
	select {
	case <-r.records.Changed(): // those that were gathered
	default:
	}
	return true, ctx.Err() == nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func pause(ctx context.Context, span time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}
