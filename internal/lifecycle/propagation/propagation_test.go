// SPDX-License-Identifier: Apache-2.0

package propagation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func withdrawn(version string, at time.Time) *revisions.Revision {
	return &revisions.Revision{Number: 1, Version: version, State: v1alpha1.StateRevoked, WithdrawnAt: at, IssuedAt: metav1.Time{Time: at.Add(-time.Hour)}}
}

func at(offset time.Duration) time.Time { return now.Add(offset) }

func follows(name, version string, seen time.Time) Verifier {
	return Verifier{Name: name, Reports: []Report{{Version: version, Renewed: seen, SeenAt: seen}}}
}

func settled(t *testing.T, was *v1alpha1.Propagation, w Withdrawals, when time.Time) *v1alpha1.Propagation {
	t.Helper()
	next := Next(was, &w, when)
	if again := Next(next, &w, when); fmt.Sprint(again) != fmt.Sprint(next) {
		t.Errorf("from the same observation it becomes\n%+v, and then\n%+v", next, again)
	}
	return next
}

func TestNext_IsConfirmedOnceAllVerifiersReject(t *testing.T) {
	late := at(80 * time.Millisecond)
	for name, c := range map[string]struct {
		verifiers []Verifier
		confirmed time.Duration // of the answer; negative for never
		present   int32
		pending   string
	}{
		"none is registered":                 {nil, -1, 0, ""},
		"one has followed":                   {[]Verifier{follows("a", "7", at(30*time.Millisecond))}, 30 * time.Millisecond, 1, ""},
		"one had followed before the answer": {[]Verifier{follows("a", "9", at(-time.Second))}, 0, 1, ""},
		"the last one counts":                {[]Verifier{follows("a", "7", at(30*time.Millisecond)), follows("b", "8", at(60*time.Millisecond))}, 60 * time.Millisecond, 2, ""},
		"one is behind":                      {[]Verifier{follows("a", "7", late), follows("b", "6", late)}, -1, 2, "b"},
		"one says nothing":                   {[]Verifier{follows("a", "7", late), follows("b", "", late)}, -1, 2, "b"},
		"one has no report":                  {[]Verifier{follows("a", "7", late), {Name: "b"}}, -1, 2, "b"},
		"one has stopped":                    {[]Verifier{follows("a", "7", late), {Name: "b", Presence: Stopped, PresenceFrom: at(90 * time.Millisecond)}}, 90 * time.Millisecond, 1, ""},
		"one is gone":                        {[]Verifier{follows("a", "7", late), {Name: "b", Presence: Gone, PresenceFrom: at(95 * time.Millisecond)}}, 95 * time.Millisecond, 1, ""},
		"all are gone":                       {[]Verifier{{Name: "b", Presence: Gone, PresenceFrom: late}}, -1, 0, ""},
		"the first report that has it counts": {[]Verifier{{Name: "a", Reports: []Report{
			{Version: "6", SeenAt: at(10 * time.Millisecond)}, {Version: "7", SeenAt: at(20 * time.Millisecond)}, {Version: "9", SeenAt: late},
		}}}, 20 * time.Millisecond, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := Withdrawals{Generation: 3, Revisions: []*revisions.Revision{withdrawn("7", at(-time.Millisecond))}, AnsweredAt: now, View: View{Verifiers: c.verifiers}}
			got := settled(t, nil, w, at(100*time.Millisecond))
			if got.Version != "7" || !got.WrittenAt.Time.Equal(now) || got.Verifiers != c.present || strings.Join(got.Pending, ",") != c.pending || got.Generation != 3 {
				t.Errorf("got %+v", got)
			}
			if (got.ConfirmedAt != nil) != (c.confirmed >= 0) || got.ConfirmedAt != nil && got.ConfirmedAt.Sub(now) != c.confirmed {
				t.Errorf("confirmed at %v, want after %s", got.ConfirmedAt, c.confirmed)
			}
			if reason, message := Condition(got, &w.View); (reason == "") != (got.ConfirmedAt != nil) || (message == "") != (reason == "") {
				t.Errorf("the condition is %q: %q", reason, message)
			}
		})
	}
}

