// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/testenv"
)

// Who makes the writes.
const (
	bare     = "bare client"
	operator = "operator"
)

// round applies all keys and waits until all are Ready, then asks all to rotate and waits until all have, then reports all as compromised and
// waits until their records are revoked: with the manager at work, or with a bare client that gets each key from the client which applied it.
func (w *measurement) round(ctx context.Context, result *report, by string) error {
	writer := &bareClient{account: w.account, done: map[string]*issued{}}
	if by == operator {
		writer = nil
		if err := w.startManager(ctx); err != nil {
			return err
		}
	}
	figures.Progress("%s: issuing %d keys", by, w.keys)
	err := w.measure(ctx, result.of(issue, by), w.create, writer.issue, &v1alpha1.DGbotAPIKeyList{}, forKeys(testenv.IsReady))
	if err != nil {
		return err
	}
	at := nextSecond()
	figures.Progress("%s: rotating them", by)
	request := func(ctx context.Context, name string) (*v1alpha1.DGbotAPIKey, error) {
		return w.request(ctx, name, v1alpha1.RotateRequestedAtAnnotation, at)
	}
	err = w.measure(ctx, result.of(rotation, by), request, writer.rotate, &v1alpha1.DGbotAPIKeyList{}, forKeys(func(key *v1alpha1.DGbotAPIKey) bool {
		handled := key.Status.LastHandledRequest
		return handled != nil && handled.RotateRequestedAt != nil && handled.RotateRequestedAt.Equal(&at)
	}))
	if err != nil {
		return err
	}
	return w.compromise(ctx, result, by, writer)
}

// compromise reports all keys as compromised at once, and takes the time until the last record in use is revoked.
func (w *measurement) compromise(ctx context.Context, result *report, by string, writer *bareClient) error {
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := w.Admin.List(ctx, &records, client.InNamespace(namespace)); err != nil {
		return err
	}
	leaked := map[types.UID]bool{}
	for i := range records.Items {
		if revisions.SupersededBy(&records.Items[i]) == 0 {
			leaked[records.Items[i].UID] = true
		}
	}
	if len(leaked) != w.keys {
		return fmt.Errorf("%d records are in use, of %d keys", len(leaked), w.keys)
	}
	at := nextSecond()
	figures.Progress("%s: revoking them", by)
	request := func(ctx context.Context, name string) (*v1alpha1.DGbotAPIKey, error) {
		return w.request(ctx, name, v1alpha1.RevokeIssuedBeforeAnnotation, at)
	}
	err := w.measure(ctx, result.of(revocation, by), request, writer.revoke, &v1alpha1.DGbotAPIKeyRecordList{}, func(object client.Object) bool {
		record, isRecord := object.(*v1alpha1.DGbotAPIKeyRecord)
		return isRecord && leaked[record.UID] && record.Spec.State == v1alpha1.StateRevoked
	})
	if err != nil || by == bare {
		return err
	}
	figures.Progress("%s: replacing them", by)
	return wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 10*time.Minute, true, func(ctx context.Context) (bool, error) {
		var keys v1alpha1.DGbotAPIKeyList
		if err := w.Admin.List(ctx, &keys, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		return !slices.ContainsFunc(keys.Items, func(key v1alpha1.DGbotAPIKey) bool {
			handled := key.Status.LastHandledRequest
			return handled == nil || handled.RevokeIssuedBefore == nil || !testenv.IsReady(&key)
		}), nil
	})
}

// nextSecond waits for the next whole second, and returns it: a request that lies ahead is a plan, and due from its second on.
func nextSecond() metav1.Time {
	at := time.Now().UTC().Truncate(time.Second).Add(time.Second)
	time.Sleep(time.Until(at))
	return metav1.Time{Time: at}
}

// forKeys returns a condition for keys as one for objects.
func forKeys(done func(*v1alpha1.DGbotAPIKey) bool) func(client.Object) bool {
	return func(object client.Object) bool {
		key, isKey := object.(*v1alpha1.DGbotAPIKey)
		return isKey && done(key)
	}
}

