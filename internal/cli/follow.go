// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/requests"
)

// pollInterval is the time between two reads of the keys that --wait waits for.
const pollInterval = 500 * time.Millisecond

// follower waits until the operator has handled the requests for some keys of one namespace, and prints their conditions meanwhile.
type follower struct {
	*session
	cluster *cluster
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
	// request describes the request, such as "rotation requested".
	request string
	// failures are the keys whose request will not be handled, or was not handled in time.
	failures []failure
}

// all polls until the requests for all keys are handled or cannot be. It returns an error that names the keys whose request was not
// handled within timeout.
func (f *follower) all(ctx context.Context, keys []v1alpha1.DGbotAPIKey, timeout time.Duration) error {
	pending := slices.DeleteFunc(slices.Clone(keys), func(k v1alpha1.DGbotAPIKey) bool { _, asked := f.asked[k.UID]; return !asked })
	total := len(pending)
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := wait.PollUntilContextCancel(waiting, pollInterval, true, func(ctx context.Context) (bool, error) {
		if f.clock.Now().Before(f.postponed) {
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
	return reportFailures(f.session, f.failures, total)
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
		f.postponed = f.clock.Now().Add(time.Duration(seconds) * time.Second)
	}
	if message := explain(err); message != f.unanswered {
		f.unanswered = message
		_ = writef(f.streams.ErrOut, "note: %s; waiting goes on until the deadline\n", message)
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
	return no("%w", late("not done in time: %s at %s, not handled after %s; %s; the request stays in force: see: %s",
		f.request, f.asked[key.UID].UTC().Format(time.RFC3339), timeout, state, shellCommand("kubectl", "dgbot", "describe", key.Name, "-n", key.Namespace)))
}

// look reads the pending keys: one by name, several by one list. Deleted keys are missing in its result.
func (f *follower) look(ctx context.Context, pending []v1alpha1.DGbotAPIKey) (map[types.UID]*v1alpha1.DGbotAPIKey, error) {
	var keys []v1alpha1.DGbotAPIKey
	var err error
	if len(pending) == 1 {
		var key *v1alpha1.DGbotAPIKey
		key, err = f.cluster.key(ctx, types.NamespacedName{Namespace: pending[0].Namespace, Name: pending[0].Name})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		keys = []v1alpha1.DGbotAPIKey{*key}
	} else {
		keys, err = f.cluster.keys(ctx, pending[0].Namespace, "")
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
			_ = writef(f.streams.Out, "dgbotapikey.keys.dgbot.io/%s %s\n", now.Name, outcome(now, at))
			return true
		}
	}
	if reason := withheld(now); reason != "" && !f.always {
		f.fail(now, no("%s", reason))
		return true
	}
	if says := whyWaiting(now, at); says != f.said[now.UID] {
		f.said[now.UID] = says
		_ = writef(f.streams.ErrOut, "%s: %s\n", now.Name, says)
	}
	return false
}

func (f *follower) fail(key *v1alpha1.DGbotAPIKey, err error) {
	f.failures = append(f.failures, failure{name: key.Name, err: err})
}

// withheld returns why the operator issues nothing for a key until a user changes the key; empty if the operator may issue.
func withheld(key *v1alpha1.DGbotAPIKey) string {
	stalled := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.StalledCondition)
	if stalled == nil || stalled.ObservedGeneration != key.Generation {
		return ""
	}
	switch stalled.Reason {
	case v1alpha1.DisabledReason, v1alpha1.RevokedReason, v1alpha1.ExpiredReason:
		return stalled.Reason + ": " + stalled.Message
	}
	return ""
}

// outcome describes what the operator did for a request.
func outcome(key *v1alpha1.DGbotAPIKey, asked metav1.Time) string {
	current := key.Status.Current
	if current != nil && current.IssuedAt.After(asked.Time) {
		return fmt.Sprintf("has revision %d, key ID %s", current.Revision, current.KeyID)
	}
	// The operator revokes also if it cannot issue a new revision.
	why := withheld(key)
	if why == "" {
		why = whyWaiting(key, asked)
	}
	return "is revoked as far as it was issued, and has no new revision (" + why + ")"
}

// whyWaiting returns the condition that explains what a key waits for, of those that still hold for a request of that time.
func whyWaiting(key *v1alpha1.DGbotAPIKey, asked metav1.Time) string {
	for _, kind := range []string{v1alpha1.StalledCondition, v1alpha1.ReconcilingCondition, v1alpha1.RequestPendingCondition} {
		if kind == v1alpha1.RequestPendingCondition && len(requests.PendingOf(key, asked.Time)) == 0 {
			continue // the condition is of an earlier request, which the one that is waited for has replaced
		}
		if c := apimeta.FindStatusCondition(key.Status.Conditions, kind); c != nil {
			return c.Reason + ": " + c.Message
		}
	}
	if c := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition); c != nil && key.Status.Current != nil {
		return fmt.Sprintf("waiting for the operator; Ready is %s for revision %d: %s: %s", c.Status, key.Status.Current.Revision, c.Reason, c.Message)
	}
	return "waiting for the operator"
}
