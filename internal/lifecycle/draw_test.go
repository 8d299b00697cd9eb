// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"math/rand"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
	"dgbot.io/key-operator/internal/lifecycle/steps"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// draw makes values for observations. Those of one seed are always the same.
type draw struct {
	*rand.Rand
	// lately draws times within an hour or so: everything happened in that time, as where something deletes a Secret again and again.
	lately bool
}

// oneIn reports true in one of n cases.
func (d draw) oneIn(n int) bool { return d.Intn(n) == 0 }

func pick[T any](d draw, values ...T) T { return values[d.Intn(len(values))] }

// around returns a whole second near now: seconds, minutes, hours or days away, in the past three times out of four.
func (d draw) around(now time.Time) metav1.Time {
	unit := pick(d, time.Second, time.Second, time.Minute, time.Minute, time.Hour, 24*time.Hour)
	if d.lately {
		unit = min(unit, time.Minute)
	}
	distance := time.Duration(d.Intn(90)) * unit
	if !d.oneIn(4) {
		distance = -distance
	}
	return metav1.Time{Time: now.Add(distance).Truncate(time.Second)}
}

func (d draw) maybeAround(now time.Time, n int) *metav1.Time {
	if !d.oneIn(n) {
		return nil
	}
	return new(d.around(now))
}

func (d draw) duration() *metav1.Duration {
	unit := pick(d, time.Second, time.Minute, time.Minute, time.Hour, 24*time.Hour, 1500*time.Millisecond)
	return &metav1.Duration{Duration: time.Duration(d.Intn(100)) * unit}
}

func (d draw) maybeDuration(n int) *metav1.Duration {
	if !d.oneIn(n) {
		return nil
	}
	return d.duration()
}

func (d draw) scopes() []v1alpha1.Scope {
	all := []v1alpha1.Scope{"conversations.read", "conversations.write", "conversations.*", "admin.all", "*", "analytics.read"}
	d.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:d.Intn(4)]
}

func (d draw) annotations(now time.Time) map[string]string {
	annotations := map[string]string{}
	for _, name := range []string{v1alpha1.RotateRequestedAtAnnotation, v1alpha1.RevokeIssuedBeforeAnnotation, v1alpha1.KeptAtAnnotation} {
		switch {
		case !d.oneIn(5):
		case d.oneIn(5):
			annotations[name] = pick(d, "", "now", "2026-11-23", "2026-11-23T10:00:00.5Z", "9999-01-01T00:00:00Z")
		default:
			annotations[name] = d.around(now).UTC().Format(time.RFC3339)
		}
	}
	return annotations
}

func (d draw) keySpec(now time.Time) v1alpha1.DGbotAPIKeySpec {
	spec := v1alpha1.DGbotAPIKeySpec{
		Label: pick(d, "Production server", "Another label"), Environment: "production",
		State:     pick(d, "", v1alpha1.StateActive, v1alpha1.StateActive, v1alpha1.StateActive, v1alpha1.StateDisabled, v1alpha1.StateRevoked),
		ExpiresAt: d.maybeAround(now, 5), Scopes: d.scopes(),
	}
	if d.oneIn(3) {
		spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "support-bot"}
	}
	if d.oneIn(6) {
		spec.Secret = &v1alpha1.SecretSpec{Name: pick(d, "", "other-name"), Key: pick(d, "", "token")}
		if d.oneIn(2) {
			spec.Secret.Template = &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"team": "support", "replicator.v1.mittwald.de/replicate-to": "all"}}
		}
	}
	if d.oneIn(3) {
		return spec
	}
	spec.Rotation = &v1alpha1.Rotation{
		Interval: d.maybeDuration(2), Overlap: d.maybeDuration(2), RequestedAt: d.maybeAround(now, 4), RevokeIssuedBefore: d.maybeAround(now, 5),
		Retire: pick(d, "", v1alpha1.RetireAfterOverlap, v1alpha1.RetireWhenUnused), MaxOverlap: d.maybeDuration(2), QuietPeriod: d.maybeDuration(2),
	}
	return spec
}

