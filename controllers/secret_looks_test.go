// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

const checkInterval = 5 * time.Minute

// looks counts the live reads of Secrets and whatever else an operator reads live.
type looks struct {
	mutex           sync.Mutex
	secrets, others int
}

func (l *looks) reader(t *testing.T) client.Reader {
	count := func(o any) {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		switch o.(type) {
		case *corev1.Secret:
			l.secrets++
		case *corev1.SecretList:
			t.Error("Secrets are listed")
		default:
			l.others++
		}
	}
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			count(o)
			return c.Get(ctx, name, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			count(list)
			return c.List(ctx, list, options...)
		},
	})
}

func (l *looks) since(secrets, others int) (int, int) { return l.secrets - secrets, l.others - others }

// getOnly returns an operator that may only get Secrets, and stays: what it remembers is what the tests are about.
func (w *fixture) getOnly(writes client.WithWatch) (*apikeys.Reconciler, *looks) {
	w.T.Helper()
	count := &looks{}
	operator := w.operator(interceptor.NewClient(writes, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			switch o.(type) {
			case *corev1.Secret, *metav1.PartialObjectMetadata:
				w.T.Error("a Secret is read from the cache, which has none")
			}
			return c.Get(ctx, name, o, options...)
		},
	}))
	operator.Live, operator.SecretCheckInterval = count.reader(w.T), checkInterval
	return operator, count
}

// pass runs one pass of a healthy operator and returns when it wants to look again.
func (w *fixture) pass(operator *apikeys.Reconciler) time.Duration {
	w.T.Helper()
	result, err := operator.Reconcile(w.T.Context(), w.request())
	if err != nil {
		w.T.Fatal(err)
	}
	return result.RequeueAfter
}

func TestGetOnlyLooksOnceAnInterval(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	writes := &faults{}
	operator, count := w.getOnly(writes.wrap(live))
	w.restWith(operator)
	if w.verifies() != standing.Admitted {
		t.Fatalf("the key is %s", w.verifies())
	}

	written := writes.writes
	for range 5 {
		secrets, others := count.secrets, count.others
		var wait time.Duration
		// Its own status write, a resync and whatever else wakes it within the interval.
		for range 10 {
			wait = w.pass(operator)
			if wait <= 0 || wait > checkInterval {
				t.Fatalf("the next look is in %s, want one within %s", wait, checkInterval)
			}
		}
		if s, o := count.since(secrets, others); s != 0 || o != 0 {
			t.Fatalf("%d Secrets and %d other objects were read within the interval", s, o)
		}
		w.advance(wait - time.Second)
		w.pass(operator)
		if s, _ := count.since(secrets, others); s != 0 {
			t.Fatal("the Secret was read before it was due")
		}
		w.advance(time.Second)
		w.pass(operator)
		if s, o := count.since(secrets, others); s != 1 || o != 0 {
			t.Fatalf("%d Secrets and %d other objects were read for one look", s, o)
		}
	}
	if writes.writes != written {
		t.Errorf("%d writes without a change", writes.writes-written)
	}

	restarted, count := w.getOnly(writes.wrap(live))
	w.pass(restarted)
	if s, _ := count.since(0, 0); s != 1 || writes.writes != written {
		t.Errorf("after a start the Secret was read %d times, and there were %d writes", s, writes.writes-written)
	}
}

func TestGetOnlyNoticesLossWithinTheInterval(t *testing.T) {
	for name, lose := range map[string]func(*fixture){
		"deleted": (*fixture).deleteSecret,
		"altered": func(w *fixture) {
			w.editSecret(func(s *corev1.Secret) { s.Data[v1alpha1.DefaultSecretKey] = []byte("not a key") })
		},
		"stripped of label and entries": func(w *fixture) {
			w.editSecret(func(s *corev1.Secret) { s.Labels, s.Data[v1alpha1.SecretKeyID] = nil, nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.create(nil)
			operator, _ := w.getOnly(live)
			w.restWith(operator)
			lose(w)
			wait := w.pass(operator)
			w.advance(wait)
			w.restWith(operator)
			if w.verifies() != standing.Admitted || w.ready().Reason != v1alpha1.IssuedReason || w.secret().Labels[v1alpha1.ManagedByLabel] == "" {
				t.Errorf("%s after the loss the key in the Secret is %s", wait, w.verifies())
			}
		})
	}
}

func TestGetOnlyLooksAtAForeignSecretEachMinute(t *testing.T) {
	w := newFixture(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: keyName}}
	if err := live.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	w.create(nil)
	operator, count := w.getOnly(live)
	w.restWith(operator)
	w.stalled(v1alpha1.SecretConflictReason, "is not owned by this DGbotAPIKey")
	secrets, others := count.secrets, count.others
	for range 5 {
		w.pass(operator)
	}
	if s, o := count.since(secrets, others); s != 0 || o != 0 {
		t.Errorf("%d Secrets and %d other objects were read within the minute", s, o)
	}
	if err := live.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	wait := w.pass(operator)
	if wait > time.Minute {
		t.Errorf("the next look is in %s", wait)
	}
	w.advance(wait)
	// Where that is an instant of the schedule just after the look, the look still counts for some seconds.
	w.advance(min(w.pass(operator), time.Minute))
	w.restWith(operator)
	if w.verifies() != standing.Admitted {
		t.Errorf("the Secret made way, and the key is %s", w.verifies())
	}
}

