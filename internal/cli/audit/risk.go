// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/status"
	"dgbot.io/key-operator/internal/lifecycle/effective"
)

// risk is how much a key wants looking at.
type risk int

const (
	none risk = iota
	low
	medium
	high
)

func (r risk) String() string { return [...]string{"None", "Low", "Medium", "High"}[r] }

// tone is how it is shown in a table.
func (r risk) tone() display.Tone {
	return [...]display.Tone{display.Faint, display.Neutral, display.Warning, display.Bad}[r]
}

// MarshalText implements encoding.TextMarshaler.
func (r risk) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// finding is one reason to look at a key.
type finding struct {
	Risk risk   `json:"risk"`
	What string `json:"what"`
}

// Bounds by which a key is judged. Ninety days are a quarter, which is how often people audit.
const (
	quarter      = 90 * 24 * time.Hour
	longAge      = 365 * 24 * time.Hour
	expiresSoon  = 30 * 24 * time.Hour
	overlapsLong = 7 * 24 * time.Hour
	everythingIn = v1alpha1.Scope("*")
)

// judge returns why a key should be looked at, the most pressing first.
func judge(k *v1alpha1.DGbotAPIKey, unusedAfter time.Duration, now time.Time) []finding {
	var all []finding
	add := func(r risk, format string, arguments ...any) {
		all = append(all, finding{r, fmt.Sprintf(format, arguments...)})
	}
	if effective.StateOf(k) == v1alpha1.StateRevoked || k.Status.Audit != nil && k.Status.Audit.Stage == v1alpha1.AuditRevoked {
		return nil // nothing of it verifies
	}
	if violation := apimeta.FindStatusCondition(k.Status.Conditions, v1alpha1.PolicyViolationCondition); violation != nil {
		add(high, "breaks a rule of its environment: %s", violation.Message)
	}
	if apimeta.IsStatusConditionTrue(k.Status.Conditions, v1alpha1.EnvironmentMissingCondition) {
		add(high, "held to no rule: DGbotEnvironment %q does not exist", k.Spec.Environment)
	}
	if stalled := apimeta.FindStatusCondition(k.Status.Conditions, v1alpha1.StalledCondition); stalled != nil && status.Withheld(k) == "" {
		add(medium, "stalled for %s: %s", since(stalled.LastTransitionTime, now), stalled.Reason)
	}
	if effective.StateOf(k) == v1alpha1.StateDisabled {
		add(low, "disabled: revoke it if no client needs it")
	}
	if k.Status.Current != nil {
		judgeUse(k, unusedAfter, now, add)
		judgeAge(k, now, add)
	}
	if at := k.Spec.ExpiresAt; at != nil && at.After(now) && at.Sub(now) < expiresSoon {
		add(medium, "expires %s, and clients that use it then fail", display.TimeText(at, now))
	}
	if slices.Contains(k.Spec.Scopes, everythingIn) {
		add(medium, "may do everything: its scopes have *")
	}
	slices.SortStableFunc(all, func(a, b finding) int { return cmp.Compare(b.Risk, a.Risk) })
	return all
}

func judgeUse(k *v1alpha1.DGbotAPIKey, unusedAfter time.Duration, now time.Time, add func(risk, string, ...any)) {
	switch s := &k.Status; {
	case s.Audit != nil && s.Audit.Stage == v1alpha1.AuditDisabled:
		add(medium, "disabled by the audit, unused %s", display.ForText(s.Audit.UnusedSince, now))
	case s.Audit != nil:
		add(high, "unused %s%s", display.ForText(s.Audit.UnusedSince, now), comes(s.Audit.NextStageAt, now))
	case effective.StateOf(k) == v1alpha1.StateDisabled:
	case s.TrackedSince == nil:
		add(medium, "no verifier reports its uses: whether it is used is not known")
	case now.Sub(unusedSince(k)) >= unusedAfter:
		what := "not used for %s"
		if s.LastUsedAt == nil {
			what = "never used, in at least %s"
		}
		add(high, what, duration.HumanDuration(now.Sub(unusedSince(k))))
	}
}

// unusedSince is since when a key is unused, as far as is known without the rules of its environment.
func unusedSince(k *v1alpha1.DGbotAPIKey) time.Time {
	latest := k.CreationTimestamp.Time
	for _, at := range []*metav1.Time{k.Status.TrackedSince, k.Status.LastUsedAt} {
		if at != nil && at.After(latest) {
			latest = at.Time
		}
	}
	if kept, err := time.Parse(time.RFC3339, k.Annotations[v1alpha1.KeptAtAnnotation]); err == nil && kept.After(latest) {
		latest = kept
	}
	return latest
}

func comes(at *metav1.Time, now time.Time) string {
	if at == nil {
		return ""
	}
	return ", next stage " + display.DueText(at, now)
}

func judgeAge(k *v1alpha1.DGbotAPIKey, now time.Time, add func(risk, string, ...any)) {
	scheduled := k.Spec.Rotation != nil && k.Spec.Rotation.Interval != nil || k.Status.NextRotationAt != nil
	switch age := now.Sub(k.Status.Current.IssuedAt.Time); {
	case age >= longAge:
		add(high, "the same key for %s", duration.HumanDuration(age))
	case age >= quarter && !scheduled:
		add(medium, "the same key for %s, and no rotation is planned", duration.HumanDuration(age))
	case !scheduled && k.Spec.ExpiresAt == nil:
		add(low, "neither a schedule nor an expiry")
	}
	for _, earlier := range k.Status.Previous {
		if earlier.NotAfter == nil || earlier.NotAfter.Sub(now) >= overlapsLong {
			add(low, "revision %d is still valid%s", earlier.Revision, until(earlier.NotAfter))
		}
	}
}

func until(at *metav1.Time) string {
	if at == nil {
		return ""
	}
	return " until " + at.UTC().Format(time.DateOnly)
}

func since(at metav1.Time, now time.Time) string { return duration.HumanDuration(now.Sub(at.Time)) }
