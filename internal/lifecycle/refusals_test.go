// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// TestAttemptsThatFailAgainAndAgainDoNotStopRotation: records whose publication failed are not earlier revisions.
func TestAttemptsThatFailAgainAndAgainDoNotStopRotation(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(time.Hour)}))
	s.Now = start.Add(time.Hour)
	s.Key.Spec.Rotation.RequestedAt = at(s.Now)
	var waits []time.Duration
	for range 3 * facts.KeyKind.MaxPrevious {
		step, waited := nextAttempt(t, s)
		waits = append(waits, waited)
		s.Records = append(s.Records, s.CreateRecord(step))
	}
	// The first ones are issued a second ahead, after the request.
	if want := []time.Duration{0, 0, 6 * time.Second, 10 * time.Second, 20 * time.Second}; !slices.Equal(waits[:5], want) {
		t.Errorf("the first attempts came after %s, want %s", waits[:5], want)
	}
	if last := waits[len(waits)-1]; last != report.MaxRetryDelay {
		t.Errorf("the last attempt came after %s", last)
	}
	endless, verify := 0, 0
	for _, record := range s.Records {
		if record.Spec.NotAfter == nil {
			endless++
		}
		if standing.Admit(&record, s.Now) == standing.Admitted {
			verify++
		}
	}
	if verify > facts.KeyKind.MaxPrevious+2 {
		t.Errorf("%d revisions verify", verify)
	}
	if endless > 2 {
		t.Errorf("%d records without an end: those that were never published pile up", endless)
	}
	_, err := s.Advance(s.Now.Add(report.MaxRetryDelay))
	if p := gates.Assess(s.facts(s.Now)); err != nil || p.Published == nil || p.Cause != "" {
		t.Errorf("not published, cause %q: %v", p.Cause, err)
	}
}

// nextAttempt carries out what is planned until a revision is to be issued, and returns that with how long it took.
func nextAttempt(t *testing.T, s *Simulation) (steps.IssueRevision, time.Duration) {
	t.Helper()
	for began := s.Now; ; {
		decision := Plan(s.Observation, s.Now)
		for _, planned := range decision.Steps {
			if issue, ok := planned.(steps.IssueRevision); ok {
				return issue, s.Now.Sub(began)
			}
			s.Apply(planned)
		}
		if len(decision.Steps) > 0 {
			continue
		}
		s.Key.Status = *decision.Status
		if !decision.Wake.After(s.Now) {
			t.Fatalf("no revision is issued any more: %+v", decision.Status.Conditions)
		}
		s.Now = decision.Wake
	}
}

// TestARefusedRecordIsSaidBeforeAnythingElse: a key whose records cannot be revoked is not revoked, whatever its spec says.
func TestARefusedRecordIsSaidBeforeAnythingElse(t *testing.T) {
	s := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) { spec.State = v1alpha1.StateActive })
	s.Key.Spec.State = v1alpha1.StateRevoked
	if len(Plan(s.Observation, s.Now).Steps) == 0 {
		t.Fatal("nothing is to be revoked")
	}
	s.Rejection = &report.Rejection{Reason: v1alpha1.RecordWriteRefusedReason, Message: "quota"}
	if steps := settle(t, s); len(steps) != 0 {
		t.Errorf("the refused step is planned again in the same pass: %+v", steps)
	}
	wantReady(t, s, metav1.ConditionFalse, v1alpha1.RecordWriteRefusedReason)
	if stalled := condition(s, v1alpha1.StalledCondition); stalled == nil || !strings.Contains(stalled.Message, "is still valid") {
		t.Errorf("Stalled is %+v", stalled)
	}
	if wake := Plan(s.Observation, s.Now).Wake; wake.Sub(s.Now) != report.MinRetryDelay {
		t.Errorf("tried again at %s", wake)
	}
	s.Rejection = nil
	settle(t, s)
	wantReady(t, s, metav1.ConditionFalse, v1alpha1.RevokedReason)

	now := metav1.Time{Time: s.Now}
	s.Key.DeletionTimestamp, s.Records[0].Spec.State = &now, v1alpha1.StateActive
	s.Rejection = &report.Rejection{Reason: v1alpha1.RecordWriteRefusedReason, Message: "quota"}
	if decision := Plan(s.Observation, s.Now); len(decision.Steps) != 0 || decision.Wake.IsZero() {
		t.Errorf("a key that is being deleted: %+v", decision)
	}
}

