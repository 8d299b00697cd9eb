// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/environments"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// keyParts are the parts of a key's observation that can fail to be read.
var keyParts = []report.ReadPart{report.ReadSecret, report.ReadRecords, report.ReadEnvironment, report.ReadChatbot, report.ReadTracking}

// failing returns an observation as it is where parts of it cannot be read.
func failing(o Observation, parts ...report.ReadPart) Observation {
	for _, part := range parts {
		o.Failed = append(o.Failed, report.FailedRead{Of: part, What: "the " + string(part), Message: "KMS is down", Remedy: "repair it"})
		switch part {
		case report.ReadSecret:
			o.Secret = revisions.Secret{State: revisions.SecretUnknown}
		case report.ReadEnvironment:
			o.Environment = effective.Environment{Required: o.Environment.Required}
		case report.ReadChatbot:
			o.Chatbot = effective.Chatbot{}
		case report.ReadTracking:
			o.Tracking = nil
		}
	}
	return o
}

// issuedKey returns the simulation of a key whose first revision is in use, and whose second one superseded it.
func issuedKey(t *testing.T) *Simulation {
	t.Helper()
	key := testKey("failed-reads")
	key.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "support-bot"}
	key.Spec.Scopes = []v1alpha1.Scope{"a.*", "b"}
	s := &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}, Chatbot: effective.Chatbot{ID: "cb_1"}}, Now: start}
	mustSettle(t, s)
	s.Now = s.Now.Add(time.Minute)
	s.Key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: at(s.Now)}
	mustSettle(t, s)
	s.Now = s.Now.Add(time.Minute)
	return s
}

func mustSettle(t *testing.T, s *Simulation) {
	t.Helper()
	if _, err := s.Settle(); err != nil {
		t.Fatal(err)
	}
}

// settleFailing carries out plans of an observation of which parts cannot be read, and returns the last one.
func settleFailing(t *testing.T, s *Simulation, parts ...report.ReadPart) Decision {
	t.Helper()
	for range maxSteps {
		d := Plan(failing(s.Observation, parts...), s.Now)
		if len(d.Steps) == 0 {
			s.Key.Status = *d.Status
			return d
		}
		for _, step := range d.Steps {
			checkTakesAway(t, s, step)
			s.Apply(step)
		}
	}
	t.Fatal("a plan with failed reads does not converge")
	return Decision{}
}

// checkTakesAway asserts that a step makes records verify for less only.
func checkTakesAway(t *testing.T, s *Simulation, step steps.Step) {
	t.Helper()
	amendment, ok := step.(steps.AmendRecord)
	if !ok {
		t.Errorf("planned %T", step)
		return
	}
	for i := range s.Records {
		record := &s.Records[i]
		if record.Name != amendment.Name {
			continue
		}
		after := record.DeepCopy()
		amendment.ApplyTo(after)
		if effective.Strictness[after.Spec.State] < effective.Strictness[record.Spec.State] || after.Spec.Label != record.Spec.Label || after.Spec.ChatbotID != record.Spec.ChatbotID ||
			record.Spec.NotAfter != nil && record.Spec.NotAfter.Before(after.Spec.NotAfter) {
			t.Errorf("%+v gives: %+v", amendment, record.Spec)
		}
		for _, scope := range after.Spec.Scopes {
			if changes.FewerScopes(record.Spec.Scopes, []v1alpha1.Scope{scope}) != nil && !reflect.DeepEqual(*changes.FewerScopes(record.Spec.Scopes, []v1alpha1.Scope{scope}), []v1alpha1.Scope{scope}) {
				t.Errorf("%+v adds scope %s to %v", amendment, scope, record.Spec.Scopes)
			}
		}
	}
}

