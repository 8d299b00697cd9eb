// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/requests"
)

// PendingRequests describes the requests of a key that are in the future at now by more than clocks differ, one a line.
func PendingRequests(key *v1alpha1.DGbotAPIKey, now time.Time) []string {
	var lines []string
	for _, request := range requests.PendingOf(key, now) {
		if !request.At.After(now.Add(instant.ClockTolerance)) {
			continue
		}
		effect := map[requests.Kind]string{
			requests.Revocation: "the operator revokes nothing", requests.Rotation: "the operator issues nothing", requests.Keep: "the audit counts as before",
		}[request.Kind]
		lines = append(lines, fmt.Sprintf("the %s request in %s is in the future: until %s, %s because of this request", request.Kind, request.Source(),
			request.At.UTC().Format(time.RFC3339), effect))
	}
	return lines
}
