// SPDX-License-Identifier: Apache-2.0

package register

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// records are the records of a verifier, of which a test sets the version.
type records struct {
	version  atomic.Pointer[string]
	changed  chan struct{}
	accepted atomic.Int32
	resets   atomic.Int32
}

func (r *records) Observed() map[registration.Watch]string {
	if version := r.version.Load(); version != nil {
		return map[registration.Watch]string{{}: *version}
	}
	return nil
}

func (r *records) Changed() <-chan struct{} { return r.changed }

func (r *records) Attempt() func() { return func() { r.accepted.Add(1) } }

func (r *records) Reset() {
	r.resets.Add(1)
	r.version.Store(nil)
}

// change sets the version after a change of the answers.
func (r *records) change(version string) {
	r.version.Store(&version)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// scene is a Registrar with its API server.
type scene struct {
	*verifytest.Leases
	records *records
	// fault is that of the next requests with a method; of all if it is empty.
	fault  atomic.Int32
	method atomic.Value
	stop   func() error
}

func (s *scene) fail(method string, fault verifytest.Fault) {
	s.method.Store(method)
	s.fault.Store(int32(fault))
}

var options = Options{Pod: "dgbot-verifier-7d4f-x2x9p", Namespace: "dgbot-system", MaxStaleness: 2 * time.Minute}

// register runs a Registrar in a bubble. away makes requests fail without reaching the API server.
func register(t *testing.T, options Options, test func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{Leases: &verifytest.Leases{}, records: &records{changed: make(chan struct{}, 1)}}
		s.method.Store("")
		s.Count(1000)
		s.Fault = func(r *http.Request) verifytest.Fault {
			if method := s.method.Load(); method == "" || method == r.Method {
				return verifytest.Fault(s.fault.Load())
			}
			return verifytest.None
		}
		config := &rest.Config{Host: "http://api", Transport: verifytest.Transport{Handler: s.ServeHTTP}}
		r, err := New(config, options, s.records, prometheus.NewRegistry(), testr.New(t))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		var once sync.Once
		go func() {
			time.Sleep(time.Nanosecond) // the test arranges faults first: time passes once it waits
			err = r.Run(ctx)
			close(ended)
		}()
		s.stop = func() error {
			once.Do(func() { cancel(); <-ended })
			return err
		}
		test(t, s)
		_ = s.stop()
	})
}

