// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"math/rand"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/environments"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// generateChatbots asks about chatbots, as generateKeys does about keys.
func generateChatbots(rng *rand.Rand, out *transcript) {
	d := draw{Rand: rng}
	for !out.full() {
		now := epoch.Add(time.Duration(d.Int63n(int64(400 * 24 * time.Hour)))).Truncate(time.Millisecond)
		o := d.chatbot(now)
		for range 1 + d.Intn(10) {
			decision := out.chatbot(&o, now)
			if out.full() {
				return
			}
			now = d.goOnWithChatbot(&o, &decision, now)
		}
	}
}

// chatbot asks everything that the policy answers about one observation.
func (t *transcript) chatbot(o *chatbots.Observation, now time.Time) chatbots.Decision {
	t.observation()
	decision := chatbots.Plan(*o, now)
	t.chatbotDecision(decision)
	if decision.Status != nil {
		t.events(chatbots.Events(*o, decision.Status, now))
	}
	if decision.Issue != nil {
		t.fact("imports", o.Imports(decision.Issue))
	}
	t.fact("withdrawal", chatbots.WithdrawalOf(o.Chatbot, now))
	return decision
}

func (d draw) chatbot(now time.Time) chatbots.Observation {
	chatbot := &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{
			Name: "support-bot", Namespace: "support", UID: types.UID(fmt.Sprintf("uid-%d", d.Intn(1000))), Generation: int64(1 + d.Intn(5)),
			CreationTimestamp: d.around(now), Annotations: d.annotations(now),
		},
		Spec: v1alpha1.DGbotChatbotSpec{DisplayName: "Support bot", Environment: "production"},
	}
	if !d.oneIn(6) {
		chatbot.Spec.IdentityVerification = d.identityVerification(now)
	}
	if d.oneIn(8) {
		chatbot.Spec.Widget = &v1alpha1.WidgetSpec{ConfigMapName: "other-widget"}
	}
	if d.oneIn(25) {
		chatbot.DeletionTimestamp = new(d.around(now))
	}
	o := chatbots.Observation{
		Chatbot: chatbot, ID: "cb_1", Holder: "other/bot",
		Reservation: pick(d, chatbots.ReservationOwned, chatbots.ReservationOwned, chatbots.ReservationOwned, chatbots.ReservationOwned, chatbots.ReservationAbsent, chatbots.ReservationStale,
			chatbots.ReservationTaken, chatbots.ReservationUnknown),
		Widget: pick(d, chatbots.WidgetPublished, chatbots.WidgetPublished, chatbots.WidgetAbsent, chatbots.WidgetDrifted, chatbots.WidgetCollectable,
			chatbots.WidgetForeign, chatbots.WidgetUnknown),
	}
	chatbot.Status = d.chatbotStatus(now)
	o.HMAC = d.hmac(&chatbot.Status, now)
	if d.oneIn(8) {
		o.Rejection = &report.Rejection{Reason: v1alpha1.ConfigMapWriteRefusedReason, Message: "exceeded quota"}
	}
	if d.oneIn(8) {
		o.Failed = d.failedChatbotReads()
	}
	return o
}

func (d draw) identityVerification(now time.Time) *v1alpha1.IdentityVerification {
	iv := &v1alpha1.IdentityVerification{AcceptPlain: d.oneIn(4)}
	if d.oneIn(2) {
		iv.Rotation = &v1alpha1.IdentityRotation{
			Interval: d.maybeDuration(2), Overlap: d.maybeDuration(2), RequestedAt: d.maybeAround(now, 3), RevokeIssuedBefore: d.maybeAround(now, 4),
		}
	}
	if d.oneIn(6) {
		iv.Secret = &v1alpha1.IdentitySecretSpec{Name: "other-name"}
	}
	if d.oneIn(3) {
		iv.ImportFrom = &v1alpha1.ImportSource{Name: "old", Key: "hmac"}
	}
	return iv
}

// revision n of an HMAC secret.
func (d draw) revision(n int64, now time.Time) *v1alpha1.IdentityRevision {
	return &v1alpha1.IdentityRevision{
		Revision: n, KID: fmt.Sprintf("%016d", n), Hash: fmt.Sprintf("sha256:%d", n), IssuedAt: d.around(now), NotAfter: d.maybeAround(now, 3), Revoked: d.oneIn(8),
		Cause: pick(d, v1alpha1.CauseFirstIssue, v1alpha1.CauseSchedule, v1alpha1.CauseRequest, v1alpha1.CauseRevocation, v1alpha1.CauseSecretLost),
	}
}

