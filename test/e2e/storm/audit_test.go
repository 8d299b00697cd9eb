// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// The environment of a storm has an audit all the time, with times so short that it revokes keys which no actor rotates for a while. The
// verifiers of a storm report uses only when they stop: the test itself renews the Lease that shows that verifiers would have reported a use.
const (
	unusedAfter  = time.Second
	disableAfter = 2 * time.Second
	revokeAfter  = 4 * time.Second
)

func auditRule() string {
	return fmt.Sprintf(`{"spec":{"audit":{"unusedAfter":%q,"disableAfter":%q,"revokeAfter":%q}}}`, unusedAfter, disableAfter, revokeAfter)
}

// vouch has verifiers vouch for the storm's environment until the context ends, as far as the API server is there.
func vouch(ctx context.Context) {
	began := time.Now().Add(-time.Hour)
	for ctx.Err() == nil {
		_ = controlplane.Vouch(ctx, admin, "staging", began)
		pause(ctx, 500*time.Millisecond)
	}
}

// auditActs reports whether the audit holds some key at the moment: a storm goes on until it has seen that.
func auditActs(ctx context.Context) bool {
	var records v1alpha1.DGbotAPIKeyRecordList
	err := admin.List(ctx, &records)
	return err == nil && slices.ContainsFunc(records.Items, func(r v1alpha1.DGbotAPIKeyRecord) bool { return revisions.MarkOf(&r) != nil })
}

