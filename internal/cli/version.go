// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"dgbot.io/key-operator/internal/version"
)

func newVersion(s *session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this plugin",
		Long:  `Shows the version of this plugin. It asks no cluster.`,
		Args: func(_ *cobra.Command, arguments []string) error {
			if len(arguments) > 0 {
				return usage("version takes no arguments")
			}
			return checkOutput(output, []string{"", "json", "yaml"})
		},
		RunE: func(*cobra.Command, []string) error {
			if output != "" {
				return printValue(s.streams.Out, output, version.Get())
			}
			return writef(s.streams.Out, "kubectl-dgbot %s\n", version.Get())
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json or yaml, for the same in a form for programs")
	return c
}
