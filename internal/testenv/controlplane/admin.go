// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Furnish installs config/default, config/environments and what else of config is named, starts a controller manager, and returns a client that
// may do everything.
func (c *Cluster) Furnish(ctx context.Context, more ...string) (client.WithWatch, error) {
	if err := c.Install(ctx); err != nil {
		return nil, err
	}
	for _, name := range more {
		if err := c.InstallFrom(ctx, filepath.Join(Repository(), "config", name)); err != nil {
			return nil, err
		}
	}
	if err := c.StartControllerManager(ctx, nil); err != nil {
		return nil, err
	}
	return c.AdminClient()
}

// AdminClient returns a client that may do everything.
func (c *Cluster) AdminClient() (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return client.NewWithWatch(c.Config, client.Options{Scheme: scheme})
}
