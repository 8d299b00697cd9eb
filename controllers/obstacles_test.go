// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// stalled asserts that the key waits for a person, for a reason, and that nothing was minted.
func (w *fixture) stalled(reason, message string) {
	w.T.Helper()
	conditions := w.key().Status.Conditions
	ready, stalled := w.ready(), apimeta.FindStatusCondition(conditions, v1alpha1.StalledCondition)
	if ready.Status != metav1.ConditionFalse || ready.Reason != reason || !strings.Contains(ready.Message, message) {
		w.T.Errorf("Ready is %s, %s: %s; want %s with %q", ready.Status, ready.Reason, ready.Message, reason, message)
	}
	if stalled == nil || stalled.Reason != reason {
		w.T.Errorf("Stalled is %+v", stalled)
	}
}

func (w *fixture) nothingMinted() {
	w.T.Helper()
	for _, record := range w.records() {
		if record.Spec.APIKeyRef.UID == w.key().UID {
			w.T.Errorf("record %s was minted", record.Name)
		}
	}
}

// failing is a client whose writes of Secrets that are not dry runs end in an error.
func failing(err func(*corev1.Secret) error) client.Client {
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			dry := (&client.CreateOptions{}).ApplyOptions(options)
			if secret, ok := o.(*corev1.Secret); ok && len(dry.DryRun) == 0 {
				return err(secret)
			}
			return c.Create(ctx, o, options...)
		},
	})
}

func TestARecordsNameTakenByAnotherKeyIsSaid(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	taken := steps.NewRecord(w.key(), steps.IssueRevision{
		RecordName: revisions.RecordName(keyName, w.key().UID, 1), Revision: 1, Cause: v1alpha1.CauseFirstIssue, IssuedAt: *w.second(),
	}, "abcdefABCDEF", "sha256:"+strings.Repeat("0", 64))
	taken.Spec.APIKeyRef = v1alpha1.APIKeyReference{Name: "other", UID: "other"}
	taken.OwnerReferences = nil
	if err := live.Create(t.Context(), &taken); err != nil {
		t.Fatal(err)
	}
	w.rest()
	w.stalled(v1alpha1.RecordConflictReason, "delete the DGbotAPIKeyRecord")
	w.nothingMinted()
	if w.secret() != nil {
		t.Error("a Secret was published")
	}
	if err := live.Delete(t.Context(), &taken); err != nil {
		t.Fatal(err)
	}
	w.advance(time.Minute)
	w.rest()
	if w.verifies() != standing.Admitted {
		t.Errorf("the key does not recover: %s", w.ready().Message)
	}
}

func TestTemplatesThatTheAPIServerRefusesAreSaidAndSpinNot(t *testing.T) {
	w := newFixture(t)
	w.create(func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Secret = &v1alpha1.SecretSpec{Template: &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"not a label": "x"}}}
	})
	w.rest()
	w.stalled(v1alpha1.SecretWriteRefusedReason, "not a label")
	w.nothingMinted()
	result, err := w.operator(live).Reconcile(t.Context(), w.request())
	if err != nil || result.RequeueAfter < time.Second {
		t.Errorf("looked at again in %s, error %v", result.RequeueAfter, err)
	}
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Secret.Template = nil })
	w.rest()
	if w.verifies() != standing.Admitted {
		t.Errorf("mending the template is not enough: %s", w.ready().Message)
	}
}

// TestAWebhookThatQuotesTheKeyDoesNotPublishIt: what a webhook says stands in a condition, which every user may read.
func TestAWebhookThatQuotesTheKeyDoesNotPublishIt(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	var keys []string
	quoting := failing(func(secret *corev1.Secret) error {
		text := string(secret.Data[v1alpha1.DefaultSecretKey])
		keys = append(keys, text)
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
			Message: fmt.Sprintf("webhook: no %s (%s)", text, base64.StdEncoding.EncodeToString([]byte(text))),
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Message: text}}},
		}}
	})
	recorder := events.NewFakeRecorder(100)
	operator := w.operator(quoting)
	operator.Recorder = recorder
	w.restWith(operator)
	w.stalled(v1alpha1.SecretWriteRefusedReason, "webhook: no dgbot_production_")
	if len(keys) == 0 {
		t.Fatal("nothing was published: the test proves nothing")
	}
	close(recorder.Events)
	heard := []string{fmt.Sprint(w.key().Status, w.records())}
	for event := range recorder.Events {
		heard = append(heard, event)
	}
	said := strings.Join(heard, "\n")
	for _, key := range keys {
		if strings.Contains(said, key[strings.LastIndex(key, "_"):]) || strings.Contains(said, base64.StdEncoding.EncodeToString([]byte(key))) {
			t.Errorf("the key is in what was said: %s", said)
		}
	}
	// A revision whose key no client will hold expires.
	for _, record := range w.records() {
		if record.Spec.NotAfter == nil {
			t.Errorf("record %s has no end", record.Name)
		}
	}
}