func (d draw) record(key *v1alpha1.DGbotAPIKey, revision int64, now time.Time) v1alpha1.DGbotAPIKeyRecord {
	issue := steps.IssueRevision{
		Revision: revision, RecordName: revisions.RecordName(key.Name, key.UID, revision), IssuedAt: d.around(now), NotAfter: d.maybeAround(now, 3),
		Cause: pick(d, v1alpha1.CauseFirstIssue, v1alpha1.CauseSchedule, v1alpha1.CauseRequest, v1alpha1.CauseRevocation, v1alpha1.CauseSecretLost,
			v1alpha1.CauseSecretAltered, v1alpha1.CauseRecordLost, v1alpha1.CauseReactivation, v1alpha1.CauseExpiryChanged),
		ChatbotID: pick(d, "", "cb_1", "cb_2"), Scopes: d.scopes(),
	}
	record := steps.NewRecord(key, issue, fmt.Sprintf("k%011d", revision), fmt.Sprintf("sha256:%d", revision))
	record.UID, record.ResourceVersion = types.UID(record.Name), strconv.Itoa(d.Intn(1000))
	record.CreationTimestamp = metav1.Time{Time: issue.IssuedAt.Add(time.Duration(d.Intn(5)) * time.Second)}
	if d.oneIn(12) {
		record.CreationTimestamp = d.around(now)
	}
	record.Spec.State = pick(d, v1alpha1.StateActive, v1alpha1.StateActive, v1alpha1.StateActive, v1alpha1.StateDisabled, v1alpha1.StateRevoked)
	if d.oneIn(3) {
		record.Annotations = map[string]string{v1alpha1.SupersededByAnnotation: strconv.FormatInt(revision+1+int64(d.Intn(2)), 10)}
	}
	if d.oneIn(12) {
		mark := revisions.AuditMark{Stage: pick(d, v1alpha1.AuditDisabled, v1alpha1.AuditRevoked), Since: d.around(now), UnusedSince: d.around(now)}
		metav1.SetMetaDataAnnotation(&record.ObjectMeta, v1alpha1.AuditAnnotation, mark.String())
	}
	if d.oneIn(20) {
		record.OwnerReferences = nil
	}
	if d.oneIn(40) {
		record.Spec.State = "Suspended"
	}
	record.Status.LastUsedAt = d.maybeAround(now, 2)
	record.Status.Resolution = d.maybeDuration(3)
	return record
}

func (d draw) secret(records []v1alpha1.DGbotAPIKeyRecord) revisions.Secret {
	s := revisions.Secret{State: pick(d, revisions.SecretOwned, revisions.SecretOwned, revisions.SecretOwned, revisions.SecretOwned, revisions.SecretAbsent,
		revisions.SecretUnowned, revisions.SecretCollectable, revisions.SecretForeign, revisions.SecretUnknown)}
	s.Drifted, s.OtherOwner = d.oneIn(6), d.oneIn(4)
	switch {
	case len(records) > 0 && !d.oneIn(6):
		record := &records[len(records)-1]
		if d.oneIn(4) {
			record = &records[d.Intn(len(records))]
		}
		s.Hash, s.KeyID = record.Spec.Hash, record.Spec.KeyID
	case d.oneIn(2):
		s.Hash, s.KeyID = "sha256:foreign", pick(d, "", "k00000000001", "zzzzzzzzzzzz")
	}
	return s
}

