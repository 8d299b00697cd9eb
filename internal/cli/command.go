// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"dgbot.io/key-operator/internal/cli/audit"
	"dgbot.io/key-operator/internal/cli/change"
	"dgbot.io/key-operator/internal/cli/dashboard"
	"dgbot.io/key-operator/internal/cli/describe"
	"dgbot.io/key-operator/internal/cli/identify"
	"dgbot.io/key-operator/internal/cli/list"
	"dgbot.io/key-operator/internal/cli/scan"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/verifiers"
	"dgbot.io/key-operator/internal/cli/verify"
)

// NewCommand returns kubectl dgbot with all its verbs.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	return session.NewRoot(streams, list.New, describe.New, audit.New, change.NewRotate, change.NewCompromise, change.NewRevoke, change.NewDisable, change.NewEnable, identify.New, verify.New,
		verifiers.New, scan.New, dashboard.New, newVersion)
}
