// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// withdrawals are the ways in which a key itself withdraws its records, with the state that they get.
var withdrawals = map[v1alpha1.KeyState]map[string]func(*fixture){
	v1alpha1.StateRevoked: {
		"Revoked": func(w *fixture) { w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked }) },
		"deleted": func(w *fixture) {
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Finalizers = []string{"example.com/held"} })
			if err := live.Delete(w.T.Context(), w.key()); err != nil {
				w.T.Fatal(err)
			}
		},
	},
	v1alpha1.StateDisabled: {
		"Disabled": func(w *fixture) { w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled }) },
	},
}

// states returns the states of the key's records, by revision.
func (w *fixture) states() map[int64]v1alpha1.KeyState {
	w.T.Helper()
	states := map[int64]v1alpha1.KeyState{}
	for _, record := range w.records() {
		states[record.Spec.Revision] = record.Spec.State
	}
	return states
}

// rotated leaves a key with two revisions that are accepted.
func (w *fixture) rotated() {
	w.T.Helper()
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	w.rest()
}

// TestReconcile_WithdrawsBeforeAnyList: by the time that the records are listed, those that the cache has are withdrawn.
func TestReconcile_WithdrawsBeforeAnyList(t *testing.T) {
	for state, ways := range withdrawals {
		for name, withdraw := range ways {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newFixture(t)
				w.rotated()
				withdraw(w)
				var listed []map[int64]v1alpha1.KeyState
				operator := w.operator(live)
				operator.Live = interceptor.NewClient(live, interceptor.Funcs{
					List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
						listed = append(listed, w.states())
						return c.List(ctx, list, options...)
					},
				})
				if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
					t.Fatal(err)
				}
				want := map[int64]v1alpha1.KeyState{1: state, 2: state}
				if len(listed) == 0 || !maps.Equal(listed[0], want) {
					t.Errorf("the states at each list are %v, want %v at the first", listed, want)
				}
			})
		}
	}
}

// TestReconcile_RevokesOnRequestBeforeAnyList: by the time that the records are listed, a new key is published, and all others are revoked.
func TestReconcile_RevokesOnRequestBeforeAnyList(t *testing.T) {
	w := newFixture(t)
	w.rotated()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	var listed []map[int64]v1alpha1.KeyState
	operator := w.operator(live)
	operator.Live = interceptor.NewClient(live, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			listed = append(listed, w.states())
			return c.List(ctx, list, options...)
		},
	})
	if _, err := operator.Reconcile(t.Context(), w.request()); err != nil || len(listed) != 0 {
		t.Errorf("the first pass listed %d times, error %v", len(listed), err)
	}
	if handled := w.key().Status.LastHandledRequest; handled != nil && handled.RevokeIssuedBefore != nil {
		t.Error("the revocation is reported as handled before a list")
	}
	w.restWith(operator)
	want := map[int64]v1alpha1.KeyState{1: v1alpha1.StateRevoked, 2: v1alpha1.StateRevoked, 3: v1alpha1.StateActive}
	if len(listed) == 0 || !maps.Equal(listed[0], want) || w.verifies() != standing.Admitted {
		t.Errorf("the states at each list are %v, want %v at the first; the key in the Secret is %s", listed, want, w.verifies())
	}
	if handled := w.key().Status.LastHandledRequest; handled == nil || handled.RevokeIssuedBefore == nil {
		t.Error("the revocation is not reported as handled")
	}
}

// TestReconcile_ReportsNoWithdrawalThatFailed: while the records cannot be changed, the conditions do not say that the key is withdrawn.
func TestReconcile_ReportsNoWithdrawalThatFailed(t *testing.T) {
	for state, ways := range withdrawals {
		for name, withdraw := range ways {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newFixture(t)
				w.rotated()
				before := w.ready().Reason
				withdraw(w)
				isBroken := true
				operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
					Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
						if isBroken {
							return errInjected
						}
						return c.Patch(ctx, o, p, options...)
					},
				}))
				for range 3 {
					if _, err := operator.Reconcile(t.Context(), w.request()); err == nil {
						t.Error("the failed changes are no error")
					}
				}
				if reason := w.ready().Reason; reason != before {
					t.Errorf("Ready has the reason %s although the states are %v", reason, w.states())
				}
				isBroken = false
				w.restWith(operator)
				if states := w.states(); states[1] != state || states[2] != state {
					t.Errorf("the states are %v, want %s", states, state)
				}
			})
		}
	}
}

// TestReconcile_WithdrawsRecordsAtOnce: no record waits for the answer about another.
func TestReconcile_WithdrawsRecordsAtOnce(t *testing.T) {
	w := newFixture(t)
	w.rotated()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	var patches sync.WaitGroup
	patches.Add(2)
	var first sync.Map
	writes := interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if _, again := first.LoadOrStore(o.GetName(), true); !again {
				patches.Done()
				patches.Wait()
			}
			return c.Patch(ctx, o, p, options...)
		},
	})
	if _, err := w.operator(writes).Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if states := slices.Collect(maps.Values(w.states())); !slices.Equal(states, []v1alpha1.KeyState{v1alpha1.StateRevoked, v1alpha1.StateRevoked}) {
		t.Errorf("the states are %v", states)
	}
}

