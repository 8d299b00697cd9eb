// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// The operator's namespace and service account as config/default installs them.
const (
	OperatorNamespace = "dgbot-system"
	OperatorAccount   = "dgbot-manager"
)

// Repository is the root of this repository.
func Repository() string {
	_, self, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(self), "..", "..")
}

// Install applies config/default as a user does, and waits for the CRDs.
func (c *Cluster) Install(ctx context.Context) error {
	return c.InstallFrom(ctx, filepath.Join(Repository(), "config", "default"))
}

// InstallFrom applies a kustomization that contains config/default, and waits for the CRDs.
func (c *Cluster) InstallFrom(ctx context.Context, folder string) error {
	for _, args := range [][]string{
		{"apply", "-k", folder},
		{"wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"},
	} {
		if out, err := c.Kubectl(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// BuildOperator builds bin/manager: what is tested is what is in the tree, not what somebody built earlier.
func BuildOperator() error {
	build := exec.Command("go", "build", "-o", filepath.Join("bin", "manager"), "./cmd/manager")
	build.Dir = Repository()
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the manager: %w\n%s", err, out)
	}
	return nil
}

// Operator is a running manager.
type Operator struct {
	command *exec.Cmd
	exited  chan struct{}
	err     error
}

// StartOperator runs bin/manager under the service account that config/default installs.
func (c *Cluster) StartOperator(ctx context.Context, log io.Writer, args ...string) (*Operator, error) {
	return c.StartOperatorAs(ctx, OperatorNamespace, OperatorAccount, log, args...)
}

// StartOperatorAs runs bin/manager under a service account with the shipped RBAC, so that a missing right shows. The
// health and metrics listeners are off unless args say otherwise.
func (c *Cluster) StartOperatorAs(ctx context.Context, namespace, account string, log io.Writer, args ...string) (*Operator, error) {
	config, err := c.ServiceAccountConfig(ctx, namespace, account)
	if err != nil {
		return nil, err
	}
	return c.StartOperatorWith(config, namespace, log, args...)
}

// StartOperatorWith runs bin/manager with a config that is not the cluster's own, such as one that leads through a proxy.
func (c *Cluster) StartOperatorWith(config *rest.Config, namespace string, log io.Writer, args ...string) (*Operator, error) {
	folder, err := os.MkdirTemp(c.folder, "operator-")
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(folder, "kubeconfig")
	if err := WriteKubeconfig(kubeconfig, config, "operator"); err != nil {
		return nil, err
	}
	binary := filepath.Join(Repository(), "bin", "manager")
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w (make build builds it)", err)
	}
	args = append([]string{
		"--kubeconfig=" + kubeconfig, "--leader-election-namespace=" + namespace,
		"--health-probe-bind-address=0", "--metrics-bind-address=0",
	}, args...)
	o := &Operator{command: exec.Command(binary, args...), exited: make(chan struct{})}
	o.command.Stdout, o.command.Stderr = log, log
	dieWithParent(o.command)
	if err := o.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		o.err = o.command.Wait()
		close(o.exited)
	}()
	return o, nil
}

// ProcessNumber is the manager's.
func (o *Operator) ProcessNumber() int { return o.command.Process.Pid }

// Exited is closed when the manager has ended; Err says how.
func (o *Operator) Exited() <-chan struct{} { return o.exited }

// Err returns how the manager ended.
func (o *Operator) Err() error { return o.err }

// Stop ends the manager as Kubernetes does: SIGTERM, and SIGKILL where that is ignored.
func (o *Operator) Stop() error {
	if err := o.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-o.exited:
		return nil
	case <-time.After(15 * time.Second):
		return errors.Join(errors.New("the manager ignored SIGTERM"), o.Kill())
	}
}

// Pause stops the manager in its tracks, as a machine that is suspended does; Resume lets it go on.
func (o *Operator) Pause() error { return o.signal(syscall.SIGSTOP) }

// Resume lets a paused manager go on.
func (o *Operator) Resume() error { return o.signal(syscall.SIGCONT) }

func (o *Operator) signal(signal syscall.Signal) error {
	if err := o.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill ends the manager at once, between whatever two writes it is.
func (o *Operator) Kill() error {
	err := o.command.Process.Kill()
	<-o.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
