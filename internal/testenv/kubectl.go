// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// StartCluster starts a control plane that stops at the end of the test. Nothing is installed in it.
func StartCluster(t testing.TB, options controlplane.Options) *controlplane.Cluster {
	t.Helper()
	cluster, err := controlplane.Start(options)
	Must(t, err)
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

// Kubectl runs kubectl for a test, as the admin of a cluster.
type Kubectl struct {
	T       *testing.T
	Cluster *controlplane.Cluster
}

// Run runs kubectl with an input, and returns what it prints.
func (k Kubectl) Run(input string, args ...string) (output string, err error) {
	command := k.Cluster.Kubectl(k.T.Context(), args...)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	return string(out), err
}

// Must is Run, and ends the test if kubectl fails.
func (k Kubectl) Must(input string, args ...string) (output string) {
	k.T.Helper()
	out, err := k.Run(input, args...)
	if err != nil {
		k.T.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// Decode parses the JSON that kubectl prints.
func (k Kubectl) Decode(into any, args ...string) {
	k.T.Helper()
	if err := json.Unmarshal([]byte(k.Must("", args...)), into); err != nil {
		k.T.Fatalf("output of kubectl %s: %v", strings.Join(args, " "), err)
	}
}

// Eventually waits up to a minute until a condition holds. The condition also returns what it has seen, which the failure shows.
func (k Kubectl) Eventually(what string, condition func() (holds bool, seen string)) {
	k.T.Helper()
	Eventually(k.T, time.Minute, what, condition)
}
