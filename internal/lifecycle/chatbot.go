// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// ClaimState says whose a chatbot ID is.
type ClaimState string

const (
	// ClaimAbsent: nobody has claimed the ID.
	ClaimAbsent ClaimState = "Absent"
	// ClaimOwn: the chatbot has.
	ClaimOwn ClaimState = "Own"
	// ClaimStale: one has that is no longer there.
	ClaimStale ClaimState = "Stale"
	// ClaimTaken: another one has.
	ClaimTaken ClaimState = "Taken"
)

// WidgetState says whose the ConfigMap of a chatbot's name is, and whether it is as it should be.
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
	// Refusal is what the API server answered to a step of the last plan; nil where there was none. With it no step is
	// asked for.
	Refusal *Refusal
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
	// Status is the chatbot's new status once there is no step. Nil for one that is being deleted.
	Status *v1alpha1.DGbotChatbotStatus
	// Wake is when to plan again although nothing has been seen to change; zero for never.
	Wake time.Time
}

// PlanChatbot decides what happens next with a chatbot. Nothing is published before the ID is the chatbot's own.
func PlanChatbot(o ChatbotObservation, now time.Time) ChatbotDecision {
	if !o.Chatbot.DeletionTimestamp.IsZero() {
		return ChatbotDecision{}
	}
	obstacle := o.obstacle(now)
	var d ChatbotDecision
	switch {
	case obstacle != nil:
		d.Wake = obstacle.until
	case o.Claim == ClaimAbsent, o.Claim == ClaimStale:
		d.Step = ClaimID
	case o.Widget != WidgetPublished:
		d.Step = PublishWidget
	}
	d.Status = o.status(obstacle, d.Step, now)
	return d
}

func (o *ChatbotObservation) obstacle(now time.Time) *obstacle {
	name := WidgetName(o.Chatbot)
	switch {
	case o.Refusal != nil:
		return &obstacle{reason: o.Refusal.Reason, message: o.Refusal.Message, stalled: true,
			until: now.Add(refusedDelay(o.Chatbot.Status.Conditions, o.Refusal.Reason, now))}
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

func (o *ChatbotObservation) status(obstacle *obstacle, step ChatbotStep, now time.Time) *v1alpha1.DGbotChatbotStatus {
	c := newConditions(o.Chatbot.Status.Conditions, o.Chatbot.Generation, now)
	switch {
	case obstacle != nil:
		c.set(v1alpha1.ReadyCondition, metav1.ConditionFalse, obstacle.reason, obstacle.message)
		c.progress(obstacle.stalled, !obstacle.stalled, obstacle.reason, obstacle.message)
	case step != "":
		const message = "The chatbot ID is about to be published"
		c.set(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ProgressingReason, message)
		c.progress(false, true, v1alpha1.ProgressingReason, message)
	default:
		c.set(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.PublishedReason, fmt.Sprintf("The chatbot ID and its snippet are in ConfigMap %q", WidgetName(o.Chatbot)))
		c.progress(false, false, "", "")
	}
	s := &v1alpha1.DGbotChatbotStatus{ObservedGeneration: o.Chatbot.Generation, Conditions: c.list}
	if o.Claim == ClaimOwn {
		s.ChatbotID = o.ID
	}
	return s
}

// ChatbotEvents returns what to tell when a chatbot's status changes to another one.
func ChatbotEvents(old, next *v1alpha1.DGbotChatbotStatus) []Event {
	was, is := apimeta.FindStatusCondition(old.Conditions, v1alpha1.ReadyCondition), apimeta.FindStatusCondition(next.Conditions, v1alpha1.ReadyCondition)
	if is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason {
		return nil
	}
	return []Event{{Warning: unwanted(is.Reason), Reason: is.Reason, Action: "Publish", Note: is.Message}}
}

// WidgetName returns the effective name of the chatbot's ConfigMap.
func WidgetName(chatbot *v1alpha1.DGbotChatbot) string {
	if chatbot.Spec.Widget != nil && chatbot.Spec.Widget.ConfigMapName != "" {
		return chatbot.Spec.Widget.ConfigMapName
	}
	return chatbot.Name + "-widget"
}
