// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
)

// botJudge reads the history of the chatbots' HMAC secrets once, in the order in which it was written.
type botJudge struct {
	bots map[string]*botStory // by uid
	// replicas by name, with the marks of the last version.
	replicas map[string]*replicaState
	marks    map[string]string
	broken   []string
	// published counts publications of HMAC secrets.
	published int
}

// botStory is what is known of one chatbot at a moment of the history.
type botStory struct {
	uid, place, replicaName string
	ledger                  chatbots.Ledger
	// ever are all revisions that were in the ledger, by their hash.
	ever map[string]*v1alpha1.IdentityRevision
	// revoked are the cut-offs that were ever asked for.
	revoked []time.Time
	// withdrawn: it was to have no HMAC secret at some time, or was deleted.
	withdrawn bool
	// spoiledSecret and spoiledReplica report whether the storm has changed the Secret, and the replica.
	spoiledSecret, spoiledReplica bool
	present                       string
	highest                       int64
}

// replicaState holds the hashes in the replica of an ID, and whether the storm has changed it last.
type replicaState struct {
	hashes  []string
	spoiled bool
}

func judgeBots(h history) *botJudge {
	j := &botJudge{bots: map[string]*botStory{}, replicas: map[string]*replicaState{}, marks: map[string]string{}}
	for _, c := range h {
		switch {
		case c.bot != nil:
			j.bot(c)
		case c.secret != nil && c.namespace == v1alpha1.IdentityNamespace:
			j.replica(c)
		case c.secret != nil && c.secret.Labels[v1alpha1.ChatbotLabel] != "":
			j.secret(c)
		}
	}
	return j
}

func (j *botJudge) fail(promise int, c change, b *botStory, format string, args ...any) {
	j.broken = append(j.broken, fmt.Sprintf("promise %d broken at etcd revision %d: chatbot %s: %s", promise, c.revision, b.place, fmt.Sprintf(format, args...)))
}

// byUs reports whether the storm wrote a version of a Secret.
func (j *botJudge) byUs(c change) bool {
	place, mark := c.namespace+"/"+c.name, c.secret.Annotations[touchedAnnotation]
	ours := !c.deleted && mark != "" && mark != j.marks[place]
	j.marks[place] = mark
	return ours
}

func (j *botJudge) bot(c change) {
	uid := string(c.bot.UID)
	b := j.bots[uid]
	if b == nil {
		b = &botStory{uid: uid, place: c.namespace + "/" + c.name, replicaName: replicaOf(c.bot).Name, ever: map[string]*v1alpha1.IdentityRevision{}}
		j.bots[uid] = b
	}
	iv := c.bot.Spec.IdentityVerification
	if c.deleted || c.bot.DeletionTimestamp != nil || iv == nil {
		b.withdrawn = true
	} else if iv.Rotation != nil {
		b.revoked = append(b.revoked, times(iv.Rotation.RevokeIssuedBefore, c.bot.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation])...)
	}
	before := b.ledger
	b.ledger = chatbots.LedgerOf(&c.bot.Status)
	for _, r := range b.ledger.Revisions() {
		b.ever[r.Hash] = r
	}
	if pending := b.ledger.Pending; pending != nil && (before.Pending == nil || before.Pending.Hash != pending.Hash) {
		j.cause(c, b, before, pending)
	}
	if b.ledger.Empty() {
		b.highest = 0 // what is issued after that begins anew
	}
}

// cause: an HMAC secret is announced for one of the causes, each of which must have come up.
func (j *botJudge) cause(c change, b *botStory, before chatbots.Ledger, pending *v1alpha1.IdentityRevision) {
	var ok bool
	switch pending.Cause {
	case v1alpha1.CauseFirstIssue:
		ok = before.Current == nil
	case v1alpha1.CauseRequest, v1alpha1.CauseReactivation:
		ok = before.Current != nil
	case v1alpha1.CauseRevocation:
		ok = before.Current != nil && covers(b.revoked, before.Current.IssuedAt.Time, pending.IssuedAt.Time)
	case v1alpha1.CauseSecretLost, v1alpha1.CauseSecretAltered:
		ok = b.spoiledReplica && b.spoiledSecret
	}
	if !ok {
		j.fail(2, c, b, "revision %d was announced for %s, which did not happen", pending.Revision, pending.Cause)
	}
}

func (j *botJudge) replica(c change) {
	ours := j.byUs(c)
	state := &replicaState{spoiled: ours || c.deleted}
	for _, suffix := range []string{"", v1alpha1.IdentityPreviousSuffix, v1alpha1.IdentityPendingSuffix} {
		if text, ok := c.secret.Data[v1alpha1.IdentitySecretKey+suffix]; ok && !c.deleted {
			state.hashes = append(state.hashes, identity.Hash(text))
		}
	}
	j.replicas[c.name] = state
	for _, b := range j.bots {
		if b.replicaName != c.name || b.uid != c.secret.Labels[v1alpha1.ChatbotLabel] {
			continue
		}
		b.spoiledReplica = b.spoiledReplica || state.spoiled
		for _, hash := range state.hashes {
			if !ours && b.ever[hash] == nil && !garbled(c.secret) {
				j.fail(3, c, b, "the operator wrote something into the replica that was never announced")
			}
		}
	}
}

// garbled reports whether a Secret holds what the storm has written: an operator's other change leaves it for a moment.
func garbled(secret *corev1.Secret) bool { return len(secret.Data[v1alpha1.IdentitySecretKey]) != 64 }

// secret: what the operator publishes is in the ledger and in the replica, unless a user asked for its end or the storm took it
// away; nothing older is put back.
func (j *botJudge) secret(c change) {
	ours := j.byUs(c)
	b := j.bots[c.secret.Labels[v1alpha1.ChatbotLabel]]
	if b == nil {
		return
	}
	if ours || c.deleted {
		b.spoiledSecret, b.present = true, ""
		return
	}
	hash := identity.Hash(c.secret.Data[v1alpha1.IdentitySecretKey])
	if hash == b.present || garbled(c.secret) {
		return
	}
	b.present = hash
	j.published++
	r := b.ever[hash]
	if r == nil {
		j.fail(1, c, b, "an HMAC secret was published that was never announced")
		return
	}
	ended := b.withdrawn || covers(b.revoked, r.IssuedAt.Time, c.at.Add(slowest))
	inLedger := slices.ContainsFunc(b.ledger.Revisions(), func(l *v1alpha1.IdentityRevision) bool { return l.Hash == hash })
	if !inLedger && !ended {
		j.fail(1, c, b, "revision %d was published, and is not in the ledger any more", r.Revision)
	}
	if state := j.replicas[b.replicaName]; !ended && (state == nil || !state.spoiled && !slices.Contains(state.hashes, hash)) {
		j.fail(1, c, b, "revision %d was published, and verifiers do not know it", r.Revision)
	}
	if r.Revision < b.highest && !b.withdrawn {
		j.fail(3, c, b, "revision %d was put back after revision %d", r.Revision, b.highest)
	}
	b.highest = max(b.highest, r.Revision)
}
