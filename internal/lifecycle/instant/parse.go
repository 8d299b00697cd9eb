// SPDX-License-Identifier: Apache-2.0

package instant

import (
	"regexp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// form is the form of times that the API server lets into spec, and the next two are their bounds, as in
// api/v1alpha1. Annotations are held to them as well: time.Parse takes fractions and years that could not be written back.
var form = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

var (
	earliestTime = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	latestTime   = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Parse reads a time as the API server would.
func Parse(text string) (metav1.Time, bool) {
	at, err := time.Parse(time.RFC3339, text)
	ok := err == nil && form.MatchString(text) && !at.Before(earliestTime) && at.Before(latestTime)
	return metav1.Time{Time: at.UTC()}, ok
}
