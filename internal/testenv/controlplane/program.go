// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/scratch"
	"dgbot.io/key-operator/internal/testenv/process"
)

// build builds a program of cmd into bin.
func build(name string) error { return buildAs(filepath.Join("bin", name), name) }

func buildAs(binary, name string, flags ...string) error {
	command := exec.Command("go", append(append([]string{"build"}, flags...), "-o", binary, "./cmd/"+name)...)
	command.Dir = Repository()
	if out, err := command.CombinedOutput(); err != nil {
		return scratch.Explain(fmt.Errorf("building the %s: %w\n%s", name, err, out))
	}
	return nil
}

// BuildWith builds a program of cmd as the file binary, from other files in place of source files of the repository. All paths are absolute.
func BuildWith(binary, name string, replaced map[string]string) error {
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": replaced})
	if err != nil {
		return err
	}
	file := binary + ".overlay.json"
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return err
	}
	return buildAs(binary, name, "-overlay="+file)
}

// start runs a program of bin with the credentials of a config.
func (c *Cluster) start(name string, config *rest.Config, log io.Writer, args []string, environment ...string) (*process.Program, error) {
	return c.StartBinary(filepath.Join(Repository(), "bin", name), config, log, args, environment...)
}

// StartBinary runs a program with the credentials of a config.
func (c *Cluster) StartBinary(binary string, config *rest.Config, log io.Writer, args []string, environment ...string) (*process.Program, error) {
	name := filepath.Base(binary)
	folder, err := os.MkdirTemp(c.folder, name+"-")
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(folder, "kubeconfig")
	if err := WriteKubeconfig(kubeconfig, config, name); err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w (make build builds it)", err)
	}
	command := c.run.Command(c.processName(filepath.Base(folder)), binary, append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
	command.Stdout, command.Stderr = log, log
	// A program under test collects garbage as it does where it is installed, also if GOGC is set for API servers and compilers.
	command.Env = slices.DeleteFunc(command.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "GOGC=") })
	command.Env = append(command.Env, environment...)
	return process.Start(command)
}
