// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"fmt"
	"slices"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// An HMAC secret is in three places: its hash in the chatbot's status (the ledger), the secret itself in the replica, which
// verifiers read, and in the Secret, which the customer's server reads. It is written to them in this order, and the policy is
// that of API keys: it decides on the revisions of the ledger as on those of records. What a crash leaves, and what another instance
// that observes it does:
//
//	announced in the ledger     no client has the secret: after a moment the replica is marked, so that a write of it that is
//	                            still under way is rejected, and another secret is announced
//	in the replica              it verifies, and is published: no other one is minted
//	in the Secret               it is the current one; the previous one gets its time bound in the ledger, then in the replica
//
// A revocation goes the same way, ledger first: what is no longer in it is removed from the replica, and then from the Secret.
// Where the Secret or the replica is lost or has drifted, it is restored from the other; where both are lost, a revision is due.

// HMACObservation is what is known of a chatbot's HMAC secret, without a character of it.
type HMACObservation struct {
	// Secret of the chatbot's Secret name; Hash is that of what it holds as the present one, and PreviousHash of the previous one.
	Secret       revisions.Secret
	PreviousHash string
	// Replica in the identity namespace.
	Replica Replica
	// Known are the hashes of what is at hand: in the Secret, in the replica, or just minted.
	Known map[string]bool
	// Padded are the hashes of those at hand that begin or end with white space.
	Padded map[string]bool
	// Source is what importFrom names.
	Source ImportSource
	// Rejection is what the API server answered to a step of the last plan; nil where there was none.
	Rejection *report.Rejection
	// Failed: an attempt to issue a revision was made, and its outcome is unknown. What it was to replace is revoked all the same.
	Failed bool
}

// Replica is what the replica of a chatbot's HMAC secrets holds, which verifiers read.
type Replica struct {
	There bool
	// Unknown: its content could not be read. There then reports whether its metadata is known.
	Unknown bool
	// Pruned are the kids of the revisions that PruneReplica has removed from it, or not found in it.
	Pruned map[string]bool
	// Shows are those in it.
	Shows Ledger
	// Abandoned is the kid with which it was marked.
	Abandoned string
	// Drifted says that something beside the secrets differs from what the operator writes.
	Drifted bool
}

// ImportSource is what importFrom names.
type ImportSource struct {
	// Hash of the entry; empty where there is none.
	Hash string
	// Problem is why it cannot be imported; empty where it can.
	Problem string
	// Unknown: the Secret could not be read, and nothing has to be imported from it any more.
	Unknown bool
}

// Steps for an HMAC secret.
const (
	// AnnounceRevision: mint, or import, and note it in the ledger as pending.
	AnnounceRevision Step = "AnnounceRevision"
	// WriteLedger: write the ledger, and nothing else of the status.
	WriteLedger Step = "WriteLedger"
	// WriteReplica and WriteSecret: make them show the decision's ledger.
	WriteReplica Step = "WriteReplica"
	WriteSecret  Step = "WriteSecret"
	// MarkReplica: note in the replica which announced revision it will never have.
	MarkReplica Step = "MarkReplica"
	// PruneReplica: remove the decision's Kids from a replica that cannot be read.
	PruneReplica Step = "PruneReplica"
	// DeleteReplica: nothing verifies any more.
	DeleteReplica Step = "DeleteReplica"
)

// hmacPlan is what is decided about an HMAC secret.
type hmacPlan struct {
	step   Step
	issue  *steps.IssueRevision
	shown  Ledger   // what the step is to make the replica or the Secret show
	kids   []string // what PruneReplica removes
	ledger Ledger
	// conclusions are nil where the chatbot has no HMAC secret.
	conclusions *gates.Gated
	// withdrawal: a part of the observation is unknown, and only the ledger was judged.
	withdrawal bool
}

func (o *Observation) planHMAC(now time.Time) hmacPlan {
	if o.Chatbot.Spec.IdentityVerification == nil || !o.Chatbot.DeletionTimestamp.IsZero() {
		return o.withdraw()
	}
	before := o.trustedLedger()
	p, issue := o.settle(o.facts(before, now))
	plan := hmacPlan{conclusions: p, issue: issue, ledger: o.ledgerAfter(p, before, issue != nil)}
	if plan.issue != nil {
		if problem := o.importProblem(p, plan.issue); problem != nil {
			plan.conclusions, plan.issue = p.Behind(problem), nil
		}
	}
	plan.step, plan.shown = o.nextHMACStep(&plan)
	return plan
}

// trustedLedger is the one in the status. Where that was lost, the Secret and the replica confirm each other: only an admin of
// the cluster could have written both. A status without a ledger and with the chatbot's ID was not lost: the HMAC secret was
// withdrawn, and a replica that could not be deleted then must not bring it back.
func (o *Observation) trustedLedger() Ledger {
	l := LedgerOf(&o.Chatbot.Status)
	shows := o.HMAC.Replica.Shows
	if l.Empty() && o.Chatbot.Status.ChatbotID == "" && shows.Current != nil && o.HMAC.Secret.State == revisions.SecretOwned && o.HMAC.Secret.Hash == shows.Current.Hash {
		return shows
	}
	return l
}

