// SPDX-License-Identifier: Apache-2.0

package write

import (
	"slices"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestRejections_HaveASeriesForEachReason: a series that appears with its first count has not increased for rate(), so that an alert misses the
// first rejection.
func TestRejections_HaveASeriesForEachReason(t *testing.T) {
	var want []string
	for _, reason := range v1alpha1.AbnormalReasons {
		if strings.HasSuffix(reason, "Refused") && reason != v1alpha1.ImportRefusedReason || reason == v1alpha1.RecordConflictReason {
			want = append(want, reason)
		}
	}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(rejectionReasons))
	if !slices.Equal(got, want) {
		t.Errorf("the reasons of rejections are %q, want %q: those of writes that the API server rejects", got, want)
	}
}
