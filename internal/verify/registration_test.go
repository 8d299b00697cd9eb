// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/verify/feed"
	"dgbot.io/key-operator/internal/verify/usage"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// cluster is an API server with one record, which a test changes, and a verifier that registers with it.
type cluster struct {
	*Verifier
	t      *testing.T
	leases verifytest.Leases
	// rejectsLeases, losesLeases and holdsLists are faults.
	rejectsLeases, losesLeases, holdsLists atomic.Bool
	// asked has what the API server was asked for, in order.
	mutex   sync.Mutex
	asked   []string
	key     string
	listed  string
	changes chan string
}

func (c *cluster) ask(what string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.asked = append(c.asked, what)
}

func (c *cluster) lists() (n int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, what := range c.asked {
		if what == "list" {
			n++
		}
	}
	return n
}

// list sets the events of complete lists.
func (c *cluster) list(events ...string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.listed = strings.Join(events, "\n")
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case c.leases.IsTheirs(r):
		if strings.HasSuffix(r.URL.Path, "/leases") || r.Method == http.MethodPut {
			c.ask(r.Method)
		}
		c.leases.ServeHTTP(w, r)
	case strings.HasSuffix(r.URL.Path, "/secrets") && verifytest.IsList(r):
		verifytest.Accept(w, endOfSecrets())
	case strings.HasSuffix(r.URL.Path, "/secrets"):
		verifytest.Accept(w)
		verifytest.KeepOpen(r)
	case r.Method == http.MethodPatch:
		w.WriteHeader(http.StatusNotFound) // a use
	case verifytest.IsList(r):
		c.ask("list")
		for c.holdsLists.Load() && r.Context().Err() == nil {
			verifytest.Hold(r, time.Second)
		}
		c.mutex.Lock()
		listed := c.listed
		c.mutex.Unlock()
		verifytest.Accept(w, listed)
	default:
		verifytest.Accept(w)
		over := make(chan struct{})
		go func() { verifytest.KeepOpen(r); close(over) }()
		for {
			select {
			case <-over:
				return
			case event := <-c.changes:
				verifytest.Accept(w, event+"\n")
			}
		}
	}
}

// inCluster runs the feed and the registration of a verifier in a bubble.
func inCluster(t *testing.T, bound feed.Bound, test func(c *cluster), prepare ...func(c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		key := verifytest.Mint(t)
		c := &cluster{t: t, key: key.Reveal(), changes: make(chan string, 10)}
		c.list(verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(key), "5")), verifytest.End("6"))
		c.leases.Fault = func(*http.Request) verifytest.Fault {
			if c.rejectsLeases.Load() {
				return verifytest.Forbidden
			}
			if c.losesLeases.Load() {
				return verifytest.LostRequest
			}
			return verifytest.None
		}
		var err error
		c.Verifier, err = New(&rest.Config{Host: "http://api", Transport: verifytest.Transport{Handler: c.ServeHTTP}}, Options{
			Bound: bound, Register: true, Pod: "pod", Usage: usage.Options{Namespace: "dgbot-system", FlushInterval: time.Hour, Resolution: time.Hour},
		}, logr.Discard())
		if err != nil {
			t.Fatal(err)
		}
		for _, do := range prepare {
			do(c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = c.sources.first().Run(ctx) })
		test(c)
		cancel()
		running.Wait()
	})
}

// expect fails the test unless /readyz and /check answer with codes now.
func (c *cluster) expect(when string, readyz, check int) {
	c.t.Helper()
	synctest.Wait()
	ready, checked := ask(c.Verifier, http.MethodGet, "/readyz", "", ""), ask(c.Verifier, http.MethodGet, "/check", c.key, "")
	if ready.Code != readyz || checked.Code != check {
		c.t.Errorf("%s: /readyz %d %q, /check %d; want %d and %d", when, ready.Code, strings.TrimSpace(ready.Body.String()), checked.Code, readyz, check)
	}
}

var denyAfter2m = feed.Bound{MaxStaleness: 2 * time.Minute}