// endAudit removes the audit, and keeps all keys: in the end they must be as their spec says.
func (s *storm) endAudit() {
	s.t.Helper()
	must(s.t, wait.PollUntilContextTimeout(s.t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := admin.Patch(ctx, rules(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"audit":null}}`)))
		for _, a := range s.actors {
			for _, v := range a.keys {
				err = errors.Join(err, client.IgnoreNotFound(a.keep(ctx, v)))
			}
		}
		return err == nil, nil
	}))
}

// keep says a second ahead, because what was revoked in this one is not kept by a time before.
func (a *actor) keep(ctx context.Context, v *victim) error {
	return a.annotate(ctx, v, v1alpha1.KeptAtAnnotation, second(time.Second))
}

// audited reports whether the audit had come to a stage with the key before a revision, by what stood on its records.
func (j *judge) audited(stage v1alpha1.AuditStage, before int64) bool {
	for _, r := range j.records {
		for _, v := range r.versions {
			if mark := revisions.MarkOf(v.record); mark != nil && mark.Stage == stage && v.revision <= before {
				return true
			}
		}
	}
	return false
}

// audited counts how often the audit has disabled and revoked a record.
func (r *recordStory) audited() (disabled, revoked int) {
	var before v1alpha1.AuditStage
	for _, v := range r.versions {
		var stage v1alpha1.AuditStage
		if mark := revisions.MarkOf(v.record); mark != nil {
			stage = mark.Stage
		}
		switch stage {
		case before:
		case v1alpha1.AuditDisabled:
			disabled++
		case v1alpha1.AuditRevoked:
			revoked++
		}
		before = stage
	}
	return disabled, revoked
}

// marked: a stage is noted after its time, and after the previous stage.
func (j *judge) marked(before *v1alpha1.DGbotAPIKeyRecord, v recordVersion) {
	was, is := revisions.MarkOf(before), revisions.MarkOf(v.record)
	if is == nil || was != nil && was.Stage == is.Stage {
		return
	}
	warned := func(k *v1alpha1.DGbotAPIKey) bool {
		s := k.Status.Audit
		return s != nil && s.Stage == v1alpha1.AuditUnused && !s.Since.After(is.Since.Add(unusedAfter-disableAfter))
	}
	disabled := func(k *v1alpha1.DGbotAPIKey) bool {
		s := k.Status.Audit
		return s != nil && s.Stage == v1alpha1.AuditDisabled && !s.Since.After(is.Since.Add(disableAfter-revokeAfter))
	}
	known := j.ever(0, v.revision, func(k *v1alpha1.DGbotAPIKey) bool { return k.Status.Audit != nil && k.Status.Audit.Stage == is.Stage })
	switch {
	case known && was == nil:
		// The record that had the mark is gone, and the status has it noted on another one.
	case is.Stage == v1alpha1.AuditDisabled && (is.Since.Sub(is.UnusedSince.Time) < disableAfter || !j.ever(0, v.revision, warned)):
		j.fail(1, v.revision, "revision %d was disabled by the audit before its time: unused since %s", v.record.Spec.Revision, is.UnusedSince)
	case is.Stage == v1alpha1.AuditRevoked && (is.Since.Sub(is.UnusedSince.Time) < revokeAfter || (was == nil || is.Since.Sub(was.Since.Time) < revokeAfter-disableAfter) && !j.ever(0, v.revision, disabled)):
		j.fail(1, v.revision, "revision %d was revoked by the audit before its time: unused since %s", v.record.Spec.Revision, is.UnusedSince)
	}
}

// issuedUnasked: no user has kept a key that the audit had revoked, and a revision is issued. A slow manager may have begun
// before.
func (j *judge) issuedUnasked(r *recordStory) bool {
	var newest *recordStory
	for _, earlier := range j.records {
		if earlier.created < r.created && (earlier.gone == 0 || earlier.gone > r.created) && (newest == nil || earlier.first.Spec.Revision > newest.first.Spec.Revision) {
			newest = earlier
		}
	}
	if newest == nil {
		return false
	}
	mark := revisions.MarkOf(newest.at(r.created))
	if mark == nil || mark.Stage != v1alpha1.AuditRevoked || r.versions[0].at.Sub(mark.Since.Time) < slowest {
		return false
	}
	return !j.ever(0, r.created, func(k *v1alpha1.DGbotAPIKey) bool {
		kept, err := time.Parse(time.RFC3339, k.Annotations[v1alpha1.KeptAtAnnotation])
		return err == nil && !kept.Before(mark.Since.Time)
	})
}

// mark notes a stage of the audit on the second record of a chronicle, with the state that goes with it.
func (c *chronicle) mark(state v1alpha1.KeyState, stage v1alpha1.AuditStage, since int) {
	text, err := json.Marshal(revisions.AuditMark{Stage: stage, Since: *at(since), UnusedSince: *at(61)})
	if err != nil {
		panic(err)
	}
	metav1.SetMetaDataAnnotation(&c.records[2].ObjectMeta, v1alpha1.AuditAnnotation, string(text))
	c.amend(2, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = state })
}

func (c *chronicle) warn(since int) {
	c.edit(func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Audit = &v1alpha1.AuditStatus{Stage: v1alpha1.AuditUnused, Since: at(since), UnusedSince: at(61)}
	})
}

func init() {
	for name, history := range map[string]struct {
		fault func(*chronicle)
		want  []int
	}{
		"the audit takes its time": {func(c *chronicle) {
			c.warn(70)
			c.mark(v1alpha1.StateDisabled, v1alpha1.AuditDisabled, 76)
			c.mark(v1alpha1.StateRevoked, v1alpha1.AuditRevoked, 84)
			c.amend(1, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateRevoked })
			c.edit(func(k *v1alpha1.DGbotAPIKey) {
				metav1.SetMetaDataAnnotation(&k.ObjectMeta, v1alpha1.KeptAtAnnotation, at(84).Format(time.RFC3339))
			})
			c.mint(3, v1alpha1.CauseReactivation, at(90))
		}, nil},
		"the audit disables before its time": {func(c *chronicle) {
			c.warn(62)
			c.mark(v1alpha1.StateDisabled, v1alpha1.AuditDisabled, 62)
		}, []int{1}},
		"the audit disables without a warning": {func(c *chronicle) { c.mark(v1alpha1.StateDisabled, v1alpha1.AuditDisabled, 80) }, []int{1}},
		"the audit revokes what it has not disabled": {func(c *chronicle) {
			c.warn(70)
			c.mark(v1alpha1.StateRevoked, v1alpha1.AuditRevoked, 90)
		}, []int{1}},
		"a revision for a key that the audit has revoked": {func(c *chronicle) {
			c.warn(70)
			c.mark(v1alpha1.StateDisabled, v1alpha1.AuditDisabled, 76)
			c.mark(v1alpha1.StateRevoked, v1alpha1.AuditRevoked, 84)
			c.edit(func(k *v1alpha1.DGbotAPIKey) {
				metav1.SetMetaDataAnnotation(&k.ObjectMeta, v1alpha1.KeptAtAnnotation, at(83).Format(time.RFC3339))
			})
			c.mint(3, v1alpha1.CauseReactivation, at(100))
		}, []int{2}},
	} {
		faultyHistories[name] = history
	}
}
