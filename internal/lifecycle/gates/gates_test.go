// SPDX-License-Identifier: Apache-2.0

package gates

import (
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// TestBehind_MakesNewConclusions keeps a later finding, such as an import problem, from changing conclusions that were drawn before.
func TestBehind_MakesNewConclusions(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	f := facts.Facts{
		Owner:   facts.Owner{Kind: &facts.KeyKind, Name: "production-server", Asks: effective.Desired{State: v1alpha1.StateActive}},
		Horizon: instant.Horizon{Now: now},
	}
	g := Assess(f)
	issue := g.Issue()
	if issue == nil || issue.Cause != v1alpha1.CauseFirstIssue || issue.Revision != 1 {
		t.Fatalf("a new key is to be issued revision %+v", issue)
	}
	obstacle := &report.Obstacle{Reason: v1alpha1.ImportRefusedReason, Until: now.Add(time.Minute)}
	behind := g.Behind(obstacle)
	if behind.Obstacle != obstacle || behind.Issue() != nil {
		t.Errorf("behind an obstacle, the obstacle is %+v and the revision to issue %+v", behind.Obstacle, behind.Issue())
	}
	if g.Obstacle != nil || g.Issue() == nil {
		t.Error("the conclusions drawn before have changed")
	}
	if !behind.Next.Equal(obstacle.Until) {
		t.Errorf("planned again at %s, want %s", behind.Next, obstacle.Until)
	}
	if !f.Next.IsZero() {
		t.Error("the horizon of the facts has changed")
	}
}