func (d draw) ledger(now time.Time) chatbots.Ledger {
	var l chatbots.Ledger
	n := int64(1 + d.Intn(5))
	if !d.oneIn(3) {
		l.Previous = d.revision(n, now)
	}
	if !d.oneIn(5) {
		l.Current = d.revision(n+1, now)
	}
	if d.oneIn(4) {
		l.Pending = d.revision(n+2, now)
		l.Pending.NotAfter = nil
	}
	return l
}

func (d draw) chatbotStatus(now time.Time) v1alpha1.DGbotChatbotStatus {
	s := v1alpha1.DGbotChatbotStatus{ChatbotID: pick(d, "", "cb_1", "cb_1", "cb_1", "cb_2"), NextRotationAt: d.maybeAround(now, 5)}
	if !d.oneIn(4) {
		d.ledger(now).ApplyTo(&s)
		s.Binding = &v1alpha1.Binding{Name: "support-bot-identity"}
	}
	s.Imported = pick(d, "", "", "", "sha256:1", "sha256:9")
	if d.oneIn(5) {
		s.LastHandledRequest = &v1alpha1.HandledRequest{RotateRequestedAt: d.maybeAround(now, 2), RevokeIssuedBefore: d.maybeAround(now, 2)}
	}
	s.Conditions = d.conditions(now)
	return s
}

func (d draw) hmac(s *v1alpha1.DGbotChatbotStatus, now time.Time) chatbots.HMACObservation {
	ledger := chatbots.LedgerOf(s)
	h := chatbots.HMACObservation{Secret: revisions.Secret{State: pick(d, revisions.SecretOwned, revisions.SecretOwned, revisions.SecretOwned, revisions.SecretAbsent,
		revisions.SecretUnowned, revisions.SecretCollectable, revisions.SecretForeign, revisions.SecretUnknown)}}
	h.Secret.Drifted, h.Secret.OtherOwner = d.oneIn(6), d.oneIn(4)
	h.Replica.There, h.Replica.Drifted, h.Replica.Unknown = !d.oneIn(5), d.oneIn(8), d.oneIn(12)
	if h.Replica.There {
		h.Replica.Shows = ledger
		if d.oneIn(4) {
			h.Replica.Shows = d.ledger(now)
		}
		h.Replica.Abandoned = pick(d, "", "", fmt.Sprintf("%016d", 1+d.Intn(6)))
	}
	if h.Replica.Unknown && d.oneIn(2) {
		h.Replica.Pruned = map[string]bool{fmt.Sprintf("%016d", 1+d.Intn(6)): true}
	}
	if ledger.Current != nil && !d.oneIn(5) {
		h.Secret.Hash, h.Secret.KeyID = ledger.Current.Hash, ledger.Current.KID
	} else if d.oneIn(2) {
		h.Secret.Hash = fmt.Sprintf("sha256:%d", 1+d.Intn(6))
	}
	if ledger.Previous != nil && d.oneIn(2) {
		h.PreviousHash = ledger.Previous.Hash
	}
	h.Source = chatbots.ImportSource{Hash: pick(d, "", "sha256:1", "sha256:9"), Problem: pick(d, "", "", "the Secret has no such entry"), Unknown: d.oneIn(10)}
	h.Rejection = pick(d, nil, nil, nil, nil, nil,
		&report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: "exceeded quota"},
		&report.Rejection{Reason: v1alpha1.CopyWriteRefusedReason, Message: "webhook says no"})
	h.Failed = d.oneIn(12)
	d.know(&h)
	return h
}

// know fills in which secrets are at hand: those in the Secret and in the replica, at times one less or one more.
func (d draw) know(h *chatbots.HMACObservation) {
	h.Known, h.Padded = map[string]bool{}, map[string]bool{}
	for _, hash := range []string{h.Secret.Hash, h.PreviousHash} {
		if hash != "" && h.Secret.State == revisions.SecretOwned {
			h.Known[hash] = true
		}
	}
	for _, revision := range h.Replica.Shows.Revisions() {
		if !d.oneIn(12) {
			h.Known[revision.Hash] = true
		}
	}
	if d.oneIn(4) {
		h.Known[fmt.Sprintf("sha256:%d", 1+d.Intn(8))] = true
	}
	if d.oneIn(8) {
		h.Padded[h.Secret.Hash] = true
	}
}

func (d draw) failedChatbotReads() report.FailedReads {
	var failed report.FailedReads
	for _, part := range []report.ReadPart{report.ReadReservation, report.ReadWidget, report.ReadSecret, report.ReadReplica, report.ReadSource} {
		if d.oneIn(3) {
			failed = append(failed, report.FailedRead{Of: part, What: readNames[part], Message: "forbidden", Remedy: pick(d, "check that the API server answers", remedyForForbidden)})
		}
	}
	return failed
}

