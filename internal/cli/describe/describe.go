// SPDX-License-Identifier: Apache-2.0

// Package describe has the verb describe: one key with its revisions, events and the workloads that read its Secret.
package describe

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/status"
	"dgbot.io/key-operator/internal/cli/target"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// description is everything about one key.
type description struct {
	Key       *v1alpha1.DGbotAPIKey        `json:"key"`
	Records   []v1alpha1.DGbotAPIKeyRecord `json:"records"`
	Consumers []consumer                   `json:"consumers"`
	Events    []eventRow                   `json:"events"`
	Notes     []string                     `json:"notes,omitempty"`
	now       time.Time
}

// eventRow is an event of the key.
type eventRow struct {
	Type    string      `json:"type"`
	Reason  string      `json:"reason"`
	Message string      `json:"message"`
	Last    metav1.Time `json:"lastSeenAt"`
	Count   int32       `json:"count"`
}

// New returns the verb describe.
func New(s *session.Session) *cobra.Command {
	var output string
	which := target.Selection{}
	c := &cobra.Command{
		Use:   "describe (NAME... | -l SELECTOR | --all)",
		Short: "Show everything about a key, and the workloads that read it",
		Long: `Shows a key's settings, its revisions with cause and last use, the next changes, its events, and the workloads that read its Secret.
Workloads that read the key from an environment variable keep the old key until they are restarted. Workloads that mount the Secret follow
by themselves.

The output names what you may not read.`,
		Args:              func(_ *cobra.Command, names []string) error { return which.Check(names) },
		ValidArgsFunction: s.CompleteKeys,
		RunE: func(c *cobra.Command, names []string) error {
			if err := flags.CheckOutput(output, []string{"", "json", "yaml"}); err != nil {
				return err
			}
			cluster, keys, err := which.Choose(c.Context(), s, names)
			if err != nil {
				return err
			}
			return describeAll(c.Context(), s, cluster, keys, output)
		},
	}
	which.AddFlags(c)
	c.Flags().StringVarP(&output, "output", "o", "", "json or yaml, for the same in a form for programs")
	return c
}

// describeAll describes keys of one namespace. For people, it prints each key as soon as it has read it.
func describeAll(ctx context.Context, s *session.Session, c *cluster.Client, keys []v1alpha1.DGbotAPIKey, output string) error {
	core, err := c.Core()
	if err != nil {
		return err
	}
	workloads, notes, err := workloadsOf(ctx, core, keys[0].Namespace)
	if err != nil {
		return err
	}
	var all []description
	for i := range keys {
		d, err := describe(ctx, c, core, &keys[i], s.Clock.Now())
		if err != nil {
			return err
		}
		d.Consumers, d.Notes = consumersIn(workloads, lifecycle.SecretName(&keys[i])), append(d.Notes, notes...)
		if output != "" {
			all = append(all, *d)
		} else if err := d.print(s.Streams.Out); err != nil {
			return err
		}
	}
	if output != "" {
		return display.PrintValue(s.Streams.Out, output, all)
	}
	return nil
}

func describe(ctx context.Context, c *cluster.Client, core kubernetes.Interface, key *v1alpha1.DGbotAPIKey, now time.Time) (*description, error) {
	d := &description{Key: key, now: now}
	key.TypeMeta, key.ManagedFields = cluster.TypeMeta(v1alpha1.APIKeyKind), nil
	records, err := c.Records(ctx, key.Namespace, v1alpha1.SelectableAPIKeyUID, string(key.UID))
	if err := d.unless(err, "list dgbotapikeyrecords.keys.dgbot.io", "its revisions are"); err != nil {
		return nil, err
	}
	slices.SortFunc(records, func(a, b v1alpha1.DGbotAPIKeyRecord) int { return int(b.Spec.Revision - a.Spec.Revision) })
	for i := range records {
		records[i].TypeMeta, records[i].ManagedFields = cluster.TypeMeta(v1alpha1.APIKeyRecordKind), nil
	}
	d.Records = records
	events, err := core.CoreV1().Events(key.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(key.UID)).String(),
	})
	if err := d.unless(err, "list events", "its events are"); err != nil {
		return nil, err
	}
	d.Events = []eventRow{}
	if events != nil {
		d.Events = eventsIn(events.Items)
	}
	return d, nil
}

// unless passes an error on, unless it is that a right is missing: that is noted.
func (d *description) unless(err error, right, what string) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	d.Notes = append(d.Notes, fmt.Sprintf("you may not %s in namespace %q: %s not shown", right, d.Key.Namespace, what))
	return nil
}

// eventsIn are events as people read them, the newest last.
func eventsIn(events []corev1.Event) []eventRow {
	all := make([]eventRow, 0, len(events))
	for i := range events {
		e := &events[i]
		h := eventRow{Type: e.Type, Reason: e.Reason, Message: e.Message, Last: e.LastTimestamp, Count: max(e.Count, 1)}
		if h.Last.IsZero() {
			h.Last = metav1.Time{Time: e.EventTime.Time}
		}
		if e.Series != nil {
			h.Last, h.Count = metav1.Time{Time: e.Series.LastObservedTime.Time}, e.Series.Count
		}
		all = append(all, h)
	}
	slices.SortStableFunc(all, func(a, b eventRow) int { return a.Last.Compare(b.Last.Time) })
	return all
}

func (d *description) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range d.facts() {
		if line[1] != "" {
			_ = display.Writef(table, "%s:\t%s\n", line[0], line[1])
		}
	}
	d.printRevisions(table)
	d.printConditions(table)
	d.printConsumers(table)
	if len(d.Events) > 0 {
		_ = display.Writef(table, "\nEvents:\n  LAST-SEEN\tTYPE\tREASON\tCOUNT\tMESSAGE\n")
	}
	for _, e := range d.Events {
		_ = display.Writef(table, "  %s\t%s\t%s\t%d\t%s\n", display.TimeText(&e.Last, d.now), e.Type, e.Reason, e.Count, e.Message)
	}
	for _, note := range d.Notes {
		_ = display.Writef(table, "\nnote: %s\n", note)
	}
	_ = display.Writef(table, "\n")
	return table.Flush()
}

