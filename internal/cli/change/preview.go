// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/status"
	"dgbot.io/key-operator/internal/cli/target"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// forecast is what would happen to a key.
type forecast struct {
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"`
	Effects   []effect    `json:"happens"`
	Notes     []string    `json:"notes,omitempty"`
	now       time.Time   // by the API server's clock
	at        metav1.Time // of the request
}

// effect is one effect of a request.
type effect struct {
	At       metav1.Time    `json:"at"`
	Revision int64          `json:"revision,omitempty"`
	Cause    v1alpha1.Cause `json:"cause,omitempty"`
	What     string         `json:"what"`
}

// preview shows what a request would do, by the operator's own policy.
func (a *requestCall) preview(ctx context.Context, c *cluster.Client, keys []v1alpha1.DGbotAPIKey, now time.Time) error {
	all := make([]forecast, 0, len(keys))
	err := target.Each(a.Session, keys, func(key *v1alpha1.DGbotAPIKey) error {
		seen, notes, err := observe(ctx, c, key)
		if err != nil {
			return err
		}
		f, err := simulate(seen, a.annotation, requestTime(key, now), now)
		if err != nil {
			return err
		}
		f.Notes = append(notes, f.Notes...)
		all = append(all, *f)
		return nil
	})
	if err != nil {
		return err
	}
	if a.output != "" {
		return display.PrintValue(a.Streams.Out, a.output, all)
	}
	for i := range all {
		if err := a.show(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *requestCall) show(f *forecast) error {
	_ = display.Writef(a.Streams.Out, "%s: nothing is changed; '%s' would do this:\n", f.Name, a.use)
	table := tabwriter.NewWriter(a.Streams.Out, 0, 0, 2, ' ', 0)
	for _, h := range f.Effects {
		when := h.At.UTC().Format(time.RFC3339) + " (" + display.TimeText(&h.At, f.now) + ")"
		if !h.At.After(f.now.Add(instant.ClockTolerance)) {
			when = "at once"
		}
		_ = display.Writef(table, "  %s\t%s\n", when, h.What)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, note := range f.Notes {
		if err := display.Writef(a.Streams.Out, "  note: %s\n", note); err != nil {
			return err
		}
	}
	return nil
}

// observe puts together what the policy looks at, as far as the user may read it. The Secret is not read: it is taken to hold
// what the status says.
func observe(ctx context.Context, c *cluster.Client, key *v1alpha1.DGbotAPIKey) (seen lifecycle.Observation, notes []string, err error) {
	seen = lifecycle.Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}}
	if seen.Records, err = c.Records(ctx, key.Namespace, v1alpha1.SelectableAPIKeyUID, string(key.UID)); err != nil {
		return seen, nil, err
	}
	for i := range seen.Records {
		if current := key.Status.Current; current != nil && seen.Records[i].Name == current.RecordName {
			seen.Secret = revisions.Secret{State: revisions.SecretOwned, Hash: seen.Records[i].Spec.Hash, KeyID: current.KeyID}
		}
	}
	if ref := key.Spec.ChatbotRef; ref != nil {
		chatbot, err := c.Chatbot(ctx, types.NamespacedName{Namespace: key.Namespace, Name: ref.Name})
		if err != nil && !apierrors.IsNotFound(err) {
			return seen, nil, err
		}
		seen.Chatbot = effective.Chatbot{ID: chatbot.Status.ChatbotID, Missing: err != nil}
	}
	switch rules, err := c.Environment(ctx, key.Spec.Environment); {
	case apierrors.IsForbidden(err):
		notes = append(notes, fmt.Sprintf("you may not read DGbotEnvironment %q: its rules are not taken into account", key.Spec.Environment))
	case apierrors.IsNotFound(err):
	case err != nil:
		return seen, nil, err
	default:
		seen.Environment = effective.Environment{Rules: &rules.Spec, Windows: schedule.WindowsOf(&rules.Spec, locationOf)}
	}
	return seen, notes, nil
}

func locationOf(name string) *time.Location {
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return location
}

// simulate returns what the policy does from an observation on, with a request as an annotation of the key.
func simulate(seen lifecycle.Observation, annotation string, at metav1.Time, now time.Time) (*forecast, error) {
	f := &forecast{Namespace: seen.Key.Namespace, Name: seen.Key.Name, Effects: []effect{}, now: now, at: at}
	sim := lifecycle.Simulation{Observation: seen, Now: now}
	sim.Key, sim.Records = seen.Key.DeepCopy(), nil
	for i := range seen.Records {
		sim.Records = append(sim.Records, *seen.Records[i].DeepCopy())
	}
	if sim.Key.Annotations == nil {
		sim.Key.Annotations = map[string]string{}
	}
	sim.Key.Annotations[annotation] = at.Format(time.RFC3339)
	steps, err := sim.Advance(at.Time)
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		f.addStep(step, &sim)
	}
	f.addExpirations(seen.Records, sim.Records)
	f.noteStalled(seen.Key)
	if stalled := apimeta.FindStatusCondition(sim.Key.Status.Conditions, v1alpha1.StalledCondition); stalled != nil {
		f.Notes = append(f.Notes, stalled.Reason+": "+stalled.Message)
	} else if ready := apimeta.FindStatusCondition(sim.Key.Status.Conditions, v1alpha1.ReadyCondition); ready != nil && ready.Status != metav1.ConditionTrue {
		f.Notes = append(f.Notes, ready.Reason+": "+ready.Message)
	}
	if next := sim.Key.Status.NextRotationAt; next != nil {
		f.add(*next, 0, "", "the next rotation is due")
	}
	if effective.RetireOf(&seen.Key.Spec) == v1alpha1.RetireWhenUnused {
		f.Notes = append(f.Notes, "with retire: WhenUnused earlier revisions end sooner, once they have been unused for the quietPeriod")
	}
	slices.SortStableFunc(f.Effects, func(a, b effect) int { return a.At.Compare(b.At.Time) })
	return f, nil
}