// TestPlan_FailedReadsTakeAway: what only takes away needs the key and its records.
func TestPlan_FailedReadsTakeAway(t *testing.T) {
	for name, test := range map[string]struct {
		ask func(*Simulation)
		// done reports whether a record is as it was asked for.
		done func(*v1alpha1.DGbotAPIKeyRecord) bool
	}{
		"state Revoked":              {func(s *Simulation) { s.Key.Spec.State = v1alpha1.StateRevoked }, isIn(v1alpha1.StateRevoked)},
		"state Disabled":             {func(s *Simulation) { s.Key.Spec.State = v1alpha1.StateDisabled }, isIn(v1alpha1.StateDisabled)},
		"revokeIssuedBefore in spec": {func(s *Simulation) { s.Key.Spec.Rotation.RevokeIssuedBefore = at(s.Now) }, isIn(v1alpha1.StateRevoked)},
		"revokeIssuedBefore as an annotation": {func(s *Simulation) {
			s.Key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: instant.Format(at(s.Now))}
		}, isIn(v1alpha1.StateRevoked)},
		"an earlier expiresAt": {func(s *Simulation) { s.Key.Spec.ExpiresAt = at(s.Now.Add(time.Minute)) }, func(r *v1alpha1.DGbotAPIKeyRecord) bool {
			return r.Spec.NotAfter != nil && !r.Spec.NotAfter.After(start.Add(3*time.Minute))
		}},
		"an expiresAt that has come": {func(s *Simulation) { s.Key.Spec.ExpiresAt = at(s.Now) }, func(r *v1alpha1.DGbotAPIKeyRecord) bool {
			return r.Spec.NotAfter != nil && !r.Spec.NotAfter.After(start.Add(2*time.Minute))
		}},
		"fewer scopes": {func(s *Simulation) { s.Key.Spec.Scopes = []v1alpha1.Scope{"a.read", "c"} }, func(r *v1alpha1.DGbotAPIKeyRecord) bool {
			return reflect.DeepEqual(r.Spec.Scopes, []v1alpha1.Scope{"a.read"})
		}},
	} {
		for _, parts := range [][]report.ReadPart{{report.ReadSecret}, {report.ReadRecords}, {report.ReadEnvironment}, {report.ReadChatbot}, {report.ReadTracking}, keyParts} {
			t.Run(fmt.Sprint(name, parts), func(t *testing.T) {
				s := issuedKey(t)
				before := s.Key.Status.DeepCopy()
				test.ask(s)
				s.Key.Generation++
				d := settleFailing(t, s, parts...)
				for i := range s.Records {
					if !test.done(&s.Records[i]) {
						t.Errorf("revision %d is %+v", s.Records[i].Spec.Revision, s.Records[i].Spec)
					}
				}
				for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.StalledCondition} {
					c := apimeta.FindStatusCondition(d.Status.Conditions, kind)
					if c == nil || c.Reason != v1alpha1.ObservationFailedReason || !strings.Contains(c.Message, "The "+string(parts[0])+" cannot be read: KMS is down") {
						t.Errorf("%s is %+v", kind, c)
					}
				}
				if d.Status.Current == nil || d.Status.Current.KeyID != before.Current.KeyID || d.Status.Binding == nil {
					t.Errorf("the status forgets the current revision: %+v", d.Status)
				}
				if wait := d.Wake.Sub(s.Now); wait <= 0 || wait > report.MaxRetryDelay {
					t.Errorf("the read is retried in %s", wait)
				}
				reported := summaryOfKey(d.Status)
				handled := reported.HandledRevocation()
				if want := strings.HasPrefix(name, "revokeIssuedBefore") && !failing(s.Observation, parts...).Failed.Any(report.ReadRecords); (handled != nil) != want {
					t.Errorf("the revocation is reported as handled: %v, want %v", handled, want)
				}
			})
		}
	}
}

func isIn(state v1alpha1.KeyState) func(*v1alpha1.DGbotAPIKeyRecord) bool {
	return func(r *v1alpha1.DGbotAPIKeyRecord) bool { return r.Spec.State == state }
}