func TestVerifier_ListsAfterItIsRegistered(t *testing.T) {
	inCluster(t, denyAfter2m, func(c *cluster) {
		time.Sleep(time.Minute)
		c.expect("before it is registered", 503, 503)
		if c.lists() > 0 {
			t.Error("it lists before it is registered")
		}
		c.losesLeases.Store(false)
		time.Sleep(20 * time.Second)
		c.expect("after it is registered", 200, 200)
		c.mutex.Lock()
		order := strings.Join(c.asked, " ")
		c.mutex.Unlock()
		if !strings.HasPrefix(order, "POST list PUT") {
			t.Errorf("the API server was asked for %s", order)
		}
		writes := c.leases.Writes()
		if first, second := registration.Of(writes[0].Lease).Observed, registration.Of(writes[1].Lease).Observed; first != nil || second[registration.Watch{}] != "6" {
			t.Errorf("it states %v and then %v", first, second)
		}
	}, func(c *cluster) { c.losesLeases.Store(true) })
}

func TestVerifier_StatesWhatItHasApplied(t *testing.T) {
	inCluster(t, denyAfter2m, func(c *cluster) {
		time.Sleep(7 * time.Second)
		key := verifytest.Mint(t)
		record := verifytest.Record(key, verifytest.Created(time.Hour, "8e8f1a0e-2610-41ab-a832-a339b9abcf1d"))
		for _, step := range []struct {
			event   string
			renewed bool
		}{
			{verifytest.Event("ADDED", verifytest.Typed(record, "7")), true},
			{verifytest.Event("BOOKMARK", verifytest.Typed(&v1alpha1.DGbotAPIKeyRecord{}, "8")), false},
			{verifytest.Event("MODIFIED", verifytest.Typed(used(record), "9")), false},
			{verifytest.Event("MODIFIED", verifytest.Typed(revoked(used(record)), "10")), true},
			{verifytest.Event("DELETED", verifytest.Typed(revoked(record), "11")), true},
			{verifytest.Event("DELETED", verifytest.Typed(revoked(record), "12")), false},
		} {
			time.Sleep(renewed(c) + 2*time.Second) // past a regular renewal
			before := len(c.leases.Writes())
			c.changes <- step.event
			time.Sleep(50 * time.Millisecond)
			if got := len(c.leases.Writes()) > before; got != step.renewed {
				t.Errorf("%s: renewed at once: %t", step.event, got)
			}
		}
		time.Sleep(5 * time.Second)
		if got := registration.Of(c.leases.Last()).Observed[registration.Watch{}]; got != "12" {
			t.Errorf("it states %q", got)
		}
	})
}

// TestVerifier_RenewsAboutOnceASecondForChanges: the second of two changes is stated at once as well, and a flood of changes once a second.
func TestVerifier_RenewsAboutOnceASecondForChanges(t *testing.T) {
	inCluster(t, denyAfter2m, func(c *cluster) {
		time.Sleep(7 * time.Second)
		time.Sleep(renewed(c) + 2*time.Second)
		version := 100
		change := func() {
			version++
			record := verifytest.Record(verifytest.Mint(t), verifytest.Created(time.Hour, "8e8f1a0e-2610-41ab-a832-a339b9abcf1d"))
			c.changes <- verifytest.Event("ADDED", verifytest.Typed(record, strconv.Itoa(version)))
		}
		for i := range 2 {
			before := len(c.leases.Writes())
			change()
			time.Sleep(50 * time.Millisecond)
			if got := len(c.leases.Writes()) - before; got != 1 {
				t.Errorf("%d renewals for change %d", got, i)
			}
		}
		before := len(c.leases.Writes())
		for range 100 {
			change()
			time.Sleep(100 * time.Millisecond)
		}
		if got := len(c.leases.Writes()) - before; got < 9 || got > 11 {
			t.Errorf("%d renewals in 10 seconds of changes", got)
		}
	})
}

// renewed returns the time until the next regular renewal.
func renewed(c *cluster) time.Duration {
	writes := c.leases.Writes()
	return time.Until(writes[len(writes)-1].At.Add(5 * time.Second))
}

func used(record *v1alpha1.DGbotAPIKeyRecord) *v1alpha1.DGbotAPIKeyRecord {
	record = record.DeepCopy()
	at := verifytest.Typed(record, "").CreationTimestamp
	record.Status.FirstUsedAt, record.Status.LastUsedAt = &at, &at
	return record
}

