// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestFailedReads_Message: it names every read, the API server's answer and each remedy once.
func TestFailedReads_Message(t *testing.T) {
	reads := FailedReads{
		{ReadSecret, `Secret "crm"`, "forbidden", "grant the right"},
		{ReadEnvironment, `DGbotEnvironment "production"`, "forbidden", "grant the right"},
	}
	const want = `Secret "crm" cannot be read: forbidden; DGbotEnvironment "production" cannot be read: forbidden; grant the right. Nothing is issued`
	if got := reads.message("Nothing is issued"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestFailedReads_LongAnswersLeaveRoomForWhatToDo in the condition's message, which has a limit.
func TestFailedReads_LongAnswersLeaveRoomForWhatToDo(t *testing.T) {
	parts := []ReadPart{ReadSecret, ReadRecords, ReadEnvironment, ReadChatbot, ReadTracking}
	for n := 1; n <= len(parts); n++ {
		var reads FailedReads
		for _, part := range parts[:n] {
			reads = append(reads, FailedRead{part, "the " + string(part), strings.Repeat("ü", 2000), "correct the KMS"})
		}
		message := reads.message("Nothing is issued")
		if Truncate(message) != message || !strings.HasSuffix(message, "; correct the KMS. Nothing is issued") || !reads.describedBy(message, "Nothing is issued") {
			t.Errorf("%d reads: %d bytes: %s", n, len(message), message)
		}
	}
}

// TestFailedReads_KeepTheMessage while the same reads fail in the same way, however the answers are worded.
func TestFailedReads_KeepTheMessage(t *testing.T) {
	const kms, right, consequence = "correct the KMS", "grant the right", "Nothing is issued"
	secret := func(answer, remedy string) FailedRead {
		return FailedRead{ReadSecret, `Secret "crm"`, answer, remedy}
	}
	rules := func(answer, remedy string) FailedRead {
		return FailedRead{ReadEnvironment, `DGbotEnvironment "production"`, answer, remedy}
	}
	before := FailedReads{secret("KMS is down, request 1", kms), rules("forbidden", right)}
	for name, tc := range map[string]struct {
		reads FailedReads
		keeps bool
	}{
		"the same":                     {before, true},
		"another request ID":           {FailedReads{secret("KMS is down, request 22; retry", kms), rules("forbidden", right)}, true},
		"one read less":                {before[:1], false},
		"one read more":                {append(slices.Clone(before), FailedRead{ReadChatbot, "the chatbot", "x", right}), false},
		"another read":                 {FailedReads{secret("KMS is down, request 1", kms), {ReadChatbot, "the chatbot", "forbidden", right}}, false},
		"another order":                {FailedReads{before[1], before[0]}, false},
		"another kind of answer":       {FailedReads{secret("forbidden", right), rules("forbidden", right)}, false},
		"another object of the kind":   {FailedReads{{ReadSecret, `Secret "other"`, "KMS is down", kms}, rules("forbidden", right)}, false},
		"an answer that quotes a read": {FailedReads{secret("x cannot be read: y", kms), rules("forbidden", right)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, reason := range []string{v1alpha1.ObservationFailedReason, v1alpha1.SecretWriteRefusedReason} {
				told := []metav1.Condition{{Type: v1alpha1.StalledCondition, Reason: reason, Message: before.message(consequence)}}
				got, keeps := tc.reads.Obstacle(consequence, told, time.Now()).Message, tc.keeps && reason == v1alpha1.ObservationFailedReason
				want := tc.reads.message(consequence)
				if keeps {
					want = before.message(consequence)
				}
				if got != want {
					t.Errorf("after %s:\n%s\nwant\n%s", reason, got, want)
				}
			}
		})
	}
}
