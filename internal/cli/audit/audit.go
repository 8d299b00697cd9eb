// SPDX-License-Identifier: Apache-2.0

// Package audit has the verb audit: it judges keys by risk, and shows them as a table or as an HTML page.
package audit

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/status"
	"dgbot.io/key-operator/internal/cli/target"
)

// keyAudit is the row of one key in an audit.
type keyAudit struct {
	Risk        risk      `json:"risk"`
	Findings    []finding `json:"findings"`
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Environment string    `json:"environment"`
	Label       string    `json:"label"`
	State       string    `json:"state"`
	// Observed reports whether the operator has seen the present spec. If not, the state may be of an earlier one.
	Observed     bool                `json:"observed"`
	KeyID        string              `json:"keyID,omitempty"`
	Revision     int64               `json:"revision,omitempty"`
	CreatedAt    metav1.Time         `json:"createdAt"`
	IssuedAt     *metav1.Time        `json:"issuedAt,omitempty"`
	LastUsedAt   *metav1.Time        `json:"lastUsedAt,omitempty"`
	TrackedSince *metav1.Time        `json:"trackedSince,omitempty"`
	Stage        v1alpha1.AuditStage `json:"stage,omitempty"`
	NextStageAt  *metav1.Time        `json:"nextStageAt,omitempty"`
	NextRotation *metav1.Time        `json:"nextRotationAt,omitempty"`
	ExpiresAt    *metav1.Time        `json:"expiresAt,omitempty"`
	// status.Text is the state for people.
	stateText string
}

// report is an audit as programs read it.
type report struct {
	At   metav1.Time `json:"at"`
	Keys []keyAudit  `json:"keys"`
}

// audit is one call of the verb.
type audit struct {
	*session.Session
	target.Listing
	page, failOn string
	unusedAfter  flags.Duration
	// limit is the risk of --fail-on.
	limit risk
}

// New returns the verb audit.
func New(s *session.Session) *cobra.Command {
	a := &audit{Session: s}
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show keys by risk: unused, old, unlimited, against the rules",
		Long: `Shows all keys by risk, and why: unused for longer than --unused-after or by the audit of their environment, old, never rotated, about to
expire, with the scope *, or against the rules of their environment. With --html it writes a page to read or print, with a picture of the
age and the last use of each key.

It changes nothing. To have unused keys disabled and revoked, set spec.audit of a DGbotEnvironment.

With --fail-on, the exit code is 3 if a key has that risk or a higher one.`,
		Args: func(c *cobra.Command, arguments []string) error { return a.check(c, arguments) },
		RunE: func(c *cobra.Command, _ []string) error { return a.run(c.Context()) },
	}
	a.AddFlags(c)
	c.Flags().StringVar(&a.page, "html", "", "File to write the audit to as one page, instead of showing it; - for standard output")
	c.Flags().StringVar(&a.failOn, "fail-on", "", "Exit with code 3 if a key has this risk or a higher one: low, medium or high")
	a.unusedAfter = flags.Duration(quarter)
	c.Flags().Var(&a.unusedAfter, "unused-after", "How long a key must be without use to count as unused, such as 30d or 720h")
	return c
}

func (a *audit) check(c *cobra.Command, arguments []string) error {
	var err error
	switch a.limit, err = parseRisk(a.failOn); {
	case err != nil:
		return err
	case a.unusedAfter <= 0:
		return exit.Usage("--unused-after is %s: want more than nothing, such as 90d", a.unusedAfter.String())
	case c.Flags().Changed("html") && a.page == "":
		return exit.Usage("--html is empty: want a file, or - for standard output")
	case a.page != "" && c.Flags().Changed("output"):
		return exit.Usage("--html and --output do not go together")
	}
	return a.Check("audit", arguments)
}

func (a *audit) run(ctx context.Context) error {
	keys, where, err := a.List(ctx, a.Session)
	if err != nil {
		return err
	}
	unusedAfter := time.Duration(a.unusedAfter)
	all := auditOf(keys, unusedAfter, a.Clock.Now())
	if a.page != "" {
		err = a.writePage(all, where)
	} else {
		err = a.print(all)
	}
	if n := atLeast(a.limit, all); err == nil && a.limit != none && n > 0 {
		err = exit.No("%d of %d keys have the risk %s or a higher one", n, len(all), a.limit)
	}
	return err
}

// atLeast is how many keys have a risk or a higher one.
func atLeast(limit risk, all []keyAudit) (n int) {
	for i := range all {
		if all[i].Risk >= limit {
			n++
		}
	}
	return n
}

func parseRisk(text string) (risk, error) {
	if text == "" {
		return none, nil
	}
	for _, r := range []risk{low, medium, high} {
		if strings.EqualFold(text, r.String()) {
			return r, nil
		}
	}
	return none, exit.Usage("--fail-on is %q: want low, medium or high", text)
}