func (d draw) keyStatus(records []v1alpha1.DGbotAPIKeyRecord, now time.Time) v1alpha1.DGbotAPIKeyStatus {
	var s v1alpha1.DGbotAPIKeyStatus
	if d.oneIn(4) {
		return s
	}
	if len(records) > 0 && !d.oneIn(4) {
		r := &records[d.Intn(len(records))]
		s.Current = &v1alpha1.RevisionStatus{Revision: r.Spec.Revision, KeyID: r.Spec.KeyID, RecordName: r.Name, IssuedAt: r.Spec.IssuedAt}
		s.Binding = &v1alpha1.Binding{Name: "production-server"}
	}
	s.LastUsedAt = d.maybeAround(now, 4)
	s.NextRotationAt = d.maybeAround(now, 6)
	if d.oneIn(6) {
		s.LastHandledRequest = &v1alpha1.HandledRequest{RotateRequestedAt: d.maybeAround(now, 2), RevokeIssuedBefore: d.maybeAround(now, 2)}
	}
	if d.oneIn(6) {
		s.Audit = &v1alpha1.AuditStatus{Stage: pick(d, v1alpha1.AuditUnused, v1alpha1.AuditDisabled, v1alpha1.AuditRevoked),
			Since: d.maybeAround(now, 1), UnusedSince: d.maybeAround(now, 1), NextStageAt: d.maybeAround(now, 2)}
	}
	s.Conditions = d.conditions(now)
	return s
}

func (d draw) conditions(now time.Time) []metav1.Condition {
	if d.oneIn(3) {
		return nil
	}
	reason := pick(d, v1alpha1.IssuedReason, v1alpha1.ProgressingReason, v1alpha1.SecretConflictReason, v1alpha1.SecretWriteRefusedReason, v1alpha1.RecordWriteRefusedReason,
		v1alpha1.ObservationFailedReason, v1alpha1.WaitingForGarbageCollectionReason, v1alpha1.EnvironmentUnknownReason, v1alpha1.DisabledReason)
	conditions := []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: pick(d, metav1.ConditionTrue, metav1.ConditionFalse), Reason: reason, Message: "before"}}
	for _, kind := range []string{v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if d.oneIn(2) {
			conditions = append(conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: "before"})
		}
	}
	for _, kind := range []string{v1alpha1.PolicyViolationCondition, v1alpha1.EnvironmentMissingCondition, v1alpha1.UnusedCondition, v1alpha1.RequestPendingCondition} {
		if d.oneIn(8) {
			conditions = append(conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Before", Message: "before"})
		}
	}
	for i := range conditions {
		conditions[i].LastTransitionTime = d.around(now)
	}
	return conditions
}

func (d draw) chatbotOfKey() effective.Chatbot {
	return effective.Chatbot{
		ID: pick(d, "", "cb_1", "cb_1", "cb_2"), Missing: d.oneIn(5), Environment: pick(d, "", "production", "production", "staging"),
		Moved: pick(d, nil, nil, nil, []string{"cb_2"}),
	}
}

func (d draw) tracking(now time.Time) *tracking.Tracking {
	if d.oneIn(3) {
		return nil
	}
	return &tracking.Tracking{Since: d.around(now).Time, Renewed: now.Add(-time.Duration(d.Intn(900)) * time.Second), Lag: time.Duration(d.Intn(90)) * time.Second}
}

func (d draw) refusal() *report.Rejection {
	return pick(d, nil,
		&report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: "exceeded quota"},
		&report.Rejection{Reason: v1alpha1.RecordWriteRefusedReason, Message: "webhook says no"},
		&report.Rejection{Reason: v1alpha1.RecordConflictReason, Message: "conflict"})
}

// remedyForForbidden is what the controllers advise.
const remedyForForbidden = "grant the manager's service account the right that the API server names (roles: config/rbac and config/overlays)"

