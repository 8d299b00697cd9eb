// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/session"
)

// Listing holds which keys a verb shows, of one or of all namespaces, and in which output.
type Listing struct {
	Output, selector string
	everywhere       bool
}

// AddFlags adds the flags of a listing to a verb.
func (l *Listing) AddFlags(c *cobra.Command) {
	c.Flags().StringVarP(&l.Output, "output", "o", "table", "One of "+strings.Join(flags.ListOutputs, ", "))
	c.Flags().StringVarP(&l.selector, "selector", "l", "", "Labels of the keys to show, such as team=crm")
	c.Flags().BoolVarP(&l.everywhere, "all-namespaces", "A", false, "Those of all namespaces")
}

// Check rejects a call that is wrong before the cluster is asked.
func (l *Listing) Check(verb string, arguments []string) error {
	if len(arguments) > 0 {
		return exit.Usage("%s takes no names: use --selector, or 'kubectl dgbot describe NAME'", verb)
	}
	if _, err := labels.Parse(l.selector); err != nil {
		return exit.Usage("--selector: %w", err)
	}
	return flags.CheckOutput(l.Output, flags.ListOutputs)
}

// List returns the selected keys, and names the namespaces that it read them from.
func (l *Listing) List(ctx context.Context, s *session.Session) (keys []v1alpha1.DGbotAPIKey, where string, err error) {
	cluster, err := s.Connect()
	if err != nil {
		return nil, "", err
	}
	namespace, where := cluster.Namespace, "namespace "+cluster.Namespace
	if l.everywhere {
		namespace, where = "", "all namespaces"
	}
	keys, err = cluster.Keys(ctx, namespace, l.selector)
	return keys, where, err
}
