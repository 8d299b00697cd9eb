// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestTheWorkloadsOfTheGuide are taken by the API server, and described as the guide says.
func TestTheWorkloadsOfTheGuide(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("website-backend", nil)
	s.AwaitReady("website-backend")
	guide, err := os.ReadFile(filepath.Join(controlplane.Repository(), "docs", "rollouts.md"))
	must(t, err)
	blocks := yamlBlock.FindAllStringSubmatch(string(guide), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d manifests in the guide", len(blocks))
	}
	for _, block := range blocks {
		command := world.Kubectl(t.Context(), "apply", "--validate=strict", "-f", "-")
		command.Stdin = strings.NewReader(strings.ReplaceAll(block[1], "namespace: support", "namespace: "+s.Name))
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	described := s.does("describe", "website-backend")
	for workload, after := range map[string]string{"Deployment/website": "the file changes within about a minute", "Deployment/crm-sync": "restarted by Reloader"} {
		found := false
		for line := range strings.Lines(described) {
			found = found || strings.Contains(line, workload) && strings.Contains(line, after)
		}
		if !found {
			t.Errorf("%s: no %q in\n%s", workload, after, described)
		}
	}
}
