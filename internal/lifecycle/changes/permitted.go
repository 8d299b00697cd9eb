// SPDX-License-Identifier: Apache-2.0

package changes

import (
	"slices"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// permitted returns the part of an amendment that does not depend on what could not be read: with failed reads only what takes
// away. Ends are computed from what is known, see wantedEnd.
func (m *amender) permitted(record *revisions.Revision, a steps.AmendRecord) steps.AmendRecord {
	if len(m.Failed) == 0 {
		return a
	}
	less := steps.AmendRecord{Name: a.Name, UID: a.UID, NotAfter: a.NotAfter, Version: a.Version, SupersededBy: a.SupersededBy}
	if effective.Strictness[a.State] > effective.Strictness[record.State] {
		less.State = a.State
	}
	if a.Audit != nil && *a.Audit != "" {
		less.Audit = a.Audit
	}
	if a.Scopes != nil {
		less.Scopes = FewerScopes(record.Scopes, *a.Scopes)
	}
	return less
}

// FewerScopes returns the wanted scopes that a record's scopes cover; nil if the record would not lose any.
func FewerScopes(has, wanted []v1alpha1.Scope) *[]v1alpha1.Scope {
	covered := slices.DeleteFunc(slices.Clone(wanted), func(scope v1alpha1.Scope) bool {
		return !slices.ContainsFunc(has, func(pattern v1alpha1.Scope) bool { return pattern.Covers(scope) })
	})
	loses := slices.ContainsFunc(has, func(scope v1alpha1.Scope) bool {
		return !slices.ContainsFunc(covered, func(pattern v1alpha1.Scope) bool { return pattern.Covers(scope) })
	})
	if !loses {
		return nil
	}
	return &covered
}
