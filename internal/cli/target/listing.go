// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/session"
)

// Scope is which keys a verb reads: those of a namespace or of all namespaces, that a label selector selects.
type Scope struct {
	Selector   string
	everywhere bool
}

// AddFlags adds the flags of a scope to a verb.
func (s *Scope) AddFlags(c *cobra.Command) {
	c.Flags().StringVarP(&s.Selector, "selector", "l", "", "Labels of the keys to show, such as team=crm")
	c.Flags().BoolVarP(&s.everywhere, "all-namespaces", "A", false, "Those of all namespaces")
}

// Check rejects a call that is wrong before the cluster is asked.
func (s *Scope) Check(verb string, arguments []string) error {
	if len(arguments) > 0 {
		return exit.Usage("%s takes no names: use --selector, or 'kubectl dgbot describe NAME'", verb)
	}
	if _, err := labels.Parse(s.Selector); err != nil {
		return exit.Usage("--selector: %w", err)
	}
	return nil
}

// In returns the namespace to read from, which is empty for all, and its name for people.
func (s *Scope) In(c *cluster.Client) (namespace, where string) {
	if s.everywhere {
		return "", "all namespaces"
	}
	return c.Namespace, "namespace " + c.Namespace
}

// Listing holds which keys a verb shows, and in which output.
type Listing struct {
	Scope
	Output string
}

// AddFlags adds the flags of a listing to a verb.
func (l *Listing) AddFlags(c *cobra.Command) {
	c.Flags().StringVarP(&l.Output, "output", "o", "table", "One of "+strings.Join(flags.ListOutputs, ", "))
	l.Scope.AddFlags(c)
}

// Check rejects a call that is wrong before the cluster is asked.
func (l *Listing) Check(verb string, arguments []string) error {
	if err := l.Scope.Check(verb, arguments); err != nil {
		return err
	}
	return flags.CheckOutput(l.Output, flags.ListOutputs)
}

// List returns the selected keys, and names the namespaces that it read them from.
func (l *Listing) List(ctx context.Context, s *session.Session) (keys []v1alpha1.DGbotAPIKey, where string, err error) {
	cluster, err := s.Connect()
	if err != nil {
		return nil, "", err
	}
	namespace, where := l.In(cluster)
	keys, err = cluster.Keys(ctx, namespace, l.Selector)
	return keys, where, err
}
