// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// ClaimState describes who has reserved a chatbot ID.
type ClaimState string

const (
	// ClaimAbsent: the ID is not reserved.
	ClaimAbsent ClaimState = "Absent"
	// ClaimOwn: the chatbot has reserved it.
	ClaimOwn ClaimState = "Own"
	// ClaimStale: a chatbot that was deleted has reserved it.
	ClaimStale ClaimState = "Stale"
	// ClaimTaken: another chatbot has reserved it.
	ClaimTaken ClaimState = "Taken"
	// ClaimUnknown: the reservation, or the chatbot that it names, could not be read.
	ClaimUnknown ClaimState = "Unknown"
)

// WidgetState describes who owns the ConfigMap of a chatbot's name, and whether it has drifted.
type WidgetState string

const (
	// WidgetAbsent: there is no ConfigMap of that name.
	WidgetAbsent WidgetState = "Absent"
	// WidgetPublished: it is the chatbot's, and as it should be.
	WidgetPublished WidgetState = "Published"
	// WidgetDrifted: it is the chatbot's, and differs.
	WidgetDrifted WidgetState = "Drifted"
	// WidgetCollectable: it is that of a chatbot of the same name which was deleted; garbage collection will take it.
	WidgetCollectable WidgetState = "Collectable"
	// WidgetForeign: anything else. It is never touched.
	WidgetForeign WidgetState = "Foreign"
	// WidgetUnknown: the ConfigMap, or its owner, could not be read.
	WidgetUnknown WidgetState = "Unknown"
)

// ChatbotObservation is everything the policy of chatbots looks at.
type ChatbotObservation struct {
	// Chatbot as it is in the API server.
	Chatbot *v1alpha1.DGbotChatbot
	// ID is the one that is the chatbot's by its spec or its uid.
	ID string
	// Claim of that ID, and who holds it where it is Taken, as namespace/name.
	Claim  ClaimState
	Holder string
	Widget WidgetState
	// Refusal is what the API server answered to ClaimID or PublishWidget; nil where there was none. With it no such step is
	// asked for.
	Refusal *Refusal
	// HMAC is what is known of the chatbot's HMAC secret.
	HMAC HMACObservation
	// Failed are the reads that failed. What depends on them is only taken away: see FailedRead.
	Failed FailedReads
}

// ChatbotStep is one thing to do for a chatbot.
type ChatbotStep string

const (
	// ClaimID: create the lock of the ID, after a stale one was deleted. Its creation decides between two claimants.
	ClaimID ChatbotStep = "ClaimID"
	// PublishWidget: write the ConfigMap.
	PublishWidget ChatbotStep = "PublishWidget"
)

// ChatbotDecision is what PlanChatbot decides.
type ChatbotDecision struct {
	// Step to carry out before planning again; empty where there is none.
	Step ChatbotStep
	// Issue is the revision that AnnounceRevision announces, Kids those that PruneCopy removes, and Ledger what the other steps for an
	// HMAC secret write.
	Issue  *IssueRevision
	Kids   []string
	Ledger Ledger
	// Status is the chatbot's new status once there is no step. Nil for one that is being deleted.
	Status *v1alpha1.DGbotChatbotStatus
	// Wake is when to plan again although nothing has been seen to change; zero for never.
	Wake time.Time
}

// PlanChatbot decides what happens next with a chatbot. Nothing is published before the ID is the chatbot's own. The HMAC
// secret comes before the widget, because it can be leaked, and neither waits for what is wrong with the other.
func PlanChatbot(o ChatbotObservation, now time.Time) ChatbotDecision {
	if !o.Chatbot.DeletionTimestamp.IsZero() {
		plan := o.withdraw()
		d := ChatbotDecision{Step: plan.step, Kids: plan.kids}
		if len(o.Failed) > 0 {
			d.Wake = now.Add(lookAgain)
		}
		return d
	}
	obstacle := o.obstacle(now)
	var d ChatbotDecision
	var hmac hmacPlan
	switch {
	case o.hmacUnknown() && (o.Claim == ClaimOwn || o.Claim == ClaimUnknown):
		hmac = o.planWithdrawal(now)
	case o.Claim == ClaimOwn:
		hmac = o.planHMAC(now)
	}
	d.Step, d.Issue, d.Kids, d.Ledger = hmac.step, hmac.issue, hmac.kids, hmac.shown
	if refused := o.HMAC.Refusal; hmac.planner == nil && obstacle == nil && refused != nil {
		obstacle = o.refused(refused, now)
	}
	switch {
	case obstacle != nil:
		d.Wake = obstacle.until
	case d.Step != "":
	case o.Claim == ClaimAbsent, o.Claim == ClaimStale:
		d.Step = ClaimID
	case o.Widget != WidgetPublished:
		d.Step = PublishWidget
	}
	d.Status = o.status(obstacle, &hmac, d.Step, now)
	if hmac.planner != nil {
		d.Wake = sooner(d.Wake, hmac.planner.next) // the status has asked its rules by now
	}
	return d
}

