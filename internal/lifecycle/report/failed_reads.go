// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// ReadPart names a part of an observation that is read on its own.
type ReadPart string

// The parts that a plan can do without, and what it then does not know.
const (
	// ReadSecret is the Secret: whether it exists, who owns it, and which revision it holds. Secret.State is SecretUnknown.
	ReadSecret ReadPart = "Secret"
	// ReadRecords is the consistent list of records. Records holds those of the cache, some of which may be missing.
	ReadRecords ReadPart = "Records"
	// ReadEnvironment is the DGbotEnvironment (Environment.Rules is nil where it could not be read), the labels of the
	// namespace, or the number of keys that its rules count.
	ReadEnvironment ReadPart = "Environment"
	// ReadChatbot is the DGbotChatbot that spec.chatbotRef names.
	ReadChatbot ReadPart = "Chatbot"
	// ReadTracking is the Lease by which verifiers report since when uses are tracked.
	ReadTracking ReadPart = "Tracking"

	// ReadReservation is the ConfigMap that reserves a chatbot ID, or the chatbot that holds it. The reservation is ReservationUnknown.
	ReadReservation ReadPart = "Reservation"
	// ReadWidget is a chatbot's ConfigMap. Widget is WidgetUnknown.
	ReadWidget ReadPart = "Widget"
	// ReadReplica is the replica of a chatbot's HMAC secrets. Replica.Unknown is set.
	ReadReplica ReadPart = "Replica"
	// ReadSource is the Secret that importFrom names.
	ReadSource ReadPart = "Source"

	// ReadNamespaces is the list of namespaces, for the status of a DGbotEnvironment.
	ReadNamespaces ReadPart = "Namespaces"
	// ReadKeys is the list of keys, for the status of a DGbotEnvironment.
	ReadKeys ReadPart = "Keys"
)

// FailedRead describes a read of an observation that failed. What it was to find is unknown, and unknown grants nothing: a
// plan with failed reads has only steps that make records verify for less time or for fewer scopes.
type FailedRead struct {
	Of ReadPart
	// What was read, with its name: `Secret "production-server"`.
	What string
	// Message is the API server's, without any key.
	Message string
	// Remedy is what a person can do.
	Remedy string
}

// FailedReads are the failed reads of one observation.
type FailedReads []FailedRead

// Any reports whether a read of one of the parts failed.
func (f FailedReads) Any(parts ...ReadPart) bool {
	return slices.ContainsFunc(f, func(r FailedRead) bool { return slices.Contains(parts, r.Of) })
}

// Without returns the failed reads of all other parts.
func (f FailedReads) Without(parts ...ReadPart) FailedReads {
	return slices.DeleteFunc(slices.Clone(f), func(r FailedRead) bool { return slices.Contains(parts, r.Of) })
}

// cannotBeRead separates what was read from the answer in a message.
const cannotBeRead = " cannot be read: "

// minAnswer is how many bytes of each answer a message shows at least.
const minAnswer = 80

// Message names each failed read with the API server's answer, and then the remedies and the consequence. Long answers are cut, so
// that what to do is not.
func (f FailedReads) message(consequence string) string {
	advice := f.advice(consequence)
	room := maxMessage - len(advice)
	for _, read := range f {
		room -= len(read.What) + len(cannotBeRead) + len("; ")
	}
	reads := make([]string, 0, len(f))
	for _, read := range f {
		reads = append(reads, read.What+cannotBeRead+truncateTo(read.Message, max(room/len(f), minAnswer)))
	}
	return upperFirst(strings.Join(reads, "; ") + advice)
}

// advice is the end of a message, which is the same for all answers of one kind.
func (f FailedReads) advice(consequence string) string {
	var remedies []string
	for _, read := range f {
		if read.Remedy != "" && !slices.Contains(remedies, read.Remedy) {
			remedies = append(remedies, read.Remedy)
		}
	}
	if len(remedies) == 0 {
		return ". " + consequence
	}
	return "; " + strings.Join(remedies, ", and ") + ". " + consequence
}

// upperFirst returns a sentence with its first letter in upper case.
func upperFirst(sentence string) string {
	if sentence == "" {
		return ""
	}
	return strings.ToUpper(sentence[:1]) + sentence[1:]
}

// describedBy reports whether a message is about the same reads, which failed in the same way. The answers may differ: a KMS that puts
// a request ID into each of them must not cause a write of the status with each retry.
func (f FailedReads) describedBy(message, consequence string) bool {
	if strings.Count(message, cannotBeRead) != len(f) || !strings.HasSuffix(message, f.advice(consequence)) {
		return false
	}
	rest := message
	for i, read := range f {
		start := read.What + cannotBeRead
		if i > 0 {
			start = "; " + start
		} else {
			start = upperFirst(start)
		}
		at := strings.Index(rest, start)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		rest = rest[at+len(start):]
	}
	return true
}

// Obstacle keeps the message of the condition while the same reads fail in the same way.
func (f FailedReads) Obstacle(consequence string, conditions []metav1.Condition, now time.Time) *Obstacle {
	message := f.message(consequence)
	if stalled := apimeta.FindStatusCondition(conditions, v1alpha1.StalledCondition); stalled != nil &&
		stalled.Reason == v1alpha1.ObservationFailedReason && f.describedBy(stalled.Message, consequence) {
		message = stalled.Message
	}
	return &Obstacle{
		Reason: v1alpha1.ObservationFailedReason, Stalled: true, Message: message,
		Until: now.Add(RetryDelay(conditions, v1alpha1.ObservationFailedReason, now)),
	}
}
