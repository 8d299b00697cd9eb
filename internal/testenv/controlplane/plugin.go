// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildPlugin builds bin/kubectl-dgbot.
func BuildPlugin() error { return build("kubectl-dgbot") }

// Plugin returns a command that runs kubectl dgbot with a kubeconfig.
func Plugin(ctx context.Context, kubeconfig string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(Repository(), "bin", "kubectl-dgbot"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	return command
}
