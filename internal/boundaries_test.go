// SPDX-License-Identifier: Apache-2.0

// Package internal_test holds the rules that keep the repository readable: who may import what, and how long things get.
package internal_test

import (
	"go/ast"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module           = "dgbot.io/key-operator"
	root             = ".."
	maxFunctionLines = 80
	// maxReconcileLines keeps Reconcile a list of phases.
	maxReconcileLines = 40
	maxFileLines      = 400
)

// boundary says what the packages under a folder may import beside the standard library. An entry allows the package of
// that path and those below it. Tests are bound by the same rules, except for what tests alone may import.
type boundary struct {
	may []string
	// mustNot are imports refused although may, or the standard library, would allow them.
	mustNot []string
	// noClock refuses time.Now and its kin: the time is an argument.
	noClock bool
	// inTests are what tests of these packages may import in addition.
	inTests []string
}

var boundaries = merged(controllerBoundaries(), lifecycleBoundaries(), cliBoundaries(), verifyBoundaries(), map[string]boundary{
	"api/v1alpha1": {may: []string{"k8s.io/apimachinery"}},
	"internal/apikey": {
		mustNot: []string{"log", "net", "os"},
		noClock: true,
	},
	"internal/identity": {
		mustNot: []string{"log", "net", "os"},
		noClock: true,
	},
	"internal/version": {
		mustNot: []string{"log", "net", "os"},
		noClock: true,
	},
	"internal/program": {
		may: []string{
			module + "/internal/version", "k8s.io/client-go", "k8s.io/klog/v2", "github.com/go-logr/logr", "go.uber.org/zap", "sigs.k8s.io/controller-runtime",
		},
	},
	"internal/scratch": {},
	// Nothing of it ships: only tests, the demo and benchmarks may import it. It imports nothing from hack or cmd.
	"internal/testenv/process": {},
	"internal/testenv/browser": {may: []string{module + "/internal/testenv/process"}},
	"internal/testenv": {
		may: []string{
			module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/lifecycle/standing", module + "/internal/testenv",
			"k8s.io/api/core", "k8s.io/apimachinery", "sigs.k8s.io/controller-runtime/pkg/client",
		},
	},
	"internal/testenv/controlplane": {
		may: []string{
			module + "/api/v1alpha1", module + "/internal/scratch", module + "/internal/testenv/process", "k8s.io/api", "k8s.io/apimachinery",
			"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/go-logr/logr",
		},
	},
	"internal/testenv/scenario": {
		may: []string{module + "/internal/apikey", module + "/internal/cli/display", module + "/internal/identity", module + "/internal/testenv", "github.com/rogpeppe/go-internal", "sigs.k8s.io/controller-runtime/pkg/client"},
	},
	"internal/continuity": {
		may:     []string{"k8s.io/apimachinery/pkg/util/resourceversion"},
		noClock: true,
	},
	"internal/listening": {},
	// What a verifier writes, and the operator and the plugin read.
	"internal/registration": {
		may: []string{
			module + "/api/v1alpha1", "k8s.io/api/coordination", "k8s.io/apimachinery/pkg/apis/meta/v1", "k8s.io/apimachinery/pkg/util/resourceversion",
		},
		mustNot: []string{"log", "net", "os"},
		noClock: true,
	},
	"internal/collector": {
		may:     []string{"k8s.io/utils/clock"},
		mustNot: []string{"log", "net"},
	},
	"internal/servertime": {
		may:     []string{"k8s.io/utils/clock"},
		mustNot: []string{"log", "os"},
		// Tests let the policy plan by the clock.
		inTests: []string{module + "/api/v1alpha1", module + "/internal/lifecycle", "k8s.io/apimachinery/pkg/apis/meta/v1"},
	},
	"internal/fairness": {
		mustNot: []string{"log", "net", "os"},
		noClock: true,
	},
	"internal/connlimit": {
		may:     []string{"golang.org/x/net/http2", "google.golang.org/grpc/peer", "google.golang.org/grpc/stats", "k8s.io/utils/clock"},
		mustNot: []string{module + "/api/v1alpha1"},
	},
	// The package connects its parts: index is at the bottom, and feed, register, serve and usage do not import each other.
	"cmd/kubectl-dgbot": {may: []string{module + "/internal/cli", "k8s.io/cli-runtime", "k8s.io/client-go"}},
	"cmd/manager": {
		may: []string{
			module + "/controllers", module + "/internal/listening", module + "/internal/program", "sigs.k8s.io/controller-runtime",
		},
	},
	"cmd/verifier": {
		may: []string{
			module + "/internal/connlimit", module + "/internal/program", module + "/internal/registration", module + "/internal/verify",
			"sigs.k8s.io/controller-runtime",
		},
	},
	// To be copied into a user's own API. Of this module it needs the rule of scopes alone.
	"hack/protectedapi": {may: []string{module + "/api/v1alpha1"}},
	"hack/demo":         {may: []string{module + "/internal/cli/display", module + "/internal/scratch", module + "/internal/testenv"}},
	"test": {
		may: []string{
			module + "/api/v1alpha1", module + "/controllers", module + "/internal/apikey", module + "/internal/lifecycle",
			module + "/internal/testenv", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "sigs.k8s.io/controller-runtime",
			"github.com/evanphx/json-patch/v5", "github.com/go-logr/logr",
		},
	},
	// It compares rules that stand in several places.
	"test/rules": {
		may: []string{
			module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/identity", module + "/internal/lifecycle",
			module + "/internal/testenv", "k8s.io/apimachinery", "sigs.k8s.io/yaml",
		},
	},
	// It compares versions as verifiers do.
	"test/proof": {
		may: []string{
			module + "/api/v1alpha1", module + "/internal/registration", module + "/internal/testenv", "k8s.io/api", "k8s.io/apimachinery",
			"k8s.io/client-go", "sigs.k8s.io/controller-runtime",
		},
	},
	// It copies our CRDs, to compare with kinds that no rule is about.
	"test/policy": {
		may: []string{
			module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/lifecycle", module + "/internal/registration",
			module + "/internal/testenv",
			"k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "sigs.k8s.io/controller-runtime", "sigs.k8s.io/yaml",
		},
	},
	// It reads the schemas of the CRDs.
	"test/api": {
		may: []string{
			module + "/api/v1alpha1", module + "/controllers", module + "/internal/lifecycle", module + "/internal/testenv",
			"k8s.io/api", "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1", "k8s.io/apimachinery", "sigs.k8s.io/controller-runtime",
			"sigs.k8s.io/yaml", "github.com/evanphx/json-patch/v5",
		},
	},
	// It runs scripts as Argo CD does, and asks kstatus as Flux does.
	"test/gitops": {
		may: []string{
			module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/lifecycle", module + "/internal/testenv",
			"k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go/discovery", "sigs.k8s.io/controller-runtime", "sigs.k8s.io/yaml",
			"sigs.k8s.io/cli-utils/pkg/kstatus", "sigs.k8s.io/structured-merge-diff/v6", "github.com/evanphx/json-patch/v5", "github.com/google/cel-go",
			"github.com/yuin/gopher-lua",
		},
	},
	"test/scenarios": {may: []string{module + "/internal/testenv", "github.com/rogpeppe/go-internal/testscript"}},
	"test/starvation": {
		may: []string{module + "/api/v1alpha1", module + "/internal/testenv", "k8s.io/api", "k8s.io/apimachinery", "sigs.k8s.io/controller-runtime"},
	},
	"test/attack": {
		may: []string{
			module + "/internal/testenv", "k8s.io/client-go/util/cert",
			"github.com/envoyproxy/go-control-plane/envoy", "golang.org/x/net/http2", "google.golang.org/grpc",
		},
	},
	// It asks as Envoy does, and reads Envoy's configuration.
	"test/verifier": {
		may: []string{
			module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/registration", module + "/internal/testenv", "k8s.io/api", "k8s.io/apimachinery",
			"sigs.k8s.io/controller-runtime", "github.com/envoyproxy/go-control-plane/envoy", "google.golang.org/grpc", "google.golang.org/protobuf", "sigs.k8s.io/yaml",
		},
	},
	// It reads what happened from etcd.
	"test/e2e/storm": {
		may: []string{
			module + "/api/v1alpha1", module + "/controllers", module + "/internal/apikey", module + "/internal/identity", module + "/internal/lifecycle",
			module + "/internal/testenv", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "sigs.k8s.io/controller-runtime",
			"go.etcd.io/etcd/client/v3",
		},
	},
	"hack/bench": {
		may: []string{
			module + "/api/v1alpha1", module + "/controllers", module + "/internal/apikey", module + "/internal/lifecycle",
			module + "/hack/figures", module + "/internal/testenv", module + "/test/starvation", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "sigs.k8s.io/controller-runtime",
			"github.com/prometheus/common",
		},
	},
	// It asks as Envoy does, and stands in for an API server.
	"hack/benchverifier": {
		may: []string{
			module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/lifecycle", module + "/hack/figures", module + "/internal/testenv",
			"k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "sigs.k8s.io/controller-runtime", "golang.org/x/sync/errgroup",
			"github.com/envoyproxy/go-control-plane/envoy", "google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc",
		},
	},
	"hack/excerpts": {may: []string{module + "/internal/testenv/scenario"}},
	"hack/figures":  {},
	"hack/plugin":   {may: []string{module + "/hack/progress", module + "/internal/scratch", "sigs.k8s.io/yaml"}},
	"hack/progress": {},
	"hack/verify":   {},
	// These rules themselves.
	"internal": {},
})