func revoked(record *v1alpha1.DGbotAPIKeyRecord) *v1alpha1.DGbotAPIKeyRecord {
	record = record.DeepCopy()
	record.Spec.State = v1alpha1.StateRevoked
	return record
}

// TestVerifier_IsStaleWithoutRegistration, although its watch is fresh, and lists completely before it answers again.
func TestVerifier_IsStaleWithoutRegistration(t *testing.T) {
	inCluster(t, denyAfter2m, func(c *cluster) {
		time.Sleep(time.Minute)
		c.expect("while it is registered", 200, 200)
		if c.lists() != 1 {
			t.Fatalf("%d lists", c.lists())
		}
		c.rejectsLeases.Store(true)
		sent := c.leases.Last().Spec.RenewTime.Time
		for _, step := range []struct {
			seconds, readyz, check int
		}{{29, 200, 200}, {31, 503, 200}, {119, 503, 200}, {121, 503, 503}, {600, 503, 503}} {
			after := time.Duration(step.seconds) * time.Second
			time.Sleep(time.Until(sent.Add(after)))
			c.expect(after.String()+" after the last renewal", step.readyz, step.check)
		}
		c.holdsLists.Store(true)
		c.rejectsLeases.Store(false)
		time.Sleep(6 * time.Second)
		c.expect("registered again, before the list is complete", 503, 503)
		c.holdsLists.Store(false)
		time.Sleep(time.Second)
		c.expect("after the list", 200, 200)
		if c.lists() != 2 {
			t.Errorf("%d lists", c.lists())
		}
	})
}

func TestVerifier_ServesWithoutRegistrationIfAsked(t *testing.T) {
	inCluster(t, feed.Bound{MaxStaleness: 2 * time.Minute, Serve: true}, func(c *cluster) {
		time.Sleep(time.Minute)
		c.rejectsLeases.Store(true)
		time.Sleep(time.Hour)
		c.expect("an hour after the last renewal", 503, 200)
		c.rejectsLeases.Store(false)
		time.Sleep(6 * time.Second)
		c.expect("after a renewal", 200, 200)
		if c.lists() != 1 {
			t.Errorf("%d lists", c.lists())
		}
	})
}

// TestVerifier_AnswersNothingBetweenTwoRegistrations: the API server returns with another history, in which the record is revoked.
func TestVerifier_AnswersNothingBetweenTwoRegistrations(t *testing.T) {
	for _, serve := range []bool{false, true} {
		inCluster(t, feed.Bound{MaxStaleness: 2 * time.Minute, Serve: serve}, func(c *cluster) {
			time.Sleep(time.Minute)
			c.expect("before", 200, 200)
			c.holdsLists.Store(true)
			c.list(verifytest.End("6"))
			first := c.leases.Last().Name
			c.leases.Alter(first, nil)
			time.Sleep(6 * time.Second)
			c.expect("before the list is complete", 503, 503)
			if last := c.leases.Last(); last.Name == first || registration.Of(last).Observed != nil {
				t.Errorf("after %s it is registered as %s, which states %v", first, last.Name, last.Annotations)
			}
			c.holdsLists.Store(false)
			time.Sleep(time.Second)
			c.expect("after the list", 200, 401)
			if c.lists() != 2 {
				t.Errorf("%d lists", c.lists())
			}
		})
	}
}

// TestVerifier_ProvesNothingWhileItsWatchIsBroken: an API server that returns with a restored etcd counts from a lower version.
func TestVerifier_ProvesNothingWhileItsWatchIsBroken(t *testing.T) {
	inCluster(t, denyAfter2m, func(c *cluster) {
		time.Sleep(time.Minute)
		c.holdsLists.Store(true)
		c.changes <- verifytest.Event("ERROR", verifytest.Failure(500, "InternalError"))
		time.Sleep(6 * time.Second)
		stated := registration.Of(c.leases.Last())
		if !stated.InScope("support", "staging") || registration.Reaches(stated.ObservedOf("support", "staging"), "2") {
			t.Errorf("it states %v", stated.Observed)
		}
		c.holdsLists.Store(false)
		time.Sleep(6 * time.Second)
		if got := registration.Of(c.leases.Last()).Observed[registration.Watch{}]; got != "6" {
			t.Errorf("after the list it states %q", got)
		}
	})
}
