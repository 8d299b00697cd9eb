// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/requests"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// IndexOfNewest returns the index of the record with a hash, if it is the newest record of the key and no record is orphaned; -1 otherwise. A
// record above that of the key in the Secret is an attempt, of this or of another instance, and a list shows whether there are more.
func IndexOfNewest(hash string, key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord) int {
	at, taken := -1, int64(0)
	for i := range records {
		r := revisions.Of(key, &records[i])
		taken = max(taken, r.Number, r.SupersededBy, r.NameNumber)
		if !standing.Owned(&records[i]) {
			return -1
		}
		if hash != "" && records[i].Spec.Hash == hash {
			at = i
		}
	}
	if at < 0 || records[at].Spec.Revision != taken {
		return -1
	}
	return at
}

// WithoutList returns the steps of a plan for a key that was made from a cache's snapshot of its records. Each step is bound to the version of the
// record that it changes, where that matters. It returns false if one of the steps needs a list, because an old cache could get it wrong:
//
//	a first revision, or one on schedule or on request   the API server rejects the record of a number that is taken
//	superseding a revision, which sets its notAfter      the API server rejects the patch of a record that has changed
//	a request revokes a revision                         what makes it due, the revision's issuedAt, never changes
//	any other                                            needs a list
func WithoutList(key *v1alpha1.DGbotAPIKey, planned []steps.Step, records []v1alpha1.DGbotAPIKeyRecord, now time.Time) (bound []steps.Step, ok bool) {
	known := map[types.UID]*v1alpha1.DGbotAPIKeyRecord{}
	for i := range records {
		known[records[i].UID] = &records[i]
	}
	cutOff := requests.Of(key, now).Revoke
	for _, step := range planned {
		switch s := step.(type) {
		case steps.IssueRevision:
			if !issuesWithoutList(s, len(records)) {
				return nil, false
			}
			bound = append(bound, s)
		case steps.AmendRecord:
			record := known[s.UID]
			switch {
			case record != nil && onlySupersedes(s):
				s.Version = record.ResourceVersion
			case record != nil && onlyRevokes(s) && cutOff.Covers(record.Spec.IssuedAt):
			default:
				return nil, false
			}
			bound = append(bound, s)
		default:
			return nil, false
		}
	}
	return bound, true
}

func issuesWithoutList(step steps.IssueRevision, records int) bool {
	switch step.Cause {
	case v1alpha1.CauseFirstIssue:
		return records == 0
	case v1alpha1.CauseSchedule, v1alpha1.CauseRequest, v1alpha1.CauseRevocation:
		return step.Loss == ""
	}
	return false
}

// onlySupersedes reports whether a change says that a revision is superseded, with the end that follows from it, and nothing else. One that the
// plan has bound to a version depends on uses, and a list shows the latest.
func onlySupersedes(step steps.AmendRecord) bool {
	rest := step
	rest.SupersededBy, rest.NotAfter, rest.WithdrawnAt = 0, nil, nil
	return step.SupersededBy != 0 && rest.IsEmpty() && step.Version == ""
}

// onlyRevokes reports whether a change revokes a revision, and says at most by which one it is superseded.
func onlyRevokes(step steps.AmendRecord) bool {
	rest := step
	rest.State, rest.SupersededBy, rest.NotAfter, rest.WithdrawnAt = "", 0, nil, nil
	return step.State == v1alpha1.StateRevoked && rest.IsEmpty()
}
