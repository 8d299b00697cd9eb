// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// withRecords is a client whose cache of records has stopped, and whose other caches follow.
func withRecords(base client.WithWatch, records []v1alpha1.DGbotAPIKeyRecord) client.WithWatch {
	return interceptor.NewClient(base, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if list, isRecords := list.(*v1alpha1.DGbotAPIKeyRecordList); isRecords {
				for i := range records {
					list.Items = append(list.Items, *records[i].DeepCopy())
				}
				return nil
			}
			return c.List(ctx, list, options...)
		},
	})
}

// reportsRevocation runs passes until the status says that the request to revoke is handled, and returns whether it does after a number of them.
func (w *fixture) reportsRevocation(operator *apikeys.Reconciler, passes int) bool {
	w.T.Helper()
	for range passes {
		if _, err := operator.Reconcile(w.T.Context(), w.request()); err != nil {
			w.T.Log(err)
		}
		w.advance(write.YieldDelay)
		if handled := w.key().Status.LastHandledRequest; handled != nil && handled.RevokeIssuedBefore != nil {
			return true
		}
	}
	return false
}

// TestReconcile_ReportsARevocationOfAKeyThatWasNeverObserved: an operator crashed between the Secret and the first status of a key that was created
// with a request to revoke, or the status was lost. All caches follow.
func TestReconcile_ReportsARevocationOfAKeyThatWasNeverObserved(t *testing.T) {
	for name, prepare := range map[string]func(*fixture){
		"a crash before the first status": func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
			if _, err := w.operator((&faults{breakAt: 3}).wrap(live)).Reconcile(w.T.Context(), w.request()); !errors.Is(err, errInjected) {
				w.T.Fatalf("the write of the status did not fail: %v", err)
			}
		},
		"a lost status": func(w *fixture) {
			w.create(nil)
			w.rest()
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
			w.rest()
			key := w.key()
			key.Status = v1alpha1.DGbotAPIKeyStatus{}
			if err := live.Status().Update(w.T.Context(), key); err != nil {
				w.T.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			prepare(w)
			w.advance(time.Minute)
			if !w.reportsRevocation(w.operator(live), 20) {
				t.Errorf("after 20 passes the status is %+v", w.key().Status)
			}
		})
	}
}

// TestReconcile_ReportsARevocationFromAnOldCache: the cache of records has stopped before the request, which covers an earlier revision only.
func TestReconcile_ReportsARevocationFromAnOldCache(t *testing.T) {
	w := newFixture(t)
	w.rotated()
	records := w.records()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = &w.first().Spec.IssuedAt })
	count := &faults{}
	operator := w.operator(withRecords(count.wrap(live), records))
	if !w.reportsRevocation(operator, 20) {
		t.Errorf("after 20 passes and %d writes, revision 1 is %s, and the status has %+v", count.writes, w.first().Spec.State, w.key().Status.LastHandledRequest)
	}
}

// TestReconcile_ReportsAReadThatFailsAfterARevocation: the API server does not answer for the chatbot, which the cache has. The key that leaked is
// revoked, and the status reports the read that keeps the key from being replaced.
func TestReconcile_ReportsAReadThatFailsAfterARevocation(t *testing.T) {
	w := newFixture(t)
	w.createBot(botName, nil)
	w.restBots(live, botName)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	operator, _ := w.failingOperator(errUndecryptable, anyOf[*v1alpha1.DGbotChatbot](), true)
	for range 20 {
		result, err := operator.Reconcile(t.Context(), w.request())
		if err != nil {
			t.Log(err)
		}
		w.advance(result.RequeueAfter)
	}
	if state := w.first().Spec.State; state != v1alpha1.StateRevoked {
		t.Errorf("revision 1 is %s", state)
	}
	w.stalled(v1alpha1.ObservationFailedReason, botName)
}

// TestReconcile_PublishesBeforeItRevokesFromAnOldCache: another instance created the record of revision 2 and crashed, and the cache lacks it. The
// key in use is revoked after its replacement is published, as from a list.
func TestReconcile_PublishesBeforeItRevokesFromAnOldCache(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	records := w.records()
	crashed := interceptor.NewClient(live, interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			if len((&client.UpdateOptions{}).ApplyOptions(options).DryRun) == 0 {
				return errInjected
			}
			return c.Update(ctx, o, options...)
		},
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return errInjected
		},
	})
	if _, err := w.operator(crashed).Reconcile(t.Context(), w.request()); !errors.Is(err, errInjected) {
		t.Fatalf("the write of the Secret did not fail: %v", err)
	}
	if states := w.states(); len(states) != 2 || states[1] != v1alpha1.StateActive {
		t.Fatalf("the crash left %v", states)
	}
	var order []string
	count := &faults{each: func(what string) { order = append(order, what) }}
	w.restWith(w.operator(withRecords(count.wrap(live), records)))
	published, revoked := slices.Index(order, "update Secret"), slices.Index(order, "patch DGbotAPIKeyRecord")
	if published < 0 || revoked < published {
		t.Errorf("the key in use was revoked before its replacement was published: %v", order)
	}
}

