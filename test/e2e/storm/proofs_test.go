// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// The contract's section 11 promises that a confirmed withdrawal is true, and stays as it is. What was confirmed is read from etcd, and compared
// with the answers that verifiers gave meanwhile.

// withdrawal identifies one in status.propagation of a key.
type withdrawal struct {
	generation int64
	version    string
	writtenAt  time.Time
}

func withdrawalOf(p *v1alpha1.Propagation) withdrawal {
	return withdrawal{p.Generation, p.Version, p.WrittenAt.UTC()}
}

// proof is a withdrawal that was confirmed.
type proof struct {
	// version is the revision of etcd that verifiers had to reach, and written that at which the status had confirmedAt.
	version, written int64
	confirmedAt      time.Time
}

// proofs are the result of judging those of one key or several.
type proofs struct {
	broken []string
	// all are the confirmed withdrawals, of withdrawn in total.
	all       []proof
	withdrawn int
	// tested is how many keys had been accepted before a proof covered them, and were rejected in a later request.
	tested int
}

func (p *proofs) add(other *proofs) {
	p.broken, p.all = append(p.broken, other.broken...), append(p.all, other.all...)
	p.withdrawn, p.tested = p.withdrawn+other.withdrawn, p.tested+other.tested
}

// judgeProofs judges the proofs of a key. Records whose hash another record has as well are left out: they may be good where the other is not.
func (s *story) judgeProofs(a *answers, isAmbiguous func(hash string) bool) *proofs {
	j := &proofJudge{story: s, confirmed: map[withdrawal]*v1alpha1.Propagation{}}
	var before *v1alpha1.Propagation
	for _, v := range s.versions {
		now := v.key.Status.Propagation
		if now == nil && before != nil {
			j.judgeRemoval(before, v.from)
		}
		if now != nil && !equality.Semantic.DeepEqual(now, before) {
			j.judgeReport(before, now, v.from)
		}
		before = now
	}
	j.withdrawn = len(j.confirmed)
	for _, r := range s.records {
		if !isAmbiguous(r.first.Spec.Hash) {
			j.judgeAnswers(r, a)
		}
	}
	return &j.proofs
}

type proofJudge struct {
	*story
	proofs
	// confirmed has the latest report of each withdrawal.
	confirmed map[withdrawal]*v1alpha1.Propagation
	highest   int64
}

func (j *proofJudge) fail(revision int64, format string, args ...any) {
	j.broken = append(j.broken, fmt.Sprintf("proof broken at etcd revision %d: %s/%s %s: %s", revision, j.namespace, j.name, j.uid, fmt.Sprintf(format, args...)))
}

// judgeReport judges what the status says of a withdrawal.
func (j *proofJudge) judgeReport(before, now *v1alpha1.Propagation, revision int64) {
	version, err := strconv.ParseInt(now.Version, 10, 64)
	if err != nil || version < j.highest || version >= revision {
		j.fail(revision, "the version is %q after %d", now.Version, j.highest)
	}
	j.highest = max(j.highest, version)
	if before != nil && before.Version == now.Version && !before.WrittenAt.Equal(&now.WrittenAt) {
		j.fail(revision, "writtenAt of version %s became %s from %s", now.Version, now.WrittenAt, before.WrittenAt)
	}
	id := withdrawalOf(now)
	earlier := j.confirmed[id]
	j.confirmed[id] = now
	if earlier != nil && earlier.ConfirmedAt != nil {
		if now.ConfirmedAt == nil || !now.ConfirmedAt.Equal(earlier.ConfirmedAt) {
			j.fail(revision, "confirmedAt of version %s became %s from %s", now.Version, now.ConfirmedAt, earlier.ConfirmedAt)
		}
		return
	}
	if now.ConfirmedAt == nil {
		return
	}
	if now.Verifiers == 0 || len(now.Pending) > 0 || now.ConfirmedAt.Before(&now.WrittenAt) {
		j.fail(revision, "confirmed by %d verifiers, with %d pending, at %s before it was written at %s", now.Verifiers, len(now.Pending), now.ConfirmedAt, now.WrittenAt)
	}
	j.all = append(j.all, proof{version, revision, now.ConfirmedAt.Time})
}