// measure lets the user do something to every key, and takes the time from the first to when a watch of the keys, or of their records, has
// shown the last one done. Where there is a bare client, as many workers as a manager has take over each key from the user.
func (w *measurement) measure(ctx context.Context, into *series, apply func(context.Context, string) (*v1alpha1.DGbotAPIKey, error),
	write func(context.Context, *v1alpha1.DGbotAPIKey) error, watched client.ObjectList, done func(client.Object) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	before, err := w.look(ctx)
	if err != nil {
		return err
	}
	profile := w.profile(ctx, into.name)
	watcher, err := w.watchChanges(ctx, watched)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	began := time.Now()

	line := w.assemble(ctx, cancel, apply, write)
	if err := w.await(ctx, watcher, done); err != nil {
		return errors.Join(line.failure(), err)
	}
	took := time.Since(began)
	line.writers.Wait()
	after, err := w.look(ctx)
	if err != nil {
		return err
	}
	into.add(float64(w.keys)/took.Seconds(), before, after, w.keys)
	return profile()
}

// watchChanges returns a watch of what changes from now on. It does not begin with the objects that there are: thousands of changes behind thousands
// of objects are too many at once for the API server, which ends such a watch.
func (w *measurement) watchChanges(ctx context.Context, watched client.ObjectList) (watch.Interface, error) {
	if err := w.Admin.List(ctx, watched, client.InNamespace(namespace), client.Limit(1)); err != nil {
		return nil, err
	}
	from := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: watched.GetResourceVersion()}}
	return w.Admin.Watch(ctx, watched, client.InNamespace(namespace), from)
}

// assembly is a line of users that apply keys and writers that take them over.
type assembly struct {
	writers  sync.WaitGroup
	failures chan error
}

func (a *assembly) failure() error {
	select {
	case err := <-a.failures:
		return err
	default:
		return nil
	}
}

// assemble sets a line to work; the first failure stops it, and cancels what waits for it.
func (w *measurement) assemble(ctx context.Context, cancel context.CancelFunc,
	apply func(context.Context, string) (*v1alpha1.DGbotAPIKey, error), write func(context.Context, *v1alpha1.DGbotAPIKey) error) *assembly {
	line := &assembly{failures: make(chan error, 2*w.concurrency)}
	names, applied := make(chan string), make(chan *v1alpha1.DGbotAPIKey, w.keys)
	fail := func(err error) {
		line.failures <- err
		cancel()
	}
	var users sync.WaitGroup
	for range w.concurrency {
		users.Go(func() {
			for name := range names {
				key, err := apply(ctx, name)
				if err != nil {
					fail(err)
					return
				}
				applied <- key
			}
		})
		line.writers.Go(func() {
			for key := range applied {
				if err := write(ctx, key); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	go func() {
		for i := range w.keys {
			select {
			case names <- fmt.Sprintf("key-%d", i):
			case <-ctx.Done():
			}
		}
		close(names)
		users.Wait()
		close(applied)
	}()
	return line
}

// await returns when a watch has shown an object of every key done.
func (w *measurement) await(ctx context.Context, watcher watch.Interface, done func(client.Object) bool) error {
	finished := map[types.UID]bool{}
	for len(finished) < w.keys {
		select {
		case event, ok := <-watcher.ResultChan():
			if !ok {
				return fmt.Errorf("the watch ended after %d of %d keys", len(finished), w.keys)
			}
			if object, isObject := event.Object.(client.Object); isObject && done(object) {
				finished[object.GetUID()] = true
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %d keys were done: %w", len(finished), w.keys, ctx.Err())
		}
	}
	return nil
}

func (w *measurement) create(ctx context.Context, name string) (*v1alpha1.DGbotAPIKey, error) {
	key := testenv.NewKey(namespace, name, func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Label, k.Spec.Environment, k.Spec.Scopes = "Benchmark", "staging", []v1alpha1.Scope{"conversations.read"}
	})
	return key, w.Admin.Create(ctx, key)
}

func (w *measurement) request(ctx context.Context, name, annotation string, at metav1.Time) (*v1alpha1.DGbotAPIKey, error) {
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, annotation, at.UTC().Format(time.RFC3339))
	return key, w.Admin.Patch(ctx, key, client.RawPatch(types.MergePatchType, []byte(patch)))
}