// TestNext_AnEndWaitsForTheClocksOfVerifiers: a verifier compares notAfter with its own clock, so that having the record proves nothing before
// the end by that clock.
func TestNext_AnEndWaitsForTheClocksOfVerifiers(t *testing.T) {
	ended := withdrawn("7", at(-time.Millisecond))
	ended.State, ended.NotAfter = v1alpha1.StateActive, &metav1.Time{Time: now}
	behind := Verifier{Name: "a", Reports: []Report{{Version: "7", Renewed: at(-3 * time.Minute), SeenAt: at(time.Second)}}}
	w := Withdrawals{Revisions: []*revisions.Revision{ended}, AnsweredAt: now, View: View{Verifiers: []Verifier{behind}}}
	pending := settled(t, nil, w, at(2*time.Second))
	if pending.ConfirmedAt != nil || AwaitedBy(pending, w.Revisions).End != now {
		t.Fatalf("confirmed by a verifier whose clock is three minutes behind: %+v", pending)
	}
	behind.Reports = append(behind.Reports, Report{Version: "7", Renewed: now, SeenAt: at(3 * time.Minute)})
	w.View.Verifiers[0] = behind
	if got := settled(t, pending, w, at(4*time.Minute)); got.ConfirmedAt == nil || !got.ConfirmedAt.Time.Equal(at(3*time.Minute)) {
		t.Errorf("its clock has reached the end, and it is %+v", got)
	}
	ended.State = v1alpha1.StateRevoked
	if end := AwaitedBy(pending, w.Revisions).End; !end.IsZero() {
		t.Errorf("a revoked revision waits for the end at %s", end)
	}
}

// TestNext_FindsTheWithdrawalOfACrash: the record says that it was withdrawn, and no status does.
func TestNext_FindsTheWithdrawalOfACrash(t *testing.T) {
	w := Withdrawals{Generation: 2, Revisions: []*revisions.Revision{withdrawn("7", at(-time.Minute)), withdrawn("5", at(-time.Hour))}}
	was := &v1alpha1.Propagation{Generation: 1, Version: "5", WrittenAt: micro(at(-time.Hour)), ConfirmedAt: new(micro(at(-59 * time.Minute))), Verifiers: 1}
	got := settled(t, was, w, now)
	if got.Version != "7" || got.Generation != 2 || !got.WrittenAt.Time.Equal(now) || got.ConfirmedAt != nil {
		t.Errorf("got %+v", got)
	}
	// A later version of a record that the status covers, such as one with another use, is none.
	w.Revisions[0].Version = "12"
	if again := settled(t, got, w, at(time.Minute)); again.Version != "7" {
		t.Errorf("without a withdrawal the version became %s", again.Version)
	}
}

