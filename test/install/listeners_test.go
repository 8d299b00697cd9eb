// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestListeners_NameFlagAndAddressOfATakenPort, of each listener of manager and verifier.
func TestListeners_NameFlagAndAddressOfATakenPort(t *testing.T) {
	t.Parallel()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	if err := controlplane.BuildVerifier(); err != nil {
		t.Fatal(err)
	}
	cluster := testenv.StartCluster(t, controlplane.Options{})
	if err := cluster.InstallFrom(t.Context(), filepath.Join(controlplane.Repository(), "config", "crd")); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	taken := listener.Addr().String()
	for program, flags := range map[string][]string{
		"manager":  {"health-probe-bind-address", "metrics-bind-address"},
		"verifier": {"http-bind-address", "grpc-bind-address", "metrics-bind-address"},
	} {
		for _, flag := range flags {
			t.Run(program+" "+flag, func(t *testing.T) {
				args := []string{"--kubeconfig=" + cluster.Kubeconfig}
				for _, other := range flags {
					args = append(args, "--"+other+"=0")
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				out, err := exec.CommandContext(ctx, filepath.Join(controlplane.Repository(), "bin", program), append(args, "--"+flag+"="+taken)...).CombinedOutput()
				want := program + ": --" + flag + " " + taken + ": "
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				last := lines[len(lines)-1]
				if err == nil || !strings.HasPrefix(last, want) || !strings.Contains(last, "address already in use; stop the process that uses this port, or name another port") {
					t.Errorf("%v, want %s\n%s", err, want, out)
				}
			})
		}
	}
}
