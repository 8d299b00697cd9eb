// SPDX-License-Identifier: Apache-2.0

// Package list has the verb list.
package list

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/status"
	"dgbot.io/key-operator/internal/cli/target"
)

// New returns the verb list.
func New(s *session.Session) *cobra.Command {
	var l target.Listing
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show keys with their state, last use and next rotation",
		Args:    func(_ *cobra.Command, arguments []string) error { return l.Check("list", arguments) },
		RunE: func(c *cobra.Command, _ []string) error {
			keys, where, err := l.List(c.Context(), s)
			if err != nil {
				return err
			}
			if len(keys) == 0 && (l.Output == "table" || l.Output == "wide") {
				return display.Writef(s.Streams.ErrOut, "No DGbotAPIKeys in %s\n", where)
			}
			return printKeys(s.Streams.Out, l.Output, keys, s.Clock.Now())
		},
	}
	l.AddFlags(c)
	return c
}

func printKeys(out io.Writer, output string, keys []v1alpha1.DGbotAPIKey, now time.Time) error {
	slices.SortFunc(keys, func(a, b v1alpha1.DGbotAPIKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if output == "json" || output == "yaml" {
		return display.PrintValue(out, output, asList(keys))
	}
	return display.PrintTable(out, output, keyColumns, keys, now)
}

// asList is a list as kubectl prints it.
func asList(keys []v1alpha1.DGbotAPIKey) v1alpha1.DGbotAPIKeyList {
	list := v1alpha1.DGbotAPIKeyList{TypeMeta: cluster.TypeMeta(v1alpha1.APIKeyKind + "List"), Items: keys}
	for i := range list.Items {
		list.Items[i].TypeMeta = cluster.TypeMeta(v1alpha1.APIKeyKind)
		list.Items[i].ManagedFields = nil
	}
	if list.Items == nil {
		list.Items = []v1alpha1.DGbotAPIKey{}
	}
	return list
}

var keyColumns = []display.Column[v1alpha1.DGbotAPIKey]{
	{Heading: "NAMESPACE", Cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Namespace }},
	{Heading: "NAME", Cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Name }},
	{Heading: "KEY-ID", Cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Current == nil {
			return ""
		}
		return k.Status.Current.KeyID
	}},
	{Heading: "ENVIRONMENT", Cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Spec.Environment }},
	{Heading: "LABEL", Cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Spec.Label }},
	{Heading: "STATE", Cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return status.Text(status.State(k), k) }, Tone: toneOf},
	{Heading: "LAST-USED", Cell: func(k *v1alpha1.DGbotAPIKey, now time.Time) string { return display.TimeText(k.Status.LastUsedAt, now) }},
	{Heading: "UNUSED", Cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Audit == nil {
			return ""
		}
		return string(k.Status.Audit.Stage)
	}},
	{Heading: "NEXT-ROTATION", Cell: func(k *v1alpha1.DGbotAPIKey, now time.Time) string {
		return display.TimeText(k.Status.NextRotationAt, now)
	}},
	{Heading: "REVISION", Wide: true, Cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Current == nil {
			return ""
		}
		return strconv.FormatInt(k.Status.Current.Revision, 10)
	}},
	{Heading: "EXPIRES", Wide: true, Cell: func(k *v1alpha1.DGbotAPIKey, now time.Time) string { return display.TimeText(k.Spec.ExpiresAt, now) }},
	{Heading: "AGE", Cell: func(k *v1alpha1.DGbotAPIKey, now time.Time) string {
		if now.IsZero() {
			return display.TimeText(&k.CreationTimestamp, now)
		}
		return duration.HumanDuration(now.Sub(k.CreationTimestamp.Time))
	}},
}

// toneOf returns the tone of a key's state. A key that a user has ended is no fault.
func toneOf(k *v1alpha1.DGbotAPIKey) display.Tone {
	switch state := status.State(k); {
	case !status.IsObserved(k), state == "New":
		return display.Neutral
	case state == "Ready":
		return display.Good
	case status.IsEnded(state):
		return display.Faint
	}
	return display.Bad
}