// judgeRemoval judges the end of a report: no record of the key may still have a note that the report covered. The next report may begin with a lower
// version: another instance, whose cache still has earlier notes, tells of an earlier withdrawal until its cache has caught up.
func (j *proofJudge) judgeRemoval(before *v1alpha1.Propagation, revision int64) {
	j.highest = 0
	for _, r := range j.records {
		if r.created >= revision || r.gone != 0 && r.gone < revision {
			continue
		}
		record := r.at(revision)
		if noted := revisions.WithdrawnAt(record); standing.Owned(record) && !noted.IsZero() && !noted.After(before.WrittenAt.Time) {
			j.fail(revision, "revision %d is withdrawn since %s, and the status tells of it no longer", record.Spec.Revision, noted)
		}
	}
}

// judgeAnswers judges the answers to the key of one record: from confirmedAt on none accepts it, unless the record was changed back.
func (j *proofJudge) judgeAnswers(r *recordStory, a *answers) {
	accepted, isTested := a.accepted[r.first.Spec.Hash], false
	for _, p := range j.all {
		if !r.isRejectedAt(p) {
			continue
		}
		good := r.reactivation(p)
		for _, answer := range accepted {
			if answer.began.After(p.confirmedAt) && (good.IsZero() || answer.end.Before(good)) {
				j.fail(p.written, "revision %d was accepted by %s in a request that began %s after confirmedAt (version %d)",
					r.first.Spec.Revision, answer.by, answer.began.Sub(p.confirmedAt), p.version)
				return
			}
		}
		isTested = isTested || len(accepted) > 0 && accepted[0].end.Before(p.confirmedAt) && a.rejected[r.first.Spec.Hash].After(p.confirmedAt)
	}
	if isTested {
		j.tested++
	}
}

// isRejectedAt reports whether a verifier that has reached the version of a proof rejects the key at its time.
func (r *recordStory) isRejectedAt(p proof) bool {
	if r.created > p.version {
		return false
	}
	return r.gone != 0 && r.gone <= p.version || standing.Admit(r.at(p.version+1), p.confirmedAt) != standing.Admitted
}

// reactivation returns a time before the change after which verifiers accept the key again; zero if there is none.
func (r *recordStory) reactivation(p proof) time.Time {
	for _, v := range r.versions {
		if v.revision > p.version && standing.Admit(v.record, p.confirmedAt) == standing.Admitted {
			return v.at
		}
	}
	return time.Time{}
}

// judgeProofs judges the proofs of all keys, and reports how many there are. faultsEnd is the revision of etcd at which the faults ended.
func (s *storm) judgeProofs(all []*story, faultsEnd int64) {
	s.t.Helper()
	records := map[string]int{}
	for _, story := range all {
		for _, r := range story.records {
			records[r.first.Spec.Hash]++
		}
	}
	total := &proofs{}
	for _, story := range all {
		judged := story.judgeProofs(s.answers, func(hash string) bool { return records[hash] > 1 })
		for _, broken := range judged.broken {
			s.t.Error(broken)
		}
		if len(judged.broken) > 0 {
			s.t.Logf("what happened to it:\n%s", story.timeline())
		}
		total.add(judged)
	}
	early, accepted := 0, 0
	for _, p := range total.all {
		if p.written < faultsEnd {
			early++
		}
	}
	for _, of := range s.answers.accepted {
		accepted += len(of)
	}
	v := s.verifiers
	s.t.Logf("verifiers: %d ends, %d of them by a kill, %d pauses, %d frozen watches; they accepted %d of %d keys, %d times",
		v.ends.Load(), v.kills.Load(), v.pauses.Load(), v.freezes.Load(), len(s.answers.accepted), len(s.answers.texts), accepted)
	s.t.Logf("%d withdrawals, %d confirmed, %d of them during the faults; %d keys were accepted before and rejected after their proof",
		total.withdrawn, len(total.all), early, total.tested)
	if len(total.all) == 0 || total.tested == 0 {
		s.t.Error("the storm tests nothing of proofs")
	}
}