// facts returns the facts about a chatbot's HMAC secret, given its ledger.
func (o *Observation) facts(l Ledger, now time.Time) facts.Facts {
	status := o.Chatbot.Status.DeepCopy()
	l.ApplyTo(status)
	f := facts.Facts{Horizon: instant.Horizon{Now: now}, Secret: o.effectiveSecret(l), Rejection: o.HMAC.Rejection}
	f.Owner = ownerOf(o.Chatbot, status, &f.Horizon)
	for _, r := range l.Revisions() {
		f.Taken = max(f.Taken, r.Revision)
		if r == l.Pending && !o.HMAC.Known[r.Hash] {
			continue // no client will ever have it, so it counts for the number of the next one only
		}
		var by *v1alpha1.IdentityRevision
		if r == l.Previous {
			by = l.Current
		}
		f.Revisions = append(f.Revisions, revisionInLedger(r, by))
	}
	return f
}

// effectiveSecret is the Secret as it counts for the policy: one that was lost or altered is none that has to be replaced as
// long as the replica has what was in it.
func (o *Observation) effectiveSecret(l Ledger) revisions.Secret {
	s := o.HMAC.Secret
	switch s.State {
	case revisions.SecretForeign, revisions.SecretCollectable:
		s.Hash = ""
		return s
	case revisions.SecretOwned:
		for _, revision := range []*v1alpha1.IdentityRevision{l.Current, l.Pending} {
			if revision != nil && revision.Hash == s.Hash {
				return s
			}
		}
	}
	if l.Current != nil && o.HMAC.Known[l.Current.Hash] {
		return revisions.Secret{State: revisions.SecretOwned, Hash: l.Current.Hash, Drifted: true}
	}
	return s
}

// maxAmendments is more than it takes until the revisions are as the policy wants them.
const maxAmendments = 8

// settle amends the revisions as the policy wants, and returns what follows then, with the revision to issue. Records are amended one
// write at a time; a ledger is written once, with all amendments. That the revision in use is revoked waits for one attempt to replace
// it, as for API keys.
func (o *Observation) settle(f facts.Facts) (p *gates.Gated, issue *steps.IssueRevision) {
	for range maxAmendments {
		p = gates.Assess(f)
		issue = p.Issue()
		c := changes.Of(p, issue)
		amendments := c.Amendments
		if o.HMAC.Failed {
			issue, amendments = nil, append(amendments, c.AfterIssue...)
		}
		if len(amendments) == 0 && len(c.Pruned) == 0 {
			break
		}
		kept := slices.DeleteFunc(slices.Clone(f.Revisions), func(r *revisions.Revision) bool { return slices.Contains(c.Pruned, r) })
		f.Revisions = changes.Apply(amendments, kept)
	}
	return p, issue
}

// ledgerAfter is the ledger that the amended records make.
func (o *Observation) ledgerAfter(p *gates.Gated, before Ledger, issuing bool) Ledger {
	var l Ledger
	if pending := before.Pending; pending != nil && !o.HMAC.Known[pending.Hash] && (issuing || o.HMAC.Replica.Abandoned != pending.KID) {
		l.Pending = pending
	}
	for _, record := range p.Owned {
		current := before.Current != nil && record.Name == revisionName(before.Current)
		switch {
		case record == p.Published, p.Published == nil && current:
			l.Current = inLedger(record)
		case before.Pending != nil && record.Name == revisionName(before.Pending):
			// It has an end once it is not the newest any more.
			if record.State != v1alpha1.StateRevoked {
				l.Pending = before.Pending
			}
		case l.Previous == nil && record.Verifies(&p.Horizon) && o.HMAC.Known[record.Hash]:
			l.Previous = inLedger(record)
		}
	}
	return l
}

func (o *Observation) importProblem(p *gates.Gated, issue *steps.IssueRevision) *report.Obstacle {
	from := o.Chatbot.Spec.IdentityVerification.ImportFrom
	if issue.Cause != v1alpha1.CauseFirstIssue || from == nil {
		return nil
	}
	problem, remedy := o.HMAC.Source.Problem, "correct the Secret"
	if revoked := p.Requests.Revoke.Due; problem == "" && revoked != nil {
		// When it was made is unknown, but it was before now. Otherwise a revoked one would return with its source.
		problem = fmt.Sprintf("its value may be older than revokeIssuedBefore (%s), which revokes all older HMAC secrets", instant.Format(revoked))
		remedy = "remove revokeIssuedBefore from the spec and the annotations"
	}
	if problem == "" {
		return nil
	}
	return &report.Obstacle{Reason: v1alpha1.ImportRefusedReason, Stalled: true, Until: p.Now.Add(report.CheckInterval), Message: fmt.Sprintf(
		"The operator cannot import entry %q of Secret %q: %s; %s, or remove spec.identityVerification.importFrom to get a new HMAC secret", from.Key, from.Name, problem, remedy)}
}

