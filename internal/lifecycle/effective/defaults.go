// SPDX-License-Identifier: Apache-2.0

package effective

import (
	"cmp"

	"dgbot.io/key-operator/api/v1alpha1"
)

// RetireOf returns when earlier revisions of a key stop verifying. An absent policy, or an absent rotation, means
// AfterOverlap.
func RetireOf(spec *v1alpha1.DGbotAPIKeySpec) v1alpha1.RetirePolicy {
	if spec.Rotation == nil {
		return v1alpha1.RetireAfterOverlap
	}
	return retireOf(spec.Rotation)
}

func retireOf(rotation *v1alpha1.Rotation) v1alpha1.RetirePolicy {
	return cmp.Or(rotation.Retire, v1alpha1.RetireAfterOverlap)
}

// NeedsTracking reports whether a decision about the key depends on the tracking of uses: earlier revisions retire when they are unused, or the
// rules have an audit. Without either, a failed read of the Lease must not stop the key.
func NeedsTracking(key *v1alpha1.DGbotAPIKey, rules *v1alpha1.DGbotEnvironmentSpec) bool {
	return RetireOf(&key.Spec) == v1alpha1.RetireWhenUnused || rules != nil && rules.Audit != nil
}