// auditOf looks at keys, and puts those first that want looking at: by risk, by how many reasons there are, and then those that were
// used longest ago.
func auditOf(keys []v1alpha1.DGbotAPIKey, unusedAfter time.Duration, now time.Time) []keyAudit {
	all := make([]keyAudit, 0, len(keys))
	for i := range keys {
		k := &keys[i]
		a := keyAudit{
			Findings: judge(k, unusedAfter, now), Namespace: k.Namespace, Name: k.Name, Environment: k.Spec.Environment, Label: k.Spec.Label,
			State: status.State(k), Observed: status.IsObserved(k), stateText: status.Text(status.State(k), k), CreatedAt: k.CreationTimestamp, LastUsedAt: k.Status.LastUsedAt, TrackedSince: k.Status.TrackedSince,
			NextRotation: k.Status.NextRotationAt, ExpiresAt: k.Spec.ExpiresAt,
		}
		if current := k.Status.Current; current != nil {
			a.KeyID, a.Revision, a.IssuedAt = current.KeyID, current.Revision, &current.IssuedAt
		}
		if audit := k.Status.Audit; audit != nil {
			a.Stage, a.NextStageAt = audit.Stage, audit.NextStageAt
		}
		if len(a.Findings) > 0 {
			a.Risk = a.Findings[0].Risk
		} else {
			a.Findings = []finding{}
		}
		all = append(all, a)
	}
	used := func(a *keyAudit) time.Time {
		if a.LastUsedAt == nil {
			return time.Time{}
		}
		return a.LastUsedAt.Time
	}
	slices.SortFunc(all, func(a, b keyAudit) int {
		return cmp.Or(cmp.Compare(b.Risk, a.Risk), cmp.Compare(len(b.Findings), len(a.Findings)), used(&a).Compare(used(&b)),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// why are the findings in one line.
func (a *keyAudit) why() string {
	var all []string
	for _, f := range a.Findings {
		all = append(all, f.What)
	}
	return strings.Join(all, "; ")
}

var auditColumns = []display.Column[keyAudit]{
	{Heading: "RISK", Cell: func(a *keyAudit, _ time.Time) string { return a.Risk.String() }, Tone: func(a *keyAudit) display.Tone { return a.Risk.tone() }},
	{Heading: "NAMESPACE", Cell: func(a *keyAudit, _ time.Time) string { return a.Namespace }},
	{Heading: "NAME", Cell: func(a *keyAudit, _ time.Time) string { return a.Name }},
	{Heading: "ENVIRONMENT", Cell: func(a *keyAudit, _ time.Time) string { return a.Environment }},
	{Heading: "LABEL", Wide: true, Cell: func(a *keyAudit, _ time.Time) string { return a.Label }},
	{Heading: "STATE", Cell: func(a *keyAudit, _ time.Time) string { return a.stateText }},
	{Heading: "ISSUED", Cell: func(a *keyAudit, now time.Time) string { return display.TimeText(a.IssuedAt, now) }},
	{Heading: "LAST-USED", Cell: func(a *keyAudit, now time.Time) string { return display.TimeText(a.LastUsedAt, now) }},
	{Heading: "KEY-ID", Wide: true, Cell: func(a *keyAudit, _ time.Time) string { return a.KeyID }},
	{Heading: "REVISION", Wide: true, Cell: func(a *keyAudit, _ time.Time) string {
		if a.Revision == 0 {
			return ""
		}
		return strconv.FormatInt(a.Revision, 10)
	}},
	{Heading: "STAGE", Wide: true, Cell: func(a *keyAudit, _ time.Time) string { return string(a.Stage) }},
	{Heading: "NEXT-STAGE", Wide: true, Cell: func(a *keyAudit, now time.Time) string { return display.TimeText(a.NextStageAt, now) }},
	{Heading: "NEXT-ROTATION", Wide: true, Cell: func(a *keyAudit, now time.Time) string { return display.TimeText(a.NextRotation, now) }},
	{Heading: "EXPIRES", Wide: true, Cell: func(a *keyAudit, now time.Time) string { return display.TimeText(a.ExpiresAt, now) }},
	{Heading: "WHY", Cell: func(a *keyAudit, _ time.Time) string { return a.why() }},
}

func (a *audit) print(all []keyAudit) error {
	now := a.Clock.Now()
	if a.Output == "json" || a.Output == "yaml" {
		return display.PrintValue(a.Streams.Out, a.Output, report{At: metav1.Time{Time: now.UTC()}, Keys: all})
	}
	if len(all) == 0 && a.Output != "csv" {
		return display.Writef(a.Streams.ErrOut, "No DGbotAPIKeys\n")
	}
	return display.PrintTable(a.Streams.Out, a.Output, auditColumns, all, now)
}
