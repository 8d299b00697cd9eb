// SPDX-License-Identifier: Apache-2.0

package change

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/status"
	"dgbot.io/key-operator/internal/cli/target"
)

// pollInterval is the time between two reads of the keys that --wait waits for.
const pollInterval = 500 * time.Millisecond

// waitText explains --wait in the help of verbs that withdraw revisions.
const waitText = `With --wait, it waits for the proof that every registered verifier rejects what was valid. Exit code 3: no verifier is registered, so nothing
is proven. Exit code 1: a verifier may still accept it at the end of --timeout. The change stays in force in both cases.`

// waitFlags are the flags of verbs with --wait.
type waitFlags struct {
	isSet   bool
	timeout flags.Duration
	// namespace has the Leases of verifiers, for the progress.
	namespace string
}

func (w *waitFlags) addFlags(c *cobra.Command, until string, withdraws bool) {
	c.Flags().BoolVar(&w.isSet, "wait", false, "Wait "+until+", and show the progress")
	w.timeout = flags.Duration(time.Minute)
	c.Flags().Var(&w.timeout, "timeout", "With --wait, how long to wait at most, such as 90s")
	if withdraws {
		c.Flags().StringVar(&w.namespace, "usage-namespace", cluster.UsageNamespace, "With --wait, namespace of the verifiers' Leases, which show the progress if you may list them")
	}
}

func (w *waitFlags) checkTimeout() error {
	if w.timeout <= 0 {
		return exit.Usage("--timeout is %s: want more than nothing", w.timeout.String())
	}
	return nil
}

// follower returns a follower for the keys of one namespace.
func (w *waitFlags) follower(s *session.Session, c *cluster.Client, purpose string) *follower {
	return &follower{
		Session: s, cluster: c.ForPolling(), timeout: time.Duration(w.timeout), purpose: purpose, namespace: w.namespace,
		requests: map[types.UID]*keyRequest{}, line: display.NewStatusLine(s.Terminal), out: s.Streams.Out,
	}
}

// keyRequest is the request of a user for one key, and how far the operator has handled it.
type keyRequest struct {
	// at is the time of the request, and generation the key's generation after it.
	at         metav1.Time
	generation int64
	// mayBeValid is set if a revision may have been valid before the request, and version is that of the withdrawal that the status had.
	mayBeValid bool
	version    string
	// isHandled is set once the operator has handled the request.
	isHandled bool
	// unknownSince is since when no verifier is known that could confirm; zero if one is.
	unknownSince time.Time
	// shownReason is why the key waits, and outlook which verifiers are pending, each as printed last.
	shownReason, outlook string
	result               result
}

// follower waits until the operator has handled the requests for some keys of one namespace, and until registered verifiers reject what the
// requests withdrew. It prints the progress.
type follower struct {
	*session.Session
	cluster *cluster.Client
	timeout time.Duration
	// handled reports whether the operator has handled a request, and isOwn whether a withdrawal is that of a request.
	handled func(*v1alpha1.DGbotAPIKey, *keyRequest) bool
	isOwn   func(*v1alpha1.Propagation, *keyRequest) bool
	// handlesWithheld is true for a request that the operator handles also for keys that are disabled, revoked or expired.
	handlesWithheld bool
	// state is what the request sets spec.state to; empty if it does not.
	state v1alpha1.KeyState
	// withdraws is true for a request that must be proven: verifiers reject what was valid before. withdrawn names that at the begin of a
	// sentence; empty for the whole key.
	withdraws bool
	withdrawn string
	// namespace has the Leases of verifiers; empty if they cannot be read. leases are those of the present poll; nil if it did not need them.
	namespace string
	leases    []coordinationv1.Lease
	requests  map[types.UID]*keyRequest
	// unanswered is the error of the last poll; empty if the API server answered it.
	unanswered string
	// postponed is the time before which the API server wants no further poll.
	postponed time.Time
	// purpose is what the request is for, such as "rotation".
	purpose string
	// ahead is by how much the API server's clock is ahead of this machine's.
	ahead time.Duration
	line  *display.StatusLine
	// out is where outcomes are printed.
	out io.Writer
	// failures are the keys whose request will not be handled, or was not handled in time.
	failures []target.Failure
}

