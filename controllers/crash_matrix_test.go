// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// interruption is what happens at the broken write.
type interruption string

const (
	fails       interruption = "fails"                                // the write does not happen, the operator crashes
	lost        interruption = "happens, but the answer is lost"      // the write happens, the operator crashes
	doubled     interruption = "comes after another operator's"       // another operator converges just before the write
	doubleAfter interruption = "comes just before another operator's" // ... just after it
)

// TestCrashMatrix breaks every write of every scenario in every way, one at a time, on a real API server, and asserts the
// promises after every single write and in the end. With -short it breaks each line that writes once in every way, in the first scenario
// that comes to it.
func TestCrashMatrix(t *testing.T) {
	all := maps.Clone(scenarios)
	maps.Copy(all, auditScenarios)
	maps.Copy(all, environmentScenarios)
	crashMatrix(t, slices.Sorted(maps.Keys(all)), func(t *testing.T, name string, f *faults, how interruption) {
		runScenario(t, all[name], f, how)
	}, func(file string) bool { return !strings.HasPrefix(file, "chatbots/") })
}

// crashMatrix runs each of the named with every write broken in every way, and fails where a write in one of the files was not
// among them.
func crashMatrix(t *testing.T, names []string, run func(t *testing.T, name string, f *faults, how interruption), covers func(file string) bool) {
	t.Helper()
	var mutex sync.Mutex
	covered := map[interruption]map[string]bool{fails: {}, lost: {}, doubled: {}, doubleAfter: {}}
	chosen := map[string]bool{}
	passed := t.Run("scenarios", func(t *testing.T) {
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				undisturbed := &faults{}
				run(t, name, undisturbed, "")
				if undisturbed.writes == 0 {
					t.Fatal("nothing was written: the scenario proves nothing")
				}
				for i, site := range undisturbed.sites {
					at := i + 1
					if testing.Short() && chosen[site] {
						continue
					}
					chosen[site] = true
					for how := range covered {
						t.Run(fmt.Sprintf("write %d %s", at, how), func(t *testing.T) {
							t.Parallel()
							f := &faults{breakAt: at, lost: how == lost}
							run(t, name, f, how)
							if f.broken == "" {
								t.Fatalf("write %d was never made", at)
							}
							mutex.Lock()
							defer mutex.Unlock()
							covered[how][f.brokenSite] = true
						})
					}
				}
			})
		}
	})
	if !passed {
		return
	}
	for how, sites := range covered {
		for site := range writeSites(t, covers) {
			if !sites[site] {
				t.Errorf("%s writes, and no scenario covers that this write %s", site, how)
			}
		}
	}
}

// rest lets an undisturbed operator converge.
func (w *fixture) rest() {
	w.T.Helper()
	w.restWith(w.operator(w.client))
}

func (w *fixture) restWith(operator *apikeys.Reconciler) {
	w.T.Helper()
	for range 30 {
		result, err := operator.Reconcile(w.T.Context(), w.request())
		switch {
		case errors.Is(err, errInjected):
			operator = w.operator(operator.Client) // it crashed: nothing in its memory survives
		case err != nil:
			w.T.Fatalf("reconciling: %v", err)
		case result.RequeueAfter != write.YieldDelay:
			return
		}
	}
	w.T.Fatal("the operator does not converge")
}

func runScenario(t *testing.T, s scenario, f *faults, how interruption) {
	w := newFixture(t)
	if s.prepare == nil {
		s.prepare = func(w *fixture) { w.create(nil) }
	}
	s.prepare(w)
	w.rest()
	before := map[types.UID]bool{}
	for _, record := range w.records() {
		before[record.UID] = true
	}
	s.happen(w)

	second := func() { w.restWith(w.operator(w.client)) }
	switch how {
	case doubled:
		f.before = second
	case doubleAfter:
		f.before, f.after = func() {}, second
	}
	replaced := false
	f.each = func(what string) {
		if what == "create DGbotAPIKeyRecord" && w.onCreate != nil {
			w.onCreate()
		}
		if published := w.published(); published != nil && !before[published.UID] {
			replaced = true
		}
		// What happens may end the key in use, but not the one that replaces it.
		must := !s.interrupts || replaced && s.reason == v1alpha1.IssuedReason
		if verdict := w.verifies(); must && w.secret() != nil && verdict != standing.Admitted {
			t.Errorf("after %q the key in the Secret is %s", what, verdict)
		}
	}
	w.restWith(w.operator(f.wrap(live)))
	w.checkOutcome(s, before)
	if s.check != nil {
		s.check(w)
	}
	// A restarted operator finds nothing to write.
	idle := &faults{}
	w.restWith(w.operator(idle.wrap(live)))
	if idle.writes != 0 {
		t.Errorf("a restarted operator wrote %d times: %v", idle.writes, idle.sites)
	}
}

func (w *fixture) checkOutcome(s scenario, before map[types.UID]bool) {
	w.T.Helper()
	if ready := w.ready(); ready.Reason != s.reason {
		w.T.Errorf("Ready is %s, reason %s (%s), want %s", ready.Status, ready.Reason, ready.Message, s.reason)
	}
	if s.reason == v1alpha1.IssuedReason && w.key().DeletionTimestamp.IsZero() {
		if verdict := w.verifies(); verdict != standing.Admitted {
			w.T.Errorf("Ready, but the key in the Secret is %s", verdict)
		}
	}
	published, minted := w.published(), 0
	for _, record := range w.records() {
		if !before[record.UID] {
			minted++
			if !slices.Contains(s.causes, record.Spec.Cause) {
				w.T.Errorf("record %s has the cause %s, want one of %v", record.Name, record.Spec.Cause, s.causes)
			}
		}
		// One record more than was published per crash and per operator at most, and none without an end.
		if published != nil && record.Spec.Revision < published.Spec.Revision && record.Spec.NotAfter == nil && record.Spec.State == v1alpha1.StateActive {
			w.T.Errorf("record %s is superseded and has no end", record.Name)
		}
	}
	if len(s.causes) > 0 && (minted < 1 || minted > 3) {
		w.T.Errorf("%d revisions were minted, want one, and at most two attempts that were given up", minted)
	}
}

// writeSites returns the lines of the controllers that write: calls of the client's writing methods.
func writeSites(t *testing.T, covers func(file string) bool) map[string]bool {
	t.Helper()
	sites := map[string]bool{}
	for _, file := range productSources(t) {
		// These two controllers each have one write, a deletion, with tests of their own.
		isSingle := file == "records/reconcile.go" || file == "leases/reconcile.go"
		if isSingle || !covers(file) {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if ok && slices.Contains([]string{"Create", "Update", "Patch", "Delete", "DeleteAllOf", "Apply"}, method.Sel.Name) && onClient(method.X) {
				sites[fmt.Sprintf("%s:%d", file, set.Position(call.Pos()).Line)] = true
			}
			return true
		})
	}
	if len(sites) < 4 {
		t.Fatalf("only %d places that write were found: %v", len(sites), sites)
	}
	return sites
}

// productSources returns the paths of the controllers' source files, tests aside.
func productSources(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files = append(files, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// onClient reports whether an expression is r.Client, a client that was handed on as the writer, or one of their subresource
// writers.
func onClient(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.SelectorExpr:
		return x.Sel.Name == "Client"
	case *ast.Ident:
		return x.Name == "writer"
	case *ast.CallExpr:
		method, ok := x.Fun.(*ast.SelectorExpr)
		return ok && onClient(method.X)
	}
	return false
}
