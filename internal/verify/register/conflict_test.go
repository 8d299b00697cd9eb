// SPDX-License-Identifier: Apache-2.0

package register

import (
	"net/http"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestRegistrar_RegistersAnewIfItsLeaseIsNotItsOwn, under another name, and takes nothing over.
func TestRegistrar_RegistersAnewIfItsLeaseIsNotItsOwn(t *testing.T) {
	for name, alter := range map[string]func(*coordinationv1.Lease){
		"deleted":                 nil,
		"written by another":      func(l *coordinationv1.Lease) { l.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()} },
		"stopped by a person":     func(l *coordinationv1.Lease) { l.Annotations["keys.dgbot.io/stopped"] = "2026-11-30T12:00:00Z" },
		"written without changes": func(*coordinationv1.Lease) {},
	} {
		register(t, options, func(t *testing.T, s *scene) {
			s.records.change("48213")
			time.Sleep(time.Minute)
			first := s.Last()
			s.Alter(first.Name, alter)
			before := len(s.Writes())
			time.Sleep(renewalInterval)
			if s.records.resets.Load() != 1 {
				t.Fatalf("%s: %d resets", name, s.records.resets.Load())
			}
			second := s.Writes()[before].Lease
			if second.Name == first.Name || *second.Spec.HolderIdentity != second.Name || registration.Of(second).Observed != nil {
				t.Errorf("%s: after %s follows %s of %s, which states %v", name, first.Name, second.Name, *second.Spec.HolderIdentity, second.Annotations)
			}
			// Under the first name it answers no longer.
			if earlier := s.Stored(first.Name); earlier != nil && !registration.Of(earlier).Stopped {
				t.Errorf("%s: the first Lease is not stopped", name)
			}
			time.Sleep(time.Hour)
			if s.Last().Name != second.Name || s.records.resets.Load() != 1 {
				t.Errorf("%s: an hour later the Lease is %s, after %d resets", name, s.Last().Name, s.records.resets.Load())
			}
		})
	}
}

// TestRegistrar_RegistersAnewInAnotherHistory: the backup has its last write, but not what it has observed since.
func TestRegistrar_RegistersAnewInAnotherHistory(t *testing.T) {
	for name, tc := range map[string]struct {
		observed []string
		restored int
		resets   int32
	}{
		"one history":                    {[]string{"1500", "6700"}, 6800, 0},
		"another history":                {[]string{"1500", "6700"}, 6610, 1},
		"Leases in an etcd of their own": {[]string{"90000", "90001"}, 6610, 0},
		"a broken watch":                 {[]string{"1", "6700"}, 6610, 0}, // nothing shows that the versions can be compared
	} {
		register(t, options, func(t *testing.T, s *scene) {
			time.Sleep(time.Millisecond)
			s.Count(2000)
			s.records.change(tc.observed[0])
			time.Sleep(time.Minute)
			s.Count(6600)
			time.Sleep(renewalInterval)
			s.Count(tc.restored)
			s.records.change(tc.observed[1])
			time.Sleep(time.Second)
			if n := s.records.resets.Load(); n != tc.resets {
				t.Errorf("%s: %d resets, want %d", name, n, tc.resets)
			}
		})
	}
}

// TestRegistrar_KnowsItsOwnWriteAgain after its answer was lost: the next write conflicts with it.
func TestRegistrar_KnowsItsOwnWriteAgain(t *testing.T) {
	for name, lost := range map[string]time.Duration{"one": renewalInterval, "several": time.Minute, "many": 20 * time.Minute} {
		register(t, options, func(t *testing.T, s *scene) {
			s.records.change("48213")
			time.Sleep(time.Minute)
			lease, accepted, writes := s.Last().Name, s.records.accepted.Load(), len(s.Writes())
			s.fail(http.MethodPut, verifytest.LostAnswer)
			time.Sleep(lost)
			if n := len(s.Writes()); n != writes+1 {
				t.Errorf("%s: %d writes are stored while answers are lost", name, n-writes)
			}
			s.fail("", verifytest.None)
			time.Sleep(2 * renewalInterval)
			if lost > maxUnanswered*renewalInterval {
				if s.Last().Name == lease || s.records.resets.Load() != 1 {
					t.Errorf("%s: the Lease is %s after %s", name, s.Last().Name, lease)
				}
				return
			}
			if s.Last().Name != lease || s.records.resets.Load() != 0 || s.records.accepted.Load() < accepted+2 {
				t.Errorf("%s: the Lease is %s after %s, %d resets", name, s.Last().Name, lease, s.records.resets.Load())
			}
		})
	}
}

// TestRegistrar_StatesThatItIsStoppedAfterALostAnswer: the last write conflicts with the lost one, and is sent again.
func TestRegistrar_StatesThatItIsStoppedAfterALostAnswer(t *testing.T) {
	register(t, options, func(t *testing.T, s *scene) {
		time.Sleep(time.Minute)
		s.fail(http.MethodPut, verifytest.LostAnswer)
		time.Sleep(renewalInterval + writeTimeout)
		s.fail("", verifytest.None)
		if err := s.stop(); err != nil || !registration.Of(s.Last()).Stopped {
			t.Errorf("%v, %v", err, s.Last().Annotations)
		}
	})
}

// TestRegistrar_DoesNotRegisterInALoop: each registration is followed by a complete list.
func TestRegistrar_DoesNotRegisterInALoop(t *testing.T) {
	register(t, options, func(t *testing.T, s *scene) {
		for range 600 {
			if last := s.Last().Name; last != "" {
				s.Alter(last, nil)
			}
			time.Sleep(time.Second)
		}
		if n := s.records.resets.Load(); n < 20 || n > 120 {
			t.Errorf("%d registrations in ten minutes", n)
		}
	})
}
