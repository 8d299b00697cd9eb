// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// transcript is what the policy decides about drawn observations.
type transcript struct {
	// limit is how many observations the transcript has in the end.
	limit int
	// observed counts those so far.
	observed int
	text     bytes.Buffer
}

func (t *transcript) full() bool { return t.observed >= t.limit }

func (t *transcript) observation() {
	t.observed++
	t.fact("observation", t.observed)
}

func (t *transcript) fact(name string, value any) {
	_, _ = fmt.Fprintf(&t.text, "%s %v\n", name, value)
}

func (t *transcript) message(text string) { _, _ = fmt.Fprintf(&t.text, "  message %s\n", text) }

// wake notes when the policy is asked again.
func (t *transcript) wake(at time.Time) {
	text := "never"
	if !at.IsZero() {
		text = at.UTC().Format(time.RFC3339Nano)
	}
	t.fact("wake", text)
}

// json of a value whose form is that of the API, which does not change.
func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (t *transcript) keyDecision(d lifecycle.Decision) {
	for _, step := range d.Steps {
		t.step(step)
	}
	if d.Status != nil {
		status := d.Status.DeepCopy()
		t.conditions(status.Conditions)
		status.Conditions = nil
		t.fact("status", asJSON(status))
	}
	t.wake(d.Wake)
}

func (t *transcript) step(step steps.Step) {
	switch s := step.(type) {
	case steps.IssueRevision:
		t.issue(&s)
	case steps.AmendRecord:
		t.fact("amend", fmt.Sprintf("%s %s state=%s notAfter=%s label=%q chatbot=%s scopes=%s supersededBy=%d audit=%s withdrawnAt=%s version=%s",
			s.Name, s.UID, s.State, asJSON(s.NotAfter), s.Label, asJSON(s.ChatbotID), asJSON(s.Scopes), s.SupersededBy, asJSON(s.Audit), asJSON(s.WithdrawnAt), s.Version))
	case steps.DeleteRecord:
		t.fact("delete", fmt.Sprintf("%s %s", s.Name, s.UID))
	case steps.RepairSecret:
		t.fact("repair", "Secret")
	default:
		panic(fmt.Sprintf("unknown step %T", step))
	}
}

func (t *transcript) issue(s *steps.IssueRevision) {
	t.fact("issue", fmt.Sprintf("%d %s cause=%s loss=%s issuedAt=%s notAfter=%s chatbot=%s scopes=%s",
		s.Revision, s.RecordName, s.Cause, s.Loss, asJSON(s.IssuedAt), asJSON(s.NotAfter), s.ChatbotID, asJSON(s.Scopes)))
}

func (t *transcript) conditions(conditions []metav1.Condition) {
	for i := range conditions {
		c := &conditions[i]
		t.fact("condition", fmt.Sprintf("%s=%s %s %d %s", c.Type, c.Status, c.Reason, c.ObservedGeneration, asJSON(c.LastTransitionTime)))
		t.message(c.Message)
	}
}

func (t *transcript) events(events []report.Event) {
	for _, e := range events {
		t.fact("event", fmt.Sprintf("warning=%t %s %s", e.Warning, e.Reason, e.Action))
		t.message(e.Note)
	}
}

func (t *transcript) ledger(name string, l chatbots.Ledger) {
	t.fact(name, asJSON([]*v1alpha1.IdentityRevision{l.Current, l.Previous, l.Pending}))
}

func (t *transcript) chatbotDecision(d chatbots.Decision) {
	t.fact("step", d.Step)
	if d.Issue != nil {
		t.issue(d.Issue)
	}
	t.fact("kids", d.Kids)
	t.ledger("ledger", d.Ledger)
	if d.Status != nil {
		status := d.Status.DeepCopy()
		t.conditions(status.Conditions)
		status.Conditions = nil
		t.fact("status", asJSON(status))
	}
	t.wake(d.Wake)
}
