// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// UsageNamespace is where verifiers register unless their --usage-namespace is another.
const UsageNamespace = "dgbot-system"

// Registrations returns the Leases by which verifiers register in a namespace. It reads page by page.
func (c *Client) Registrations(ctx context.Context, namespace string) ([]coordinationv1.Lease, error) {
	core, err := c.Core()
	if err != nil {
		return nil, err
	}
	var all []coordinationv1.Lease
	options := metav1.ListOptions{LabelSelector: v1alpha1.VerifierLabel + "=true", Limit: pageSize}
	for {
		page, err := core.CoordinationV1().Leases(namespace).List(ctx, options)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			return all, nil
		}
	}
}
