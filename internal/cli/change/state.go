// SPDX-License-Identifier: Apache-2.0

package change

import (
	"time"

	"github.com/spf13/cobra"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/session"
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
set the state there.`,
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
and is still needed, use 'compromise'. If the key comes from Git, remove it there.`,
		final: "none of their revisions will ever verify again",
	})
}

func newTransition(s *session.Session, t transition) *cobra.Command {
	which := target.Selection{Final: t.final}
	c := &cobra.Command{
		Use: t.use + " (NAME... | -l SELECTOR | --all)", Short: t.short, Long: t.long,
		Args:              func(_ *cobra.Command, names []string) error { return which.Check(names) },
		ValidArgsFunction: s.CompleteKeys,
		RunE: func(c *cobra.Command, names []string) error {
			cluster, keys, err := which.Choose(c.Context(), s, names)
			if err != nil {
				return err
			}
			annotations := map[string]string{}
			if t.keeps {
				now, err := cluster.Now(c.Context())
				if err != nil {
					return err
				}
				annotations[v1alpha1.KeptAtAnnotation] = now.Format(time.RFC3339)
			}
			return target.Each(s, keys, func(key *v1alpha1.DGbotAPIKey) error {
				if err := cluster.Patch(c.Context(), key, annotations, map[string]any{"state": t.state}); err != nil {
					return err
				}
				return display.Writef(s.Streams.Out, "dgbotapikey.keys.dgbot.io/%s %s\n", key.Name, t.done)
			})
		},
	}
	which.AddFlags(c)
	return c
}
