// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/testenv"
)

// Who makes the writes.
const (
	bare     = "bare client"
	operator = "operator"
)

// round applies all keys and waits until all are Ready, then asks all to rotate and waits until all have: with the manager
// at work, or with a bare client that gets each key from the client which applied it.
func (w *measurement) round(ctx context.Context, result *report, by string) error {
	writer := &bareClient{account: w.account, done: map[string]*issued{}}
	if by == operator {
		writer = nil
		if err := w.startManager(ctx); err != nil {
			return err
		}
	}
	figures.Progress("%s: issuing %d keys", by, w.keys)
	err := w.measure(ctx, result.of(issue, by), w.create, writer.issue, testenv.IsReady)
	if err != nil {
		return err
	}
	at := metav1.Time{Time: time.Now().UTC().Truncate(time.Second).Add(time.Second)}
	// A request that lies ahead is a plan: from its second on it is due.
	time.Sleep(time.Until(at.Time))
	figures.Progress("%s: rotating them", by)
	request := func(ctx context.Context, name string) (*v1alpha1.DGbotAPIKey, error) { return w.request(ctx, name, at) }
	return w.measure(ctx, result.of(rotation, by), request, writer.rotate, func(key *v1alpha1.DGbotAPIKey) bool {
		handled := key.Status.LastHandledRequest
		return handled != nil && handled.RotateRequestedAt != nil && handled.RotateRequestedAt.Equal(&at)
	})
}

// measure lets the user do something to every key, and takes the time from the first to when a watch has shown the last
// one done. Where there is a bare client, as many workers as a manager has take over each key from the user.
func (w *measurement) measure(ctx context.Context, into *series, apply func(context.Context, string) (*v1alpha1.DGbotAPIKey, error),
	write func(context.Context, *v1alpha1.DGbotAPIKey) error, done func(*v1alpha1.DGbotAPIKey) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var keys v1alpha1.DGbotAPIKeyList
	watcher, err := w.Admin.Watch(ctx, &keys, client.InNamespace(namespace))
	if err != nil {
		return err
	}
	defer watcher.Stop()
	before, err := w.look(ctx)
	if err != nil {
		return err
	}
	profile := w.profile(ctx, into.name)
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

// await returns when a watch has shown every key done.
func (w *measurement) await(ctx context.Context, watcher watch.Interface, done func(*v1alpha1.DGbotAPIKey) bool) error {
	finished := map[types.UID]bool{}
	for len(finished) < w.keys {
		select {
		case event, ok := <-watcher.ResultChan():
			if !ok {
				return fmt.Errorf("the watch ended after %d of %d keys", len(finished), w.keys)
			}
			if key, isKey := event.Object.(*v1alpha1.DGbotAPIKey); isKey && done(key) {
				finished[key.UID] = true
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

func (w *measurement) request(ctx context.Context, name string, at metav1.Time) (*v1alpha1.DGbotAPIKey, error) {
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RotateRequestedAtAnnotation, at.UTC().Format(time.RFC3339))
	return key, w.Admin.Patch(ctx, key, client.RawPatch(types.MergePatchType, []byte(patch)))
}
