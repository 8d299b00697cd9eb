// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/environments"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

func newChatbot() *chatbots.Observation {
	return &chatbots.Observation{
		Chatbot: &v1alpha1.DGbotChatbot{
			ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "support-bot", UID: "7d1e8f3a-0000-4000-8000-000000000002", Generation: 1},
			Spec:       v1alpha1.DGbotChatbotSpec{DisplayName: "Support bot", Environment: "production"},
		},
		ID: "cb_4f1c0000000000000000Aa", Reservation: chatbots.ReservationOwned, Holder: "sales/bot", Widget: chatbots.WidgetPublished,
	}
}

// firstSecret is the hash of the HMAC secret that chatbots of these tests have.
const firstSecret = "sha256:0f5b0c9e0000000000000000000000000000000000000000000000000000aaaa"

func hmacRevision(number int64, hash string) *v1alpha1.IdentityRevision {
	return &v1alpha1.IdentityRevision{Revision: number, KID: hash[7:23], Hash: hash, Cause: v1alpha1.CauseFirstIssue, IssuedAt: *at(start)}
}

// vouches has an HMAC secret in all three places.
func vouches(o *chatbots.Observation) {
	wantsSecret(o)
	ledger := chatbots.Ledger{Current: hmacRevision(1, firstSecret)}
	ledger.ApplyTo(&o.Chatbot.Status)
	o.HMAC.Secret = revisions.Secret{State: revisions.SecretOwned, Hash: firstSecret}
	o.HMAC.Replica = chatbots.Replica{There: true, Shows: ledger}
	o.HMAC.Known = map[string]bool{firstSecret: true}
}

func wantsSecret(o *chatbots.Observation) {
	o.Chatbot.Spec.IdentityVerification = &v1alpha1.IdentityVerification{Rotation: &v1alpha1.IdentityRotation{Overlap: lasts(time.Hour)}}
	o.HMAC.Secret.State = revisions.SecretAbsent
}

// imports names a Secret to begin with.
func imports(o *chatbots.Observation, hash string) {
	o.Chatbot.Spec.IdentityVerification.ImportFrom = &v1alpha1.ImportSource{Name: "old-widget", Key: "hmac"}
	o.HMAC.Source.Hash = hash
}

var chatbotScenarios = []struct {
	name    string
	happen  func(*chatbots.Observation)
	kstatus status.Status
}{
	{"published", func(*chatbots.Observation) {}, status.CurrentStatus},
	{"published-with-secret", vouches, status.CurrentStatus},
	{"progressing", func(o *chatbots.Observation) { o.Reservation = chatbots.ReservationAbsent }, status.InProgressStatus},
	{"secret-progressing", wantsSecret, status.InProgressStatus},
	{"id-conflict", func(o *chatbots.Observation) { o.Reservation = chatbots.ReservationTaken }, status.FailedStatus},
	{"id-refused", chatbotRefused(v1alpha1.ChatbotIDRefusedReason), status.FailedStatus},
	{"configmap-conflict", func(o *chatbots.Observation) { o.Widget = chatbots.WidgetForeign }, status.FailedStatus},
	{"configmap-write-refused", chatbotRefused(v1alpha1.ConfigMapWriteRefusedReason), status.FailedStatus},
	{"waiting-for-garbage-collection", func(o *chatbots.Observation) { o.Widget = chatbots.WidgetCollectable }, status.InProgressStatus},
	{"secret-conflict", func(o *chatbots.Observation) {
		wantsSecret(o)
		o.HMAC.Secret.State = revisions.SecretForeign
	}, status.FailedStatus},
	{"secret-write-refused", hmacRefused(v1alpha1.SecretWriteRefusedReason), status.FailedStatus},
	{"copy-write-refused", hmacRefused(v1alpha1.CopyWriteRefusedReason), status.FailedStatus},
	{"import-refused", func(o *chatbots.Observation) {
		wantsSecret(o)
		imports(o, "")
		o.HMAC.Source.Problem = "the Secret does not exist"
	}, status.FailedStatus},
	{"import-changed", func(o *chatbots.Observation) {
		vouches(o)
		imports(o, "sha256:another")
		o.Chatbot.Status.Imported = firstSecret
	}, status.CurrentStatus},
	{"import-too-late", func(o *chatbots.Observation) {
		vouches(o)
		imports(o, "sha256:another")
	}, status.CurrentStatus},
	{"import-padded", func(o *chatbots.Observation) {
		vouches(o)
		imports(o, firstSecret)
		o.Chatbot.Status.Imported, o.HMAC.Padded = firstSecret, map[string]bool{firstSecret: true}
	}, status.CurrentStatus},
	{"revocation-pending", func(o *chatbots.Observation) {
		vouches(o)
		o.Chatbot.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: start.Add(9 * time.Hour).Format(time.RFC3339)}
	}, status.CurrentStatus},
	{"waiting-for-overlap", overlappingSecret, status.InProgressStatus},
	{"annotation-unreadable", func(o *chatbots.Observation) {
		vouches(o)
		o.Chatbot.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: "tomorrow"}
	}, status.CurrentStatus},
}

