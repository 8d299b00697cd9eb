// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
)

// A judge that finds nothing proves nothing: here it is shown histories in which one promise is broken.

// chronicle writes a history by hand; each call is one write.
type chronicle struct {
	changes history
	key     *v1alpha1.DGbotAPIKey
	records map[int64]*v1alpha1.DGbotAPIKeyRecord
	secret  *corev1.Secret
	// erased are the records that the test itself is said to have deleted.
	erased map[types.UID]bool
}

var epoch = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

func at(seconds int) *metav1.Time {
	return &metav1.Time{Time: epoch.Add(time.Duration(seconds) * time.Second)}
}

func newChronicle() *chronicle {
	c := &chronicle{
		key: &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: "storm-x", Name: "key", UID: "uid-1"},
			Spec: v1alpha1.DGbotAPIKeySpec{Environment: "staging", State: v1alpha1.StateActive,
				Rotation: &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: time.Hour}}},
		},
		secret:  &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}, Labels: map[string]string{v1alpha1.APIKeyLabel: "uid-1"}}},
		records: map[int64]*v1alpha1.DGbotAPIKeyRecord{},
		erased:  map[types.UID]bool{},
	}
	c.edit(func(*v1alpha1.DGbotAPIKey) {})
	return c
}

func (c *chronicle) add(one change) {
	one.revision = int64(len(c.changes) + 1)
	one.at, one.namespace = epoch.Add(time.Duration(one.revision)*10*time.Second), "storm-x"
	c.changes = append(c.changes, one)
}

func (c *chronicle) edit(how func(*v1alpha1.DGbotAPIKey)) {
	how(c.key)
	c.add(change{key: c.key.DeepCopy(), name: "key"})
}

func text(revision int64) string { return fmt.Sprintf("dgbot_staging_key%d", revision) }

func (c *chronicle) mint(revision int64, cause v1alpha1.Cause, issued *metav1.Time) {
	record := &v1alpha1.DGbotAPIKeyRecord{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("key-r%d", revision), UID: types.UID(fmt.Sprintf("record-%d-%d", revision, len(c.changes))),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c.key, v1alpha1.GroupVersion.WithKind(v1alpha1.APIKeyKind))},
	}}
	record.Spec = v1alpha1.DGbotAPIKeyRecordSpec{
		APIKeyRef: v1alpha1.APIKeyReference{Name: "key", UID: "uid-1"}, Revision: revision, Cause: cause,
		Hash: apikey.Hash([]byte(text(revision))), IssuedAt: *issued, State: v1alpha1.StateActive,
	}
	c.records[revision] = record
	c.amend(revision, func(*v1alpha1.DGbotAPIKeyRecordSpec) {})
}

func (c *chronicle) amend(revision int64, how func(*v1alpha1.DGbotAPIKeyRecordSpec)) {
	how(&c.records[revision].Spec)
	c.add(change{record: c.records[revision].DeepCopy(), name: c.records[revision].Name})
}

func (c *chronicle) publish(revision int64) {
	c.secret.Data = map[string][]byte{v1alpha1.DefaultSecretKey: []byte(text(revision))}
	c.add(change{secret: c.secret.DeepCopy(), name: "key"})
}

func (c *chronicle) deleteRecord(revision int64) {
	c.add(change{record: c.records[revision].DeepCopy(), name: c.records[revision].Name, deleted: true})
}

func (c *chronicle) erase(revision int64) {
	c.erased[c.records[revision].UID] = true
	c.deleteRecord(revision)
}

func (c *chronicle) loseSecret() {
	c.add(change{secret: c.secret.DeepCopy(), name: "key", deleted: true})
}

func (c *chronicle) deleteKey() { c.add(change{key: c.key.DeepCopy(), name: "key", deleted: true}) }

// rotated is a history without a fault: a first issue, and a rotation that was asked for.
func rotated() *chronicle {
	c := newChronicle()
	c.mint(1, v1alpha1.CauseFirstIssue, at(0))
	c.publish(1)
	c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = at(60) })
	c.mint(2, v1alpha1.CauseRequest, at(61))
	c.publish(2)
	c.amend(1, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.NotAfter = at(61 + 3600) })
	return c
}

