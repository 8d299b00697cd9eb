// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// Simulation carries out plans in memory over a moving clock. Tests assert the promises after each step, and
// rotate --dry-run shows what a change would do. Hashes are made up from the revision, so that no key material is needed.
type Simulation struct {
	Observation
	Now time.Time
	// minted counts the keys made for a revision: a number that is used again belongs to another key.
	minted map[int64]int
}

// maxSteps is more than any plan needs to be carried out to the end; a simulation that goes beyond it would not end.
const maxSteps = 200

// Settle carries out plans until one has no steps, and returns the steps it took. It fails where the policy does not
// converge, which is a defect of the policy.
func (s *Simulation) Settle() ([]steps.Step, error) {
	var taken []steps.Step
	for len(taken) < maxSteps {
		decision := Plan(s.Observation, s.Now)
		if len(decision.Steps) == 0 {
			if decision.Status != nil {
				s.Key.Status = *decision.Status
			}
			return taken, nil
		}
		for _, step := range decision.Steps {
			s.Apply(step)
			taken = append(taken, step)
			if _, issued := step.(steps.IssueRevision); issued {
				break
			}
		}
	}
	return taken, fmt.Errorf("planning for %s did not converge after %d steps at %s, the last %+v", s.Key.Name, len(taken), s.Now, taken[len(taken)-1])
}

// Advance moves the clock to the given time, waking whenever a plan asked for it, and returns the steps taken on the way.
func (s *Simulation) Advance(to time.Time) ([]steps.Step, error) {
	taken, err := s.Settle()
	for err == nil {
		wake := Plan(s.Observation, s.Now).Wake
		if wake.IsZero() || wake.After(to) {
			break
		}
		s.Now = wake
		var more []steps.Step
		more, err = s.Settle()
		taken = append(taken, more...)
	}
	if err != nil {
		return taken, err
	}
	s.Now = to
	more, err := s.Settle()
	return append(taken, more...), err
}

// Apply carries out one step.
func (s *Simulation) Apply(step steps.Step) {
	switch step := step.(type) {
	case steps.IssueRevision:
		s.Records = append(s.Records, s.CreateRecord(step))
		s.Publish(step.Revision)
	case steps.AmendRecord:
		for i := range s.Records {
			if s.Records[i].Name == step.Name {
				step.ApplyTo(&s.Records[i])
			}
		}
	case steps.DeleteRecord:
		s.Records = slices.DeleteFunc(s.Records, func(r v1alpha1.DGbotAPIKeyRecord) bool { return r.Name == step.Name })
	case steps.RepairSecret:
		s.Secret.Drifted = false
	}
}

// CreateRecord returns the record of an issued revision: the first of the two writes of IssueRevision.
func (s *Simulation) CreateRecord(step steps.IssueRevision) v1alpha1.DGbotAPIKeyRecord {
	if s.minted == nil {
		s.minted = map[int64]int{}
	}
	s.minted[step.Revision]++
	id, hash := s.keyOf(step.Revision)
	record := steps.NewRecord(s.Key, step, id, hash)
	record.UID = types.UID(fmt.Sprintf("%s-r%d", s.Key.UID, step.Revision))
	record.CreationTimestamp = metav1.Time{Time: s.Now.Truncate(time.Second)}
	return record
}

// Publish puts a revision's key into the Secret: the second write of IssueRevision.
func (s *Simulation) Publish(revision int64) {
	id, hash := s.keyOf(revision)
	s.Secret = revisions.Secret{State: revisions.SecretOwned, Hash: hash, KeyID: id}
}

// keyOf returns the id and the hash of the key last minted for a revision.
func (s *Simulation) keyOf(revision int64) (id, hash string) {
	return fmt.Sprintf("s%02d%09d", s.minted[revision], revision), fmt.Sprintf("sha256:simulated:%s:%d:%d", s.Key.UID, revision, s.minted[revision])
}
