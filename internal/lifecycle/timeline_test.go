// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// TestPlan_TimelineOfAKey is the life of one key: what happens to it, and exactly which steps follow. It is for reading; random walks
// assert the promises.
func TestPlan_TimelineOfAKey(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "support", UID: "7f3c", Generation: 1, CreationTimestamp: metav1.Time{Time: epoch}},
		Spec: v1alpha1.DGbotAPIKeySpec{
			Label: "Web server", Environment: "production", Scopes: []v1alpha1.Scope{"conversations.read"},
			Rotation: &v1alpha1.Rotation{Interval: hours(100), Overlap: hours(24)},
		},
	}
	life := &timeline{t: t, sim: &lifecycle.Simulation{Now: epoch}}
	life.sim.Key, life.sim.Secret = key, revisions.Secret{State: revisions.SecretAbsent}

	life.after(0, "the key is created", nil,
		"+0h00m issue r1 (FirstIssue)")
	life.after(50*time.Hour, "nothing happens", nil)
	life.after(time.Hour, "the label changes", func() { key.Spec.Label = "Website" },
		"+51h00m amend r1: label Website")
	life.after(49*time.Hour, "the interval ends", nil,
		"+96h25m issue r2 (Schedule)",
		"+96h25m amend r1: superseded by r2, expires at +120h25m")
	life.after(time.Hour, "a second rotation is requested", func() { key.Spec.Rotation.RequestedAt = life.time() },
		"+101h00m issue r3 (Request)",
		"+101h00m amend r2: superseded by r3, expires at +125h00m")
	life.after(time.Hour, "the overlap is shortened", func() { key.Spec.Rotation.Overlap = hours(12) },
		"+102h00m amend r2: expires at +113h00m",
		"+102h00m amend r1: expires at +108h25m")
	life.after(time.Hour, "the key leaks", func() { key.Spec.Rotation.RevokeIssuedBefore = life.time() },
		"+103h00m amend r2: Revoked, withdrawn",
		"+103h00m amend r1: Revoked, withdrawn",
		"+103h00m issue r4 (Revocation)",
		"+103h00m amend r3: Revoked, superseded by r4, expires at +115h00m, withdrawn")
	life.after(time.Hour, "another tool deletes the Secret", func() { life.sim.Secret = revisions.Secret{State: revisions.SecretAbsent} },
		"+104h00m issue r5 (SecretLost)",
		"+104h00m amend r4: superseded by r5, expires at +116h00m")
	life.after(time.Hour, "the key is disabled", func() { key.Spec.State = v1alpha1.StateDisabled },
		"+105h00m amend r5: Disabled, withdrawn",
		"+105h00m amend r4: Disabled, withdrawn")
	life.after(20*time.Hour, "the key is enabled", func() { key.Spec.State = v1alpha1.StateActive },
		"+125h00m amend r3: the withdrawal is taken back",
		"+125h00m amend r2: the withdrawal is taken back",
		"+125h00m amend r1: the withdrawal is taken back",
		"+125h00m amend r5: Active, the withdrawal is taken back",
		"+125h00m amend r4: Active, the withdrawal is taken back") // which has expired: its state follows all the same
	life.after(time.Hour, "the key is to expire", func() { key.Spec.ExpiresAt = &metav1.Time{Time: life.sim.Now.Add(5 * time.Hour)} },
		"+126h00m amend r5: expires at +131h00m")
	life.after(10*time.Hour, "the key expires", nil)
	life.after(0, "it is to expire later", func() { key.Spec.ExpiresAt = &metav1.Time{Time: life.sim.Now.Add(50 * time.Hour)} },
		"+136h00m issue r6 (ExpiryChanged)",
		"+136h00m amend r5: superseded by r6")
	life.after(time.Hour, "the key is deleted", func() { key.DeletionTimestamp = life.time() },
		"+137h00m amend r6: Revoked",
		"+137h00m amend r5: Revoked",
		"+137h00m amend r4: Revoked")
}

func hours(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Hour} }

// timeline runs one key through its life.
type timeline struct {
	t   *testing.T
	sim *lifecycle.Simulation
}

func (l *timeline) time() *metav1.Time { return &metav1.Time{Time: l.sim.Now} }

// after lets time pass, then something happen, and compares the steps that follow from both.
func (l *timeline) after(passes time.Duration, what string, happens func(), want ...string) {
	l.t.Helper()
	var got []string
	l.runTo(l.sim.Now.Add(passes), &got)
	if happens != nil {
		happens()
		l.sim.Key.Generation++
	}
	l.settle(&got)
	if !slices.Equal(got, want) {
		l.t.Fatalf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// runTo moves the clock to a time, from wake-up to wake-up.
func (l *timeline) runTo(to time.Time, steps *[]string) {
	for {
		l.settle(steps)
		wake := lifecycle.Plan(l.sim.Observation, l.sim.Now).Wake
		if wake.IsZero() || wake.After(to) {
			l.sim.Now = to
			return
		}
		l.sim.Now = wake
	}
}

// settle applies plans until one has no steps, and notes the steps.
func (l *timeline) settle(steps *[]string) {
	l.t.Helper()
	if l.sim.Key.DeletionTimestamp != nil {
		for _, step := range lifecycle.Plan(l.sim.Observation, l.sim.Now).Steps {
			*steps = append(*steps, l.describe(step))
		}
		return
	}
	taken, err := l.sim.Settle()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, step := range taken {
		*steps = append(*steps, l.describe(step))
	}
}

// describe returns a step as a line: when, what, and to which revision.
func (l *timeline) describe(step steps.Step) string {
	var text string
	switch s := step.(type) {
	case steps.IssueRevision:
		text = fmt.Sprintf("issue r%d (%s)", s.Revision, s.Cause)
	case steps.AmendRecord:
		var changes []string
		if s.State != "" {
			changes = append(changes, string(s.State))
		}
		if s.Label != "" {
			changes = append(changes, "label "+s.Label)
		}
		if s.SupersededBy != 0 {
			changes = append(changes, fmt.Sprintf("superseded by r%d", s.SupersededBy))
		}
		if s.NotAfter != nil {
			changes = append(changes, "expires at "+since(s.NotAfter.Time))
		}
		switch {
		case s.WithdrawnAt == nil:
		case *s.WithdrawnAt == "":
			changes = append(changes, "the withdrawal is taken back")
		default:
			changes = append(changes, "withdrawn")
		}
		text = fmt.Sprintf("amend %s: %s", s.Name[strings.LastIndex(s.Name, "r"):], strings.Join(changes, ", "))
	default:
		text = fmt.Sprintf("%T", step)
	}
	return since(l.sim.Now) + " " + text
}

// since returns how long after the key's creation a time is.
func since(at time.Time) string {
	minutes := int(at.Sub(epoch).Minutes())
	return fmt.Sprintf("+%dh%02dm", minutes/60, minutes%60)
}