// readNames are what the controllers call the parts of an observation.
var readNames = map[report.ReadPart]string{
	report.ReadSecret:      `Secret "production-server"`,
	report.ReadRecords:     `the records of DGbotAPIKey "production-server"`,
	report.ReadEnvironment: `DGbotEnvironment "production"`,
	report.ReadChatbot:     `DGbotChatbot "support-bot"`,
	report.ReadTracking:    `Lease "dgbot-usage-production"`,
	report.ReadReservation: `ConfigMap "chatbot-0"`,
	report.ReadWidget:      `ConfigMap "support-bot-widget"`,
	report.ReadReplica:     `Secret "chatbot-0", the replica of the HMAC secret`,
	report.ReadSource:      `Secret "existing", which spec.identityVerification.importFrom names`,
	report.ReadNamespaces:  "the list of namespaces",
	report.ReadKeys:        "the list of DGbotAPIKeys of the environment",
}

func (d draw) failedReads() report.FailedReads {
	var failed report.FailedReads
	for _, part := range []report.ReadPart{report.ReadSecret, report.ReadRecords, report.ReadEnvironment, report.ReadChatbot, report.ReadTracking} {
		if d.oneIn(3) {
			failed = append(failed, report.FailedRead{Of: part, What: readNames[part], Message: "forbidden", Remedy: pick(d, "check that the API server answers", remedyForForbidden)})
		}
	}
	return failed
}

func (d draw) environment(now time.Time) effective.Environment {
	env := effective.Environment{Required: d.oneIn(2)}
	if d.oneIn(2) {
		env.Known = pick(d, nil, []string{"staging"}, []string{"staging", "development"})
		return env
	}
	env.Rules = d.rules(now)
	env.Excluded = d.oneIn(12)
	env.Rank, env.ChatbotRank = d.Intn(6), d.Intn(3)
	env.Windows = schedule.WindowsOf(env.Rules, zone)
	return env
}

// zone finds a time zone; nil where there is none of that name.
func zone(name string) *time.Location {
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return location
}

func (d draw) rules(now time.Time) *v1alpha1.DGbotEnvironmentSpec {
	selectors := []*metav1.LabelSelector{nil, {MatchLabels: map[string]string{"team": "support"}}, {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Like"}}}}
	rules := &v1alpha1.DGbotEnvironmentSpec{NamespaceSelector: pick(d, selectors...), MaxLifetime: d.maybeDuration(4), OneKeyPerChatbot: d.oneIn(6)}
	if d.oneIn(3) {
		rules.AllowedScopes = d.scopes()
	}
	if d.oneIn(5) {
		rules.MaxKeysPerNamespace = new(int32(1 + d.Intn(5)))
	}
	if d.oneIn(2) {
		rules.Rotation = &v1alpha1.EnvironmentRotation{
			DefaultInterval: d.maybeDuration(3), MinInterval: d.maybeDuration(4), MaxInterval: d.maybeDuration(4), DefaultOverlap: d.maybeDuration(4), MaxOverlap: d.maybeDuration(4),
		}
		if d.oneIn(3) {
			rules.Rotation.Windows = []v1alpha1.RotationWindow{{
				Days: pick(d, nil, []v1alpha1.Weekday{"Monday", "Sunday"}), Start: pick(d, "00:00", "02:30", "09:00"), End: pick(d, "09:30", "17:00", "24:00"),
				TimeZone: pick(d, "", "UTC", "Europe/Berlin", "America/New_York", "No/Where"),
			}}
		}
	}
	if d.oneIn(2) {
		unused := time.Duration(1+d.Intn(100)) * time.Minute
		rules.Audit = &v1alpha1.EnvironmentAudit{UnusedAfter: &metav1.Duration{Duration: unused}}
		if !d.oneIn(4) {
			rules.Audit.DisableAfter = &metav1.Duration{Duration: 2 * unused}
			if !d.oneIn(4) {
				rules.Audit.RevokeAfter = &metav1.Duration{Duration: 3 * unused}
			}
		}
		if d.oneIn(4) {
			rules.Audit.Exemptions = []v1alpha1.AuditExemption{{Name: "production-server", Namespace: "support", Reason: "yearly", Until: new(d.around(now))}}
		}
	}
	return rules
}