func (f *forecast) add(at metav1.Time, revision int64, cause v1alpha1.Cause, format string, arguments ...any) {
	f.Effects = append(f.Effects, effect{At: at, Revision: revision, Cause: cause, What: fmt.Sprintf(format, arguments...)})
}

// addStep adds the effect of a step on clients; other steps have none.
func (f *forecast) addStep(step steps.Step, sim *lifecycle.Simulation) {
	switch step := step.(type) {
	case steps.IssueRevision:
		f.add(f.at, step.Revision, step.Cause, "revision %d is issued (%s), and its key put into Secret %q", step.Revision, step.Cause, lifecycle.SecretName(sim.Key))
	case steps.AmendRecord:
		revision := int64(0)
		for i := range sim.Records {
			if sim.Records[i].Name == step.Name {
				revision = sim.Records[i].Spec.Revision
			}
		}
		switch step.State {
		case v1alpha1.StateRevoked:
			f.add(f.at, revision, "", "revision %d is revoked for good", revision)
		case v1alpha1.StateDisabled:
			f.add(f.at, revision, "", "revision %d is disabled", revision)
		case v1alpha1.StateActive:
			f.add(f.at, revision, "", "revision %d is enabled", revision)
		}
	}
}

// addExpirations adds when revisions stop verifying, with or without the request.
func (f *forecast) addExpirations(before, after []v1alpha1.DGbotAPIKeyRecord) {
	had := map[string]*metav1.Time{}
	for i := range before {
		had[before[i].Name] = before[i].Spec.NotAfter
	}
	for i := range after {
		r := &after[i]
		if r.Spec.NotAfter == nil || r.Spec.State == v1alpha1.StateRevoked || !r.Spec.NotAfter.After(f.now) && r.Spec.NotAfter.Equal(had[r.Name]) {
			continue
		}
		f.add(*r.Spec.NotAfter, r.Spec.Revision, "", "revision %d stops verifying", r.Spec.Revision)
	}
}

// noteStalled notes why the operator issues no revision at present: the simulation does not know it.
func (f *forecast) noteStalled(key *v1alpha1.DGbotAPIKey) {
	stalled := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.StalledCondition)
	if stalled == nil || status.Withheld(key) != "" {
		return
	}
	f.Notes = append(f.Notes, fmt.Sprintf("at present nothing is issued, and none of this happens before that is mended: %s: %s", stalled.Reason, stalled.Message))
}