// TestGetOnlySharesALookAtAForeignSecret: a key whose look comes due while that for another key still counts waits until it does not.
func TestGetOnlySharesALookAtAForeignSecret(t *testing.T) {
	w := newFixture(t)
	if err := live.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: keyName}}); err != nil {
		t.Fatal(err)
	}
	w.create(nil)
	operator, count := w.getOnly(live)
	w.restWith(operator)
	due := w.pass(operator)
	for ; due == time.Minute; due = w.pass(operator) {
		w.advance(due)
	}
	w.advance(max(due-time.Second, 0))
	other := w.key().DeepCopy()
	other.ObjectMeta = metav1.ObjectMeta{Namespace: w.Name, Name: "other"}
	other.Spec.Secret = &v1alpha1.SecretSpec{Name: keyName}
	if err := live.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if _, err := operator.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(other)}); err != nil {
		t.Fatal(err)
	}
	w.advance(time.Second)
	secrets := count.secrets
	due = w.pass(operator)
	if read, _ := count.since(secrets, 0); read != 0 || due < time.Second || due > 5*time.Second {
		t.Fatalf("a second after a look for another key there were %d reads, and the next look is in %s", read, due)
	}
	w.advance(due)
	w.pass(operator)
	if read, _ := count.since(secrets, 0); read != 1 {
		t.Errorf("when the shared look is too old, the Secret is read %d times", read)
	}
}

// TestGetOnlyLooksAnewForAnotherKeyOfTheName: what was seen of one key's Secret says nothing for a key that was created
// under the name since, with its text in another entry.
func TestGetOnlyLooksAnewForAnotherKeyOfTheName(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	operator, _ := w.getOnly(live)
	w.restWith(operator)
	if err := live.Delete(t.Context(), w.key(), client.PropagationPolicy(metav1.DeletePropagationOrphan)); err != nil {
		t.Fatal(err)
	}
	// The deletion and the creation reach the operator as one event.
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		found, err := read.Get(ctx, live, w.request().NamespacedName, &v1alpha1.DGbotAPIKey{})
		return !found, err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Secret = &v1alpha1.SecretSpec{Key: "token"} })
	w.restWith(operator)
	if hash := apikey.Hash(w.secret().Data["token"]); w.recordWith(hash) == nil {
		t.Error("the new key is not published")
	}
}

func (w *fixture) recordWith(hash string) *v1alpha1.DGbotAPIKeyRecord {
	w.T.Helper()
	for _, record := range w.records() {
		if record.Spec.Hash == hash && record.Spec.APIKeyRef.UID == w.key().UID {
			return &record
		}
	}
	return nil
}

// truthful is a client that asserts after each status it writes that the revision it calls current is the one in the
// Secret: nothing else writes meanwhile.
func (w *fixture) truthful() client.WithWatch {
	return interceptor.NewClient(live, interceptor.Funcs{
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, configuration runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
			err := c.SubResource(sub).Apply(ctx, configuration, options...)
			current, published := w.key().Status.Current, w.published()
			if (current == nil) != (published == nil) || current != nil && current.KeyID != published.Spec.KeyID {
				w.T.Errorf("the status says that %+v is current, and the Secret holds %+v", current, published)
			}
			return err
		},
	})
}

// TestGetOnlyIsNotMisledByAnotherOperator: an operator that remembers the Secret as it was meets whatever another one left
// when it crashed, at each of its writes. It may take half a minute (a publication without a trace in the records) or the
// interval (a change of the Secret alone), but nothing that it says meanwhile is wrong, and it comes to the same end.
func TestGetOnlyIsNotMisledByAnotherOperator(t *testing.T) {
	for _, name := range []string{"a rotation is requested", "the current revision is revoked", "the Secret is deleted", "an older key is put back"} {
		s := scenarios[name]
		undisturbed := &faults{}
		runScenario(t, s, undisturbed, "")
		for at := 1; at <= undisturbed.writes; at++ {
			for _, lost := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, crash at write %d, written %t", name, at, lost), func(t *testing.T) {
					t.Parallel()
					w := newFixture(t)
					if s.prepare == nil {
						w.create(nil)
					} else {
						s.prepare(w)
					}
					remembering, _ := w.getOnly(w.truthful())
					w.restWith(remembering)
					before := map[types.UID]bool{}
					for _, record := range w.records() {
						before[record.UID] = true
					}
					s.happen(w)
					crash := &faults{breakAt: at, lost: lost}
					other := w.operator(crash.wrap(live))
					for range 10 {
						if _, err := other.Reconcile(t.Context(), w.request()); errors.Is(err, errInjected) {
							break
						}
					}
					if crash.broken == "" {
						t.Fatal("it did not crash")
					}
					for _, wait := range []time.Duration{0, 31 * time.Second, checkInterval} {
						w.advance(wait)
						w.restWith(remembering)
					}
					w.checkOutcome(s, before)
				})
			}
		}
	}
}