// TestPlan_FailedReadsGrantNothing: absence of knowledge is no cause, no loss, and no permission.
func TestPlan_FailedReadsGrantNothing(t *testing.T) {
	for name, happen := range map[string]func(*Simulation){
		"nothing":              func(*Simulation) {},
		"the Secret is lost":   func(s *Simulation) { s.Secret = revisions.Secret{State: revisions.SecretAbsent} },
		"the Secret drifted":   func(s *Simulation) { s.Secret.Drifted = true },
		"a rotation is due":    func(s *Simulation) { s.Key.Spec.Rotation.RequestedAt = at(s.Now) },
		"another label":        func(s *Simulation) { s.Key.Spec.Label = "Other" },
		"more scopes":          func(s *Simulation) { s.Key.Spec.Scopes = append(s.Key.Spec.Scopes, "c") },
		"another chatbot":      func(s *Simulation) { s.Chatbot.ID = "cb_2" },
		"the status was lost":  func(s *Simulation) { s.Key.Status = v1alpha1.DGbotAPIKeyStatus{} },
		"a key never issued":   func(s *Simulation) { s.Records, s.Key.Status = nil, v1alpha1.DGbotAPIKeyStatus{} },
		"the records are gone": func(s *Simulation) { s.Records = nil },
		"it was disabled": func(s *Simulation) {
			for i := range s.Records {
				s.Records[i].Spec.State = v1alpha1.StateDisabled
			}
		},
	} {
		for _, part := range keyParts {
			t.Run(name+", "+string(part), func(t *testing.T) {
				s := issuedKey(t)
				happen(s)
				settleFailing(t, s, part)
				// A retry that fails in the same way writes nothing, at any time.
				for _, later := range []time.Duration{time.Second, time.Minute, time.Hour} {
					s.Now = s.Now.Add(later)
					status := s.Key.Status.DeepCopy()
					d := Plan(failing(s.Observation, part), s.Now)
					if len(d.Steps) > 0 || !reflect.DeepEqual(d.Status, status) {
						t.Errorf("after %s more: %+v\n%+v\n%+v", later, d.Steps, d.Status, status)
					}
				}
			})
		}
	}
}

// TestPlan_GoesOnAsBeforeOnceReadsSucceed: whatever could not be read for a while, the key ends as if it always could.
func TestPlan_GoesOnAsBeforeOnceReadsSucceed(t *testing.T) {
	for seed := range int64(Rounds(300, 60)) {
		w := newWalk(t, seed)
		for range 25 {
			w.act()
			if t.Failed() {
				return
			}
			undisturbed := &Simulation{Observation: w.sim.Observation, Now: w.sim.Now, minted: map[int64]int{}}
			undisturbed.Key = w.sim.Key.DeepCopy()
			undisturbed.Records = nil
			for i := range w.sim.Records {
				undisturbed.Records = append(undisturbed.Records, *w.sim.Records[i].DeepCopy())
			}
			for revision, times := range w.sim.minted {
				undisturbed.minted[revision] = times
			}
			issues := causesOf(t, undisturbed)
			settleFailing(t, w.sim, keyParts[w.rng.Intn(len(keyParts))])
			disturbed := w.sim
			if got := causesOf(t, disturbed); got != issues && !(strings.Contains(issues, string(v1alpha1.CauseRevocation))) {
				t.Fatalf("seed %d: issued %q, without failed reads %q", seed, got, issues)
			}
			if got, want := admitted(disturbed), admitted(undisturbed); got != want {
				t.Fatalf("seed %d: %s verify, without failed reads %s", seed, got, want)
			}
			for i := range disturbed.Records {
				if r := disturbed.Records[i].Spec.Revision; r > w.lastPublished {
					w.everPublished, w.lastPublished = true, r
				}
			}
		}
	}
}

// causesOf settles a simulation, and returns the causes of what it issues.
func causesOf(t *testing.T, s *Simulation) string {
	t.Helper()
	taken, err := s.Settle()
	if err != nil {
		t.Fatal(err)
	}
	var causes []string
	for _, step := range taken {
		if issue, ok := step.(steps.IssueRevision); ok {
			causes = append(causes, string(issue.Cause))
		}
	}
	return strings.Join(causes, " ")
}

