// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/process"
)

// extras are the verifiers and clusters that a script starts beside the stage's own.
type extras struct {
	*Stage
	running  map[string]*testenv.Verifier
	clusters map[string]*testenv.World
}

// verifiers starts verifiers that watch one namespace, so that no other script waits for them: verifiers NAMESPACE NAME... Their Leases are named
// after them.
func (e *extras) verifiers(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: verifiers NAMESPACE NAME...")
	}
	for _, name := range args[1:] {
		address, err := process.FreeAddress()
		ts.Check(err)
		v := &testenv.Verifier{Address: address}
		v.Program, err = e.Cluster.StartVerifierInPod(ctx, name, io.Discard, append([]string{"--http-bind-address=" + address, "--namespace=" + args[0]}, VerifierArgs...)...)
		ts.Check(err)
		e.running[name] = v
		ts.Defer(func() {
			if err := v.Resume(); err != nil {
				ts.Logf("continuing verifier %s: %v", name, err)
			}
			if err := v.Stop(); err != nil {
				ts.Logf("stopping verifier %s: %v", name, err)
			}
		})
	}
	for _, name := range args[1:] {
		ts.Check(e.running[name].AwaitReady(ctx, 50*time.Millisecond, patience))
	}
}

// freeze stops the process of a verifier in its tracks: freeze NAME.
func (e *extras) freeze(_ context.Context, ts *testscript.TestScript, args []string) {
	v := e.named(ts, "freeze", args)
	e.Screen.command("kill", "-STOP", strconv.Itoa(v.ProcessNumber()))
	ts.Check(v.Pause())
}

// thaw lets the process of a frozen verifier go on: thaw NAME.
func (e *extras) thaw(_ context.Context, ts *testscript.TestScript, args []string) {
	v := e.named(ts, "thaw", args)
	e.Screen.command("kill", "-CONT", strconv.Itoa(v.ProcessNumber()))
	ts.Check(v.Resume())
}

func (e *extras) named(ts *testscript.TestScript, command string, args []string) *testenv.Verifier {
	if len(args) != 1 || e.running[args[0]] == nil {
		ts.Fatalf("usage: %s NAME, of a verifier that the script has started", command)
	}
	return e.running[args[0]]
}
