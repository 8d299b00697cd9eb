// SPDX-License-Identifier: Apache-2.0

// Package verifiers has the verb verifiers, which lists the registered verifiers: those whose answers the proof of a revocation is about.
package verifiers

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/registration"
)

// verifier is the row of one registered verifier.
type verifier struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// State follows from the time of the last renewal.
	State registration.State `json:"state"`
	// Observed has the version up to which each watch has been applied, by namespace/environment. It is empty before the first complete list.
	Observed map[string]string `json:"observed"`
	// OnStale is deny or serve.
	OnStale      string      `json:"onStale"`
	MaxStaleness string      `json:"maxStaleness,omitempty"`
	RegisteredBy string      `json:"registeredBy"`
	RenewedAt    metav1.Time `json:"renewedAt"`
	CreatedAt    metav1.Time `json:"createdAt"`
}

// call is one call of the verb.
type call struct {
	*session.Session
	namespace, output string
}

// New returns the verb verifiers.
func New(s *session.Session) *cobra.Command {
	a := &call{Session: s}
	c := &cobra.Command{
		Use:   "verifiers",
		Short: "Show the registered verifiers, and how far they have followed",
		Long: `Shows the Leases by which verifiers register. 'compromise --wait', 'revoke --wait' and 'disable --wait' prove that each of these verifiers
rejects a key. A verifier that is not in this list proves nothing.

The state follows from the time of the last renewal and the API server's clock:
  current   it renews its registration
  silent    it has missed renewals
  gone      it was silent for longer than it answers with old records
  stopped   the process has given its last answer
The operator measures silence by itself, and not by this time.`,
		Args: func(_ *cobra.Command, arguments []string) error { return a.check(arguments) },
		RunE: func(c *cobra.Command, _ []string) error { return a.run(c) },
	}
	c.Flags().StringVar(&a.namespace, "usage-namespace", cluster.UsageNamespace, "Namespace of the Leases, the --usage-namespace of the verifiers; -n does the same")
	c.Flags().StringVarP(&a.output, "output", "o", "table", "One of "+strings.Join(flags.ListOutputs, ", "))
	return c
}

func (a *call) check(arguments []string) error {
	if len(arguments) > 0 {
		return exit.Usage("verifiers takes no names")
	}
	return flags.CheckOutput(a.output, flags.ListOutputs)
}

func (a *call) run(c *cobra.Command) error {
	ctx := c.Context()
	client, err := a.Connect()
	if err != nil {
		return err
	}
	switch isSet := c.Flags().Changed("namespace"); {
	case isSet && c.Flags().Changed("usage-namespace") && a.namespace != client.Namespace:
		return exit.Usage("--namespace and --usage-namespace name two namespaces: want one of them")
	case isSet:
		a.namespace = client.Namespace
	}
	leases, err := list(ctx, client, a.namespace)
	if err != nil {
		return err
	}
	now, err := client.Now(ctx)
	if err != nil {
		return err
	}
	rows := rowsOf(leases, now)
	if len(rows) == 0 && (a.output == "table" || a.output == "wide") {
		return display.Writef(a.Streams.ErrOut, "No verifier is registered in namespace %s: no revocation is proven\n", a.namespace)
	}
	return printRows(a.Streams.Out, a.output, rows, now)
}

// list returns the Leases of registered verifiers.
func list(ctx context.Context, c *cluster.Client, namespace string) ([]coordinationv1.Lease, error) {
	leases, err := c.Registrations(ctx, namespace)
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("%w; an administrator can grant it: %s and %s", err,
			display.ShellCommand("kubectl", "create", "role", "dgbot-verifiers-reader", "--verb=list", "--resource=leases", "-n", namespace),
			display.ShellCommand("kubectl", "create", "rolebinding", "dgbot-verifiers-reader", "--role=dgbot-verifiers-reader", "--user=USER", "-n", namespace))
	}
	return leases, err
}

