// SPDX-License-Identifier: Apache-2.0

// Package chatbots decides what happens to a DGbotChatbot: its chatbot ID, its widget and its HMAC secret.
package chatbots

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/status"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// ReservationState describes who has reserved a chatbot ID.
type ReservationState string

const (
	// ReservationAbsent: the ID is not reserved.
	ReservationAbsent ReservationState = "Absent"
	// ReservationOwned: the chatbot has reserved it.
	ReservationOwned ReservationState = "Owned"
	// ReservationStale: a chatbot that was deleted has reserved it.
	ReservationStale ReservationState = "Stale"
	// ReservationTaken: another chatbot has reserved it.
	ReservationTaken ReservationState = "Taken"
	// ReservationUnknown: the reservation, or the chatbot that it names, could not be read.
	ReservationUnknown ReservationState = "Unknown"
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

// Observation is everything the policy of chatbots looks at.
type Observation struct {
	// Chatbot as it is in the API server.
	Chatbot *v1alpha1.DGbotChatbot
	// ID is the one that is the chatbot's by its spec or its uid.
	ID string
	// Reservation of that ID, and who holds it where it is Taken, as namespace/name.
	Reservation ReservationState
	Holder      string
	Widget      WidgetState
	// Rejection is what the API server answered to ReserveID or PublishWidget; nil where there was none. With it no such step is
	// asked for.
	Rejection *report.Rejection
	// HMAC is what is known of the chatbot's HMAC secret.
	HMAC HMACObservation
	// Failed are the reads that failed. What depends on them is only taken away: see report.FailedRead.
	Failed report.FailedReads
}

// Step is one thing to do for a chatbot.
type Step string

const (
	// ReserveID: create the lock of the ID, after a stale one was deleted. Its creation decides between two chatbots.
	ReserveID Step = "ReserveID"
	// PublishWidget: write the ConfigMap.
	PublishWidget Step = "PublishWidget"
)

// Decision is what Plan decides.
type Decision struct {
	// Step to carry out before planning again; empty where there is none.
	Step Step
	// Issue is the revision that AnnounceRevision announces, Kids those that PruneReplica removes, and Ledger what the other steps for an
	// HMAC secret write.
	Issue  *steps.IssueRevision
	Kids   []string
	Ledger Ledger
	// Status is the chatbot's new status once there is no step. Nil for one that is being deleted.
	Status *v1alpha1.DGbotChatbotStatus
	// Wake is when to plan again although nothing has been seen to change; zero for never.
	Wake time.Time
}

// Plan decides what happens next with a chatbot. Nothing is published before the ID is the chatbot's own. The HMAC
// secret comes before the widget, because it can be leaked, and neither waits for what is wrong with the other.
func Plan(o Observation, now time.Time) Decision {
	if !o.Chatbot.DeletionTimestamp.IsZero() {
		plan := o.withdraw()
		d := Decision{Step: plan.step, Kids: plan.kids}
		if len(o.Failed) > 0 {
			d.Wake = now.Add(report.CheckInterval)
		}
		return d
	}
	obstacle := o.obstacle(now)
	var d Decision
	var hmac hmacPlan
	switch {
	case o.hmacUnknown() && (o.Reservation == ReservationOwned || o.Reservation == ReservationUnknown):
		hmac = o.planWithdrawal(now)
	case o.Reservation == ReservationOwned:
		hmac = o.planHMAC(now)
	}
	d.Step, d.Issue, d.Kids, d.Ledger = hmac.step, hmac.issue, hmac.kids, hmac.shown
	if refused := o.HMAC.Rejection; hmac.conclusions == nil && obstacle == nil && refused != nil {
		obstacle = o.rejected(refused, now)
	}
	switch {
	case obstacle != nil:
		d.Wake = obstacle.Until
	case d.Step != "":
	case o.Reservation == ReservationAbsent, o.Reservation == ReservationStale:
		d.Step = ReserveID
	case o.Widget != WidgetPublished:
		d.Step = PublishWidget
	}
	d.Status = o.status(obstacle, &hmac, d.Step, now)
	if hmac.conclusions != nil {
		d.Wake = instant.Sooner(d.Wake, hmac.conclusions.Next) // the status has asked its rules by now
	}
	return d
}

func (o *Observation) obstacle(now time.Time) *report.Obstacle {
	name := WidgetName(o.Chatbot)
	switch {
	case o.Rejection != nil:
		return o.rejected(o.Rejection, now)
	case len(o.Failed) > 0:
		return o.failedObstacle(now)
	case o.Reservation == ReservationTaken:
		return &report.Obstacle{Reason: v1alpha1.ChatbotIDConflictReason, Stalled: true, Until: now.Add(report.CheckInterval), Message: fmt.Sprintf(
			"Chatbot ID %q is reserved for DGbotChatbot %q: a chatbot ID is unique in the cluster; delete DGbotChatbot %[2]q, or delete this DGbotChatbot and create it again with another spec.chatbotID",
			o.ID, o.Holder)}
	case o.Reservation != ReservationOwned:
		return nil
	case o.Widget == WidgetForeign:
		return &report.Obstacle{Reason: v1alpha1.ConfigMapConflictReason, Stalled: true, Until: now.Add(report.CheckInterval), Message: fmt.Sprintf(
			"ConfigMap %q already exists and is not owned by this DGbotChatbot: the operator does not change it; "+
				"delete the ConfigMap, or delete this DGbotChatbot and create it again with an unused name in spec.widget.configMapName", name)}
	case o.Widget == WidgetCollectable:
		return &report.Obstacle{Reason: v1alpha1.WaitingForGarbageCollectionReason, Until: now.Add(report.CheckInterval), Message: fmt.Sprintf(
			"ConfigMap %q belongs to a deleted DGbotChatbot: the operator waits until garbage collection deletes the ConfigMap", name)}
	}
	return nil
}

func (o *Observation) rejected(r *report.Rejection, now time.Time) *report.Obstacle {
	return &report.Obstacle{Reason: r.Reason, Message: r.Message, Stalled: true, Until: now.Add(report.RetryDelay(o.Chatbot.Status.Conditions, r.Reason, now))}
}

func (o *Observation) status(obstacle *report.Obstacle, hmac *hmacPlan, step Step, now time.Time) *v1alpha1.DGbotChatbotStatus {
	s := &v1alpha1.DGbotChatbotStatus{ObservedGeneration: o.Chatbot.Generation, Conditions: o.conditions(obstacle, hmac, step, now)}
	if o.Reservation == ReservationOwned || o.Reservation != ReservationTaken && o.Chatbot.Status.ChatbotID == o.ID {
		// Also while the claim is gone and cannot be written anew: by this the ID stays the chatbot's.
		s.ChatbotID = o.ID
	}
	p := hmac.conclusions
	if p == nil {
		if o.Reservation != ReservationOwned || o.HMAC.Replica.Unknown {
			// Whose the ID is, or what its replica shows, is not clear at the moment: what is known stays known.
			o.keep(s)
		}
		return s
	}
	if hmac.withdrawal {
		o.keep(s)
		hmac.ledger.ApplyTo(s)
		if !o.replicaRejected() {
			s.LastHandledRequest = status.Handled(p.Known)
		}
		return s
	}
	hmac.ledger.ApplyTo(s)
	s.Imported, s.NextRotationAt, s.LastHandledRequest, s.Binding = o.Chatbot.Status.Imported, status.NextRotation(p), status.Handled(p.Known), o.Chatbot.Status.Binding
	if o.HMAC.Rejection != nil && o.HMAC.Rejection.Reason == v1alpha1.CopyWriteRefusedReason {
		// What the ledger says may not be in the replica yet.
		s.LastHandledRequest = o.Chatbot.Status.LastHandledRequest
	}
	if p.Published != nil {
		s.Binding = &v1alpha1.Binding{Name: SecretName(o.Chatbot)}
	}
	return s
}

// keep leaves what the status says of the HMAC secret as it is.
func (o *Observation) keep(s *v1alpha1.DGbotChatbotStatus) {
	is := &o.Chatbot.Status
	LedgerOf(is).ApplyTo(s)
	s.Imported, s.NextRotationAt, s.LastHandledRequest, s.Binding = is.Imported, is.NextRotationAt, is.LastHandledRequest, is.Binding
}

func (o *Observation) conditions(obstacle *report.Obstacle, hmac *hmacPlan, step Step, now time.Time) []metav1.Condition {
	c := report.NewConditions(o.Chatbot.Status.Conditions, o.Chatbot.Generation, now)
	p := hmac.conclusions
	harmless := obstacle == nil && p != nil && p.Obstacle != nil && p.Obstacle.Harmless
	if obstacle == nil && p != nil {
		obstacle = p.Obstacle
	}
	message := fmt.Sprintf("ConfigMap %q holds the chatbot ID and the HTML snippet", WidgetName(o.Chatbot))
	ready := step == ""
	if p != nil {
		ready = ready && p.Published != nil && p.Published.IsAdmitted(&p.Horizon)
		message += fmt.Sprintf(", and Secret %q holds revision %d of the HMAC secret", SecretName(o.Chatbot), o.currentRevision(hmac))
	}
	switch {
	case obstacle != nil && !harmless:
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionFalse, obstacle.Reason, obstacle.Message)
	case ready:
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.PublishedReason, message)
	default:
		message = o.progress(p)
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ProgressingReason, message)
	}
	switch {
	case obstacle != nil:
		c.Progress(obstacle.Stalled, !obstacle.Stalled, obstacle.Reason, obstacle.Message)
	default:
		c.Progress(false, !ready, v1alpha1.ProgressingReason, message)
	}
	invalid, pending, inFuture, reason, ignored, padded := "", "", "", "", "", ""
	if p != nil {
		invalid, pending, inFuture = p.Requests.Invalid, status.PendingReason(p.Known), status.PendingMessage(p.Known)
		reason, ignored = o.importIgnored(hmac.ledger)
		padded = o.importPadded(hmac.ledger)
	}
	c.WhileTrue(v1alpha1.RequestInvalidCondition, invalid != "", v1alpha1.AnnotationUnreadableReason, invalid)
	c.WhileTrue(v1alpha1.RequestPendingCondition, pending != "", pending, inFuture)
	if len(o.Failed) == 0 && !o.HMAC.Source.Unknown {
		c.WhileTrue(v1alpha1.ImportIgnoredCondition, reason != "", reason, ignored)
		c.WhileTrue(v1alpha1.ImportPaddedCondition, padded != "", v1alpha1.SurroundingWhiteSpaceReason, padded)
	}
	return c.List
}

