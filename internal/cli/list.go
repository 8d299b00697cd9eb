// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"dgbot.io/key-operator/api/v1alpha1"
)

func newList(s *session) *cobra.Command {
	var output, selector string
	var everywhere bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show keys, with their last use and what comes next",
		Args: func(c *cobra.Command, arguments []string) error {
			if len(arguments) > 0 {
				return usage("list takes no names: use --selector, or 'kubectl get dgkey NAME'")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(listOutputs, output) {
				return usage("--output is %q: want one of %s", output, strings.Join(listOutputs, ", "))
			}
			cluster, err := s.connect()
			if err != nil {
				return err
			}
			namespace := cluster.namespace
			if everywhere {
				namespace = ""
			}
			keys, err := cluster.keys(c.Context(), namespace, selector)
			if err != nil {
				return err
			}
			if len(keys) == 0 && (output == "table" || output == "wide") {
				where := fmt.Sprintf("in namespace %q", namespace)
				if everywhere {
					where = "in any namespace"
				}
				_, err = fmt.Fprintf(s.streams.ErrOut, "No DGbotAPIKeys %s\n", where)
				return err
			}
			return printKeys(s.streams.Out, output, keys, s.clock.Now())
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "One of "+strings.Join(listOutputs, ", "))
	c.Flags().StringVarP(&selector, "selector", "l", "", "Labels of the keys to show, such as team=crm")
	c.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "Those of all namespaces")
	return c
}

var listOutputs = []string{"table", "wide", "json", "yaml", "csv"}

func printKeys(out io.Writer, output string, keys []v1alpha1.DGbotAPIKey, now time.Time) error {
	slices.SortFunc(keys, func(a, b v1alpha1.DGbotAPIKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	switch output {
	case "json", "yaml":
		return printObjects(out, output, keys)
	case "csv":
		table := csv.NewWriter(out)
		_ = table.Write(headings(keyColumns))
		for i := range keys {
			_ = table.Write(cells(keyColumns, &keys[i], time.Time{}))
		}
		table.Flush()
		return table.Error()
	}
	columns := slices.DeleteFunc(slices.Clone(keyColumns), func(c keyColumn) bool { return c.wide && output != "wide" })
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, strings.Join(headings(columns), "\t"))
	for i := range keys {
		_, _ = fmt.Fprintln(table, strings.Join(cells(columns, &keys[i], now), "\t"))
	}
	return table.Flush()
}

// keyColumn is a column of the list.
type keyColumn struct {
	heading string
	wide    bool
	cell    func(key *v1alpha1.DGbotAPIKey, now time.Time) string
}

var keyColumns = []keyColumn{
	{"NAMESPACE", false, func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Namespace }},
	{"NAME", false, func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Name }},
	{"KEY-ID", false, func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Current == nil {
			return ""
		}
		return k.Status.Current.KeyID
	}},
	{"ENVIRONMENT", false, func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Spec.Environment }},
	{"LABEL", false, func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Spec.Label }},
	{"STATE", false, func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		ready := apimeta.FindStatusCondition(k.Status.Conditions, v1alpha1.ReadyCondition)
		switch {
		case ready == nil:
			return "New"
		case ready.Status == metav1.ConditionTrue:
			return "Ready"
		}
		return ready.Reason
	}},
	{"LAST-USED", false, func(k *v1alpha1.DGbotAPIKey, now time.Time) string { return told(k.Status.LastUsedAt, now) }},
	{"UNUSED", false, func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Audit == nil {
			return ""
		}
		return string(k.Status.Audit.Stage)
	}},
	{"NEXT-ROTATION", false, func(k *v1alpha1.DGbotAPIKey, now time.Time) string { return told(k.Status.NextRotationAt, now) }},
	{"REVISION", true, func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Current == nil {
			return ""
		}
		return strconv.FormatInt(k.Status.Current.Revision, 10)
	}},
	{"EXPIRES", true, func(k *v1alpha1.DGbotAPIKey, now time.Time) string { return told(k.Spec.ExpiresAt, now) }},
	{"AGE", false, func(k *v1alpha1.DGbotAPIKey, now time.Time) string {
		if now.IsZero() {
			return told(&k.CreationTimestamp, now)
		}
		return duration.HumanDuration(now.Sub(k.CreationTimestamp.Time))
	}},
}

// told is a time as people like it, or in RFC 3339 where no present time is given.
func told(at *metav1.Time, now time.Time) string {
	switch {
	case at == nil:
		return ""
	case now.IsZero():
		return at.UTC().Format(time.RFC3339)
	case at.After(now):
		return "in " + duration.HumanDuration(at.Sub(now))
	}
	return duration.HumanDuration(now.Sub(at.Time)) + " ago"
}

func headings(columns []keyColumn) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.heading)
	}
	return all
}

func cells(columns []keyColumn, key *v1alpha1.DGbotAPIKey, now time.Time) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.cell(key, now))
	}
	return all
}
