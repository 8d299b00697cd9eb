// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// Stage is where scenarios are played: a control plane on which operator and verifier run. Each script has a namespace of its own, so
// that several may be played at once; one that changes something for the whole cluster uses an environment of its own.
type Stage struct {
	// Cluster runs kubectl.
	Cluster *controlplane.Cluster
	// Admin reads Secrets.
	Admin client.Reader
	// Verifier is asked about keys.
	Verifier *testenv.Verifier
	// Home is the folder of all scripts: kubectl keeps there what it knows of the API server, and each script has its files, with keys, below
	// it. The caller removes it. A folder that testscript makes would stay behind where the process is killed.
	Home string
	// Screen shows what is played; nothing is shown if nil.
	Screen *Screen
}

// VerifierArgs are those with which a verifier reports uses in seconds. By default it takes half a minute.
var VerifierArgs = []string{"--drain-delay=0s", "--usage-flush-interval=1s", "--usage-resolution=1s"}

// patience bounds every wait of a script.
const patience = time.Minute

// Params are for testscript: the commands of scripts, and where they find programs and manifests.
func (s *Stage) Params(ctx context.Context) testscript.Params {
	do := func(command func(context.Context, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, isNegated bool, args []string) {
			if isNegated {
				ts.Fatalf("only kubectl may be expected to fail")
			}
			command(ctx, ts, args)
		}
	}
	extra := &extras{s, map[string]*testenv.Verifier{}, map[string]*testenv.World{}}
	return testscript.Params{
		RequireUniqueNames: true,
		WorkdirRoot:        s.Home,
		Setup:              s.setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kubectl": func(ts *testscript.TestScript, isNegated bool, args []string) { s.kubectl(ctx, ts, isNegated, args) },
			"quietly": do(s.quietly), "until": do(s.until), "say": do(s.say), "keep": do(s.keep), "now": do(s.now), "key": do(s.key), "ask": do(s.ask), "sign": do(s.sign), "identify": do(s.identify),
			"verifiers": do(extra.verifiers), "freeze": do(extra.freeze), "thaw": do(extra.thaw),
			"cluster": do(extra.cluster), "source": do(extra.source), "sources": do(extra.sources), "key-in": do(extra.keyIn),
		},
	}
}

// setUp gives a script the programs and, by the paths that they have in a clone, the manifests.
func (s *Stage) setUp(env *testscript.Env) error {
	assets, err := controlplane.Assets()
	if err != nil {
		return err
	}
	programs := []string{filepath.Join(controlplane.Repository(), "bin"), assets, os.Getenv("PATH")}
	for name, value := range map[string]string{
		"PATH": strings.Join(programs, string(filepath.ListSeparator)), "KUBECONFIG": s.Cluster.Kubeconfig, "HOME": s.Home, "VERIFIER": s.Verifier.URL(),
	} {
		env.Setenv(name, value)
	}
	return os.Symlink(filepath.Join(controlplane.Repository(), "config"), filepath.Join(env.WorkDir, "config"))
}

// Play plays one script. The error has the part of its log that tells what failed.
func (s *Stage) Play(ctx context.Context, script Script) error {
	params := s.Params(ctx)
	params.Files = []string{script.Path}
	p := &player{}
	testscript.RunT(p, params)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return p.err
}

// player stands for the test that testscript expects.
type player struct {
	log strings.Builder
	err error
}

// errFailed is what ends a script that fails.
var errFailed = errors.New("the script failed")

func (p *player) Run(name string, play func(testscript.T)) {
	defer func() {
		if reason := recover(); reason == errFailed { //nolint:errorlint // the value itself
			p.err = fmt.Errorf("scenario %s:\n%s", name, p.log.String())
		} else if reason != nil {
			panic(reason)
		}
	}()
	play(p)
}

func (p *player) FailNow()          { panic(errFailed) }
func (p *player) Fatal(args ...any) { p.Log(args...); p.FailNow() }
func (p *player) Log(args ...any)   { _, _ = fmt.Fprintln(&p.log, args...) }
func (p *player) Skip(args ...any)  { p.Fatal(args...) }
func (p *player) Parallel()         {}
func (p *player) Verbose() bool     { return false }
