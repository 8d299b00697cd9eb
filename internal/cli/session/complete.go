// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/flags"
)

// completionTime bounds how long a user waits after pressing the tab key.
const completionTime = 3 * time.Second

// CompleteKeys offers the keys of the namespace that are not named yet, with their labels.
func (s *Session) CompleteKeys(c *cobra.Command, names []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	cluster, err := s.Connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	keys, err := cluster.Keys(ctx, cluster.Namespace, "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []cobra.Completion
	for i := range keys {
		if name := keys[i].Name; display.IsName(name) && !slices.Contains(names, name) {
			offers = append(offers, cobra.CompletionWithDesc(name, display.OneLine(keys[i].Spec.Label)))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces offers the namespaces that the user may list.
func (s *Session) completeNamespaces(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	cluster, err := s.Connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	core, err := cluster.Core()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	namespaces, err := core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []cobra.Completion
	for i := range namespaces.Items {
		if name := namespaces.Items[i].Name; display.IsName(name) {
			offers = append(offers, name)
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeFlags registers the values that the flags of a verb may have.
func completeFlags(c *cobra.Command) {
	for flag, values := range map[string][]cobra.Completion{"output": flags.ListOutputs, "fail-on": {"low", "medium", "high"}} {
		if c.Flags().Lookup(flag) != nil {
			// It fails for a flag that does not exist, or that has this already.
			_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}
