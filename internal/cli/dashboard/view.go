// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"cmp"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/status"
)

// maxRows bounds the rows of a view, so that a browser can draw them. The totals count all keys.
const maxRows = 2000

// tone is how urgent a key is, from the most urgent down.
type tone string

const (
	// person: the key is Stalled. A person must act.
	person tone = "person"
	// waits: the operator works on the key, or waits for something.
	waits tone = "waits"
	// notes: the key verifies, and one of its other conditions is worth a look.
	notes tone = "notes"
	// fine: the key verifies.
	fine tone = "fine"
	// off: a user disabled or revoked the key, or it expired.
	off tone = "off"
)

var tones = []tone{person, waits, notes, fine, off}

// view is what the page shows. All texts in it are on one line, without invisible characters and key text.
type view struct {
	Where string    `json:"where"`
	At    time.Time `json:"at"`
	// Failure is why the rows may be old; empty while they are not.
	Failure string `json:"failure,omitempty"`
	// Totals count all keys by tone.
	Totals map[tone]int `json:"totals"`
	Rows   []row        `json:"rows"`
	// Omitted is how many keys have no row.
	Omitted int `json:"omitted"`
}

// row is what the page shows of a key.
type row struct {
	Namespace   string     `json:"namespace"`
	Name        string     `json:"name"`
	Label       string     `json:"label"`
	Environment string     `json:"environment"`
	Tone        tone       `json:"tone"`
	State       string     `json:"state"`
	Notes       []string   `json:"notes"`
	KeyID       string     `json:"keyID,omitempty"`
	Created     time.Time  `json:"created"`
	LastUsed    *time.Time `json:"lastUsed,omitempty"`
	Tracked     *time.Time `json:"tracked,omitempty"`
	Next        *time.Time `json:"next,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Stage       string     `json:"stage,omitempty"`
	Revisions   []revision `json:"revisions"`
}

// revision is one that still verifies, or the current one.
type revision struct {
	Number   int64      `json:"number"`
	Issued   time.Time  `json:"issued"`
	NotAfter *time.Time `json:"notAfter,omitempty"`
	LastUsed *time.Time `json:"lastUsed,omitempty"`
}

// viewOf returns the view of keys, the most urgent first.
func viewOf(keys []*v1alpha1.DGbotAPIKey, where string, at time.Time, failure error) view {
	v := view{Where: display.Plain(where), At: at.UTC(), Totals: map[tone]int{}, Rows: []row{}}
	if failure != nil {
		v.Failure = display.Plain(exit.Explain(failure))
	}
	for _, t := range tones {
		v.Totals[t] = 0
	}
	for _, key := range keys {
		v.Rows = append(v.Rows, rowOf(key))
		v.Totals[toneOf(key)]++
	}
	slices.SortFunc(v.Rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(slices.Index(tones, a.Tone), slices.Index(tones, b.Tone)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if v.Omitted = max(0, len(v.Rows)-maxRows); v.Omitted > 0 {
		v.Rows = v.Rows[:maxRows]
	}
	return v
}

func rowOf(key *v1alpha1.DGbotAPIKey) row {
	r := row{
		Namespace: display.Plain(key.Namespace), Name: display.Plain(key.Name), Label: display.Plain(key.Spec.Label), Environment: display.Plain(key.Spec.Environment),
		Tone: toneOf(key), State: display.Plain(status.Text(status.State(key), key)), Notes: []string{}, Created: key.CreationTimestamp.UTC(),
		LastUsed: instantOf(key.Status.LastUsedAt), Tracked: instantOf(key.Status.TrackedSince), Next: instantOf(key.Status.NextRotationAt),
		Expires: instantOf(key.Spec.ExpiresAt), Revisions: []revision{},
	}
	for _, condition := range key.Status.Conditions {
		if ready := condition.Type == v1alpha1.ReadyCondition; ready != (condition.Status == metav1.ConditionTrue) {
			r.Notes = append(r.Notes, display.Plain(condition.Reason+": "+condition.Message))
		}
	}
	slices.Sort(r.Notes)
	r.Notes = slices.Compact(r.Notes) // Ready and Stalled have the same reason and message
	if key.Status.Audit != nil {
		r.Stage = display.Plain(string(key.Status.Audit.Stage))
	}
	if current := key.Status.Current; current != nil {
		r.KeyID = display.Plain(current.KeyID)
		r.Revisions = append(r.Revisions, revisionOf(current))
	}
	for i := range key.Status.Previous {
		r.Revisions = append(r.Revisions, revisionOf(&key.Status.Previous[i]))
	}
	return r
}

func revisionOf(r *v1alpha1.RevisionStatus) revision {
	return revision{Number: r.Revision, Issued: r.IssuedAt.UTC(), NotAfter: instantOf(r.NotAfter), LastUsed: instantOf(r.LastUsedAt)}
}

func instantOf(at *metav1.Time) *time.Time {
	if at == nil {
		return nil
	}
	instant := at.UTC()
	return &instant
}

func toneOf(key *v1alpha1.DGbotAPIKey) tone {
	conditions := key.Status.Conditions
	stalled := apimeta.FindStatusCondition(conditions, v1alpha1.StalledCondition)
	switch {
	case stalled != nil && status.IsEnded(stalled.Reason):
		return off
	case stalled != nil:
		return person
	case !apimeta.IsStatusConditionTrue(conditions, v1alpha1.ReadyCondition), apimeta.IsStatusConditionTrue(conditions, v1alpha1.ReconcilingCondition):
		return waits
	case len(conditions) > 1:
		return notes
	}
	return fine
}