func chatbotRefused(reason string) func(*chatbots.Observation) {
	return func(o *chatbots.Observation) {
		o.Rejection = &report.Rejection{Reason: reason, Message: "the API server says no"}
	}
}

func hmacRefused(reason string) func(*chatbots.Observation) {
	return func(o *chatbots.Observation) {
		wantsSecret(o)
		o.HMAC.Rejection = &report.Rejection{Reason: reason, Message: "the API server says no"}
	}
}

// overlappingSecret has one that was there before, which still verifies, and another rotation due.
func overlappingSecret(o *chatbots.Observation) {
	const secondSecret = "sha256:1f5b0c9e0000000000000000000000000000000000000000000000000000bbbb"
	vouches(o)
	before, now := hmacRevision(1, firstSecret), hmacRevision(2, secondSecret)
	now.IssuedAt = *at(start.Add(time.Minute))
	before.NotAfter = at(start.Add(time.Minute + time.Hour))
	ledger := chatbots.Ledger{Current: now, Previous: before}
	ledger.ApplyTo(&o.Chatbot.Status)
	o.HMAC.Secret.Hash, o.HMAC.PreviousHash = secondSecret, firstSecret
	o.HMAC.Replica.Shows = ledger
	o.HMAC.Known[secondSecret] = true
	o.Chatbot.Spec.IdentityVerification.Rotation.RequestedAt = at(start.Add(2 * time.Minute))
}

func chatbotStates() []state {
	all := make([]state, 0, len(chatbotScenarios)+1)
	for _, scenario := range chatbotScenarios {
		o := newChatbot()
		scenario.happen(o)
		o.Chatbot.Status = *chatbots.Plan(*o, start.Add(3*time.Minute)).Status
		all = append(all, chatbotState(scenario.name, o.Chatbot, scenario.kstatus))
	}
	unseen := newChatbot().Chatbot
	unseen.Status.ObservedGeneration = -1
	return append(all, chatbotState("unseen", unseen, status.InProgressStatus))
}

func chatbotState(name string, chatbot *v1alpha1.DGbotChatbot, kstatus status.Status) state {
	return state{name: name, kind: v1alpha1.ChatbotKind, object: chatbot, conditions: chatbot.Status.Conditions, kstatus: kstatus}
}

func environmentStates() []state {
	var all []state
	for _, scenario := range []struct {
		name    string
		happen  func(*environments.Observation)
		kstatus status.Status
	}{
		{"enforced", func(*environments.Observation) {}, status.CurrentStatus},
		{"selects-nothing", func(o *environments.Observation) {
			o.Environment.Spec.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "support"}}
			o.SelectsNothing = true
		}, status.CurrentStatus},
		{"time-zone-unknown", func(o *environments.Observation) {
			o.UnknownZones = []environments.UnknownZone{{Window: 0, Name: "No/Where"}}
		}, status.FailedStatus},
		{"unseen", nil, status.InProgressStatus},
	} {
		environment := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "production", Generation: 1}}
		environment.Status.ObservedGeneration = -1
		if scenario.happen != nil {
			o := environments.Observation{Environment: environment}
			scenario.happen(&o)
			seen, _ := environments.Status(o, start)
			environment.Status = *seen
		}
		all = append(all, state{
			name: scenario.name, kind: v1alpha1.EnvironmentKind, object: environment, conditions: environment.Status.Conditions, kstatus: scenario.kstatus,
		})
	}
	return all
}