// TestReconcile_RevokesNothingForARequestThatIsTakenBack: the user takes the request back while the Secret is written.
func TestReconcile_RevokesNothingForARequestThatIsTakenBack(t *testing.T) {
	for name, test := range map[string]struct {
		ask, takeBack func(*fixture, *v1alpha1.DGbotAPIKey)
	}{
		"a request to revoke": {
			ask:      func(w *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() },
			takeBack: func(_ *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = nil },
		},
		"an overlap of 0s": {
			ask: func(w *fixture, k *v1alpha1.DGbotAPIKey) {
				k.Spec.Rotation.RequestedAt, k.Spec.Rotation.Overlap = w.second(), &metav1.Duration{}
			},
			takeBack: func(_ *fixture, k *v1alpha1.DGbotAPIKey) {
				k.Spec.Rotation.Overlap = &metav1.Duration{Duration: time.Hour}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.create(nil)
			w.rest()
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { test.ask(w, k) })
			var order []string
			writes := &faults{breakAt: 2, each: func(what string) { order = append(order, what) }, before: func() {
				w.edit(func(k *v1alpha1.DGbotAPIKey) { test.takeBack(w, k) })
			}}
			w.restWith(w.operator(writes.wrap(live)))
			w.advance(time.Minute)
			if verdict := standing.Admit(w.first(), w.clock.Now()); verdict != standing.Admitted {
				t.Errorf("revision 1 is %s until %v: %s, after %v", w.first().Spec.State, w.first().Spec.NotAfter, verdict, order)
			}
		})
	}
}

// TestReconcile_StaysReadyWithAnOldCache: the cache of records has stopped between the new record and the end of the earlier one. Nothing is rejected.
func TestReconcile_StaysReadyWithAnOldCache(t *testing.T) {
	w := newFixture(t)
	w.rotationDue()
	var records []v1alpha1.DGbotAPIKeyRecord
	writes := &faults{breakAt: 3, before: func() { records = w.records() }}
	w.restWith(w.operator(writes.wrap(live)))
	w.rest()
	if len(records) != 2 || records[0].Spec.NotAfter != nil && records[1].Spec.NotAfter != nil {
		t.Fatalf("the records are %+v", records)
	}
	count := &faults{}
	operator := w.operator(withRecords(count.wrap(live), records))
	for pass := range 30 {
		if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
			t.Fatal(err)
		}
		if ready := w.ready(); ready.Status != metav1.ConditionTrue {
			t.Fatalf("pass %d: %+v, after %d writes", pass, ready, count.writes)
		}
		w.advance(time.Minute)
	}
}

// TestIssue_LeavesNoRecordWhereAQuotaRejectsTheSecret: contract, section 3: of a Secret that a quota rejects, nothing is issued.
func TestIssue_LeavesNoRecordWhereAQuotaRejectsTheSecret(t *testing.T) {
	w := newFixture(t)
	isFull := false
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, isSecret := o.(*corev1.Secret); isSecret && isFull {
				return forbidden("exceeded quota")
			}
			return c.Create(ctx, o, options...)
		},
	}))
	w.create(nil)
	w.restWith(operator)
	w.deleteSecret()
	isFull = true
	w.restWith(operator)
	if records := w.records(); len(records) != 1 {
		t.Errorf("%d records, and the last one was issued for %s until %v", len(records), records[len(records)-1].Spec.Cause, records[len(records)-1].Spec.NotAfter)
	}
}

// TestReconcile_ReplacesALeakedKeyThoughItMayNotBeRevoked: as in the test before, and a policy rejects the revocation. The key is replaced, as from a list.
func TestReconcile_ReplacesALeakedKeyThoughItMayNotBeRevoked(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	records := w.records()
	attempt := records[0].DeepCopy()
	attempt.ObjectMeta = metav1.ObjectMeta{Namespace: w.Name, Name: strings.TrimSuffix(attempt.Name, "-r1") + "-r2", Labels: attempt.Labels, OwnerReferences: attempt.OwnerReferences}
	attempt.Spec.Revision, attempt.Spec.Cause = 2, v1alpha1.CauseRevocation
	attempt.Spec.KeyID, attempt.Spec.Hash = "0123456789ab", "sha256:"+strings.Repeat("0", 64)
	attempt.Spec.IssuedAt = metav1.Time{Time: w.second().Add(time.Second)}
	if err := live.Create(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
	rejecting := interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return forbidden("no record may be changed")
		},
	})
	w.restWith(w.operator(withRecords(rejecting, records)))
	if published := w.published(); published.Spec.Revision == 1 {
		t.Errorf("the Secret has revision 1 still; Ready is %+v", w.ready())
	}
}

