// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// NewCommand returns kubectl dgbot with all its verbs.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	return newRoot(streams, newList, newDescribe, newAudit, newRotate, newCompromise, newRevoke, newDisable, newEnable, newIdentify, newVerify, newScan, newVersion)
}
