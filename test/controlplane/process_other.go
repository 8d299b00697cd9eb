// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package controlplane

import "os/exec"

// dieWithParent has no counterpart here: a killed test leaves its controller manager behind, which exits with the API server.
func dieWithParent(*exec.Cmd) {}