// TestNext_NeverLowersAVersion, nor changes a confirmation.
func TestNext_NeverLowersAVersion(t *testing.T) {
	was := &v1alpha1.Propagation{Version: "100", WrittenAt: micro(at(-time.Hour)), Verifiers: 1}
	got := settled(t, was, Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", at(-time.Minute))}}, now)
	if got.Version != "100" {
		t.Errorf("the version became %s", got.Version)
	}
	was.ConfirmedAt = new(micro(at(-30 * time.Minute)))
	kept := settled(t, was, Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", at(-2*time.Hour))}, View: View{Verifiers: []Verifier{follows("a", "6", now)}}}, now)
	if !kept.ConfirmedAt.Equal(was.ConfirmedAt) || kept.Version != "100" {
		t.Errorf("a confirmed withdrawal became %+v", kept)
	}
}

// TestNext_AClockThatRunsAheadEnds: another instance dated the withdrawal in the future. It counts once.
func TestNext_AClockThatRunsAheadEnds(t *testing.T) {
	w := Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", at(10*time.Minute))}}
	got := settled(t, nil, w, now)
	if IsUncovered(got, w.Revisions[0].WithdrawnAt) {
		t.Errorf("written at %s does not cover %s", got.WrittenAt, w.Revisions[0].WithdrawnAt)
	}
	if next := At(got, now); !IsUncovered(got, next) {
		t.Errorf("a withdrawal dated %s is hidden by one that was written at %s", next, got.WrittenAt)
	}
}

// TestNext_AfterAStartNothingIsConfirmedByAbsence, and what is confirmed later counts from when it could be.
func TestNext_AfterAStartNothingIsConfirmedByAbsence(t *testing.T) {
	w := Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", now)}, AnsweredAt: now, View: View{CompleteFrom: at(7 * time.Second), Verifiers: []Verifier{follows("a", "7", at(time.Second))}}}
	early := settled(t, nil, w, at(2*time.Second))
	if reason, message := Condition(early, &w.View); early.ConfirmedAt != nil || early.Verifiers != 1 || reason != v1alpha1.VerifiersBehindReason || !strings.Contains(message, "whose Lease was lost") {
		t.Errorf("it is %s: %+v", reason, early)
	}
	if late := settled(t, early, w, at(8*time.Second)); late.ConfirmedAt == nil || !late.ConfirmedAt.Time.Equal(at(7*time.Second)) {
		t.Errorf("got %+v", late)
	}
}

// TestNext_RewritesWhoIsPendingOnceAMinute: with many keys, each step of each verifier would be a write for each of them.
func TestNext_RewritesWhoIsPendingOnceAMinute(t *testing.T) {
	w := Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", now)}, AnsweredAt: now, View: View{Verifiers: []Verifier{follows("a", "6", now), follows("b", "6", now)}}}
	was := Next(nil, &w, now)
	w.ReportedAt, w.View.Verifiers[0] = now, follows("a", "7", at(time.Second))
	if got := Next(was, &w, at(59*time.Second)); !slices.Equal(got.Pending, []string{"a", "b"}) {
		t.Errorf("within a minute %v are pending", got.Pending)
	}
	if got := Next(was, &w, at(time.Minute)); !slices.Equal(got.Pending, []string{"b"}) {
		t.Errorf("after a minute %v are pending", got.Pending)
	}
	w.View.Verifiers[1] = follows("b", "7", at(2*time.Second))
	if got := Next(was, &w, at(3*time.Second)); got.ConfirmedAt == nil || got.Pending != nil {
		t.Errorf("a confirmation waits: %+v", got)
	}
}

func TestNext_NamesEightAndTheirBound(t *testing.T) {
	var all []Verifier
	for i := range 12 {
		all = append(all, Verifier{Name: fmt.Sprintf("v%02d", 11-i), IsSilent: true, BoundAt: at(time.Duration(i) * time.Second)})
	}
	w := Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", now)}, View: View{Verifiers: all}}
	got := settled(t, nil, w, now)
	if len(got.Pending) != 8 || !slices.IsSorted(got.Pending) || got.Pending[0] != "v00" || !got.BoundAt.Time.Equal(at(11*time.Second)) {
		t.Errorf("got %+v", got)
	}
	if reason, _ := Condition(got, &w.View); reason != v1alpha1.VerifiersBehindReason {
		t.Errorf("the reason is %s", reason)
	}
	all[0].IsSilent = false
	if got := settled(t, nil, w, now); got.BoundAt != nil {
		t.Errorf("one renews, and the bound is %s", got.BoundAt)
	}
	all[0].IsSilent, all[11].Serves, all[11].BoundAt = true, true, time.Time{}
	got = settled(t, nil, w, now)
	if reason, _ := Condition(got, &w.View); got.BoundAt != nil || reason != v1alpha1.VerifierServesStaleReason {
		t.Errorf("one serves when stale, and it is %s: %+v", reason, got)
	}
}

func TestNext_WithoutLeasesNothingIsProven(t *testing.T) {
	w := Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", now)}, View: View{Unreadable: true, Verifiers: []Verifier{follows("a", "9", now)}}}
	got := settled(t, nil, w, now)
	if reason, _ := Condition(got, &w.View); got.ConfirmedAt != nil || reason != v1alpha1.VerifiersUnknownReason {
		t.Errorf("it is %s: %+v", reason, got)
	}
	if Next(nil, &Withdrawals{Revisions: []*revisions.Revision{{Number: 1}}}, now) != nil {
		t.Error("a key without a withdrawal has a propagation")
	}
}

// TestNext_ConfirmsNothingWhileAVerifierIsForgotten: the operator could not remember all verifiers whose Lease was deleted, and one of them may answer
// for ever. Those that it knows count as before.
func TestNext_ConfirmsNothingWhileAVerifierIsForgotten(t *testing.T) {
	w := Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", now)}, AnsweredAt: now, View: View{Incomplete: true, Verifiers: []Verifier{follows("a", "9", now)}}}
	got := settled(t, nil, w, at(time.Hour))
	if got.ConfirmedAt != nil || got.Verifiers != 1 || len(got.Pending) > 0 {
		t.Errorf("got %+v", got)
	}
	if reason, message := Condition(got, &w.View); reason != v1alpha1.VerifiersUnknownReason || !strings.Contains(message, "restart the managers") {
		t.Errorf("the condition is %q: %q", reason, message)
	}
	w.View.Incomplete = false
	if got := settled(t, got, w, at(2*time.Hour)); got.ConfirmedAt == nil {
		t.Errorf("after a restart it is %+v", got)
	}
}

// TestNext_NamesTheFirstVerifierAtOnce: the last report said that none is registered, and named none.
func TestNext_NamesTheFirstVerifierAtOnce(t *testing.T) {
	w := Withdrawals{Revisions: []*revisions.Revision{withdrawn("7", now)}, AnsweredAt: now}
	none := settled(t, nil, w, now)
	if awaited := AwaitedBy(none, w.Revisions); !awaited.NoneIsKnown {
		t.Errorf("it waits for %+v", awaited)
	}
	w.ReportedAt = now
	w.View.Verifiers = []Verifier{follows("a", "6", now)}
	named := settled(t, none, w, at(10*time.Second))
	if !slices.Equal(named.Pending, []string{"a"}) || named.Verifiers != 1 {
		t.Errorf("got %+v", named)
	}
	if awaited := AwaitedBy(named, w.Revisions); awaited.NoneIsKnown {
		t.Errorf("it waits for %+v", awaited)
	}
	w.ReportedAt = at(10 * time.Second)
	w.View.Verifiers = append(w.View.Verifiers, follows("b", "6", now))
	if got := settled(t, named, w, at(20*time.Second)); len(got.Pending) != 1 {
		t.Errorf("within a minute of a report with names it becomes %+v", got)
	}
}