// admitted returns the revisions that verify.
func admitted(s *Simulation) string {
	var all []string
	for i := range s.Records {
		if standing.Admit(&s.Records[i], s.Now) == standing.Admitted {
			all = append(all, strconv.FormatInt(s.Records[i].Spec.Revision, 10))
		}
	}
	return strings.Join(all, " ")
}

// TestPlan_FailedReadsAndTheAudit: a stage that depends only on what was read is reached, what was done stays done, and the
// warning in the status is not forgotten.
func TestPlan_FailedReadsAndTheAudit(t *testing.T) {
	for _, part := range append([]report.ReadPart{""}, keyParts...) {
		t.Run(string(part), func(t *testing.T) {
			s := issuedKey(t)
			s.Environment = effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{Audit: &v1alpha1.EnvironmentAudit{
				UnusedAfter: &metav1.Duration{Duration: time.Hour}, DisableAfter: &metav1.Duration{Duration: 2 * time.Hour}, RevokeAfter: &metav1.Duration{Duration: 3 * time.Hour},
			}}}
			settle := func(after time.Duration) {
				s.Now = start.Add(after)
				s.Tracking = &tracking.Tracking{Since: start, Renewed: s.Now, Lag: 0}
				if part == "" {
					mustSettle(t, s)
				} else {
					settleFailing(t, s, part)
				}
			}
			s.Now = start.Add(90 * time.Minute)
			s.Tracking = &tracking.Tracking{Since: start, Renewed: s.Now}
			mustSettle(t, s)
			if environments.StageOf(&s.Key.Status) != v1alpha1.AuditUnused {
				t.Fatalf("the audit is at %+v", s.Key.Status.Audit)
			}
			decides := part == "" || part == report.ReadSecret || part == report.ReadChatbot
			for after, want := range map[time.Duration]v1alpha1.AuditStage{4 * time.Hour: v1alpha1.AuditDisabled} {
				settle(after)
				if !decides {
					want = v1alpha1.AuditUnused
				}
				if got := environments.StageOf(&s.Key.Status); got != want {
					t.Errorf("after %s the audit is at %q, want %q", after, got, want)
				}
			}
			settle(8 * time.Hour)
			if revoked := s.Records[1].Spec.State == v1alpha1.StateRevoked; revoked != decides {
				t.Errorf("the audit revoked: %v, want %v", revoked, decides)
			}
		})
	}
}

// TestPlan_DeletionNeedsNoOtherRead: the key's records are enough.
func TestPlan_DeletionNeedsNoOtherRead(t *testing.T) {
	s := issuedKey(t)
	s.Key.DeletionTimestamp = at(s.Now)
	for _, step := range Plan(failing(s.Observation, keyParts...), s.Now).Steps {
		s.Apply(step)
	}
	for i := range s.Records {
		if s.Records[i].Spec.State != v1alpha1.StateRevoked {
			t.Errorf("revision %d is %s", s.Records[i].Spec.Revision, s.Records[i].Spec.State)
		}
	}
}

// TestPlan_FailedReadsAndOverlaps: an end that is a function of what was read is written, another one is not.
func TestPlan_FailedReadsAndOverlaps(t *testing.T) {
	for part, want := range map[report.ReadPart]bool{report.ReadChatbot: true, report.ReadTracking: true, report.ReadSecret: false, report.ReadRecords: false, report.ReadEnvironment: false} {
		s := issuedKey(t)
		for i := range s.Records { // as after a crash between the Secret and the end of what it held
			s.Records[i].Spec.NotAfter, s.Records[i].Annotations = nil, nil
		}
		s.Records[0].UID = types.UID("first")
		settleFailing(t, s, part)
		if got := s.Records[0].Spec.NotAfter != nil; got != want {
			t.Errorf("without %s the superseded revision has an end: %v, want %v", part, got, want)
		}
	}
}