// faultyHistories are histories with one fault each, and the promises it breaks.
var faultyHistories = map[string]struct {
	fault func(*chronicle)
	want  []int
}{
	"nothing": {func(*chronicle) {}, nil},
	"what was asked for is none": {func(c *chronicle) {
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
		c.amend(2, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateDisabled })
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
		c.amend(2, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateRevoked })
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateActive })
		c.mint(3, v1alpha1.CauseReactivation, at(80))
		c.publish(3)
	}, nil},
	"a revision for the request that is satisfied": {func(c *chronicle) { c.mint(3, v1alpha1.CauseRequest, at(70)) }, []int{2}},
	"a revision for a Secret that was not lost":    {func(c *chronicle) { c.mint(3, v1alpha1.CauseSecretLost, at(70)) }, []int{2}},
	"a revision for a Secret that was not altered": {func(c *chronicle) { c.mint(3, v1alpha1.CauseSecretAltered, at(70)) }, []int{2}},
	"a revision for a record that was not lost":    {func(c *chronicle) { c.mint(3, v1alpha1.CauseRecordLost, at(70)) }, []int{2}},
	"a revision by a schedule that is none":        {func(c *chronicle) { c.mint(3, v1alpha1.CauseSchedule, at(70)) }, []int{2}},
	"a revision for an expiry that did not change": {func(c *chronicle) { c.mint(3, v1alpha1.CauseExpiryChanged, at(70)) }, []int{2}},
	"a revision for a key that was not revoked":    {func(c *chronicle) { c.mint(3, v1alpha1.CauseReactivation, at(70)) }, []int{2}},
	"a revision for a cut-off that is none":        {func(c *chronicle) { c.mint(3, v1alpha1.CauseRevocation, at(70)) }, []int{2}},
	"a request again of which nothing tells any more": {func(c *chronicle) {
		c.erase(2)
		c.loseSecret()
		c.mint(3, v1alpha1.CauseRequest, at(70))
	}, nil},
	"a request again where the record is gone and the Secret is not": {func(c *chronicle) {
		c.erase(2)
		c.mint(3, v1alpha1.CauseRequest, at(70))
		c.publish(3)
	}, []int{2}},
	"a request again where the Secret is gone and the record is not": {func(c *chronicle) {
		c.loseSecret()
		c.mint(3, v1alpha1.CauseRequest, at(70))
	}, []int{2}},
	"a revision a moment after the key is gone": {func(c *chronicle) {
		c.deleteKey()
		c.mint(3, v1alpha1.CauseRecordLost, at(70))
	}, nil},
	"a revision long after the key is gone": {func(c *chronicle) {
		c.deleteKey()
		c.loseSecret()
		c.mint(3, v1alpha1.CauseRecordLost, at(90))
	}, []int{2}},
	"a second first issue": {func(c *chronicle) { c.mint(3, v1alpha1.CauseFirstIssue, at(70)) }, []int{2}},
	"a key in the Secret before its record": {func(c *chronicle) {
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = at(62) })
		c.publish(3)
		c.mint(3, v1alpha1.CauseRequest, at(63))
	}, []int{1, 2, 3}},
	"the key in use put back by the write that created the Secret": {func(c *chronicle) {
		c.loseSecret()
		c.publish(2)
	}, []int{3, 3}},
	"an older key put back":   {func(c *chronicle) { c.publish(1) }, []int{3, 3}},
	"a revision number twice": {func(c *chronicle) { c.mint(2, v1alpha1.CauseRequest, at(61)) }, []int{2, 3, 3}},
	"revoked without a request": {func(c *chronicle) {
		c.amend(2, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateRevoked })
	}, []int{1}},
	"revoked by a cut-off that does not reach it": {func(c *chronicle) {
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = at(10) })
		c.amend(2, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateRevoked })
	}, []int{1}},
	"revoked for a state that was over before it was issued": {func(c *chronicle) {
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
		c.edit(func(k *v1alpha1.DGbotAPIKey) {
			k.Spec.State = v1alpha1.StateActive
			k.Spec.Rotation.RequestedAt = at(62)
		})
		c.mint(3, v1alpha1.CauseRequest, at(63))
		c.amend(3, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateRevoked })
	}, []int{1}},
	"disabled without a request": {func(c *chronicle) {
		c.amend(2, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateDisabled })
	}, []int{1}},
	"the end of the key in use": {func(c *chronicle) {
		c.amend(2, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.NotAfter = at(61 + 3600) })
	}, []int{1}},
	"an end that no overlap explains": {func(c *chronicle) {
		c.amend(1, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.NotAfter = at(100) })
	}, []int{1}},
	"an end moved later": {func(c *chronicle) {
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Overlap.Duration = 2 * time.Hour })
		c.amend(1, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.NotAfter = at(61 + 7200) })
	}, []int{4}},
	"a revoked revision revived": {func(c *chronicle) {
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = at(10) })
		c.amend(1, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateRevoked })
		c.amend(1, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateActive })
	}, []int{4}},
	"another key under the same record": {func(c *chronicle) {
		c.amend(1, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.Hash = apikey.Hash([]byte("another")) })
	}, []int{4}},
	"the record of the key in use deleted": {func(c *chronicle) {
		c.deleteRecord(2)
	}, []int{1}},
}

func TestTheJudgeSeesWhatIsBroken(t *testing.T) {
	for name, tc := range faultyHistories {
		t.Run(name, func(t *testing.T) {
			c := rotated()
			tc.fault(c)
			var promises []int
			var said []string
			for _, s := range c.changes.stories() {
				for _, broken := range s.judge(func(r *v1alpha1.DGbotAPIKeyRecord) bool { return c.erased[r.UID] }) {
					promises = append(promises, broken.promise)
					said = append(said, broken.String())
				}
			}
			slices.Sort(promises)
			if !slices.Equal(promises, tc.want) {
				t.Errorf("broken promises %v, want %v: %v", promises, tc.want, said)
			}
		})
	}
}