// forTests are what tests may import beside their package's rule.
var forTests = []string{module + "/internal/testenv"}

func TestImportsKeepToTheirBoundaries(t *testing.T) {
	for path, file := range sources(t) {
		folder := filepath.ToSlash(filepath.Dir(path))
		rule, ok := ruleFor(folder)
		if !ok {
			t.Errorf("%s: no rule says what packages in %s may import: add one", path, folder)
			continue
		}
		test := strings.HasSuffix(path, "_test.go")
		for _, spec := range file.syntax.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !rule.allows(name, folder) && !(test && (under(name, forTests) || under(name, rule.inTests) || standard(name))) {
				t.Errorf("%s imports %s, which %s must not", path, name, folder)
			}
		}
		if rule.noClock && !test {
			for _, call := range clockCalls(file.syntax) {
				t.Errorf("%s: %s: the time is an argument here", file.set.Position(call.Pos()), path)
			}
		}
	}
}

func (b boundary) allows(name, folder string) bool {
	switch {
	case under(name, b.mustNot):
		return false
	case standard(name), name == module+"/"+folder:
		return true
	}
	return under(name, b.may)
}

// standard reports whether a path is the standard library's: no other has a first element without a dot.
func standard(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return !strings.Contains(first, ".")
}

func under(name string, paths []string) bool {
	return slices.ContainsFunc(paths, func(path string) bool { return name == path || strings.HasPrefix(name, path+"/") })
}

