// SPDX-License-Identifier: Apache-2.0

package session

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/version"
)

// Verb makes the command of one verb for a session.
type Verb func(*Session) *cobra.Command

// NewRoot returns kubectl dgbot with some verbs, of one new session. All that the verbs write to streams passes through display.NewWriter.
func NewRoot(streams genericiooptions.IOStreams, verbs ...Verb) *cobra.Command {
	flags := genericclioptions.NewConfigFlags(true)
	terminal := streams.ErrOut
	streams.Out, streams.ErrOut = display.NewWriter(streams.Out), display.NewWriter(streams.ErrOut)
	root := &cobra.Command{
		Use:   "kubectl-dgbot",
		Short: "Work with DGbot API keys",
		Long: `Lists, audits, rotates, revokes and finds DGbot API keys, with the rights that you have in the cluster.

Exit codes:
  0  done
  1  failed, for one of the keys or for all; with --wait also: a verifier may still accept what was revoked
  2  called wrongly; nothing was done
  3  done, and the answer is no: the text is no key, verify rejects the key, scan found keys, a key has the risk of --fail-on,
     with --wait the operator did not handle the request or proved nothing, or you answered no`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, arguments []string) error {
			if len(arguments) == 0 {
				return c.Help()
			}
			return exit.Usage("there is no verb %q; see '%s --help'", arguments[0], c.CommandPath())
		},
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl dgbot"},
	}
	root.Version = version.Get().String()
	root.SetVersionTemplate("kubectl-dgbot {{.Version}}\n")
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return exit.Usage("%w; see '%s --help'", err, c.CommandPath())
	})
	flags.AddFlags(root.PersistentFlags())
	s := &Session{flags: flags, Streams: streams, Terminal: terminal, Clock: clock.RealClock{}}
	for _, verb := range verbs {
		c := verb(s)
		completeFlags(c)
		if c.Flags().Lookup("usage-namespace") != nil {
			_ = c.RegisterFlagCompletionFunc("usage-namespace", s.completeNamespaces)
		}
		root.AddCommand(c)
	}
	_ = root.RegisterFlagCompletionFunc("namespace", s.completeNamespaces)
	return root
}
