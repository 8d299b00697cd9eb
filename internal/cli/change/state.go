// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
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

// transition is a verb that sets spec.state.
type transition struct {
	use, short, long, done string
	state                  v1alpha1.KeyState
	// keeps is true if the verb decides to keep the key, so that the audit counts from now.
	keeps bool
	// final is what cannot be taken back about it; empty where it can.
	final string
}

// NewDisable returns the verb disable.
func NewDisable(s *session.Session) *cobra.Command {
	return newTransition(s, transition{
		use: "disable", short: "Make all revisions invalid until the key is enabled again", done: "disabled", state: v1alpha1.StateDisabled,
		long: `Sets spec.state to Disabled. No revision is valid until the key is enabled again, and the operator issues none. If the key comes from Git,
set the state there.

` + waitText,
	})
}

// NewEnable returns the verb enable.
func NewEnable(s *session.Session) *cobra.Command {
	return newTransition(s, transition{
		use: "enable", short: "Make a disabled key valid again, and keep an unused one", done: "enabled", state: v1alpha1.StateActive, keeps: true,
		long: `Sets spec.state to Active, and the annotation keys.dgbot.io/kept-at to the present time. A key that a user or the audit disabled is valid
again, and the audit of unused keys counts from now. A key that was revoked gets a new revision.`,
	})
}

// NewRevoke returns the verb revoke.
func NewRevoke(s *session.Session) *cobra.Command {
	return newTransition(s, transition{
		use: "revoke", short: "Revoke all revisions for good, and issue none", done: "revoked", state: v1alpha1.StateRevoked,
		long: `Sets spec.state to Revoked. No revision is ever valid again, and the operator issues none until the key is enabled. For a key that has leaked
and is still needed, use 'compromise'. If the key comes from Git, remove it there.

` + waitText,
		final: "none of their revisions will ever verify again",
	})
}

// transitionCall is one call of a verb that sets spec.state.
type transitionCall struct {
	*session.Session
	transition
	waitFlags
	which  target.Selection
	output string
}

func newTransition(s *session.Session, t transition) *cobra.Command {
	a := &transitionCall{Session: s, transition: t, which: target.Selection{Final: t.final}}
	c := &cobra.Command{
		Use: t.use + " (NAME... | -l SELECTOR | --all)", Short: t.short, Long: t.long,
		Args:              func(_ *cobra.Command, names []string) error { return a.check(names) },
		ValidArgsFunction: s.CompleteKeys,
		RunE:              func(c *cobra.Command, names []string) error { return a.run(c.Context(), names) },
	}
	a.which.AddFlags(c)
	if a.withdraws() {
		a.addFlags(c, "until every registered verifier rejects the key", true)
		c.Flags().StringVarP(&a.output, "output", "o", "", "With --wait, json or yaml, for programs")
	}
	return c
}

// withdraws reports whether verifiers reject a key in the state that the verb sets.
func (a *transitionCall) withdraws() bool { return a.state != v1alpha1.StateActive }

func (a *transitionCall) check(names []string) error {
	if err := flags.CheckOutput(a.output, []string{"", "json", "yaml"}); err != nil {
		return err
	}
	if a.output != "" && !a.isSet {
		return exit.Usage("--output goes with --wait")
	}
	if a.withdraws() {
		if err := a.checkTimeout(); err != nil {
			return err
		}
	}
	return a.which.Check(names)
}

func (a *transitionCall) run(ctx context.Context, names []string) error {
	cluster, keys, err := a.which.Choose(ctx, a.Session, names)
	if err != nil {
		return err
	}
	var now time.Time
	if a.keeps || a.isSet {
		if now, err = cluster.Now(ctx); err != nil {
			return err
		}
	}
	annotations := map[string]string{}
	if a.keeps {
		annotations[v1alpha1.KeptAtAnnotation] = now.Format(time.RFC3339)
	}
	f := a.follower(a.Session, cluster, "spec.state: "+string(a.state))
	f.handlesWithheld, f.withdraws, f.state = true, true, a.state
	f.handled = func(key *v1alpha1.DGbotAPIKey, r *keyRequest) bool {
		// The generation alone is not enough: the operator observes it also where it could not write a record.
		return key.Status.ObservedGeneration >= r.generation && status.Withheld(key) != ""
	}
	f.isOwn = func(p *v1alpha1.Propagation, r *keyRequest) bool { return p.Generation >= r.generation }
	err = target.Each(a.Session, keys, func(key *v1alpha1.DGbotAPIKey) error {
		r := newKeyRequest(key, metav1.Time{Time: now})
		if err := cluster.Patch(ctx, key, annotations, map[string]any{"state": a.state}); err != nil {
			return err
		}
		f.add(key, r)
		return display.Writef(linesOf(a.Session, a.output), "dgbotapikey.keys.dgbot.io/%s %s\n", key.Name, a.done)
	})
	if !a.isSet {
		return err
	}
	return f.await(ctx, keys, now, a.output, err)
}
