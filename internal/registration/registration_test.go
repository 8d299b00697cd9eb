// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"reflect"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

func TestRegistration_ReadsWhatItWrites(t *testing.T) {
	stopped := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for name, r := range map[string]Registration{
		"before the first list": {MaxStaleness: 2 * time.Minute, RegisteredBy: "system:serviceaccount:dgbot-system:dgbot-verifier"},
		"one watch":             {MaxStaleness: 5 * time.Second, Serves: true, RegisteredBy: "user", Observed: map[Watch]string{{}: "48213"}},
		"several, stopped": {MaxStaleness: time.Minute, RegisteredBy: "user", Stopped: true, Observed: map[Watch]string{
			{"support", "production"}: "7", {"support", "staging"}: "9", {"sales", "production"}: "8",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			lease := &coordinationv1.Lease{}
			r.Annotate(lease, stopped)
			if got := Of(lease); !reflect.DeepEqual(got, r) {
				t.Errorf("read %+v, wrote %+v", got, r)
			}
			if !IsLease(lease) {
				t.Error("it is no registration")
			}
		})
	}
}

// TestOf_TakesWhatItCannotReadAsTheLeastFavorable: an annotation that is missing or altered must never make a verifier count as one that has
// followed, that is out of scope, or that will stop to answer.
func TestOf_TakesWhatItCannotReadAsTheLeastFavorable(t *testing.T) {
	for _, observed := range []string{"", "*/*", "*/*=", "*/*=x", "*=7", "/=7", "*/*=7,", "*/*=-7", "*/*=0x7", "*/*=07", "*/*=7;a/b=8"} {
		lease := &coordinationv1.Lease{}
		lease.Annotations = map[string]string{v1alpha1.ObservedVersionsAnnotation: observed}
		r := Of(lease)
		if !r.InScope("support", "production") || r.ObservedOf("support", "production") != "" || !r.Serves {
			t.Errorf("%q: %+v", observed, r)
		}
	}
	for _, staleness := range []string{"", "2", "-1s", "0s", "soon", "2562047h47m16.8s"} {
		lease := &coordinationv1.Lease{}
		lease.Annotations = map[string]string{v1alpha1.MaxStalenessAnnotation: staleness, v1alpha1.OnStaleAnnotation: "deny"}
		if !Of(lease).Serves {
			t.Errorf("max-staleness %q counts as a bound", staleness)
		}
	}
}

func TestObservedOf_IsTheLowestOfTheWatchesThatCover(t *testing.T) {
	r := Registration{Observed: map[Watch]string{{"", "production"}: "9", {"support", ""}: "10", {"sales", ""}: "3"}}
	for scope, want := range map[Watch]string{
		{"support", "production"}: "9", {"support", "staging"}: "10", {"other", "production"}: "9", {"other", "staging"}: "",
	} {
		if got := r.ObservedOf(scope.Namespace, scope.Environment); got != want || r.InScope(scope.Namespace, scope.Environment) != (want != "") {
			t.Errorf("%s: observed %q, want %q", scope, got, want)
		}
	}
}

func TestState_FollowsFromTheSilence(t *testing.T) {
	denies := Registration{MaxStaleness: 2 * time.Minute}
	serves := Registration{MaxStaleness: 2 * time.Minute, Serves: true}
	for name, tc := range map[string]struct {
		registration Registration
		silence      time.Duration
		want         State
	}{
		"its clock is ahead":                {denies, -time.Second, Current},
		"has just renewed":                  {denies, 0, Current},
		"lease lasts":                       {denies, LeaseDuration, Current},
		"lease has ended":                   {denies, LeaseDuration + 1, Silent},
		"may still answer":                  {denies, 2*time.Minute + GoneAfter, Silent},
		"denies by now":                     {denies, 2*time.Minute + GoneAfter + 1, Gone},
		"short max-staleness":               {Registration{MaxStaleness: time.Second}, time.Second + GoneAfter, Silent},
		"short max-staleness, denies":       {Registration{MaxStaleness: time.Second}, time.Second + GoneAfter + 1, Gone},
		"serves, has just renewed":          {serves, 0, Current},
		"serves for ever":                   {serves, 1000 * time.Hour, Silent},
		"stopped":                           {Registration{MaxStaleness: time.Minute, Stopped: true}, 0, Stopped},
		"stopped, silent":                   {Registration{MaxStaleness: time.Minute, Stopped: true}, time.Hour, Stopped},
		"stopped, served":                   {Registration{Serves: true, Stopped: true}, time.Hour, Stopped},
		"longest max-staleness that counts": {Registration{MaxStaleness: longestStaleness}, 1000 * time.Hour, Silent},
	} {
		if got := tc.registration.State(tc.silence); got != tc.want {
			t.Errorf("%s: %s after %s, want %s", name, got, tc.silence, tc.want)
		}
	}
	if longest, ends := denies.LongestSilence(); longest != 150*time.Second || !ends {
		t.Errorf("one that denies counts as gone after %s, %t", longest, ends)
	}
	if _, ends := serves.LongestSilence(); ends {
		t.Error("one that serves counts as gone")
	}
}

func TestReaches_ComparesNumbers(t *testing.T) {
	for _, c := range []struct {
		version, wanted string
		want            bool
	}{{"10", "9", true}, {"9", "10", false}, {"9", "9", true}, {"", "9", false}, {"9", "", false}, {"x", "9", false}} {
		if got := Reaches(c.version, c.wanted); got != c.want {
			t.Errorf("%q reaches %q: %t", c.version, c.wanted, got)
		}
	}
}
