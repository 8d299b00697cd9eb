// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"cmp"

	"dgbot.io/key-operator/api/v1alpha1"
)

// The API server adds no defaults to a spec. A default would have no field manager, so Argo CD takes it for the work of a
// mutating webhook and leaves it out of its comparison: a field that Git removes, or never had, could then be set by
// another client without a difference. The functions here are the only places that know what an absent field means.

// defaultTimeZone is the time zone of a window that names none.
const defaultTimeZone = "UTC"

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

// TimeZoneOf returns the name of a window's time zone. An absent name means UTC.
func TimeZoneOf(window *v1alpha1.RotationWindow) string {
	return cmp.Or(window.TimeZone, defaultTimeZone)
}

// NeedsTracking reports whether a decision about the key depends on ReadTracking: earlier revisions retire when they are unused, or the
// rules have an audit. Without either, a failed read of the Lease must not stop the key.
func NeedsTracking(key *v1alpha1.DGbotAPIKey, rules *v1alpha1.DGbotEnvironmentSpec) bool {
	return RetireOf(&key.Spec) == v1alpha1.RetireWhenUnused || rules != nil && rules.Audit != nil
}
