// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/session"
)

// TestHelp_ForwardsToAPortOfTheService: the command in the help of verify has to work as it stands there.
func TestHelp_ForwardsToAPortOfTheService(t *testing.T) {
	content, err := os.ReadFile("../../../config/verifier/service.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var service struct {
		Metadata struct{ Name, Namespace string }
		Spec     struct {
			Ports []struct {
				Name string
				Port int
			}
		}
	}
	if err := yaml.Unmarshal(content, &service); err != nil {
		t.Fatal(err)
	}
	help, _, _ := call(t, "", "verify", "--help")
	forward := regexp.MustCompile(`port-forward -n (\S+) svc/(\S+) (\d+):(\d+) & kubectl dgbot verify --url http://localhost:(\d+)`).FindStringSubmatch(help)
	if forward == nil || forward[1] != service.Metadata.Namespace || forward[2] != service.Metadata.Name || forward[3] != forward[5] {
		t.Fatalf("%q in\n%s", forward, help)
	}
	for _, port := range service.Spec.Ports {
		if port.Name == "http" && strings.TrimSpace(forward[4]) != "80" || port.Name == "http" && port.Port != 80 {
			t.Errorf("the Service has %d, the help %s", port.Port, forward[4])
		}
	}
}

// call runs kubectl dgbot with the verbs of this package, and returns what it writes and its exit code.
func call(t *testing.T, stdin string, args ...string) (out, said string, code int) {
	t.Helper()
	newCommand := func(streams genericiooptions.IOStreams) *cobra.Command { return session.NewRoot(streams, New) }
	return clitest.Call(t, newCommand, stdin, args...)
}
