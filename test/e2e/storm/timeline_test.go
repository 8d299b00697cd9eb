// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// timeline returns a story line by line, for developers who look for the reason of a broken promise.
func (s *story) timeline() string {
	lines := map[int64][]string{}
	add := func(revision int64, format string, args ...any) {
		lines[revision] = append(lines[revision], fmt.Sprintf(format, args...))
	}
	for _, v := range s.versions {
		k := v.key
		current := int64(0)
		if k.Status.Current != nil {
			current = k.Status.Current.Revision
		}
		add(v.from, "key     generation %d %s requested %s cut-off %s expires %s overlap %s | status: r%d %s deleting %t",
			k.Generation, k.Spec.State, clockTimes(requests(k)), clockTimes(cutOffs(k)), pointerTime(k.Spec.ExpiresAt), overlapOf(k),
			current, conditionsOf(k.Status.Conditions), k.DeletionTimestamp != nil)
	}
	if s.gone != 0 {
		add(s.gone, "key     gone")
	}
	for _, r := range s.records {
		for i, v := range r.versions {
			verb := "changed"
			if i == 0 {
				verb = "created for " + string(v.record.Spec.Cause)
			}
			add(v.revision, "r%-6d %s: %s issued %s until %s superseded by %q owners %d %s", v.record.Spec.Revision, verb, v.record.Spec.State,
				clockTime(v.record.Spec.IssuedAt.Time), pointerTime(v.record.Spec.NotAfter), v.record.Annotations["keys.dgbot.io/superseded-by"],
				len(v.record.OwnerReferences), short(v.record.Spec.Hash))
		}
		if r.gone != 0 {
			add(r.gone, "r%-6d gone", r.first.Spec.Revision)
		}
	}
	for _, v := range s.secrets {
		switch {
		case !v.exists:
			add(v.revision, "Secret  gone")
		case v.byUs:
			add(v.revision, "Secret  altered by the test: %s", short(v.hash))
		default:
			add(v.revision, "Secret  %s", short(v.hash))
		}
	}
	var order []int64
	for revision := range lines {
		order = append(order, revision)
	}
	slices.Sort(order)
	var text strings.Builder
	for _, revision := range order {
		for _, line := range lines[revision] {
			fmt.Fprintf(&text, "  %6d %s\n", revision, line)
		}
	}
	return text.String()
}

func short(hash string) string {
	return strings.TrimPrefix(hash, "sha256:")[:min(8, max(0, len(hash)-7))]
}

func clockTime(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format("15:04:05")
}

func clockTimes(all []time.Time) string {
	text := make([]string, 0, len(all))
	for _, at := range all {
		text = append(text, clockTime(at))
	}
	return strings.Join(text, "/")
}

func pointerTime(at *metav1.Time) string {
	if at == nil {
		return "-"
	}
	return clockTime(at.Time)
}

func conditionsOf(conditions []metav1.Condition) string {
	var all []string
	for _, c := range conditions {
		all = append(all, fmt.Sprintf("%s=%s(%s)", c.Type, c.Status, c.Reason))
	}
	return strings.Join(all, " ")
}
