// SPDX-License-Identifier: Apache-2.0

package starvation

import (
	"context"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
)

var sharing = flag.Int("starvation.sharing", 120, "how many keys, and how many chatbots, name one Secret that another owner has")

const (
	sharedNamespace  = "starve-shared"
	touchedNamespace = "starve-touched"
	sharedSecret     = "shared"
	// touchInterval is how often the Secret is touched, and touchesMeanwhile how often it may be while a key is revoked: the promise is a
	// second, and the rest is for a busy machine.
	touchInterval    = 50 * time.Millisecond
	touchesMeanwhile = 40
	revocations      = 6
	// readsOfOne is how many requests a key or a chatbot that waits for the Secret may cost while the Secret is touched, however often:
	// for a chatbot those of the look that is due each minute.
	readsOfOne = 3
)

// TestTouchedSecret_DelaysNoRevocation: keys and chatbots name one Secret, whose label names a uid that is none of theirs and which has
// another owner. Touching it 20 times a second costs no reads, and another tenant's revocations are as fast as ever.
func TestTouchedSecret_DelaysNoRevocation(t *testing.T) {
	world.RunManager(t, "--leader-elect=false")
	secret := shareSecret(t)
	must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: touchedNamespace}}))
	for i := range revocations {
		must(t, admin.Create(t.Context(), Key(touchedNamespace, victim(i))))
		must(t, testenv.AwaitReady(t.Context(), admin, within, touchedNamespace, victim(i)))
	}
	offset, touches := auditEnd(t), &atomic.Int64{}
	stop := touch(t, secret, touches)
	for i := range revocations {
		must(t, poll(t.Context(), "the Secret is touched", func(context.Context) (bool, error) { return touches.Load() >= int64(10*(i+1)), nil }))
		before, began := touches.Load(), time.Now()
		must(t, admin.Patch(t.Context(), Key(touchedNamespace, victim(i)), merge(`{"spec":{"state":"Revoked"}}`)))
		must(t, wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, within, true, func(ctx context.Context) (bool, error) {
			return revoked(ctx, victim(i))
		}))
		meanwhile := touches.Load() - before
		t.Logf("revoked after %s and %d touches", time.Since(began).Round(time.Millisecond), meanwhile)
		if meanwhile > touchesMeanwhile {
			t.Errorf("%s: revoked after %d touches, want at most %d", victim(i), meanwhile, touchesMeanwhile)
		}
	}
	stop()
	requests, _ := operatorRequests(t, offset)
	reads := 0
	for _, request := range requests {
		if request.ObjectRef.Namespace == sharedNamespace || request.Verb == "list" {
			reads++
		}
	}
	t.Logf("%d touches of a Secret that %d keys and %d chatbots name cost %d requests", touches.Load(), *sharing, *sharing, reads)
	if most := readsOfOne * *sharing; reads > most {
		t.Errorf("%d requests, want at most %d", reads, most)
	}
}

// shareSecret creates the Secret and what names it, and waits until the operator has seen all of it.
func shareSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: sharedNamespace}}))
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "owner"}}
	must(t, admin.Create(t.Context(), owner))
	const uid = "2f0c7a1e-6f2b-4b0e-9b7e-0d6f1a2b3c4d"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: sharedNamespace, Name: sharedSecret,
		Labels:          map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedBy, v1alpha1.APIKeyLabel: uid, v1alpha1.ChatbotLabel: uid},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}}
	must(t, admin.Create(t.Context(), secret))
	must(t, each(t.Context(), *sharing, func(ctx context.Context, i int) error {
		key := Key(sharedNamespace, fmt.Sprintf("key-%d", i))
		key.Spec.Secret = &v1alpha1.SecretSpec{Name: sharedSecret}
		if err := admin.Create(ctx, key); err != nil {
			return err
		}
		return admin.Create(ctx, &v1alpha1.DGbotChatbot{
			ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: fmt.Sprintf("bot-%d", i)},
			Spec: v1alpha1.DGbotChatbotSpec{DisplayName: "Starvation", Environment: "staging", IdentityVerification: &v1alpha1.IdentityVerification{
				Secret: &v1alpha1.IdentitySecretSpec{Name: sharedSecret},
			}},
		})
	}))
	must(t, poll(t.Context(), "all that names the Secret has been observed", func(ctx context.Context) (bool, error) {
		var keys v1alpha1.DGbotAPIKeyList
		var bots v1alpha1.DGbotChatbotList
		if err := admin.List(ctx, &keys, client.InNamespace(sharedNamespace)); err != nil {
			return false, err
		}
		if err := admin.List(ctx, &bots, client.InNamespace(sharedNamespace)); err != nil {
			return false, err
		}
		observed := 0
		for i := range keys.Items {
			if len(keys.Items[i].Status.Conditions) > 0 {
				observed++
			}
		}
		for i := range bots.Items {
			if len(bots.Items[i].Status.Conditions) > 0 {
				observed++
			}
		}
		return observed == 2**sharing, nil
	}))
	return secret
}

// touch changes an annotation of the Secret again and again, and counts. The function that it returns ends that.
func touch(t *testing.T, secret *corev1.Secret, touches *atomic.Int64) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- wait.PollUntilContextCancel(ctx, touchInterval, true, func(ctx context.Context) (bool, error) {
			err := admin.Patch(ctx, secret.DeepCopy(), merge(fmt.Sprintf(`{"metadata":{"annotations":{"touched":"%d"}}}`, touches.Add(1))))
			if ctx.Err() != nil {
				err = nil
			}
			return false, err
		})
	}()
	return func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil {
			t.Errorf("touching the Secret: %v", err)
		}
	}
}

// revoked reports whether no record of a key is accepted.
func revoked(ctx context.Context, name string) (bool, error) {
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := admin.List(ctx, &records, client.InNamespace(touchedNamespace)); err != nil {
		return false, err
	}
	for _, record := range records.Items {
		if record.Spec.APIKeyRef.Name == name && record.Spec.State != v1alpha1.StateRevoked {
			return false, nil
		}
	}
	return true, nil
}
