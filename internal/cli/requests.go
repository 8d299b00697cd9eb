// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"dgbot.io/key-operator/api/v1alpha1"
)

// lookAgain is how often a key is looked at that is waited for.
const lookAgain = 500 * time.Millisecond

// request is a verb that asks for something by annotation: spec, which may come from Git, stays as it is.
type request struct {
	use, short, long string
	annotation       string
	// final is what cannot be taken back about it; empty where it can.
	final string
	// takesKey: a key on standard input may say which one is meant.
	takesKey bool
	// done says what has been asked for, and handled when the operator has done it.
	done    string
	handled func(*v1alpha1.HandledRequest) *metav1.Time
}

func newRotate(s *session) *cobra.Command {
	return newRequest(s, request{
		use: "rotate", short: "Issue a new revision; the earlier one verifies on for the overlap",
		long: `Asks for a new revision, by the annotation keys.dgbot.io/rotate-requested-at: spec is not touched, so nothing drifts from Git.
The new key is in the same Secret. The earlier one goes on verifying for spec.rotation.overlap.`,
		annotation: v1alpha1.RotateRequestedAtAnnotation, done: "rotation requested",
		handled: func(h *v1alpha1.HandledRequest) *metav1.Time { return h.RotateRequestedAt },
	})
}

func newCompromise(s *session) *cobra.Command {
	return newRequest(s, request{
		use: "compromise", short: "Issue a new revision, and revoke all others at once", takesKey: true,
		long: `For a key that has leaked: asks for a new revision and for all that were issued until now to be revoked, by the annotation
keys.dgbot.io/revoke-issued-before. Whoever has not read the Secret again fails from then on. It cannot be taken back.

With - the leaked key itself says which one is meant, in whatever namespace, if you may list records in all of them:

    kubectl dgbot compromise - --yes --wait <leaked.txt`,
		final:      "all revisions that were issued until now are revoked for good, whoever still uses them",
		annotation: v1alpha1.RevokeIssuedBeforeAnnotation, done: "revocation of all that was issued requested",
		handled: func(h *v1alpha1.HandledRequest) *metav1.Time { return h.RevokeIssuedBefore },
	})
}

// asking is one call of a verb that asks for something.
type asking struct {
	*session
	request
	which         selection
	waits, dryRun bool
	timeout       time.Duration
	output        string
}

func newRequest(s *session, r request) *cobra.Command {
	a := &asking{session: s, request: r, which: selection{final: r.final, takesKey: r.takesKey}}
	names := "NAME..."
	if r.takesKey {
		names += " | -"
	}
	c := &cobra.Command{
		Use: r.use + " (" + names + " | -l SELECTOR | --all)", Short: r.short, Long: r.long,
		Args:              func(_ *cobra.Command, names []string) error { return a.check(names) },
		ValidArgsFunction: s.completeKeys,
		RunE:              func(c *cobra.Command, names []string) error { return a.run(c.Context(), names) },
	}
	a.which.addFlags(c)
	c.Flags().BoolVar(&a.waits, "wait", false, "Wait until it is done, and show what is going on")
	c.Flags().DurationVar(&a.timeout, "timeout", time.Minute, "How long to wait at most, with --wait")
	c.Flags().BoolVar(&a.dryRun, "dry-run", false, "Change nothing, and show what would happen when")
	c.Flags().StringVarP(&a.output, "output", "o", "", "json or yaml, for what --dry-run shows in a form for programs")
	return c
}

func (a *asking) check(names []string) error {
	if err := checkOutput(a.output, []string{"", "json", "yaml"}); err != nil {
		return err
	}
	if a.output != "" && !a.dryRun {
		return usage("--output goes with --dry-run")
	}
	if a.dryRun {
		a.which.yes = true // nothing is done that could not be taken back
	}
	return a.which.check(names)
}

func (a *asking) run(ctx context.Context, names []string) error {
	cluster, keys, err := a.choose(ctx, &a.which, names)
	if err != nil || len(keys) == 0 {
		return err
	}
	now, err := cluster.now(ctx)
	if err != nil {
		return err
	}
	if a.dryRun {
		return a.preview(ctx, cluster, keys, now)
	}
	asked := map[types.UID]metav1.Time{}
	err = each(keys, func(key *v1alpha1.DGbotAPIKey) error {
		at := requestTime(key, now)
		if err := cluster.patch(ctx, key, map[string]string{a.annotation: at.Format(time.RFC3339)}, nil); err != nil {
			return err
		}
		asked[key.UID] = at
		_, err := fmt.Fprintf(a.streams.Out, "dgbotapikey.keys.dgbot.io/%s %s\n", key.Name, a.done)
		return err
	})
	if err != nil || !a.waits {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return each(keys, func(key *v1alpha1.DGbotAPIKey) error { return a.follow(ctx, cluster, key, asked[key.UID], a.handled) })
}

// requestTime is now, and never before the revision in use was issued: a request is served by a revision issued after it.
func requestTime(key *v1alpha1.DGbotAPIKey, now time.Time) metav1.Time {
	if current := key.Status.Current; current != nil && current.IssuedAt.After(now) {
		now = current.IssuedAt.Time
	}
	return metav1.Time{Time: now.UTC()}
}

// follow waits until the operator has done what was asked of a key, and tells what the key says meanwhile.
func (s *session) follow(ctx context.Context, c *cluster, key *v1alpha1.DGbotAPIKey, asked metav1.Time, handled func(*v1alpha1.HandledRequest) *metav1.Time) error {
	said := ""
	err := wait.PollUntilContextCancel(ctx, lookAgain, true, func(ctx context.Context) (bool, error) {
		now, err := c.key(ctx, types.NamespacedName{Namespace: key.Namespace, Name: key.Name})
		if err != nil {
			return false, err
		}
		if done := now.Status.LastHandledRequest; done != nil {
			if at := handled(done); at != nil && !at.Before(&asked) {
				_, err := fmt.Fprintf(s.streams.Out, "dgbotapikey.keys.dgbot.io/%s %s\n", now.Name, outcome(now))
				return true, err
			}
		}
		if says := standing(now); says != said {
			said = says
			_, _ = fmt.Fprintf(s.streams.ErrOut, "%s: %s\n", now.Name, says)
		}
		return false, nil
	})
	if wait.Interrupted(err) {
		return no("not done in time (%s)", said)
	}
	return err
}

// outcome is what a key has after something was done to it.
func outcome(key *v1alpha1.DGbotAPIKey) string {
	if key.Status.Current == nil {
		return "done"
	}
	return fmt.Sprintf("has revision %d, key ID %s", key.Status.Current.Revision, key.Status.Current.KeyID)
}

// standing is what a key says of itself while something is to come.
func standing(key *v1alpha1.DGbotAPIKey) string {
	for _, kind := range []string{v1alpha1.StalledCondition, v1alpha1.ReconcilingCondition} {
		if c := apimeta.FindStatusCondition(key.Status.Conditions, kind); c != nil {
			return c.Reason + ": " + c.Message
		}
	}
	return "waiting for the operator"
}
