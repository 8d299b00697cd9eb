// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/testenv/process"
)

// VerifierAccount is the service account of config/verifier, in OperatorNamespace.
const VerifierAccount = "dgbot-verifier"

// BuildVerifier builds bin/verifier.
func BuildVerifier() error { return build("verifier") }

// StartVerifier runs bin/verifier under the service account that config/verifier installs. Its listeners are off unless
// args say otherwise.
func (c *Cluster) StartVerifier(ctx context.Context, log io.Writer, args ...string) (*process.Program, error) {
	config, err := c.ServiceAccountConfig(ctx, OperatorNamespace, VerifierAccount)
	if err != nil {
		return nil, err
	}
	return c.StartVerifierWith(config, log, args...)
}

// StartVerifierInPod is StartVerifier for a verifier that finds the name of a pod in its environment, as in a cluster.
func (c *Cluster) StartVerifierInPod(ctx context.Context, pod string, log io.Writer, args ...string) (*process.Program, error) {
	config, err := c.ServiceAccountConfig(ctx, OperatorNamespace, VerifierAccount)
	if err != nil {
		return nil, err
	}
	return c.start("verifier", config, log, append(slices.Clone(listenersOff), args...), "POD_NAME="+pod)
}

// SourceScript is the script of config/verifier-source, from the root of the repository.
const SourceScript = "config/verifier-source/kubeconfig.sh"

// SourceKubeconfig returns what SourceScript prints: a kubeconfig with which a verifier of another cluster reads this cluster's records, from a
// server, or from the API server itself if empty.
func (c *Cluster) SourceKubeconfig(ctx context.Context, server string) ([]byte, error) {
	command := exec.CommandContext(ctx, filepath.Join(Repository(), SourceScript))
	command.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "SERVER="+server, "DURATION=1h", "PATH="+c.assets+string(filepath.ListSeparator)+os.Getenv("PATH"))
	content, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", SourceScript, err)
	}
	return content, nil
}

// listenersOff turns the listeners of a verifier off, unless later arguments turn them on.
var listenersOff = []string{"--http-bind-address=0", "--grpc-bind-address=0", "--metrics-bind-address=0"}

// StartVerifierWith runs bin/verifier with a config that is not the cluster's own, such as one that leads to a stub.
func (c *Cluster) StartVerifierWith(config *rest.Config, log io.Writer, args ...string) (*process.Program, error) {
	return c.start("verifier", config, log, append(slices.Clone(listenersOff), args...))
}
