// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/version"
)

func newVersion(s *session.Session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this plugin",
		Long:  `Shows the version of this plugin. It does not connect to a cluster.`,
		Args: func(_ *cobra.Command, arguments []string) error {
			if len(arguments) > 0 {
				return exit.Usage("version takes no arguments")
			}
			return flags.CheckOutput(output, []string{"", "json", "yaml"})
		},
		RunE: func(*cobra.Command, []string) error {
			if output != "" {
				return display.PrintValue(s.Streams.Out, output, version.Get())
			}
			return display.Writef(s.Streams.Out, "kubectl-dgbot %s\n", version.Get())
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json or yaml, for programs")
	return c
}
