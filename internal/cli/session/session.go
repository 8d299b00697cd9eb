// SPDX-License-Identifier: Apache-2.0

// Package session has what every verb of the plugin starts from: the streams, the flags of kubectl, the clock and the root command.
package session

import (
	"io"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/internal/cli/cluster"
)

// Session is one call of the plugin.
type Session struct {
	flags   *genericclioptions.ConfigFlags
	Streams genericiooptions.IOStreams
	// Terminal is standard error as it is, for progress.
	Terminal io.Writer
	// Clock is the clock of this machine. Requests to the operator use the API server's time instead.
	Clock clock.PassiveClock
}

// Connect returns a client of the cluster that s.flags name. It asks the cluster nothing yet.
func (s *Session) Connect() (*cluster.Client, error) { return cluster.Connect(s.flags) }