func TestRegistrar_StatesWhatTheContractSays(t *testing.T) {
	register(t, options, func(t *testing.T, s *scene) {
		time.Sleep(time.Millisecond)
		lease := s.Last()
		if lease.Name == "" {
			t.Fatal("it is not registered")
		}
		if !strings.HasPrefix(lease.Name, "dgbot-verifier-dgbot-verifier-7d4f-x2x9p-") || lease.Labels[v1alpha1.VerifierLabel] != "true" {
			t.Errorf("the Lease is %s with labels %v", lease.Name, lease.Labels)
		}
		if _, found := lease.Annotations[v1alpha1.ObservedVersionsAnnotation]; found || *lease.Spec.HolderIdentity != lease.Name || *lease.Spec.LeaseDurationSeconds != 15 {
			t.Errorf("before the first list: %v, %+v", lease.Annotations, lease.Spec)
		}
		s.records.change("48213")
		time.Sleep(50 * time.Millisecond)
		want := map[string]string{
			v1alpha1.ObservedVersionsAnnotation: "*/*=48213", v1alpha1.MaxStalenessAnnotation: "2m0s", v1alpha1.OnStaleAnnotation: "deny",
			v1alpha1.RegisteredByAnnotation: verifytest.User,
		}
		for name, value := range want {
			if got := s.Last().Annotations[name]; got != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		if age := time.Since(s.Last().Spec.RenewTime.Time); age > 50*time.Millisecond {
			t.Errorf("the renewTime is %s ago", age)
		}
	})
}

func TestRegistrar_RenewsInIntervals(t *testing.T) {
	for bound, interval := range map[time.Duration]time.Duration{2 * time.Minute: 5 * time.Second, 5 * time.Second: 1250 * time.Millisecond} {
		changed := options
		changed.MaxStaleness = bound
		register(t, changed, func(t *testing.T, s *scene) {
			time.Sleep(10*interval + time.Millisecond)
			writes := s.Writes()
			if len(writes) != 11 || int(s.records.accepted.Load()) != 11 {
				t.Fatalf("--max-staleness=%s: %d writes and %d accepted in ten intervals", bound, len(writes), s.records.accepted.Load())
			}
			for i := range writes[1:] {
				if passed := writes[i+1].At.Sub(writes[i].At); passed != interval || writes[i].Lease.Name != writes[0].Lease.Name {
					t.Errorf("--max-staleness=%s: a renewal of %s after %s", bound, writes[i].Lease.Name, passed)
				}
			}
		})
	}
}

// TestRegistrar_RenewsSoonAfterAChange: at once, and then no more often than once in a second.
func TestRegistrar_RenewsSoonAfterAChange(t *testing.T) {
	register(t, options, func(t *testing.T, s *scene) {
		time.Sleep(7 * time.Second) // between two intervals
		before := len(s.Writes())
		for _, version := range []string{"1001", "1002", "1003"} { // the revisions of one key
			s.records.change(version)
			time.Sleep(3 * time.Millisecond)
		}
		time.Sleep(40 * time.Millisecond)
		if got := registration.Of(s.Last()).Observed[registration.Watch{}]; got != "1003" || len(s.Writes()) != before+1 {
			t.Errorf("50 ms after the change it observed %q, in %d renewals", got, len(s.Writes())-before)
		}
		began := time.Now()
		for i := range 1000 {
			s.records.change(string(rune('1'+i%9)) + "00")
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(s.Writes()) - before - 1; n < 9 || n > 11 {
			t.Errorf("%d renewals in %s of changes", n, time.Since(began))
		}
	})
}

func TestRegistrar_SaysWhatToGrantIfItIsRejected(t *testing.T) {
	for _, method := range []string{"", http.MethodPut} {
		register(t, options, func(t *testing.T, s *scene) {
			s.fail(method, verifytest.Forbidden)
			time.Sleep(time.Minute)
			err := s.stop()
			if method != "" { // a rejected renewal does not end the process
				if err != nil || s.records.resets.Load() != 0 {
					t.Errorf("a rejected renewal: %v, %d resets", err, s.records.resets.Load())
				}
				return
			}
			for _, want := range []string{"create, get and update on leases", "dgbot-system", "report on dgbotapikeyrecords", "--register=false"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func TestRegistrar_WaitsForAnAPIServerThatDoesNotAnswer(t *testing.T) {
	for _, fault := range []verifytest.Fault{verifytest.LostRequest, verifytest.LostAnswer, verifytest.Busy} {
		register(t, options, func(t *testing.T, s *scene) {
			s.fail("", fault)
			time.Sleep(10 * time.Minute)
			if s.records.accepted.Load() != 0 {
				t.Error("it is registered")
			}
			s.fail("", verifytest.None)
			time.Sleep(longestDelay + time.Second)
			names := map[string]bool{}
			for _, write := range s.Writes() {
				names[write.Lease.Name] = true
			}
			if s.records.accepted.Load() == 0 || len(names) != 1 {
				t.Errorf("fault %d: after it is back, %d writes are accepted, of the Leases %v", fault, s.records.accepted.Load(), names)
			}
		})
	}
}

func TestRegistrar_WritesThatItIsStoppedAsTheLast(t *testing.T) {
	register(t, options, func(t *testing.T, s *scene) {
		s.records.change("9")
		time.Sleep(time.Hour)
		for _, write := range s.Writes() {
			if registration.Of(write.Lease).Stopped {
				t.Fatal("it is stopped while it runs")
			}
		}
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		if last := registration.Of(s.Last()); !last.Stopped || last.Observed[registration.Watch{}] != "9" {
			t.Errorf("at the end: %+v", last)
		}
	})
}

// TestRegistrar_EndsWithoutAnAPIServer: the verifier does not wait for a write that is not answered.
func TestRegistrar_EndsWithoutAnAPIServer(t *testing.T) {
	register(t, options, func(t *testing.T, s *scene) {
		time.Sleep(time.Minute)
		s.fail("", verifytest.LostRequest)
		began := time.Now()
		if err := s.stop(); err != nil || time.Since(began) > 2*writeTimeout {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