// TestIssue_CreatesNoSecretWithJunk: a webhook alters new Secrets, dry runs included. No Secret and no record come of it.
func TestIssue_CreatesNoSecretWithJunk(t *testing.T) {
	w := newFixture(t)
	alters := false
	altering := changing(true)
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if alters {
				return altering.Create(ctx, o, options...)
			}
			return c.Create(ctx, o, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			if alters {
				return altering.Update(ctx, o, options...)
			}
			return c.Update(ctx, o, options...)
		},
	}))
	w.create(nil)
	w.restWith(operator)
	w.deleteSecret()
	alters = true
	w.restWith(operator)
	if secret := w.secret(); secret != nil || len(w.records()) != 1 {
		t.Errorf("%d records, and a Secret with %q", len(w.records()), secret.Data[v1alpha1.DefaultSecretKey])
	}
}

// TestReconcile_ReportsARevocationWithAnOldCacheOfTheKey: the cache of the key has stopped at a request for a rotation that another instance has carried
// out since. That instance crashed before it reported a revocation.
func TestReconcile_ReportsARevocationWithAnOldCacheOfTheKey(t *testing.T) {
	w := newFixture(t)
	w.rotationDue()
	old := w.key()
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = &w.first().Spec.IssuedAt })
	// The patch of revision 1, and then the list of the second pass fails.
	if _, err := w.operator(live).Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	old.Spec.Rotation.RequestedAt = w.second() // a later request, which was taken back
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if key, isKey := o.(*v1alpha1.DGbotAPIKey); isKey {
				old.DeepCopyInto(key)
				return nil
			}
			return c.Get(ctx, name, o, options...)
		},
	}))
	if !w.reportsRevocation(operator, 20) {
		t.Errorf("after 20 passes the status has %+v", w.key().Status.LastHandledRequest)
	}
}

// TestReconcile_ReportsNoRevisionThatWasRevokedByHand: an administrator revokes revision 1, which a verifier saw in use, and the cache of records lacks both.
func TestReconcile_ReportsNoRevisionThatWasRevokedByHand(t *testing.T) {
	w := newFixture(t)
	w.rotated()
	records := w.records()
	first := w.first()
	patch := client.MergeFrom(first.DeepCopy())
	first.Spec.State = v1alpha1.StateRevoked
	if err := live.Patch(t.Context(), first, patch); err != nil {
		t.Fatal(err)
	}
	patch = client.MergeFrom(first.DeepCopy())
	first.Status.FirstUsedAt, first.Status.LastUsedAt, first.Status.Resolution = w.second(), w.second(), &metav1.Duration{Duration: 10 * time.Minute}
	if err := live.Status().Patch(t.Context(), first, patch); err != nil {
		t.Fatal(err)
	}
	w.rest()
	if used := w.key().Status.LastUsedAt; used == nil {
		t.Fatal("the use is not reported")
	}
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	w.restWith(w.operator(withRecords(live, records)))
	status := w.key().Status
	for _, previous := range status.Previous {
		if previous.Revision == 1 {
			t.Error("revision 1 is reported as one that is accepted, and is revoked")
		}
	}
	if status.LastUsedAt == nil {
		t.Error("the last use was reported, and is no longer")
	}
}

// TestReconcile_NamesTheCauseThatHolds: between its reads of the key and of the Secret, another instance replaces a leaked key and reports it. Then the new
// record is deleted, and the records are listed: the record was lost, and nothing leaked.
func TestReconcile_NamesTheCauseThatHolds(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	read, replaced, lost := false, false, false
	operator := w.operator(withoutRecords(live))
	operator.Live = interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			switch o.(type) {
			case *v1alpha1.DGbotAPIKey:
				read = true
			case *corev1.Secret:
				if read && !replaced {
					replaced = true
					w.rest()
				}
			}
			return c.Get(ctx, name, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, isRecords := list.(*v1alpha1.DGbotAPIKeyRecordList); isRecords && !lost {
				lost = true
				w.deleteObject(w.published())
			}
			return c.List(ctx, list, options...)
		},
	})
	w.advance(time.Minute)
	w.restWith(operator)
	if issued := w.published(); !replaced || !lost || issued == nil || issued.Spec.Cause != v1alpha1.CauseRecordLost {
		t.Errorf("replaced %t, lost %t; issued %+v", replaced, lost, issued)
	}
}
