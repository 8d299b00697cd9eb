// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"dgbot.io/key-operator/api/v1alpha1"
)

// listing are the keys that a verb shows, and in which form: all of a namespace, or of all namespaces.
type listing struct {
	output, selector string
	everywhere       bool
}

// addFlags adds the flags of a listing to a verb.
func (l *listing) addFlags(c *cobra.Command) {
	c.Flags().StringVarP(&l.output, "output", "o", "table", "One of "+strings.Join(listOutputs, ", "))
	c.Flags().StringVarP(&l.selector, "selector", "l", "", "Labels of the keys to show, such as team=crm")
	c.Flags().BoolVarP(&l.everywhere, "all-namespaces", "A", false, "Those of all namespaces")
}

// check rejects a call that is wrong before the cluster is asked.
func (l *listing) check(verb string, arguments []string) error {
	if len(arguments) > 0 {
		return usage("%s takes no names: use --selector, or 'kubectl dgbot describe NAME'", verb)
	}
	if _, err := labels.Parse(l.selector); err != nil {
		return usage("--selector: %w", err)
	}
	return checkOutput(l.output, listOutputs)
}

// list returns the selected keys, and names the namespaces that it read them from.
func (l *listing) list(ctx context.Context, s *session) (keys []v1alpha1.DGbotAPIKey, where string, err error) {
	cluster, err := s.connect()
	if err != nil {
		return nil, "", err
	}
	namespace, where := cluster.namespace, "namespace "+cluster.namespace
	if l.everywhere {
		namespace, where = "", "all namespaces"
	}
	keys, err = cluster.keys(ctx, namespace, l.selector)
	return keys, where, err
}
