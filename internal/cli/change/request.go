// SPDX-License-Identifier: Apache-2.0

// Package change has the verbs that change keys. rotate and compromise make a request by annotation, with --wait and --dry-run; revoke, disable
// and enable set spec.state.
package change

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/status"
	"dgbot.io/key-operator/internal/cli/target"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// request describes a verb that makes a request by annotation. It leaves spec alone, which may come from Git.
type request struct {
	use, short, long string
	annotation       string
	// final describes the effect that cannot be undone; empty if all can.
	final string
	// TakesKey is true if a key on standard input may name the DGbotAPIKey.
	takesKey bool
	// handlesWithheld is true if the operator handles the request also for a disabled, revoked or expired key.
	handlesWithheld bool
	// purpose is what the request is for, and done is printed once it is made.
	purpose, done string
	// withdraws is true if verifiers reject what was valid before, and withdrawn names that at the begin of a sentence.
	withdraws bool
	withdrawn string
	// handled returns the time of the latest request that the operator has handled.
	handled func(*v1alpha1.HandledRequest) *metav1.Time
}

// NewRotate returns the verb rotate.
func NewRotate(s *session.Session) *cobra.Command {
	return newRequest(s, request{
		use: "rotate", short: "Issue a new revision; the previous one stays valid for the overlap",
		long: `Requests a new revision with the annotation keys.dgbot.io/rotate-requested-at. It does not change spec, so nothing drifts from Git.
The operator publishes the new key in the same Secret. The previous key stays valid for spec.rotation.overlap.`,
		annotation: v1alpha1.RotateRequestedAtAnnotation, purpose: "rotation", done: "rotation requested",
		handled: func(h *v1alpha1.HandledRequest) *metav1.Time { return h.RotateRequestedAt },
	})
}

// NewCompromise returns the verb compromise.
func NewCompromise(s *session.Session) *cobra.Command {
	return newRequest(s, request{
		use: "compromise", short: "Issue a new revision, and revoke all others at once", takesKey: true, handlesWithheld: true,
		long: `For a key that has leaked. It requests a new revision, and the revocation of all revisions that were issued until now, with the annotation
keys.dgbot.io/revoke-issued-before. Clients fail until they read the Secret again. This cannot be undone.

With -, it reads the leaked key from standard input and finds its DGbotAPIKey. You need the right to list records in all namespaces, or else
in that of -n:

    kubectl dgbot compromise - --yes --wait <leaked.txt

` + waitText,
		final:      "all revisions that were issued until now are revoked for good, also those that clients still use",
		annotation: v1alpha1.RevokeIssuedBeforeAnnotation, purpose: "revocation", done: "requested: revoke all revisions issued so far", withdraws: true, withdrawn: "revoked revisions ",
		handled: func(h *v1alpha1.HandledRequest) *metav1.Time { return h.RevokeIssuedBefore },
	})
}

// requestCall is one call of a verb that makes a request.
type requestCall struct {
	*session.Session
	request
	waitFlags
	which  target.Selection
	dryRun bool
	output string
}

func newRequest(s *session.Session, r request) *cobra.Command {
	a := &requestCall{Session: s, request: r, which: target.Selection{Final: r.final, TakesKey: r.takesKey}}
	names := "NAME..."
	if r.takesKey {
		names += " | -"
	}
	c := &cobra.Command{
		Use: r.use + " (" + names + " | -l SELECTOR | --all)", Short: r.short, Long: r.long,
		Args:              func(_ *cobra.Command, names []string) error { return a.check(names) },
		ValidArgsFunction: s.CompleteKeys,
		RunE:              func(c *cobra.Command, names []string) error { return a.run(c.Context(), names) },
	}
	a.which.AddFlags(c)
	until, outputs := "until the operator has handled the request", "--dry-run"
	if a.withdraws {
		until, outputs = "until every registered verifier rejects what is revoked", "--dry-run or --wait"
	}
	a.addFlags(c, until, a.withdraws)
	c.Flags().BoolVar(&a.dryRun, "dry-run", false, "Change nothing, and show what would happen, and when")
	c.Flags().StringVarP(&a.output, "output", "o", "", "With "+outputs+", json or yaml, for programs")
	return c
}

func (a *requestCall) check(names []string) error {
	if err := flags.CheckOutput(a.output, []string{"", "json", "yaml"}); err != nil {
		return err
	}
	switch {
	case a.output != "" && !a.dryRun && !a.withdraws:
		return exit.Usage("--output goes with --dry-run")
	case a.output != "" && !a.dryRun && !a.isSet:
		return exit.Usage("--output goes with --dry-run or --wait")
	}
	if err := a.checkTimeout(); err != nil {
		return err
	}
	if a.dryRun {
		a.which.Yes = true // nothing is done that could not be taken back
	}
	return a.which.Check(names)
}

func (a *requestCall) run(ctx context.Context, names []string) error {
	cluster, keys, err := a.which.Choose(ctx, a.Session, names)
	if err != nil || len(keys) == 0 {
		return err
	}
	now, err := cluster.Now(ctx)
	if err != nil {
		return err
	}
	if a.dryRun {
		return a.preview(ctx, cluster, keys, now)
	}
	f := a.follower(a.Session, cluster, a.purpose)
	f.handlesWithheld, f.withdraws, f.withdrawn = a.handlesWithheld, a.withdraws, a.withdrawn
	f.handled = func(key *v1alpha1.DGbotAPIKey, r *keyRequest) bool {
		done := key.Status.LastHandledRequest
		return done != nil && a.handled(done) != nil && !a.handled(done).Before(&r.at)
	}
	f.isOwn = func(p *v1alpha1.Propagation, r *keyRequest) bool {
		return p.RevokeIssuedBefore != nil && !p.RevokeIssuedBefore.Before(&r.at)
	}
	err = target.Each(a.Session, keys, func(key *v1alpha1.DGbotAPIKey) error {
		if reason := status.Withheld(key); reason != "" && !a.handlesWithheld {
			// The operator would handle the request as soon as a user enables the key, perhaps long after it was made.
			return fmt.Errorf("nothing was requested: %s", reason)
		}
		at := requestTime(key, now)
		r := newKeyRequest(key, at)
		warnJumped(a.Session, key, now)
		if err := cluster.Patch(ctx, key, map[string]string{a.annotation: at.Format(time.RFC3339)}, nil); err != nil {
			return err
		}
		f.add(key, r)
		warnPending(a.Session, key, now)
		return display.Writef(linesOf(a.Session, a.output), "dgbotapikey.keys.dgbot.io/%s %s\n", key.Name, a.done)
	})
	if !a.isSet {
		return err
	}
	return f.await(ctx, keys, now, a.output, err)
}

// requestTime returns now, or the time at which the current revision was issued if that is later: the operator handles a request with a
// revision that is issued after it. A revision that was issued while the operator's clock was ahead is the exception: a request in the
// future would revoke nothing until then, and the operator counts such a revision as issued when its record was created.
func requestTime(key *v1alpha1.DGbotAPIKey, now time.Time) metav1.Time {
	if current := key.Status.Current; current != nil && current.IssuedAt.After(now) && !issuedAhead(key, now) {
		now = current.IssuedAt.Time
	}
	return metav1.Time{Time: now.UTC()}
}

// issuedAhead reports whether the revision in use was issued while the operator's clock was ahead.
func issuedAhead(key *v1alpha1.DGbotAPIKey, now time.Time) bool {
	current := key.Status.Current
	return current != nil && current.IssuedAt.After(now.Add(revisions.MaxIssuedAhead))
}
