// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// What mutating webhooks and policies make of records, and refusals that look like something else.

// TestARecordThatIsCreatedAsAnotherOne: its key is not published, it is said, and no other is minted.
func TestARecordThatIsCreatedAsAnotherOne(t *testing.T) {
	long := metav1.Time{Time: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)}
	for name, alter := range map[string]func(*v1alpha1.DGbotAPIKeyRecord){
		"with an end": func(r *v1alpha1.DGbotAPIKeyRecord) {
			r.Spec.NotAfter = &metav1.Time{Time: r.Spec.IssuedAt.Add(time.Hour)}
		},
		"that is over":        func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &long },
		"issued long ago":     func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.IssuedAt = long },
		"without an owner":    func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences = nil },
		"with more scopes":    func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Scopes = []v1alpha1.Scope{"*"} },
		"of another hash":     func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Hash = "sha256:" + strings.Repeat("0", 64) },
		"of another revision": func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Revision += 5 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Interval = &metav1.Duration{Duration: 24 * time.Hour} })
			operator := w.operator(alteringRecords(func(r *v1alpha1.DGbotAPIKeyRecord, _ bool) { alter(r) }))
			for range 10 { // each of them woken by what the previous one has done
				w.restWith(operator)
				w.deleteStrays()
				w.advance(time.Second)
			}
			if ready := w.ready(); ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.RecordWriteRefusedReason {
				t.Errorf("the condition is %+v", ready)
			}
			if n := len(w.records()); n > 1 {
				t.Errorf("%d records", n)
			}
			if found, err := read.Get(t.Context(), live, w.request().NamespacedName, &corev1.Secret{}); err != nil || found {
				t.Errorf("its key is published (%v)", err)
			}
			operator.Client = live
			w.restWith(operator)
			if ready := w.ready(); ready.Status != metav1.ConditionTrue {
				t.Errorf("it does not recover: %+v", ready)
			}
		})
	}
}

// TestARecordThatIsAlteredExceptInADryRun is tried again less and less often, whatever it was made of, and says so all the
// time.
func TestARecordThatIsAlteredExceptInADryRun(t *testing.T) {
	for name, alter := range map[string]func(*v1alpha1.DGbotAPIKeyRecord){
		"issued long ago":      func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.IssuedAt = metav1.Unix(1e9, 0) },
		"issued in the future": func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.IssuedAt = metav1.Unix(3.8e9, 0) },
		"without an owner":     func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences = nil },
		"of another key":       func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.APIKeyRef.UID = "another" },
		"of another hash":      func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Hash = "sha256:" + strings.Repeat("0", 64) },
		"of another revision":  func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Revision = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.create(nil)
			minted := 0
			operator := w.operator(alteringRecords(func(r *v1alpha1.DGbotAPIKeyRecord, dryRun bool) {
				if !dryRun {
					minted++
					alter(r)
				}
			}))
			for range 120 { // ten minutes, woken all the time
				_, _ = operator.Reconcile(t.Context(), w.request())
				w.deleteStrays()
				if ready := w.ready(); ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.RecordWriteRefusedReason {
					t.Fatalf("after %d attempts the condition is %+v", minted, ready)
				}
				w.advance(5 * time.Second)
			}
			if minted < 3 || minted > 9 {
				t.Errorf("%d attempts in ten minutes", minted)
			}
			operator.Client = live
			w.advance(queue.MaxRetry)
			w.restWith(operator)
			if ready := w.ready(); ready.Status != metav1.ConditionTrue {
				t.Errorf("it does not recover: %+v", ready)
			}
		})
	}
}

// alteringRecords is a client with a mutating policy for records that are created.
func alteringRecords(alter func(record *v1alpha1.DGbotAPIKeyRecord, dryRun bool)) client.WithWatch {
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if record, ok := o.(*v1alpha1.DGbotAPIKeyRecord); ok {
				alter(record, len((&client.CreateOptions{}).ApplyOptions(options).DryRun) > 0)
			}
			return c.Create(ctx, o, options...)
		},
	})
}

// deleteStrays does what the record controller does.
func (w *fixture) deleteStrays() {
	w.T.Helper()
	for _, record := range w.records() {
		if standing.IsOrphan(&record) {
			if err := live.Delete(w.T.Context(), &record); err != nil {
				w.T.Fatal(err)
			}
		}
	}
}