func TestEachObstacleHasABackOffOfItsOwn(t *testing.T) {
	s := newSimulation(t, nil)
	s.Key.Spec.State = v1alpha1.StateActive
	s.Secret = revisions.Secret{State: revisions.SecretForeign}
	settle(t, s)
	wantReady(t, s, metav1.ConditionFalse, v1alpha1.SecretConflictReason)
	s.Now = s.Now.Add(time.Hour)
	s.Secret, s.Rejection = revisions.Secret{State: revisions.SecretAbsent}, &report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: "quota"}
	settle(t, s)
	if wait := Plan(s.Observation, s.Now).Wake.Sub(s.Now); wait != report.MinRetryDelay {
		t.Errorf("the first refusal is tried again after %s", wait)
	}
}

func TestRecordsThatMayNotBeDeletedAreKept(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(0)}))
	s.KeepEnded = true
	for range 15 {
		s.Now = s.Now.Add(time.Minute)
		s.Key.Spec.Rotation.RequestedAt = at(s.Now)
		settle(t, s)
	}
	if n := len(s.Records); n != 16 {
		t.Errorf("%d records", n)
	}
	wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
	s.KeepEnded = false
	settle(t, s)
	if n := len(s.Records); n > changes.KeptEnded+2 {
		t.Errorf("%d records after deletion is allowed again", n)
	}
}

func TestNumbersAreNotUsedAgainAfterRecordsAreGone(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(time.Hour)}))
	s.Now = s.Now.Add(time.Minute)
	s.Key.Spec.Rotation.RequestedAt = at(s.Now)
	settle(t, s)
	s.Records = s.Records[:1]
	if settle(t, s); s.Key.Status.Current == nil || s.Key.Status.Current.Revision != 3 {
		t.Errorf("current %+v, want revision 3: 2 has been published", s.Key.Status.Current)
	}
}

func TestMessagesFitIntoAnEvent(t *testing.T) {
	for _, message := range []string{strings.Repeat("x", 5000), strings.Repeat("ü", 3000), "x" + strings.Repeat("🤖", 1000)} {
		cut := report.Truncate(message)
		if len(cut) > 1024 || !strings.HasSuffix(cut, "…") || !strings.HasPrefix(message, strings.TrimSuffix(cut, "…")) {
			t.Errorf("%d bytes, ending in %q", len(cut), cut[len(cut)-8:])
		}
	}
	if short := strings.Repeat("x", 1024); report.Truncate(short) != short {
		t.Error("a message that fits was cut")
	}
}

// TestTruncate_PutsAMessageOnOneLine: a webhook chooses its words.
func TestTruncate_PutsAMessageOnOneLine(t *testing.T) {
	got := report.Truncate("denied the request: no\r\nStatus:\u2028  Ready: True\x1b[2J\u202e\u200b\u3164\U000e0100\u2065.\v\u0085Events:")
	if want := "denied the request: no Status:   Ready: True [2J . Events:"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if plain := "it is \"a\",  and two  spaces stay"; report.Truncate(plain) != plain {
		t.Errorf("%q", report.Truncate(plain))
	}
}

func TestEventsTellWhatHappenedAndNothingElse(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(time.Hour)}))
	events := func() string {
		var reasons []string
		next := Plan(s.Observation, s.Now).Status
		for _, event := range Events(s.Observation, next, s.Now) {
			reasons = append(reasons, event.Reason)
		}
		s.Key.Status = *next
		return strings.Join(reasons, " ")
	}
	step := func() {
		for decision := Plan(s.Observation, s.Now); len(decision.Steps) > 0; decision = Plan(s.Observation, s.Now) {
			s.Apply(decision.Steps[0])
		}
	}
	if got := events(); got != "" {
		t.Errorf("at rest: %s", got)
	}
	s.Now = s.Now.Add(time.Minute)
	s.Key.Spec.Rotation.RequestedAt = at(s.Now)
	step()
	if got := events(); got != "Issued" {
		t.Errorf("after a rotation: %s", got)
	}
	s.Key.Spec.State = v1alpha1.StateDisabled
	step()
	if got := events(); got != "Disabled" {
		t.Errorf("after disabling: %s", got)
	}
	s.Publish(1)
	step()
	if got := events(); got != "" {
		t.Errorf("an older key was put back, nothing was issued: %s", got)
	}
	s.Now = s.Now.Add(2 * time.Hour)
	s.Publish(2)
	step()
	if got := events(); got != "" {
		t.Errorf("the key was put back, nothing was issued: %s", got)
	}
	s.Key.Spec.State = v1alpha1.StateActive
	step()
	events()
	s.Now, s.Key.Status = s.Now.Add(48*time.Hour), v1alpha1.DGbotAPIKeyStatus{}
	step()
	// The condition is new; no revision is.
	if got := events(); got != "Issued" {
		t.Errorf("after the status was lost: %s", got)
	}
}