// progress is the message of a chatbot that is not Ready and has no obstacle: a write failed, and is retried.
func (o *Observation) progress(p *gates.Gated) string {
	const waits = "the operator waits until the API server has stored %s; if this lasts for more than a minute, read the operator's log"
	hmac := fmt.Sprintf("the replica and Secret %q", SecretName(o.Chatbot))
	switch {
	case p != nil && p.Cause != "":
		return fmt.Sprintf("A new HMAC secret is due (%s): "+waits, p.Cause, hmac)
	case o.Reservation != ReservationOwned:
		return fmt.Sprintf("Chatbot ID %q is not reserved yet: "+waits, o.ID, "the reservation")
	case o.Widget != WidgetPublished:
		return fmt.Sprintf("Chatbot ID %q is not published yet: "+waits, o.ID, fmt.Sprintf("ConfigMap %q", WidgetName(o.Chatbot)))
	}
	return fmt.Sprintf("The HMAC secret is not published yet: "+waits, hmac)
}

func (o *Observation) currentRevision(hmac *hmacPlan) int64 {
	if hmac.ledger.Current == nil {
		return 0
	}
	return hmac.ledger.Current.Revision
}

// Events returns what to tell when a chatbot's status changes to another one.
func Events(o Observation, next *v1alpha1.DGbotChatbotStatus, now time.Time) []report.Event {
	own := ownerOf(o.Chatbot, &o.Chatbot.Status, &instant.Horizon{Now: now})
	var revisions []*revisions.Revision
	for _, r := range LedgerOf(next).Revisions() {
		revisions = append(revisions, revisionInLedger(r, nil))
	}
	events := status.Events(&own, revisions, summaryOf(next), now)
	for _, abnormal := range []string{v1alpha1.ImportIgnoredCondition, v1alpha1.ImportPaddedCondition} {
		if is := report.Newly(abnormal, o.Chatbot.Status.Conditions, next.Conditions); is != nil {
			events = append(events, report.Event{Warning: true, Reason: is.Reason, Action: "Import", Note: is.Message})
		}
	}
	return events
}

// HMACLossEvent tells of a lost HMAC secret that a revision with another cause replaces.
func HMACLossEvent(chatbot *v1alpha1.DGbotChatbot, loss v1alpha1.Cause) report.Event {
	return status.LossEvent(&facts.ChatbotKind, loss, SecretName(chatbot))
}

// WidgetName returns the effective name of the chatbot's ConfigMap.
func WidgetName(chatbot *v1alpha1.DGbotChatbot) string {
	if chatbot.Spec.Widget != nil && chatbot.Spec.Widget.ConfigMapName != "" {
		return chatbot.Spec.Widget.ConfigMapName
	}
	return chatbot.Name + "-widget"
}