// Imports reports whether a revision to be issued is what importFrom names.
func (o *Observation) Imports(issue *steps.IssueRevision) bool {
	return issue.Cause == v1alpha1.CauseFirstIssue && o.Chatbot.Spec.IdentityVerification.ImportFrom != nil
}

// nextHMACStep returns the next step, with what it is to show.
func (o *Observation) nextHMACStep(plan *hmacPlan) (Step, Ledger) {
	refused := func(reason string) bool { return o.HMAC.Rejection != nil && o.HMAC.Rejection.Reason == reason }
	l := plan.ledger
	if !l.Equal(LedgerOf(&o.Chatbot.Status)) {
		return WriteLedger, l
	}
	wanted := l.verifying(o.HMAC.Known, &plan.conclusions.Horizon)
	if refused(v1alpha1.CopyWriteRefusedReason) {
		return "", l
	}
	if o.replicaDiffers(wanted) {
		return WriteReplica, wanted
	}
	if pending := l.Pending; pending != nil && wanted.Pending == nil && !o.HMAC.Failed {
		switch {
		case o.HMAC.Replica.Abandoned != pending.KID:
			return MarkReplica, l
		case plan.issue != nil:
			return AnnounceRevision, l
		}
	} else if plan.issue != nil && pending == nil {
		return AnnounceRevision, l
	}
	if refused(v1alpha1.SecretWriteRefusedReason) {
		return "", l
	}
	if shown := plan.secretShows(wanted, o.HMAC.Failed); shown.Current != nil && o.secretDiffers(shown) {
		return WriteSecret, shown
	}
	return "", l
}

// secretShows is what the Secret is to show: the pending one as soon as verifiers can know it, and the previous one where it
// goes on for a while.
func (plan *hmacPlan) secretShows(wanted Ledger, failed bool) Ledger {
	shown := Ledger{Current: wanted.Current, Previous: wanted.Previous}
	if wanted.Pending != nil && !failed {
		shown = Ledger{Current: wanted.Pending, Previous: wanted.Current}
	}
	p := plan.conclusions
	if before := shown.Previous; before != nil && (p.Overlap == 0 || p.Requests.Revoke.Covers(before.IssuedAt)) {
		shown.Previous = nil
	}
	return shown
}

func (o *Observation) replicaDiffers(wanted Ledger) bool {
	c := o.HMAC.Replica
	if !c.There {
		return !wanted.Empty()
	}
	return c.Drifted || !c.Shows.Equal(wanted)
}

func (o *Observation) secretDiffers(wanted Ledger) bool {
	s := o.HMAC.Secret
	switch s.State {
	case revisions.SecretForeign, revisions.SecretCollectable:
		return false
	case revisions.SecretOwned:
	default:
		return true
	}
	previous := ""
	if wanted.Previous != nil {
		previous = wanted.Previous.Hash
	}
	return s.Drifted || s.Hash != wanted.Current.Hash || o.HMAC.PreviousHash != previous
}

// importIgnored returns reason and message of the condition ImportIgnored; empty where nothing is ignored.
func (o *Observation) importIgnored(l Ledger) (reason, message string) {
	from := o.Chatbot.Spec.IdentityVerification.ImportFrom
	if from == nil || o.HMAC.Source.Hash == "" || l.Current == nil {
		return "", ""
	}
	const advice = "to import the entry, remove spec.identityVerification, which makes the current HMAC secret invalid, and set spec.identityVerification again"
	imported := o.Chatbot.Status.Imported
	switch {
	case imported == "" && o.HMAC.Source.Hash != l.Current.Hash:
		return v1alpha1.ImportTooLateReason, fmt.Sprintf(
			"The operator ignores entry %q of Secret %q, because the operator had already issued an HMAC secret; %s", from.Key, from.Name, advice)
	case imported != "" && o.HMAC.Source.Hash != imported:
		return v1alpha1.ImportChangedReason, fmt.Sprintf(
			"Entry %q of Secret %q has changed since the operator imported it: the operator ignores the change; %s", from.Key, from.Name, advice)
	}
	return "", ""
}

// importPadded returns the message of the condition ImportPadded; empty where the present HMAC secret has no white space
// around it. Only an imported one can have: those that the operator issues are hex digits.
func (o *Observation) importPadded(l Ledger) string {
	if l.Current == nil || !o.HMAC.Padded[l.Current.Hash] {
		return ""
	}
	source, entry := "The imported HMAC secret", "the imported entry"
	if from := o.Chatbot.Spec.IdentityVerification.ImportFrom; from != nil {
		entry = fmt.Sprintf("entry %q of Secret %q", from.Key, from.Name)
		source = "The HMAC secret imported from " + entry
	}
	return fmt.Sprintf(`%s begins or ends with white space, such as the line end that "echo" adds. The white space is part of the HMAC secret: `+
		`the verifier rejects tokens of a server that signs without it. To remove the white space, write %s without it, for example with `+
		`"printf %%s" in place of "echo"; then remove spec.identityVerification, which makes the current HMAC secret invalid, and set spec.identityVerification again`, source, entry)
}