// ruleFor finds the rule of the closest folder that has one. A folder below "internal" needs its own.
func ruleFor(folder string) (boundary, bool) {
	for at := folder; at != "."; at = filepath.ToSlash(filepath.Dir(at)) {
		if rule, ok := boundaries[at]; ok {
			return rule, at != "internal" || folder == "internal"
		}
	}
	return boundary{}, false
}

func clockCalls(file *ast.File) []ast.Node {
	var calls []ast.Node
	ast.Inspect(file, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		name, ok := selector.X.(*ast.Ident)
		if ok && name.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Sleep", "NewTimer", "Tick"}, selector.Sel.Name) {
			calls = append(calls, selector)
		}
		return true
	})
	return calls
}

func TestFunctionsAndFilesStayShort(t *testing.T) {
	for path, file := range sources(t) {
		if lines := file.lines; lines > maxFileLines {
			t.Errorf("%s has %d lines, at most %d", path, lines, maxFileLines)
		}
		for _, declaration := range file.syntax.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := file.set.Position(function.End()).Line - file.set.Position(function.Pos()).Line + 1
			most := maxFunctionLines
			if function.Name.Name == "Reconcile" {
				most = maxReconcileLines
			}
			if lines > most {
				t.Errorf("%s: %s has %d lines, at most %d", path, function.Name.Name, lines, most)
			}
		}
	}
}

// maxPackageFiles bounds the files of a package, tests aside: one with more has several subjects.
const maxPackageFiles = 15

func TestPackagesStaySmall(t *testing.T) {
	count := map[string]int{}
	for path := range sources(t) {
		if !strings.HasSuffix(path, "_test.go") {
			count[filepath.ToSlash(filepath.Dir(path))]++
		}
	}
	for folder, files := range count {
		if files > maxPackageFiles {
			t.Errorf("%s has %d files, at most %d: divide it by subject", folder, files, maxPackageFiles)
		}
	}
}

func TestNoPackageIsAGrabBag(t *testing.T) {
	for path, file := range sources(t) {
		if slices.Contains([]string{"util", "utils", "common", "helpers", "helper", "misc", "shared"}, file.syntax.Name.Name) {
			t.Errorf("%s: package %s says nothing about what is in it", path, file.syntax.Name.Name)
		}
	}
}