// newKeyRequest returns the request for a key, before it is sent.
func newKeyRequest(key *v1alpha1.DGbotAPIKey, at metav1.Time) *keyRequest {
	hasRevision := key.Status.Current != nil || len(key.Status.Previous) > 0
	r := &keyRequest{at: at, mayBeValid: hasRevision && status.Withheld(key) == ""}
	if p := key.Status.Propagation; p != nil {
		r.version = p.Version
	}
	return r
}

// add notes the request for a key, once the API server has accepted it.
func (f *follower) add(key *v1alpha1.DGbotAPIKey, r *keyRequest) {
	r.generation = key.Generation
	f.requests[key.UID] = r
}

// await waits for all keys with a request. requestErr is the error of those for which the request failed. now is the API server's time.
// With an output for programs, it prints the results in that form, and the progress on standard error.
func (f *follower) await(ctx context.Context, keys []v1alpha1.DGbotAPIKey, now time.Time, output string, requestErr error) error {
	if len(f.requests) == 0 {
		return requestErr
	}
	f.ahead, f.out = now.Sub(f.Clock.Now()), linesOf(f.Session, output)
	err := f.pollAll(ctx, keys)
	if output != "" {
		err = cmp.Or(err, f.printResults(keys, output))
	}
	return cmp.Or(requestErr, err)
}

// linesOf returns where a verb prints lines: standard output has the values of an output for programs alone.
func linesOf(s *session.Session, output string) io.Writer {
	if output != "" {
		return s.Streams.ErrOut
	}
	return s.Streams.Out
}

// printProgress prints a line on standard error.
func (f *follower) printProgress(format string, arguments ...any) {
	f.line.Clear()
	_ = display.Writef(f.Streams.ErrOut, format, arguments...)
}

// printOutcome prints an outcome of a key, after a separator.
func (f *follower) printOutcome(key *v1alpha1.DGbotAPIKey, separator, text string) {
	f.line.Clear()
	f.requests[key.UID].result.Message = text
	_ = display.Writef(f.out, "dgbotapikey.keys.dgbot.io/%s"+separator+"%s\n", key.Name, text)
}

// pollAll polls until the requests for all keys are handled or cannot be. It returns an error that names the keys whose request was not
// handled within the timeout.
func (f *follower) pollAll(ctx context.Context, keys []v1alpha1.DGbotAPIKey) error {
	defer f.line.Clear()
	pending := slices.DeleteFunc(slices.Clone(keys), func(k v1alpha1.DGbotAPIKey) bool { return f.requests[k.UID] == nil })
	total := len(pending)
	untilDeadline, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	err := wait.PollUntilContextCancel(untilDeadline, pollInterval, true, func(ctx context.Context) (bool, error) {
		if f.Clock.Now().Before(f.postponed) {
			return false, nil
		}
		now, err := f.readKeys(ctx, pending)
		if err != nil {
			return false, f.retry(untilDeadline, err)
		}
		f.unanswered, f.leases = "", nil
		pending = slices.DeleteFunc(pending, func(k v1alpha1.DGbotAPIKey) bool { return f.followRequest(ctx, &k, now[k.UID]) })
		return len(pending) == 0, nil
	})
	f.line.Clear()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && untilDeadline.Err() == nil:
		return err
	}
	for i := range pending {
		f.fail(&pending[i], f.timeoutError(&pending[i]))
	}
	return target.ReportFailures(f.Session, f.failures, total)
}

// retry returns nil for an error that the next poll may not meet, and reports it once; it returns all others. The request is in force
// already, so an API server that restarts, or is overloaded, does not end the wait.
func (f *follower) retry(untilDeadline context.Context, err error) error {
	if !isTransient(err) {
		return err
	}
	if untilDeadline.Err() != nil {
		return nil //nolint:nilerr // the deadline ended the poll; an earlier poll has the reason
	}
	if seconds, isPostponed := apierrors.SuggestsClientDelay(err); isPostponed {
		f.postponed = f.Clock.Now().Add(time.Duration(seconds) * time.Second)
	}
	if message := exit.Explain(err); message != f.unanswered {
		f.unanswered = message
		f.printProgress("note: %s; waiting goes on until the deadline\n", message)
	}
	return nil
}