// TestARevocationThatIsUndoneIsTold: a user who reads the status must not believe that the old revision is revoked.
func TestARevocationThatIsUndoneIsTold(t *testing.T) {
	w := rotated(t)
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) {
		k.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: rfc3339(w.second())}
	})
	patches := 0
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if _, ok := o.(*v1alpha1.DGbotAPIKeyRecord); !ok {
				return c.Patch(ctx, o, patch, options...)
			}
			content, err := patch.Data(o)
			if err != nil {
				return err
			}
			var fields map[string]any
			if err := json.Unmarshal(content, &fields); err != nil {
				return err
			}
			if spec, ok := fields["spec"].(map[string]any); ok {
				delete(spec, "state")
			}
			patches++
			fields["metadata"] = map[string]any{"labels": map[string]string{"stamp": strconv.Itoa(patches)}}
			content, err = json.Marshal(fields)
			if err != nil {
				return err
			}
			return c.Patch(ctx, o, client.RawPatch(types.MergePatchType, content), options...)
		},
	}))
	for range 5 { // each of them woken by the stamp of the previous one
		w.restWith(operator)
	}
	if patches > 4 {
		t.Errorf("%d patches", patches)
	}
	if ready := w.ready(); ready.Status == metav1.ConditionTrue || ready.Reason != v1alpha1.RecordWriteRefusedReason {
		t.Errorf("the condition is %+v", ready)
	}
	operator.Client = live
	w.advance(queue.MaxRetry)
	w.restWith(operator)
	if ready := w.ready(); ready.Status != metav1.ConditionTrue {
		t.Errorf("it does not recover: %+v", ready)
	}
	for _, record := range w.records() {
		if record.UID != w.published().UID && record.Spec.State != v1alpha1.StateRevoked {
			t.Errorf("%s is %s", record.Name, record.Spec.State)
		}
	}
}

func rfc3339(at *metav1.Time) string { return at.UTC().Format(time.RFC3339) }

// TestARejectionInTheWordsOfAConflict is reported in the end, and backed off from.
func TestARejectionInTheWordsOfAConflict(t *testing.T) {
	kind := schema.GroupResource{Resource: "things"}
	isSecret := func(o client.Object) bool { _, ok := o.(*corev1.Secret); return ok }
	isRecord := func(o client.Object) bool { _, ok := o.(*v1alpha1.DGbotAPIKeyRecord); return ok }
	for name, tc := range map[string]struct {
		picked func(client.Object) bool
		answer error
		want   string
	}{
		"a Secret that conflicts":  {isSecret, apierrors.NewConflict(kind, "x", nil), v1alpha1.SecretWriteRefusedReason},
		"a Secret that is there":   {isSecret, apierrors.NewAlreadyExists(kind, "x"), v1alpha1.SecretWriteRefusedReason},
		"a Secret that is nowhere": {isSecret, apierrors.NewNotFound(kind, "x"), v1alpha1.SecretWriteRefusedReason},
		"a record that conflicts":  {isRecord, apierrors.NewConflict(kind, "x", nil), v1alpha1.RecordWriteRefusedReason},
		"a record that is there":   {isRecord, apierrors.NewAlreadyExists(kind, "x"), v1alpha1.RecordWriteRefusedReason},
		"a record that is nowhere": {isRecord, apierrors.NewNotFound(kind, "x"), v1alpha1.RecordWriteRefusedReason},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.create(nil)
			tries := 0
			operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
					if tc.picked(o) {
						tries++
						return tc.answer
					}
					return c.Create(ctx, o, options...)
				},
			}))
			w.restWith(operator)
			if ready := w.ready(); ready.Status != metav1.ConditionFalse || ready.Reason != tc.want {
				t.Errorf("after %d tries the condition is %+v", tries, ready)
			}
			before := tries
			w.restWith(operator)
			if tries > before+1 {
				t.Errorf("%d tries in one pass after it is known", tries-before)
			}
			operator.Client = live
			w.restWith(operator)
			if ready := w.ready(); ready.Status != metav1.ConditionTrue {
				t.Errorf("it does not recover: %+v", ready)
			}
		})
	}
}