// TestReconcile_KeepsWhatALaterStateIssued: while the key is read, a user enables it, and another instance issues a revision. That one does not
// belong to the state that was read.
func TestReconcile_KeepsWhatALaterStateIssued(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	var once sync.Once
	operator := w.operator(live)
	operator.Live = interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			err := c.Get(ctx, name, o, options...)
			if _, isKey := o.(*v1alpha1.DGbotAPIKey); isKey {
				once.Do(func() {
					w.rest()
					w.advance(time.Minute)
					w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateActive })
					w.rest()
				})
			}
			return err
		},
	})
	w.restWith(operator)
	if want, got := (map[int64]v1alpha1.KeyState{1: v1alpha1.StateRevoked, 2: v1alpha1.StateActive}), w.states(); !maps.Equal(got, want) {
		t.Errorf("the states are %v, want %v", got, want)
	}
	if verdict := w.verifies(); verdict != standing.Admitted {
		t.Errorf("the key in the Secret is %s", verdict)
	}
}

// TestReconcile_WithdrawsNothingForACachedState: the cache has a state that the key no longer has.
func TestReconcile_WithdrawsNothingForACachedState(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	stale, writes := w.behind()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateActive })
	w.rest()
	w.restWith(w.operator(stale))
	for _, site := range writes.sites {
		t.Errorf("a write at %s", site)
	}
	if verdict := w.verifies(); verdict != standing.Admitted {
		t.Errorf("the key in the Secret is %s", verdict)
	}
}

// TestReconcile_ReportsWithdrawalsOnlyAfterAList: the cache does not have a record yet that is still accepted.
func TestReconcile_ReportsWithdrawalsOnlyAfterAList(t *testing.T) {
	for name, test := range map[string]struct {
		withdraw func(w *fixture, oldest *v1alpha1.DGbotAPIKeyRecord)
		// cached are the revisions that the cache has.
		cached []int64
	}{
		"Revoked":  {withdraw: func(w *fixture, _ *v1alpha1.DGbotAPIKeyRecord) { withdrawals[v1alpha1.StateRevoked]["Revoked"](w) }},
		"Disabled": {withdraw: func(w *fixture, _ *v1alpha1.DGbotAPIKeyRecord) { withdrawals[v1alpha1.StateDisabled]["Disabled"](w) }},
		"revokeIssuedBefore": {
			withdraw: func(w *fixture, oldest *v1alpha1.DGbotAPIKeyRecord) {
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = &oldest.Spec.IssuedAt })
			},
			cached: []int64{2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.rotated()
			oldest := w.first()
			test.withdraw(w, oldest)
			operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
				List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
					if list, ok := list.(*v1alpha1.DGbotAPIKeyRecordList); ok {
						list.Items = slices.DeleteFunc(w.records(), func(r v1alpha1.DGbotAPIKeyRecord) bool { return !slices.Contains(test.cached, r.Spec.Revision) })
					}
					return nil
				},
			}))
			if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
				t.Fatal(err)
			}
			if standing.Admit(w.first(), w.clock.Now()) == standing.Admitted {
				t.Errorf("the key reports %+v, and revision 1 is accepted", w.key().Status)
			}
		})
	}
}

// TestReconcile_PatchesARejectedWithdrawalOnceAPass: a policy that rejects changes of records is not asked twice for each.
func TestReconcile_PatchesARejectedWithdrawalOnceAPass(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	patched := 0
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(_ context.Context, _ client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
			patched++
			return forbidden("record %s may not be changed", o.GetName())
		},
	}))
	for pass := 1; pass <= 3; pass++ {
		if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
			t.Fatal(err)
		}
		if ready := w.ready(); ready == nil || ready.Reason != v1alpha1.RecordWriteRefusedReason {
			t.Fatalf("Ready is %+v", ready)
		}
		if patched != pass {
			t.Errorf("%d patches after %d passes", patched, pass)
		}
		w.advance(time.Hour)
	}
}

// TestReconcile_RevokesARecordThatMayNotBeDisabled: a policy rejects one state, and a request asks for the stricter one.
func TestReconcile_RevokesARecordThatMayNotBeDisabled(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.State, k.Spec.Rotation.RevokeIssuedBefore = v1alpha1.StateDisabled, w.second()
	})
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if patch, err := p.Data(o); err != nil || strings.Contains(string(patch), "Disabled") {
				return forbidden("no record may be disabled")
			}
			return c.Patch(ctx, o, p, options...)
		},
	}))
	w.restWith(operator)
	if state := w.first().Spec.State; state != v1alpha1.StateRevoked {
		t.Errorf("revision 1 is %s", state)
	}
}

// TestReconcile_TakesBackAWithdrawalWithoutAnAnswer: the API server answers 500 to a change that it has stored, and the user enables the key.
func TestReconcile_TakesBackAWithdrawalWithoutAnAnswer(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	var once sync.Once
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) (err error) {
			err = c.Patch(ctx, o, p, options...)
			once.Do(func() {
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateActive })
				err = errUndecryptable
			})
			return err
		},
	}))
	if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if ready := w.ready(); w.verifies() != standing.Admitted || ready.Status != metav1.ConditionTrue {
		t.Errorf("the key is %s, and Ready is %+v", w.verifies(), ready)
	}
}
