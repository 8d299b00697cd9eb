// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/scratch"
	"dgbot.io/key-operator/internal/testenv/process"
)

// build builds a program of cmd into bin.
func build(name string) error {
	command := exec.Command("go", "build", "-o", filepath.Join("bin", name), "./cmd/"+name)
	command.Dir = Repository()
	if out, err := command.CombinedOutput(); err != nil {
		return scratch.Explain(fmt.Errorf("building the %s: %w\n%s", name, err, out))
	}
	return nil
}

// start runs a program of bin with the credentials of a config.
func (c *Cluster) start(name string, config *rest.Config, log io.Writer, args []string, environment ...string) (*process.Program, error) {
	folder, err := os.MkdirTemp(c.folder, name+"-")
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(folder, "kubeconfig")
	if err := WriteKubeconfig(kubeconfig, config, name); err != nil {
		return nil, err
	}
	binary := filepath.Join(Repository(), "bin", name)
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w (make build builds it)", err)
	}
	command := c.run.Command(c.processName(filepath.Base(folder)), binary, append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
	command.Stdout, command.Stderr = log, log
	command.Env = append(command.Environ(), environment...)
	return process.Start(command)
}
