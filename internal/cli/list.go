// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"dgbot.io/key-operator/api/v1alpha1"
)

func newList(s *session) *cobra.Command {
	var l listing
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show keys, with their last use and what comes next",
		Args:    func(_ *cobra.Command, arguments []string) error { return l.check("list", arguments) },
		RunE: func(c *cobra.Command, _ []string) error {
			keys, where, err := l.list(c.Context(), s)
			if err != nil {
				return err
			}
			if len(keys) == 0 && (l.output == "table" || l.output == "wide") {
				return writef(s.streams.ErrOut, "No DGbotAPIKeys in %s\n", where)
			}
			return printKeys(s.streams.Out, l.output, keys, s.clock.Now())
		},
	}
	l.addFlags(c)
	return c
}

func printKeys(out io.Writer, output string, keys []v1alpha1.DGbotAPIKey, now time.Time) error {
	slices.SortFunc(keys, func(a, b v1alpha1.DGbotAPIKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if output == "json" || output == "yaml" {
		return printValue(out, output, asList(keys))
	}
	return printTable(out, output, keyColumns, keys, now)
}

// asList is a list as kubectl prints it.
func asList(keys []v1alpha1.DGbotAPIKey) v1alpha1.DGbotAPIKeyList {
	list := v1alpha1.DGbotAPIKeyList{TypeMeta: typeMeta(v1alpha1.APIKeyKind + "List"), Items: keys}
	for i := range list.Items {
		list.Items[i].TypeMeta = typeMeta(v1alpha1.APIKeyKind)
		list.Items[i].ManagedFields = nil
	}
	if list.Items == nil {
		list.Items = []v1alpha1.DGbotAPIKey{}
	}
	return list
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
}

var keyColumns = []column[v1alpha1.DGbotAPIKey]{
	{heading: "NAMESPACE", cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Namespace }},
	{heading: "NAME", cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Name }},
	{heading: "KEY-ID", cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Current == nil {
			return ""
		}
		return k.Status.Current.KeyID
	}},
	{heading: "ENVIRONMENT", cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Spec.Environment }},
	{heading: "LABEL", cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return k.Spec.Label }},
	{heading: "STATE", cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string { return stateText(stateOf(k), k) }},
	{heading: "LAST-USED", cell: func(k *v1alpha1.DGbotAPIKey, now time.Time) string { return timeText(k.Status.LastUsedAt, now) }},
	{heading: "UNUSED", cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Audit == nil {
			return ""
		}
		return string(k.Status.Audit.Stage)
	}},
	{heading: "NEXT-ROTATION", cell: func(k *v1alpha1.DGbotAPIKey, now time.Time) string { return timeText(k.Status.NextRotationAt, now) }},
	{heading: "REVISION", wide: true, cell: func(k *v1alpha1.DGbotAPIKey, _ time.Time) string {
		if k.Status.Current == nil {
			return ""
		}
		return strconv.FormatInt(k.Status.Current.Revision, 10)
	}},
	{heading: "EXPIRES", wide: true, cell: func(k *v1alpha1.DGbotAPIKey, now time.Time) string { return timeText(k.Spec.ExpiresAt, now) }},
	{heading: "AGE", cell: func(k *v1alpha1.DGbotAPIKey, now time.Time) string {
		if now.IsZero() {
			return timeText(&k.CreationTimestamp, now)
		}
		return duration.HumanDuration(now.Sub(k.CreationTimestamp.Time))
	}},
}

// isObserved reports whether the status of a key is about its present spec. It is not from a change on until the operator has seen it.
func isObserved(k *v1alpha1.DGbotAPIKey) bool { return k.Status.ObservedGeneration >= k.Generation }

// stateText is a state for people, with what makes it out of date.
func stateText(state string, k *v1alpha1.DGbotAPIKey) string {
	if isObserved(k) {
		return state
	}
	return fmt.Sprintf("%s (generation %d not yet observed)", state, k.Generation)
}

// stateOf is whether a key is ready, or why it is not.
func stateOf(k *v1alpha1.DGbotAPIKey) string {
	ready := apimeta.FindStatusCondition(k.Status.Conditions, v1alpha1.ReadyCondition)
	switch {
	case ready == nil:
		return "New"
	case ready.Status == metav1.ConditionTrue:
		return "Ready"
	}
	return ready.Reason
}