func TestATerminatingNamespaceIsNoError(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	terminating := interceptor.NewClient(live, interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			err := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, keyName, fmt.Errorf("namespace %s is being terminated", w.Name))
			err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
			return err
		},
	})
	recorder := events.NewFakeRecorder(100)
	operator := w.operator(terminating)
	operator.Recorder = recorder
	result, err := operator.Reconcile(t.Context(), w.request())
	if err != nil || result.RequeueAfter < 10*time.Second {
		t.Errorf("looked at again in %s, error %v", result.RequeueAfter, err)
	}
	if len(recorder.Events) > 0 {
		t.Errorf("an event was emitted: %s", <-recorder.Events)
	}
	w.nothingMinted()
}

// TestAnotherOperatorsFreshAttemptIsWaitedFor: a second record would be one of a key that no client holds.
func TestAnotherOperatorsFreshAttemptIsWaitedFor(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	other := w.operator(live)
	other.Clock = clock.RealClock{} // the record is created by the API server's
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.first().Spec.IssuedAt.DeepCopy() })
	met := 0
	first := interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			err := c.Create(ctx, o, options...)
			if _, ok := o.(*v1alpha1.DGbotAPIKeyRecord); ok && err == nil {
				met++
				result, err := other.Reconcile(ctx, w.request())
				if err != nil || result.RequeueAfter != write.YieldDelay {
					t.Errorf("the other operator: %+v, %v", result, err)
				}
			}
			return err
		},
	})
	w.restWith(w.operator(first))
	w.restWith(other)
	if met != 1 || len(w.records()) != 2 || w.verifies() != standing.Admitted {
		t.Errorf("met %d times, %d records, the key is %s", met, len(w.records()), w.verifies())
	}
}

func TestASecretThatCannotBeChangedSaysWhatHelps(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	yes := true
	w.editSecret(func(s *corev1.Secret) { s.Immutable = &yes })
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	w.rest()
	w.stalled(v1alpha1.SecretWriteRefusedReason, `delete Secret "production-server", and the operator creates the Secret again`)
	if n := len(w.records()); n != 1 || w.verifies() != standing.Admitted {
		t.Errorf("%d records, the key is %s", n, w.verifies())
	}
	w.deleteSecret()
	w.rest()
	if ready := w.ready(); ready.Status != metav1.ConditionTrue || len(w.records()) != 2 {
		t.Errorf("after it was deleted: %d records, %+v", len(w.records()), ready)
	}
}

func TestAForeignSecretIsNeverTouched(t *testing.T) {
	yes := true
	for name, foreign := range map[string]corev1.Secret{
		"without any mark":            {},
		"of another controller":       {ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", Controller: &yes}}}},
		"with our managed-by alone":   {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedBy}}},
		"with our label left empty":   {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.APIKeyLabel: ""}}},
		"of another type, with bytes": {Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{"username": []byte("x"), "password": []byte("y")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			foreign.Namespace, foreign.Name = w.Name, keyName
			for i := range foreign.OwnerReferences {
				foreign.OwnerReferences[i].UID = w.createOwner().UID
			}
			if err := live.Create(t.Context(), &foreign); err != nil {
				t.Fatal(err)
			}
			w.create(nil)
			w.rest()
			w.stalled(v1alpha1.SecretConflictReason, keyName)
			w.nothingMinted()
			if secret := w.secret(); secret.ResourceVersion != foreign.ResourceVersion {
				t.Errorf("the Secret was written: %+v", secret)
			}
		})
	}
}

func TestALeftOverSecretIsTakenOverOrWaitedFor(t *testing.T) {
	orphaned := func(owners ...metav1.OwnerReference) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: keyName, Labels: map[string]string{v1alpha1.APIKeyLabel: "gone"}, OwnerReferences: owners},
			Data:       map[string][]byte{"theirs": []byte("stays"), v1alpha1.DefaultSecretKey: []byte("dead")},
		}
	}
	t.Run("without an owner", func(t *testing.T) {
		w := newFixture(t)
		secret := orphaned()
		secret.Namespace = w.Name
		if err := live.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		w.create(nil)
		w.rest()
		if w.verifies() != standing.Admitted || string(w.secret().Data["theirs"]) != "stays" || w.first().Spec.Cause != v1alpha1.CauseFirstIssue {
			t.Errorf("not taken over: %s, %+v", w.ready().Message, w.first())
		}
	})
	t.Run("with an owner", func(t *testing.T) {
		w := newFixture(t)
		owner := w.createOwner()
		secret := orphaned(metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID})
		secret.Namespace = w.Name
		if err := live.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		w.create(nil)
		w.rest()
		waiting := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.ReconcilingCondition)
		if w.ready().Reason != v1alpha1.WaitingForGarbageCollectionReason || waiting == nil {
			t.Errorf("Ready %+v, Reconciling %+v", w.ready(), waiting)
		}
		w.nothingMinted()
		w.advance(2 * time.Minute) // the owner is there, and garbage collection leaves the Secret alone
		w.rest()
		if ready := w.ready(); ready.Reason != v1alpha1.SecretConflictReason || !strings.Contains(ready.Message, "keeps garbage collection from deleting the Secret") {
			t.Errorf("after two minutes: Ready %+v", ready)
		}
		w.nothingMinted()
	})
}

// createOwner creates something that may own a Secret: of an owner that does not exist, garbage collection takes it.
func (w *fixture) createOwner() *corev1.ConfigMap {
	w.T.Helper()
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: "owner"}}
	if err := live.Create(w.T.Context(), owner); err != nil {
		w.T.Fatal(err)
	}
	return owner
}