// rowsOf returns the rows of the Leases that are registrations, by name.
func rowsOf(leases []coordinationv1.Lease, now time.Time) []verifier {
	rows := []verifier{}
	for i := range leases {
		if registration.IsLease(&leases[i]) {
			rows = append(rows, rowOf(&leases[i], now))
		}
	}
	slices.SortFunc(rows, func(a, b verifier) int { return cmp.Compare(a.Name, b.Name) })
	return rows
}

func rowOf(lease *coordinationv1.Lease, now time.Time) verifier {
	r := registration.Of(lease)
	v := verifier{
		Namespace: lease.Namespace, Name: lease.Name, Observed: map[string]string{}, OnStale: r.OnStale(), RegisteredBy: r.RegisteredBy,
		CreatedAt: lease.CreationTimestamp, RenewedAt: lease.CreationTimestamp,
	}
	if renewed := lease.Spec.RenewTime; renewed != nil {
		v.RenewedAt = metav1.Time{Time: renewed.Time}
	}
	if r.MaxStaleness > 0 {
		v.MaxStaleness = r.MaxStaleness.String()
	}
	for watch, version := range r.Observed {
		v.Observed[watch.String()] = version
	}
	v.State = r.State(now.Sub(v.RenewedAt.Time))
	return v
}

func printRows(out io.Writer, output string, rows []verifier, now time.Time) error {
	if output == "json" || output == "yaml" {
		return display.PrintValue(out, output, rows)
	}
	return display.PrintTable(out, output, columns, rows, now)
}

var columns = []display.Column[verifier]{
	{Heading: "NAME", Cell: func(v *verifier, _ time.Time) string { return v.Name }},
	{Heading: "SCOPE", Cell: func(v *verifier, _ time.Time) string { return v.scope() }},
	{Heading: "OBSERVED", Cell: func(v *verifier, _ time.Time) string { return v.versions() }},
	{Heading: "RENEWED", Cell: func(v *verifier, now time.Time) string { return display.TimeText(&v.RenewedAt, now) }},
	{Heading: "ON-STALE", Cell: func(v *verifier, _ time.Time) string { return v.onStale() }},
	{Heading: "STATE", Cell: func(v *verifier, _ time.Time) string { return string(v.State) }, Tone: toneOf},
	{Heading: "REGISTERED-BY", Wide: true, Cell: func(v *verifier, _ time.Time) string { return v.RegisteredBy }},
	{Heading: "AGE", Cell: func(v *verifier, now time.Time) string {
		if now.IsZero() {
			return display.TimeText(&v.CreatedAt, now)
		}
		return duration.HumanDuration(now.Sub(v.CreatedAt.Time))
	}},
}

// watches are those of a verifier, sorted.
func (v *verifier) watches() []string { return slices.Sorted(maps.Keys(v.Observed)) }

// scope names what a verifier watches, as namespace/environment.
func (v *verifier) scope() string {
	watches := v.watches()
	switch everything := (registration.Watch{}).String(); {
	case len(watches) == 0:
		return "unknown"
	case len(watches) == 1 && watches[0] == everything:
		return "all"
	}
	return strings.Join(watches, ",")
}

// versions are those up to which the watches have been applied, in the order of scope.
func (v *verifier) versions() string {
	var all []string
	for _, watch := range v.watches() {
		all = append(all, v.Observed[watch])
	}
	return cmp.Or(strings.Join(all, ","), "none")
}

func (v *verifier) onStale() string {
	if v.OnStale == registration.OnStaleDeny {
		return "deny after " + v.MaxStaleness
	}
	return v.OnStale
}

// toneOf returns the tone of a verifier's state. Only a silent verifier can delay a proof.
func toneOf(v *verifier) display.Tone {
	switch v.State {
	case registration.Current:
		return display.Good
	case registration.Silent:
		if v.OnStale == registration.OnStaleServe {
			return display.Bad
		}
		return display.Warning
	}
	return display.Faint
}
