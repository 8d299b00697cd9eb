// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/testenv/process"
)

// The operator's namespace and service account as config/default installs them.
const (
	OperatorNamespace = "dgbot-system"
	OperatorAccount   = "dgbot-manager"
)

// Repository is the root of this repository.
func Repository() string {
	_, self, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(self), "..", "..", "..")
}

// Install applies config/default and config/environments as a user does.
func (c *Cluster) Install(ctx context.Context) error {
	if err := c.InstallFrom(ctx, filepath.Join(Repository(), "config", "default")); err != nil {
		return err
	}
	return c.InstallEnvironments(ctx)
}

// InstallEnvironments applies config/environments: without an environment the operator issues no key. The CRDs must be established.
func (c *Cluster) InstallEnvironments(ctx context.Context) error {
	return c.kubectl(ctx, "apply", "-k", filepath.Join(Repository(), "config", "environments"))
}

func (c *Cluster) kubectl(ctx context.Context, args ...string) error {
	if out, err := c.Kubectl(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// InstallFrom applies a kustomization that contains config/default, and waits for the CRDs.
func (c *Cluster) InstallFrom(ctx context.Context, folder string) error {
	if err := c.kubectl(ctx, "apply", "-k", folder); err != nil {
		return err
	}
	return c.kubectl(ctx, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
}

// BuildOperator builds bin/manager: what is tested is what is in the tree, not an earlier build.
func BuildOperator() error { return build("manager") }

// StartOperator runs bin/manager under the service account that config/default installs.
func (c *Cluster) StartOperator(ctx context.Context, log io.Writer, args ...string) (*process.Program, error) {
	return c.StartOperatorAs(ctx, OperatorNamespace, OperatorAccount, log, args...)
}

// StartOperatorAs runs bin/manager under a service account with the shipped RBAC, so that a missing right shows. The
// health and metrics listeners are off unless args say otherwise.
func (c *Cluster) StartOperatorAs(ctx context.Context, namespace, account string, log io.Writer, args ...string) (*process.Program, error) {
	config, err := c.ServiceAccountConfig(ctx, namespace, account)
	if err != nil {
		return nil, err
	}
	return c.StartOperatorWith(config, namespace, log, args...)
}

// StartOperatorWith runs bin/manager with a config that is not the cluster's own, such as one that leads through a proxy.
func (c *Cluster) StartOperatorWith(config *rest.Config, namespace string, log io.Writer, args ...string) (*process.Program, error) {
	return c.start("manager", config, log, append([]string{
		"--leader-election-namespace=" + namespace, "--health-probe-bind-address=0", "--metrics-bind-address=0",
	}, args...))
}