// sooner returns the earlier of two times of which zero stands for never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (o *ChatbotObservation) obstacle(now time.Time) *obstacle {
	name := WidgetName(o.Chatbot)
	switch {
	case o.Refusal != nil:
		return o.refused(o.Refusal, now)
	case len(o.Failed) > 0:
		return o.failedObstacle(now)
	case o.Claim == ClaimTaken:
		return &obstacle{reason: v1alpha1.ChatbotIDConflictReason, stalled: true, until: now.Add(lookAgain), message: fmt.Sprintf(
			"Chatbot ID %q belongs to DGbotChatbot %s: an ID is unique in the cluster; delete that one, or create this one with another spec.chatbotID", o.ID, o.Holder)}
	case o.Claim != ClaimOwn:
		return nil
	case o.Widget == WidgetForeign:
		return &obstacle{reason: v1alpha1.ConfigMapConflictReason, stalled: true, until: now.Add(lookAgain), message: fmt.Sprintf(
			"ConfigMap %q exists and does not belong to this chatbot: it is left alone; delete or rename it, or create the chatbot with another spec.widget.configMapName", name)}
	case o.Widget == WidgetCollectable:
		return &obstacle{reason: v1alpha1.WaitingForGarbageCollectionReason, until: now.Add(lookAgain), message: fmt.Sprintf(
			"ConfigMap %q is left over from a deleted chatbot and waits for garbage collection", name)}
	}
	return nil
}

func (o *ChatbotObservation) refused(r *Refusal, now time.Time) *obstacle {
	return &obstacle{reason: r.Reason, message: r.Message, stalled: true, until: now.Add(refusedDelay(o.Chatbot.Status.Conditions, r.Reason, now))}
}

func (o *ChatbotObservation) status(obstacle *obstacle, hmac *hmacPlan, step ChatbotStep, now time.Time) *v1alpha1.DGbotChatbotStatus {
	s := &v1alpha1.DGbotChatbotStatus{ObservedGeneration: o.Chatbot.Generation, Conditions: o.conditions(obstacle, hmac, step, now)}
	if o.Claim == ClaimOwn || o.Claim != ClaimTaken && o.Chatbot.Status.ChatbotID == o.ID {
		// Also while the claim is gone and cannot be written anew: by this the ID stays the chatbot's.
		s.ChatbotID = o.ID
	}
	p := hmac.planner
	if p == nil {
		if o.Claim != ClaimOwn || o.HMAC.Copy.Unknown {
			// Whose the ID is, or what its replica shows, is not clear at the moment: what is known stays known.
			o.keep(s)
		}
		return s
	}
	if hmac.withdrawal {
		o.keep(s)
		hmac.ledger.ApplyTo(s)
		if !o.copyRefused() {
			s.LastHandledRequest = p.handled()
		}
		return s
	}
	hmac.ledger.ApplyTo(s)
	s.Imported, s.NextRotationAt, s.LastHandledRequest, s.Binding = o.Chatbot.Status.Imported, p.nextRotation(), p.handled(), o.Chatbot.Status.Binding
	if o.HMAC.Refusal != nil && o.HMAC.Refusal.Reason == v1alpha1.CopyWriteRefusedReason {
		// What the ledger says may not be in the copy yet.
		s.LastHandledRequest = o.Chatbot.Status.LastHandledRequest
	}
	if p.published != nil {
		s.Binding = &v1alpha1.Binding{Name: IdentitySecretName(o.Chatbot)}
	}
	return s
}

// keep leaves what the status says of the HMAC secret as it is.
func (o *ChatbotObservation) keep(s *v1alpha1.DGbotChatbotStatus) {
	is := &o.Chatbot.Status
	LedgerOf(is).ApplyTo(s)
	s.Imported, s.NextRotationAt, s.LastHandledRequest, s.Binding = is.Imported, is.NextRotationAt, is.LastHandledRequest, is.Binding
}

