// SPDX-License-Identifier: Apache-2.0

package starvation

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
)

// within bounds every wait.
const within = 2 * time.Minute

// TimesToReady creates keys in a new namespace, one after the other, and returns how long each took from the request that
// created it to when a watch has shown it Ready.
func TimesToReady(ctx context.Context, admin client.WithWatch, namespace string, n int) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, within+time.Duration(n)*time.Second)
	defer cancel()
	if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return nil, err
	}
	var keys v1alpha1.DGbotAPIKeyList
	watcher, err := admin.Watch(ctx, &keys, client.InNamespace(namespace))
	if err != nil {
		return nil, err
	}
	defer watcher.Stop()
	var took []time.Duration
	for i := range n {
		key := Key(namespace, fmt.Sprintf("healthy-%d", i))
		began := time.Now()
		if err := admin.Create(ctx, key); err != nil {
			return nil, err
		}
		for shown := false; !shown; {
			select {
			case event, ok := <-watcher.ResultChan():
				if !ok {
					return nil, fmt.Errorf("the watch ended before %s/%s was Ready", namespace, key.Name)
				}
				seen, isKey := event.Object.(*v1alpha1.DGbotAPIKey)
				shown = isKey && seen.Name == key.Name && testenv.IsReady(seen)
			case <-ctx.Done():
				return nil, fmt.Errorf("%s/%s is not Ready: %w", namespace, key.Name, ctx.Err())
			}
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

func poll(ctx context.Context, what string, condition wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, within, true, condition); err != nil {
		return fmt.Errorf("waiting until %s: %w", what, err)
	}
	return nil
}

func merge(patch string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(patch)) }
