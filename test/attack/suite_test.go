// SPDX-License-Identifier: Apache-2.0

// Package attack runs the built verifier under the memory limit that config/verifier ships, and attacks it as clients without a key can. The
// attacks take every processor, so the Makefile runs this package alone: clients of other packages' tests would wait for their turn.
package attack

import (
	"context"
	"os"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var world *testenv.World

func TestMain(m *testing.M) {
	testenv.ShortSizes(map[string]string{"attack.connections": "500", "attack.time": "2s"})
	options := testenv.Options{Within: 2 * time.Minute, Config: []string{"verifier"}, Build: []func() error{controlplane.BuildVerifier}, WithoutControllers: true}
	os.Exit(testenv.RunSuite(options, prepare, func() (int, error) { return m.Run(), nil }))
}

func prepare(_ context.Context, started *testenv.World) error {
	world = started
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\nlast lines of the verifier:\n%s", err, world.LogTail(30))
	}
}