func (o *ChatbotObservation) conditions(obstacle *obstacle, hmac *hmacPlan, step ChatbotStep, now time.Time) []metav1.Condition {
	c := newConditions(o.Chatbot.Status.Conditions, o.Chatbot.Generation, now)
	p := hmac.planner
	harmless := obstacle == nil && p != nil && p.obstacle != nil && p.obstacle.harmless
	if obstacle == nil && p != nil {
		obstacle = p.obstacle
	}
	message := fmt.Sprintf("The chatbot ID and its snippet are in ConfigMap %q", WidgetName(o.Chatbot))
	ready := step == ""
	if p != nil {
		ready = ready && p.published != nil && p.published.isAdmitted(&p.horizon)
		message += fmt.Sprintf(", revision %d of the HMAC secret in Secret %q", o.currentRevision(hmac), IdentitySecretName(o.Chatbot))
	}
	switch {
	case obstacle != nil && !harmless:
		c.set(v1alpha1.ReadyCondition, metav1.ConditionFalse, obstacle.reason, obstacle.message)
	case ready:
		c.set(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.PublishedReason, message)
	default:
		message = "The chatbot ID is about to be published"
		if p != nil && p.cause != "" {
			message = fmt.Sprintf("An HMAC secret is about to be issued (%s)", p.cause)
		}
		c.set(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ProgressingReason, message)
	}
	switch {
	case obstacle != nil:
		c.progress(obstacle.stalled, !obstacle.stalled, obstacle.reason, obstacle.message)
	default:
		c.progress(false, !ready, v1alpha1.ProgressingReason, message)
	}
	invalid, pending, inFuture, reason, ignored, padded := "", "", "", "", "", ""
	if p != nil {
		invalid, pending, inFuture = p.requests.invalid, p.pendingReason(), p.pendingMessage()
		reason, ignored = o.importIgnored(hmac.ledger)
		padded = o.importPadded(hmac.ledger)
	}
	c.whileTrue(v1alpha1.RequestInvalidCondition, invalid != "", v1alpha1.AnnotationUnreadableReason, invalid)
	c.whileTrue(v1alpha1.RequestPendingCondition, pending != "", pending, inFuture)
	if len(o.Failed) == 0 && !o.HMAC.Source.Unknown {
		c.whileTrue(v1alpha1.ImportIgnoredCondition, reason != "", reason, ignored)
		c.whileTrue(v1alpha1.ImportPaddedCondition, padded != "", v1alpha1.SurroundingWhiteSpaceReason, padded)
	}
	return c.list
}

func (o *ChatbotObservation) currentRevision(hmac *hmacPlan) int64 {
	if hmac.ledger.Current == nil {
		return 0
	}
	return hmac.ledger.Current.Revision
}

// ChatbotEvents returns what to tell when a chatbot's status changes to another one.
func ChatbotEvents(o ChatbotObservation, next *v1alpha1.DGbotChatbotStatus, now time.Time) []Event {
	own := ownerOfChatbot(o.Chatbot, &o.Chatbot.Status, &horizon{now: now})
	var revisions []*Revision
	for _, r := range LedgerOf(next).Revisions() {
		revisions = append(revisions, revisionInLedger(r, nil))
	}
	events := own.events(revisions, summaryOfChatbot(next), now)
	for _, abnormal := range []string{v1alpha1.ImportIgnoredCondition, v1alpha1.ImportPaddedCondition} {
		if is := newly(abnormal, o.Chatbot.Status.Conditions, next.Conditions); is != nil {
			events = append(events, Event{Warning: true, Reason: is.Reason, Action: "Import", Note: is.Message})
		}
	}
	return events
}

// HMACLossEvent tells of a lost HMAC secret that a revision with another cause replaces.
func HMACLossEvent(chatbot *v1alpha1.DGbotChatbot, loss v1alpha1.Cause) Event {
	return chatbotKind.lossEvent(loss, IdentitySecretName(chatbot))
}

// WidgetName returns the effective name of the chatbot's ConfigMap.
func WidgetName(chatbot *v1alpha1.DGbotChatbot) string {
	if chatbot.Spec.Widget != nil && chatbot.Spec.Widget.ConfigMapName != "" {
		return chatbot.Spec.Widget.ConfigMapName
	}
	return chatbot.Name + "-widget"
}
