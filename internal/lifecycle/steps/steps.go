// SPDX-License-Identifier: Apache-2.0

// Package steps has what a plan for an API key consists of, and what a step makes of a record.
package steps

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	// PublishTimeout is how long after its record was created a revision may be published. It is well under PublishGrace, after which
	// another instance expires the record.
	PublishTimeout = 10 * time.Second
	// PublishGrace is how long after its record was created no instance can still publish a revision.
	PublishGrace = 30 * time.Second
)

// Step is one thing to do: IssueRevision, AmendRecord, DeleteRecord or RepairSecret.
type Step interface{ isStep() }

// IssueRevision mints a key, creates its record and publishes it in the Secret, in this order. After it succeeded the
// caller plans again instead of going on. Where it fails the steps behind it are carried out all the same: they revoke
// the revision it was to replace.
type IssueRevision struct {
	Revision   int64
	RecordName string
	Cause      v1alpha1.Cause
	// Loss is SecretLost or SecretAltered where that happened, whatever the cause: an event reports it.
	Loss     v1alpha1.Cause
	IssuedAt metav1.Time
	// NotAfter is nil for a revision without an end.
	NotAfter *metav1.Time
	// ChatbotID is empty for a key that is for no chatbot.
	ChatbotID string
	// Scopes of the revision.
	Scopes []v1alpha1.Scope
}

// AmendRecord changes a record in one write. Zero fields stay as they are.
type AmendRecord struct {
	Name         string
	UID          types.UID
	State        v1alpha1.KeyState
	NotAfter     *metav1.Time
	Label        string
	ChatbotID    *string
	Scopes       *[]v1alpha1.Scope
	SupersededBy int64
	// Audit is what the audit notes on the record, a revisions.AuditMark; empty for nothing any more.
	Audit *string
	// WithdrawnAt is set where the change withdraws a revision that is valid, or takes that back: the time as the record's annotation has it;
	// empty to remove it.
	WithdrawnAt *string
	// Version is the resourceVersion that the record must still have; any where it is empty. With WhenUnused, and for an audit, a use that was
	// reported since would make it another decision.
	Version string
}

// DeleteRecord deletes a record that ended long ago.
type DeleteRecord struct {
	Name string
	UID  types.UID
}

// RepairSecret puts back the owner, metadata and entries of the Secret, except the key itself.
type RepairSecret struct{}

func (IssueRevision) isStep() {}

func (AmendRecord) isStep() {}

func (DeleteRecord) isStep() {}

func (RepairSecret) isStep() {}

// IsEmpty reports whether the step changes nothing.
func (a AmendRecord) IsEmpty() bool {
	return a.State == "" && a.NotAfter == nil && a.Label == "" && a.ChatbotID == nil && a.Scopes == nil && a.SupersededBy == 0 && a.Audit == nil && a.WithdrawnAt == nil
}