// goOnWithChatbot carries out the step, or moves the clock, or changes something, and returns the time.
func (d draw) goOnWithChatbot(o *chatbots.Observation, decision *chatbots.Decision, now time.Time) time.Time {
	o.Chatbot = o.Chatbot.DeepCopy()
	h := &o.HMAC
	switch decision.Step {
	case "":
		return d.restWithChatbot(o, decision, now)
	case chatbots.ReserveID:
		o.Reservation = chatbots.ReservationOwned
	case chatbots.PublishWidget:
		o.Widget = chatbots.WidgetPublished
	case chatbots.AnnounceRevision:
		n := decision.Issue.Revision
		o.Chatbot.Status.Pending = &v1alpha1.IdentityRevision{
			Revision: n, KID: fmt.Sprintf("%016d", n), Hash: fmt.Sprintf("sha256:%d", n), Cause: decision.Issue.Cause, IssuedAt: decision.Issue.IssuedAt,
		}
		if !d.oneIn(5) {
			h.Known[o.Chatbot.Status.Pending.Hash] = true
		}
	case chatbots.WriteLedger:
		decision.Ledger.Replace(&o.Chatbot.Status)
	case chatbots.MarkReplica:
		h.Replica.There, h.Replica.Abandoned = true, decision.Ledger.Pending.KID
	case chatbots.WriteReplica:
		h.Replica.There, h.Replica.Drifted, h.Replica.Shows = true, false, decision.Ledger
	case chatbots.PruneReplica:
		h.Replica.Pruned = map[string]bool{}
		for _, kid := range decision.Kids {
			h.Replica.Pruned[kid] = true
		}
	case chatbots.DeleteReplica:
		h.Replica = chatbots.Replica{}
	case chatbots.WriteSecret:
		h.Secret, h.PreviousHash = revisions.Secret{State: revisions.SecretOwned, Hash: decision.Ledger.Current.Hash}, ""
		if decision.Ledger.Previous != nil {
			h.PreviousHash = decision.Ledger.Previous.Hash
		}
	default:
		panic("unknown step " + decision.Step)
	}
	return now
}

// restWithChatbot stores the status of a plan without a step, and changes the world.
func (d draw) restWithChatbot(o *chatbots.Observation, decision *chatbots.Decision, now time.Time) time.Time {
	if decision.Status != nil {
		o.Chatbot.Status = *decision.Status
	}
	instants := []*metav1.Time{o.Chatbot.Status.NextRotationAt}
	for _, revision := range chatbots.LedgerOf(&o.Chatbot.Status).Revisions() {
		instants = append(instants, revision.NotAfter)
	}
	now = d.later(now, instants...)
	switch d.Intn(8) {
	case 0:
		o.Chatbot.Spec.IdentityVerification = d.identityVerification(now)
	case 1:
		o.Chatbot.Annotations = d.annotations(now)
	case 2:
		o.HMAC = d.hmac(&o.Chatbot.Status, now)
	case 3:
		o.HMAC.Rejection, o.HMAC.Failed, o.Rejection, o.Failed = nil, false, nil, nil
	case 4:
		o.Failed = d.failedChatbotReads()
	default:
		d.know(&o.HMAC)
	}
	return now
}

// generateEnvironments asks about environments with a few keys, whose status sums up what keys report.
func generateEnvironments(rng *rand.Rand, out *transcript) {
	d := draw{Rand: rng}
	for !out.full() {
		now := epoch.Add(time.Duration(d.Int63n(int64(400 * 24 * time.Hour))))
		env := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "production", Generation: int64(d.Intn(4))}, Spec: *d.rules(now)}
		env.Status.Conditions, env.Status.Keys = d.conditions(now), int64(d.Intn(5))
		o := environments.Observation{Environment: env}
		if d.oneIn(6) {
			o.UnknownZones = []environments.UnknownZone{{Window: 0, Name: "No/Where"}}
		}
		o.SelectsNothing = d.oneIn(6)
		for range d.Intn(6) {
			sim := d.simulation()
			o.Keys = append(o.Keys, *sim.Key)
		}
		for _, part := range []report.ReadPart{report.ReadNamespaces, report.ReadKeys} {
			if d.oneIn(8) {
				o.Failed = append(o.Failed, report.FailedRead{Of: part, What: readNames[part], Message: "forbidden", Remedy: remedyForForbidden})
			}
		}
		out.observation()
		status, wake := environments.Status(o, now)
		out.conditions(status.Conditions)
		out.events(environments.Events(&env.Status, status))
		status.Conditions = nil
		out.fact("status", asJSON(status))
		out.wake(wake)
	}
}
