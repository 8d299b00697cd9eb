// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// recordsUpTo returns the records of revisions 1 to n of a key, each with the hash and the resourceVersion of its number.
func recordsUpTo(n int64, key *v1alpha1.DGbotAPIKey) []v1alpha1.DGbotAPIKeyRecord {
	var records []v1alpha1.DGbotAPIKeyRecord
	for i := int64(1); i <= n; i++ {
		record := steps.NewRecord(key, steps.IssueRevision{Revision: i, RecordName: fmt.Sprintf("%s-%s-r%d", key.Name, key.UID, i), IssuedAt: *at(start)}, "id", strconv.FormatInt(i, 10))
		record.UID, record.ResourceVersion = types.UID("uid-"+strconv.FormatInt(i, 10)), "v"+strconv.FormatInt(i, 10)
		records = append(records, record)
	}
	return records
}

func TestIndexOfNewest(t *testing.T) {
	key := testKey("11111111-aaaa")
	for name, test := range map[string]struct {
		hash   string
		change func([]v1alpha1.DGbotAPIKeyRecord)
		want   int
	}{
		"the newest":             {hash: "3", want: 2},
		"an earlier one":         {hash: "2", want: -1},
		"no record":              {hash: "4", want: -1},
		"no hash, and no record": {hash: "", change: func(r []v1alpha1.DGbotAPIKeyRecord) { r[2].Spec.Hash = "" }, want: -1},
		"one that a later one superseded, which is gone": {hash: "3", change: func(r []v1alpha1.DGbotAPIKeyRecord) {
			r[2].Annotations = map[string]string{v1alpha1.SupersededByAnnotation: "4"}
		}, want: -1},
		"the newest, beside an orphaned one": {hash: "3", change: func(r []v1alpha1.DGbotAPIKeyRecord) { r[0].OwnerReferences = nil }, want: -1},
		"the newest of records in any order": {hash: "3", change: func(r []v1alpha1.DGbotAPIKeyRecord) { r[0], r[2] = r[2], r[0] }, want: 0},
	} {
		records := recordsUpTo(3, key)
		if test.change != nil {
			test.change(records)
		}
		if got := IndexOfNewest(test.hash, key, records); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestWithoutList(t *testing.T) {
	key := testKey("11111111-aaaa")
	label, scopes, mark := "chatbot", []v1alpha1.Scope{"*"}, "Unused"
	supersede := steps.AmendRecord{UID: "uid-1", SupersededBy: 2, NotAfter: at(start.Add(time.Hour))}
	with := func(change func(*steps.AmendRecord)) steps.AmendRecord {
		step := supersede
		change(&step)
		return step
	}
	for name, test := range map[string]struct {
		step    steps.Step
		records int64
		want    bool
	}{
		"the first revision":                        {steps.IssueRevision{Cause: v1alpha1.CauseFirstIssue}, 0, true},
		"a first revision beside records":           {steps.IssueRevision{Cause: v1alpha1.CauseFirstIssue}, 1, false},
		"a rotation on schedule":                    {steps.IssueRevision{Cause: v1alpha1.CauseSchedule}, 1, true},
		"a rotation on request":                     {steps.IssueRevision{Cause: v1alpha1.CauseRequest}, 1, true},
		"a rotation on request that repairs a loss": {steps.IssueRevision{Cause: v1alpha1.CauseRequest, Loss: v1alpha1.CauseSecretLost}, 1, false},
		"a revocation":                              {steps.IssueRevision{Cause: v1alpha1.CauseRevocation}, 1, true},
		"a revocation of a lost Secret":             {steps.IssueRevision{Cause: v1alpha1.CauseRevocation, Loss: v1alpha1.CauseSecretLost}, 1, false},
		"a revision is revoked without a request":   {steps.AmendRecord{UID: "uid-1", State: v1alpha1.StateRevoked}, 1, false},
		"a revision is disabled":                    {steps.AmendRecord{UID: "uid-1", State: v1alpha1.StateDisabled}, 1, false},
		"a lost Secret":                             {steps.IssueRevision{Cause: v1alpha1.CauseSecretLost, Loss: v1alpha1.CauseSecretLost}, 1, false},
		"an altered Secret":                         {steps.IssueRevision{Cause: v1alpha1.CauseSecretAltered, Loss: v1alpha1.CauseSecretAltered}, 1, false},
		"a lost record":                             {steps.IssueRevision{Cause: v1alpha1.CauseRecordLost, Loss: v1alpha1.CauseRecordLost}, 1, false},
		"a key that is active again":                {steps.IssueRevision{Cause: v1alpha1.CauseReactivation}, 1, false},
		"another expiry":                            {steps.IssueRevision{Cause: v1alpha1.CauseExpiryChanged}, 1, false},
		"a revision is superseded":                  {supersede, 1, true},
		"a revision that is unknown is superseded":  {supersede, 0, false},
		"a revision is superseded without an end":   {with(func(s *steps.AmendRecord) { s.NotAfter = nil }), 1, true},
		"a revision ends, and is not superseded":    {with(func(s *steps.AmendRecord) { s.SupersededBy = 0 }), 1, false},
		"superseded and revoked":                    {with(func(s *steps.AmendRecord) { s.State = v1alpha1.StateRevoked }), 1, false},
		"superseded and labelled":                   {with(func(s *steps.AmendRecord) { s.Label = label }), 1, false},
		"superseded, for another chatbot":           {with(func(s *steps.AmendRecord) { s.ChatbotID = &label }), 1, false},
		"superseded, with other scopes":             {with(func(s *steps.AmendRecord) { s.Scopes = &scopes }), 1, false},
		"superseded, marked by an audit":            {with(func(s *steps.AmendRecord) { s.Audit = &mark }), 1, false},
		"superseded, as it is unused":               {with(func(s *steps.AmendRecord) { s.Version = "v1" }), 1, false},
		"the deletion of a record":                  {steps.DeleteRecord{UID: "uid-1"}, 1, false},
		"the repair of a Secret":                    {steps.RepairSecret{}, 1, false},
	} {
		got, ok := WithoutList(key, []steps.Step{test.step}, recordsUpTo(test.records, key), start)
		if ok != test.want || ok != (len(got) == 1) {
			t.Errorf("%s: %t with %v, want %t", name, ok, got, test.want)
		}
		if amend, isAmend := test.step.(steps.AmendRecord); isAmend && ok {
			if bound := got[0].(steps.AmendRecord); bound.Version != "v1" || bound.UID != amend.UID || bound.SupersededBy != amend.SupersededBy || bound.NotAfter != amend.NotAfter {
				t.Errorf("%s: the step is %+v, want that of version v1", name, bound)
			}
		}
		if _, mixed := WithoutList(key, []steps.Step{supersede, test.step}, recordsUpTo(test.records, key), start); mixed != (test.want && test.records > 0) {
			t.Errorf("%s, after a step that needs none: %t", name, mixed)
		}
	}
}

// TestWithoutList_RevokesWhatARequestCovers, and nothing that it does not: an audit revokes as well, and needs a list.
func TestWithoutList_RevokesWhatARequestCovers(t *testing.T) {
	revoke := steps.AmendRecord{UID: "uid-1", State: v1alpha1.StateRevoked}
	marked, mark := revoke, "Revoked"
	marked.Audit = &mark
	for name, test := range map[string]struct {
		at   time.Time
		step steps.AmendRecord
		want bool
	}{
		"a request at its issuedAt":     {start, revoke, true},
		"a request before its issuedAt": {start.Add(-time.Second), revoke, false},
		"a request in the future":       {start.Add(time.Hour), revoke, false},
		"a request, and an audit":       {start, marked, false},
	} {
		key := testKey("11111111-aaaa")
		key.Spec.Rotation = &v1alpha1.Rotation{RevokeIssuedBefore: at(test.at)}
		got, ok := WithoutList(key, []steps.Step{test.step}, recordsUpTo(1, key), start.Add(time.Minute))
		if ok != test.want {
			t.Errorf("%s: %t, want %t", name, ok, test.want)
		}
		if ok && got[0].(steps.AmendRecord).Version != "" {
			t.Errorf("%s: a revocation waits for a version", name)
		}
	}
}
