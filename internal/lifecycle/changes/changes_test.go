// SPDX-License-Identifier: Apache-2.0

package changes

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// TestApply_LeavesTheGivenRevisionsAsTheyAre keeps an amendment from changing what conclusions were drawn from.
func TestApply_LeavesTheGivenRevisionsAsTheyAre(t *testing.T) {
	end := metav1.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	earlier := &revisions.Revision{Number: 1, State: v1alpha1.StateActive}
	current := &revisions.Revision{Number: 2, State: v1alpha1.StateActive}
	pruned := &revisions.Revision{Number: 3, State: v1alpha1.StateRevoked}
	amendments := []Amendment{
		{of: earlier, AmendRecord: steps.AmendRecord{State: v1alpha1.StateRevoked, NotAfter: &end, SupersededBy: 2}},
		{of: pruned, AmendRecord: steps.AmendRecord{SupersededBy: 4}},
	}
	given := []*revisions.Revision{earlier, current}
	got := Apply(amendments, given)
	if len(got) != 2 || got[0].Number != 1 || got[0].State != v1alpha1.StateRevoked || !got[0].NotAfter.Equal(&end) || got[0].SupersededBy != 2 || got[1] != current {
		t.Errorf("got %+v and %+v", got[0], got[1])
	}
	if given[0] != earlier || earlier.State != v1alpha1.StateActive || earlier.NotAfter != nil || earlier.SupersededBy != 0 || pruned.SupersededBy != 0 {
		t.Errorf("the given revisions have changed: %+v and %+v", earlier, pruned)
	}
}
