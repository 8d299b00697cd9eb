// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"slices"
	"strings"

	"dgbot.io/key-operator/internal/cli/exit"
)

// ListOutputs are the values of --output for verbs that print rows.
var ListOutputs = []string{"table", "wide", "json", "yaml", "csv"}

// CheckOutput returns a usage error if output is none of some outputs. An empty text among them stands for the text for people.
func CheckOutput(output string, outputs []string) error {
	if !slices.Contains(outputs, output) {
		return exit.Usage("--output is %q: want one of %s", output, strings.Join(slices.DeleteFunc(slices.Clone(outputs), func(o string) bool { return o == "" }), ", "))
	}
	return nil
}