// facts are what the key is and says, line by line; one without a value is left out.
func (d *description) facts() [][2]string {
	k := d.Key
	lines := [][2]string{
		{"Name", k.Name}, {"Namespace", k.Namespace}, {"Label", k.Spec.Label}, {"Environment", k.Spec.Environment},
		{"Created", display.TimeText(&k.CreationTimestamp, d.now)},
	}
	add := func(name, value string) { lines = append(lines, [2]string{name, value}) }
	if k.Spec.ChatbotRef != nil {
		add("Chatbot", k.Spec.ChatbotRef.Name)
	}
	var scopes []string
	for _, scope := range k.Spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	add("Scopes", strings.Join(scopes, ", "))
	add("State", string(effective.StateOf(k)))
	add("Secret", fmt.Sprintf("%s, entry %s", lifecycle.SecretName(k), lifecycle.SecretDataKey(k)))
	add("Expires", display.TimeText(k.Spec.ExpiresAt, d.now))
	if r := k.Spec.Rotation; r != nil && r.Interval != nil {
		add("Rotated", "every "+r.Interval.Duration.String())
	}
	add("Next rotation", display.TimeText(k.Status.NextRotationAt, d.now))
	for _, request := range []string{v1alpha1.RotateRequestedAtAnnotation, v1alpha1.RevokeIssuedBeforeAnnotation, v1alpha1.KeptAtAnnotation} {
		add("Annotation "+strings.TrimPrefix(request, v1alpha1.GroupVersion.Group+"/"), k.Annotations[request])
	}
	for _, line := range status.PendingRequests(k, d.now) {
		add("Pending request", line)
	}
	if p := k.Status.Propagation; p != nil {
		add("Withdrawn", display.TimeText(&metav1.Time{Time: p.WrittenAt.Time}, d.now)+", up to version "+p.Version)
		add("Verifiers", status.Propagation(k))
	}
	switch {
	case k.Status.TrackedSince == nil:
		add("Last used", strings.TrimSpace(display.TimeText(k.Status.LastUsedAt, d.now)+" (no verifier reports uses at present)"))
	case k.Status.LastUsedAt == nil:
		add("Last used", "never, as far as is known: uses have been reported since "+display.TimeText(k.Status.TrackedSince, d.now))
	default:
		add("Last used", display.TimeText(k.Status.LastUsedAt, d.now))
	}
	if a := k.Status.Audit; a != nil {
		add("Audit", fmt.Sprintf("%s, unused %s", a.Stage, display.ForText(a.UnusedSince, d.now)))
		add("Next stage", display.DueText(a.NextStageAt, d.now))
	}
	return lines
}

func (d *description) printRevisions(table io.Writer) {
	if len(d.Records) > 0 {
		_ = display.Writef(table, "\nRevisions:\n  REVISION\tKEY-ID\tCAUSE\tSTANDING\tISSUED\tENDS\tFIRST-USED\tLAST-USED\n")
	}
	for i := range d.Records {
		r := &d.Records[i]
		verdict := standing.Admit(r, d.now)
		shown, ends := string(verdict), display.TimeText(r.Spec.NotAfter, d.now)
		if verdict == standing.Revoked {
			ends = "" // it has ended before
		}
		if current := d.Key.Status.Current; current != nil && current.RecordName == r.Name {
			shown += ", current"
		}
		_ = display.Writef(table, "  %d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Spec.Revision, r.Spec.KeyID, r.Spec.Cause, shown,
			display.TimeText(&r.Spec.IssuedAt, d.now), ends, display.TimeText(r.Status.FirstUsedAt, d.now), display.TimeText(r.Status.LastUsedAt, d.now))
	}
}

func (d *description) printConditions(table io.Writer) {
	if len(d.Key.Status.Conditions) > 0 {
		_ = display.Writef(table, "\nConditions:\n  TYPE\tSTATUS\tREASON\tSINCE\tMESSAGE\n")
	}
	for _, c := range d.Key.Status.Conditions {
		_ = display.Writef(table, "  %s\t%s\t%s\t%s\t%s\n", c.Type, c.Status, c.Reason, display.TimeText(&c.LastTransitionTime, d.now), c.Message)
	}
}

func (d *description) printConsumers(table io.Writer) {
	if len(d.Consumers) == 0 {
		_ = display.Writef(table, "\nNo workload of the namespace reads Secret %q, as far as you may look.\n", lifecycle.SecretName(d.Key))
		return
	}
	_ = display.Writef(table, "\nRead by:\n  WORKLOAD\tWHERE\tAFTER A ROTATION\n")
	for _, c := range d.Consumers {
		for i, use := range c.Uses {
			name, after := "", ""
			if i == 0 {
				name, after = c.title(), c.after(d.Key.Namespace)
			}
			_ = display.Writef(table, "  %s\t%s\t%s\n", name, use, after)
		}
	}
}

// after is what becomes of the workload after a rotation.
func (c *consumer) after(namespace string) string {
	switch {
	case c.Effect == follows:
		return "the file changes within about a minute"
	case c.Effect == nextRun:
		return "its next run has the new key"
	case c.Reloader:
		return "restarted by Reloader"
	case c.Group == "" && slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet"}, c.Kind):
		return display.ShellCommand("kubectl", "rollout", "restart", strings.ToLower(c.Kind)+"/"+c.Name, "-n", namespace)
	}
	return "needs a restart"
}
