// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// cluster starts another control plane, on which the operator runs, and makes it a context of kubectl: cluster NAME.
func (e *extras) cluster(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: cluster NAME")
	}
	world, err := testenv.Start(ctx, testenv.Options{})
	ts.Check(err)
	manager, err := world.StartOperator(ctx, io.Discard)
	if err != nil {
		ts.Check(errors.Join(err, world.Stop()))
	}
	ts.Defer(func() {
		if err := errors.Join(manager.Stop(), world.Stop()); err != nil {
			ts.Logf("stopping cluster %s: %v", args[0], err)
		}
	})
	e.clusters[args[0]] = world
	// kubectl reads several files as one.
	path := ts.MkAbs(args[0] + ".admin")
	ts.Check(controlplane.WriteContext(path, args[0], world.Config, args[0]+"-admin"))
	ts.Setenv("KUBECONFIG", ts.Getenv("KUBECONFIG")+string(filepath.ListSeparator)+path)
}

// source writes the kubeconfig of the account that config/verifier-source installs, as its script prints it: source CLUSTER FILE.
func (e *extras) source(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) != 2 || e.clusters[args[0]] == nil {
		ts.Fatalf("usage: source CLUSTER FILE, of a cluster that the script has started")
	}
	e.Screen.command(controlplane.SourceScript, ">", args[1])
	content, err := e.clusters[args[0]].SourceKubeconfig(ctx, "")
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), content, 0o600))
}

// keyIn is key for a Secret of another cluster: key-in CLUSTER FILE NAMESPACE/SECRET ENTRY.
func (e *extras) keyIn(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) == 0 || e.clusters[args[0]] == nil {
		ts.Fatalf("usage: key-in CLUSTER FILE NAMESPACE/SECRET ENTRY, of a cluster that the script has started")
	}
	there := *e.Stage
	there.Admin = e.clusters[args[0]].Admin
	there.key(ctx, ts, args[1:])
}

// sources starts a verifier with a file of sources, which is asked from now on: sources FILE.
func (e *extras) sources(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: sources FILE")
	}
	address, err := process.FreeAddress()
	ts.Check(err)
	v := &testenv.Verifier{Address: address}
	flag := "--source-config=" + ts.MkAbs(args[0])
	e.Screen.command("verifier", "--source-config="+args[0])
	v.Program, err = e.Cluster.StartVerifier(ctx, io.Discard, append([]string{"--http-bind-address=" + address, flag}, VerifierArgs...)...)
	ts.Check(err)
	ts.Defer(func() {
		if err := v.Stop(); err != nil {
			ts.Logf("stopping the verifier: %v", err)
		}
	})
	ts.Check(v.AwaitReady(ctx, 50*time.Millisecond, patience))
	e.Verifier = v
	ts.Setenv("VERIFIER", v.URL())
}
