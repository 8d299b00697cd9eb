// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/hack/figures"
)

// revoke measures how long it takes from the revocation request until the verifier rejects the key.
func (w *measurement) revoke(ctx context.Context, r *report) (err error) {
	manager, err := w.StartOperator(ctx, w.log, "--leader-elect=false")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, manager.Stop()) }()
	v, err := w.startVerifier(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Stop()) }()
	settled := time.Now().Add(afterStart)
	figures.Progress("issuing %d keys", w.revocations)
	for i := range w.revocations {
		key := &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("key-%d", i)},
			Spec:       v1alpha1.DGbotAPIKeySpec{Label: "Benchmark", Environment: "staging"},
		}
		if err := w.Admin.Create(ctx, key); err != nil {
			return err
		}
	}
	time.Sleep(time.Until(settled))
	figures.Progress("revoking them")
	for i := range w.revocations {
		took, err := w.timeToRefusal(ctx, v, fmt.Sprintf("key-%d", i))
		if err != nil {
			return fmt.Errorf("key-%d: %w", i, err)
		}
		r.RevocationMilliseconds = append(r.RevocationMilliseconds, float64(took.Microseconds())/1000)
		proven, err := w.timeToProof(ctx, fmt.Sprintf("key-%d", i))
		if err != nil {
			return fmt.Errorf("key-%d: %w", i, err)
		}
		if proofs := &r.ProofInARowMilliseconds; i%2 == 1 {
			*proofs = append(*proofs, float64(proven.Microseconds())/1000)
			time.Sleep(quiet)
		} else {
			r.ProofMilliseconds = append(r.ProofMilliseconds, float64(proven.Microseconds())/1000)
		}
	}
	return nil
}

const (
	// quiet is the pause after every second revocation. A verifier reports changes about once a second, so that a revocation right after others
	// waits for its report, and one after a pause does not.
	quiet = 1100 * time.Millisecond
	// afterStart is for how long the operator confirms nothing after its start, and a little.
	afterStart = 12 * time.Second
)

// timeToProof returns the time from the write of a revocation until the verifier has confirmed it, as the key's status has both.
func (w *measurement) timeToProof(ctx context.Context, name string) (took time.Duration, err error) {
	err = wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		key := &v1alpha1.DGbotAPIKey{}
		if err := w.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, key); err != nil {
			return false, err
		}
		proof := key.Status.Propagation
		if proof == nil || proof.ConfirmedAt == nil {
			return false, nil
		}
		took = proof.ConfirmedAt.Sub(proof.WrittenAt.Time)
		return true, nil
	})
	return took, err
}

func (w *measurement) timeToRefusal(ctx context.Context, v *verifier, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var text string
	err := wait.PollUntilContextCancel(ctx, 10*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		secret := &corev1.Secret{}
		err := w.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
		text = string(secret.Data["api-key"])
		return err == nil, client.IgnoreNotFound(err)
	})
	if err != nil {
		return 0, err
	}
	if err := v.awaitAnswer(ctx, text, http.StatusOK); err != nil {
		return 0, err
	}
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	began := time.Now()
	if err := w.Admin.Patch(ctx, key, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Revoked"}}`))); err != nil {
		return 0, err
	}
	err = v.awaitAnswer(ctx, text, http.StatusUnauthorized)
	return time.Since(began), err
}

func (v *verifier) awaitAnswer(ctx context.Context, text string, want int) error {
	return wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.Address+"/check", nil)
		if err != nil {
			return false, err
		}
		request.Header.Set("Authorization", "Bearer "+text)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err
		}
		return response.StatusCode == want, response.Body.Close()
	})
}