// isTransient reports whether the same read may succeed later: the API server did not answer, is overloaded, has failed, or no longer
// has the version that a list began with.
func isTransient(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	code := status.Status().Code
	return code == http.StatusTooManyRequests || code == http.StatusGone || code >= http.StatusInternalServerError
}

// timeoutError returns the error for a key whose request has not been handled, or whose proof is missing, at the deadline. The request stays in force.
func (f *follower) timeoutError(key *v1alpha1.DGbotAPIKey) error {
	r := f.requests[key.UID]
	advice := display.ShellCommand("kubectl", "dgbot", "describe", key.Name, "-n", key.Namespace)
	unanswered := ""
	if f.unanswered != "" {
		unanswered = "; the last read failed: " + f.unanswered
	}
	if r.isHandled {
		return exit.Late("not proven in time: after %s, %s%s; the operator goes on: see: %s", f.timeout, r.outlook, unanswered, advice)
	}
	state := "the API server did not answer"
	if r.shownReason != "" {
		state = "the key says " + r.shownReason
	}
	return exit.No("%w", exit.Late("not done in time: %s requested at %s, not handled after %s; %s%s; the request stays in force: see: %s",
		f.purpose, r.at.UTC().Format(time.RFC3339), f.timeout, state, unanswered, advice))
}

// readKeys reads the pending keys: one by name, several by one list. Deleted keys are missing in its result.
func (f *follower) readKeys(ctx context.Context, pending []v1alpha1.DGbotAPIKey) (map[types.UID]*v1alpha1.DGbotAPIKey, error) {
	var keys []v1alpha1.DGbotAPIKey
	var err error
	if len(pending) == 1 {
		var key *v1alpha1.DGbotAPIKey
		key, err = f.cluster.Key(ctx, types.NamespacedName{Namespace: pending[0].Namespace, Name: pending[0].Name})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		keys = []v1alpha1.DGbotAPIKey{*key}
	} else {
		keys, err = f.cluster.Keys(ctx, pending[0].Namespace, "")
	}
	now := map[types.UID]*v1alpha1.DGbotAPIKey{}
	for i := range keys {
		now[keys[i].UID] = &keys[i]
	}
	return now, err
}

// followRequest reports whether the wait for a key is over, and prints the outcome. now is nil for a deleted key.
func (f *follower) followRequest(ctx context.Context, asked, now *v1alpha1.DGbotAPIKey) bool {
	if now == nil {
		f.fail(asked, errors.New("it has been deleted meanwhile"))
		return true
	}
	r := f.requests[now.UID]
	if r.result.Propagation = now.Status.Propagation; r.isHandled {
		return f.followProof(ctx, now)
	}
	if f.handled(now, r) {
		r.isHandled = true
		if f.state == "" {
			if current := now.Status.Current; current != nil {
				r.result.Revision, r.result.KeyID = current.Revision, current.KeyID
			}
			f.printOutcome(now, " ", outcome(now, r.at))
		}
		return !f.withdraws || f.followProof(ctx, now)
	}
	if reason := status.Withheld(now); reason != "" && !f.handlesWithheld {
		f.fail(now, exit.No("%s", reason))
		return true
	}
	if f.state != "" && now.Spec.State != f.state {
		f.fail(now, exit.No("spec.state has been set to %q meanwhile", now.Spec.State))
		return true
	}
	if reason := status.WhyWaiting(now, r.at); reason != r.shownReason {
		r.shownReason = reason
		f.printProgress("%s: %s\n", now.Name, reason)
	}
	return false
}

func (f *follower) fail(key *v1alpha1.DGbotAPIKey, err error) {
	if r := f.requests[key.UID]; r != nil {
		r.result.Message = exit.Explain(err)
	}
	f.failures = append(f.failures, target.Failure{Name: key.Name, Err: err})
}

// outcome describes what the operator did for a request.
func outcome(key *v1alpha1.DGbotAPIKey, asked metav1.Time) string {
	current := key.Status.Current
	if current != nil && current.IssuedAt.After(asked.Time) {
		return fmt.Sprintf("has revision %d, key ID %s", current.Revision, current.KeyID)
	}
	// The operator revokes also if it cannot issue a new revision.
	why := status.Withheld(key)
	if why == "" {
		why = status.WhyWaiting(key, asked)
	}
	return "is revoked as far as it was issued, and has no new revision (" + why + ")"
}
