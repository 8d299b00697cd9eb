// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/status"
)

// unknownPatience is for how long the proof waits for verifiers to become known: right after a start the operator may not know them yet.
const unknownPatience = 2 * time.Second

// outcomes of a wait, for programs.
const (
	proven         = "Proven"
	nothingToProve = "NothingToProve"
	notProven      = "NotProven"
	notHandled     = "NotHandled"
)

// result is the outcome for one key, for programs.
type result struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Result is one of the outcomes, and Message the sentence that people read.
	Result  string `json:"result"`
	Message string `json:"message"`
	// Revision and KeyID are those of the key's current revision, if the request asked for another one.
	Revision    int64                 `json:"revision,omitempty"`
	KeyID       string                `json:"keyID,omitempty"`
	Propagation *v1alpha1.Propagation `json:"propagation,omitempty"`
}

// printResults prints the results of all keys with a request.
func (f *follower) printResults(keys []v1alpha1.DGbotAPIKey, output string) error {
	all := []result{}
	for i := range keys {
		r := f.requests[keys[i].UID]
		if r == nil {
			continue
		}
		r.result.Namespace, r.result.Name = keys[i].Namespace, keys[i].Name
		switch {
		case r.result.Result != "":
		case r.isHandled:
			r.result.Result = notProven
		default:
			r.result.Result = notHandled
		}
		all = append(all, r.result)
	}
	return display.PrintValue(f.Streams.Out, output, all)
}

// followProof reports whether the wait for the proof is over for a key whose request is handled, and prints its outcome. The operator writes the
// withdrawal together with the sign that it handled the request, so a status without one has nothing to wait for.
func (f *follower) followProof(ctx context.Context, now *v1alpha1.DGbotAPIKey) bool {
	r, p := f.requests[now.UID], now.Status.Propagation
	isOwn := p != nil && (f.isOwn(p, r) || p.Version != r.version)
	switch {
	case p == nil && !r.mayBeValid:
		r.result.Result = nothingToProve
		f.printOutcome(now, ": ", "no revision was valid any more, so there is nothing to prove")
		return true
	case p == nil, r.mayBeValid && !isOwn:
		f.fail(now, exit.No("nothing is proven: the operator handled the request, and status.propagation does not have it; "+
			"a user may have enabled the key again, or the operator is older than this plugin"))
		return true
	case p.ConfirmedAt != nil:
		r.result.Result = proven
		what := f.withdrawn
		if !isOwn {
			what = "no revision was valid any more; the withdrawal before was "
		}
		f.printOutcome(now, ": ", what+status.Confirmation(p))
		return true
	}
	if status.IsUnprovable(now) {
		return f.giveUpIfUnprovable(now)
	}
	r.unknownSince = time.Time{}
	f.showPending(ctx, now)
	return false
}

// giveUpIfUnprovable reports whether no verifier has become known for so long that the wait is over.
func (f *follower) giveUpIfUnprovable(now *v1alpha1.DGbotAPIKey) bool {
	r := f.requests[now.UID]
	r.outlook = "no verifier is registered, as far as the operator knows"
	if r.unknownSince.IsZero() {
		r.unknownSince = f.Clock.Now()
	}
	if f.Clock.Now().Sub(r.unknownSince) < unknownPatience {
		return false
	}
	why := "no verifier is registered"
	if pending := status.PropagationPending(now); pending != nil {
		why = pending.Reason + ": " + pending.Message
	}
	f.fail(now, exit.No("the operator handled the request, and nothing is proven: %s", why))
	return true
}

// showPending shows which verifiers may still accept what was withdrawn: a line that changes on a terminal, and a line for each change elsewhere.
func (f *follower) showPending(ctx context.Context, now *v1alpha1.DGbotAPIKey) {
	r := f.requests[now.UID]
	// What the other reasons say is in the outlook as well.
	if pending := status.PropagationPending(now); pending != nil && pending.Reason != v1alpha1.VerifiersBehindReason {
		if reason := pending.Reason + ": " + pending.Message; reason != r.shownReason {
			r.shownReason = reason
			f.printProgress("%s: %s\n", now.Name, reason)
		}
	}
	p := f.progress(ctx, now)
	outlook := status.Outlook(p)
	if f.line.IsShown() {
		left := ""
		if p.BoundAt != nil {
			left = " (" + display.TimeText(&metav1.Time{Time: p.BoundAt.Time}, f.Clock.Now().Add(f.ahead)) + ")"
		}
		f.line.Show("%s: %s%s", now.Name, outlook, left)
	} else if outlook != r.outlook {
		f.printProgress("%s: %s\n", now.Name, outlook)
	}
	r.outlook = outlook
}

// progress returns the withdrawal of a key with the verifiers that are pending now, as far as the user may read their Leases. The operator rewrites
// the status once a minute; only its confirmation is a proof.
func (f *follower) progress(ctx context.Context, key *v1alpha1.DGbotAPIKey) *v1alpha1.Propagation {
	p := key.Status.Propagation
	if f.namespace == "" || len(p.Pending) == 0 {
		return p
	}
	if f.leases == nil {
		leases, err := f.cluster.Registrations(ctx, f.namespace)
		if err != nil {
			f.namespace = ""
			return p
		}
		f.leases = leases
	}
	return status.Progress(key, f.leases, f.Clock.Now().Add(f.ahead))
}