// TestASecretThatIsRefusedLikeARivalsIsTold at once, as no user has touched it.
func TestASecretThatIsRefusedLikeARivalsIsTold(t *testing.T) {
	kind := schema.GroupResource{Resource: "things"}
	for name, answer := range map[string]error{
		"as a conflict": apierrors.NewConflict(kind, "x", errors.New("the words")), "as there": apierrors.NewAlreadyExists(kind, "the words"),
		"as nowhere": apierrors.NewNotFound(kind, "the words"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.create(nil)
			w.restWith(w.operator(failing(func(*corev1.Secret) error { return answer })))
			w.stalled(v1alpha1.SecretWriteRefusedReason, "the words")
			if n := len(w.records()); n != 1 {
				t.Errorf("%d records", n)
			}
		})
	}
}

// TestAStatusThatIsAlwaysOutrunIsBackedOffFrom: the work queue spaces what ends in an error.
func TestAStatusThatIsAlwaysOutrunIsBackedOffFrom(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
			return apierrors.NewConflict(schema.GroupResource{Resource: "things"}, "x", errors.New("the words"))
		},
	}))
	var err error
	for range 10 {
		_, err = operator.Reconcile(t.Context(), w.request())
	}
	if err == nil || !strings.Contains(err.Error(), "the words") {
		t.Errorf("the work queue gets %v", err)
	}
	operator.Client = live
	w.restWith(operator)
	if ready := w.ready(); ready.Status != metav1.ConditionTrue {
		t.Errorf("it does not recover: %+v", ready)
	}
}

// TestAStatusDoesNotWakeItsKey: a refusal that is worded differently each time would end its own back-off.
func TestAStatusDoesNotWakeItsKey(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	before := w.key()
	wakes := func(change func(*v1alpha1.DGbotAPIKey)) bool {
		after := before.DeepCopy()
		after.ResourceVersion += "1"
		change(after)
		return queue.IgnoreStatusChanges().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after})
	}
	if wakes(func(k *v1alpha1.DGbotAPIKey) { k.Status.ObservedGeneration++ }) {
		t.Error("its status wakes it")
	}
	for name, change := range map[string]func(*v1alpha1.DGbotAPIKey){
		"spec":          func(k *v1alpha1.DGbotAPIKey) { k.Generation++ },
		"an annotation": func(k *v1alpha1.DGbotAPIKey) { k.Annotations = map[string]string{"a": "b"} },
		"a label":       func(k *v1alpha1.DGbotAPIKey) { k.Labels = map[string]string{"a": "b"} },
		"another key":   func(k *v1alpha1.DGbotAPIKey) { k.UID = "another" },
	} {
		if !wakes(change) {
			t.Errorf("%s does not wake it", name)
		}
	}
}

// TestAnAttemptThatIsKnownToHaveFailedEnds: an answer that leaves open whether the Secret was written leaves it open for half
// a minute only.
func TestAnAttemptThatIsKnownToHaveFailedEnds(t *testing.T) {
	for name, prepare := range map[string]func(*fixture){
		"before anything was published": func(*fixture) {},
		"while something else stands in the Secret": func(w *fixture) {
			w.rest()
			w.editSecret(func(s *corev1.Secret) { s.Data[v1alpha1.DefaultSecretKey] = []byte("something else") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.create(nil)
			prepare(w)
			before := len(w.records())
			fail := func(o client.Object, dryRun []string) bool {
				_, isSecret := o.(*corev1.Secret)
				return isSecret && len(dryRun) == 0
			}
			operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
					if fail(o, (&client.CreateOptions{}).ApplyOptions(options).DryRun) {
						return etcdTimeout()
					}
					return c.Create(ctx, o, options...)
				},
				Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
					if fail(o, (&client.UpdateOptions{}).ApplyOptions(options).DryRun) {
						return etcdTimeout()
					}
					return c.Update(ctx, o, options...)
				},
			}))
			for range 4 {
				_, _ = operator.Reconcile(t.Context(), w.request())
				w.advance(queue.MaxRetry)
			}
			_, _ = operator.Reconcile(t.Context(), w.request())
			open := 0
			for _, record := range w.records() {
				if record.Spec.NotAfter == nil {
					open++
				}
			}
			if n := len(w.records()) - before; n < 3 || open > before+1 {
				t.Errorf("%d attempts, %d records without an end", n, open)
			}
			if first := w.first(); before == 1 && first.Spec.NotAfter != nil {
				t.Error("the revision that was published was given an end")
			}
		})
	}
}
