// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/status"
	"dgbot.io/key-operator/internal/cli/target"
)

// pollInterval is the time between two reads of the keys that --wait waits for.
const pollInterval = 500 * time.Millisecond

// follower waits until the operator has handled the requests for some keys of one namespace, and prints their conditions meanwhile.
type follower struct {
	*session.Session
	cluster *cluster.Client
	handled func(*v1alpha1.HandledRequest) *metav1.Time
	// always is true for a request that the operator handles also for keys that are disabled, revoked or expired.
	always bool
	// asked has the time of each key's request, and said what was printed last of each key.
	asked map[types.UID]metav1.Time
	said  map[types.UID]string
	// unanswered is the error of the last poll; empty if the API server answered it.
	unanswered string
	// postponed is the time before which the API server wants no further poll.
	postponed time.Time
	// request is what the request is for, such as "rotation".
	request string
	// failures are the keys whose request will not be handled, or was not handled in time.
	failures []target.Failure
}

// all polls until the requests for all keys are handled or cannot be. It returns an error that names the keys whose request was not
// handled within timeout.
func (f *follower) all(ctx context.Context, keys []v1alpha1.DGbotAPIKey, timeout time.Duration) error {
	pending := slices.DeleteFunc(slices.Clone(keys), func(k v1alpha1.DGbotAPIKey) bool { _, asked := f.asked[k.UID]; return !asked })
	total := len(pending)
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := wait.PollUntilContextCancel(waiting, pollInterval, true, func(ctx context.Context) (bool, error) {
		if f.Clock.Now().Before(f.postponed) {
			return false, nil
		}
		now, err := f.look(ctx, pending)
		if err != nil {
			return false, f.retry(waiting, err)
		}
		f.unanswered = ""
		pending = slices.DeleteFunc(pending, func(k v1alpha1.DGbotAPIKey) bool { return f.settled(&k, now[k.UID]) })
		return len(pending) == 0, nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && waiting.Err() == nil:
		return err
	}
	for i := range pending {
		f.fail(&pending[i], f.late(&pending[i], timeout))
	}
	return target.ReportFailures(f.Session, f.failures, total)
}

// retry returns nil for an error that the next poll may not meet, and reports it once; it returns all others. The request is in force
// already, so an API server that restarts, or is overloaded, does not end the wait.
func (f *follower) retry(waiting context.Context, err error) error {
	if !isTransient(err) {
		return err
	}
	if waiting.Err() != nil {
		return nil //nolint:nilerr // the deadline ended the poll; an earlier poll has the reason
	}
	if seconds, isPostponed := apierrors.SuggestsClientDelay(err); isPostponed {
		f.postponed = f.Clock.Now().Add(time.Duration(seconds) * time.Second)
	}
	if message := exit.Explain(err); message != f.unanswered {
		f.unanswered = message
		_ = display.Writef(f.Streams.ErrOut, "note: %s; waiting goes on until the deadline\n", message)
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

// late returns the error for a key whose request has not been handled at the deadline. The request stays in force.
func (f *follower) late(key *v1alpha1.DGbotAPIKey, timeout time.Duration) error {
	state := "the API server did not answer"
	if says := f.said[key.UID]; says != "" {
		state = "the key says " + says
	}
	if f.unanswered != "" {
		state += "; the last read failed: " + f.unanswered
	}
	return exit.No("%w", exit.Late("not done in time: %s requested at %s, not handled after %s; %s; the request stays in force: see: %s",
		f.request, f.asked[key.UID].UTC().Format(time.RFC3339), timeout, state, display.ShellCommand("kubectl", "dgbot", "describe", key.Name, "-n", key.Namespace)))
}

// look reads the pending keys: one by name, several by one list. Deleted keys are missing in its result.
func (f *follower) look(ctx context.Context, pending []v1alpha1.DGbotAPIKey) (map[types.UID]*v1alpha1.DGbotAPIKey, error) {
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

// settled reports whether the wait for a key is over, and prints the outcome. now is nil for a deleted key.
func (f *follower) settled(asked, now *v1alpha1.DGbotAPIKey) bool {
	if now == nil {
		f.fail(asked, errors.New("it has been deleted meanwhile"))
		return true
	}
	at := f.asked[now.UID]
	if done := now.Status.LastHandledRequest; done != nil {
		if handled := f.handled(done); handled != nil && !handled.Before(&at) {
			_ = display.Writef(f.Streams.Out, "dgbotapikey.keys.dgbot.io/%s %s\n", now.Name, outcome(now, at))
			return true
		}
	}
	if reason := status.Withheld(now); reason != "" && !f.always {
		f.fail(now, exit.No("%s", reason))
		return true
	}
	if says := status.WhyWaiting(now, at); says != f.said[now.UID] {
		f.said[now.UID] = says
		_ = display.Writef(f.Streams.ErrOut, "%s: %s\n", now.Name, says)
	}
	return false
}

func (f *follower) fail(key *v1alpha1.DGbotAPIKey, err error) {
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
