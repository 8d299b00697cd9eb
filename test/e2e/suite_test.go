// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built manager as it is installed: config/default on a real control plane, the binary under its
// own service account.
package e2e

import (
	"context"
	"flag"
	"os"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

var (
	world *testenv.World
	admin client.WithWatch
)

func TestMain(m *testing.M) {
	options := testenv.Options{AuditOperator: true, Build: []func() error{controlplane.BuildOperator}}
	os.Exit(testenv.RunSuite(options, prepare, func() (int, error) {
		code := m.Run()
		if code != 0 || flag.Lookup("test.run").Value.String() != "" {
			return code, nil
		}
		return code, afterwards(context.Background())
	}))
}

func prepare(_ context.Context, started *testenv.World) error {
	world, admin = started, started.Admin
	return nil
}

var must = testenv.Must

// startOperator runs a manager for the test, at the highest verbosity.
func startOperator(t *testing.T, args ...string) *process.Program {
	t.Helper()
	return world.RunManager(t, append([]string{"--zap-log-level=10"}, args...)...)
}

// place is a namespace of a test's own.
type place struct{ *testenv.Namespace }

func newPlace(t *testing.T) *place {
	t.Helper()
	return &place{world.NewNamespace(t, "e2e-")}
}
