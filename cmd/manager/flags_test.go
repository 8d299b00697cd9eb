// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"testing"
)

// TestParse_RequiresEnvironmentsByDefault: without a DGbotEnvironment, a key that is applied before its environment would escape the
// environment's rules.
func TestParse_RequiresEnvironmentsByDefault(t *testing.T) {
	global := flag.CommandLine
	t.Cleanup(func() { flag.CommandLine = global })
	for argument, want := range map[string]bool{
		"--leader-elect=true": true, "--require-environment": true, "--require-environment=false": false,
	} {
		flag.CommandLine = flag.NewFlagSet("manager", flag.ContinueOnError)
		options, _, err := parse([]string{argument})
		if err != nil {
			t.Fatal(err)
		}
		if options.RequireEnvironment != want {
			t.Errorf("with %s, environments are required: %t, want %t", argument, options.RequireEnvironment, want)
		}
	}
}
