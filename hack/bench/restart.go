// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// memoryOfAnIdleManager is what one occupies that has nothing to do.
func (w *world) memoryOfAnIdleManager(ctx context.Context) (float64, error) {
	if err := w.startManager(ctx); err != nil {
		return 0, err
	}
	if _, err := idle(ctx, w.manager.ProcessNumber()); err != nil {
		return 0, err
	}
	mib, err := residentMiB(w.manager.ProcessNumber())
	if err != nil {
		return 0, err
	}
	return mib, w.stopManager()
}

// restartAndCrowd restarts the manager with all keys there, and once more when there are many Secrets of others.
func (w *world) restartAndCrowd(ctx context.Context, figures *report) error {
	progress("restarting the manager with %d keys", w.keys)
	before, err := w.versions(ctx)
	if err != nil {
		return err
	}
	if figures.RestartSeconds, figures.FullMiB, err = w.restart(ctx); err != nil {
		return err
	}
	progress("creating %d Secrets of 1 KiB and %d of 1 MiB", w.foreign, w.large)
	if err := w.crowd(ctx); err != nil {
		return err
	}
	running, err := residentMiB(w.manager.ProcessNumber())
	if err != nil {
		return err
	}
	_, restarted, err := w.restart(ctx)
	if err != nil {
		return err
	}
	figures.CrowdedMiB = max(running, restarted)
	after, err := w.versions(ctx)
	if err != nil {
		return err
	}
	for name, version := range after {
		if before[name] != version {
			figures.RestartWrites++
		}
	}
	return nil
}

func (w *world) restart(ctx context.Context) (seconds, mib float64, err error) {
	if err := w.stopManager(); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := w.startManager(ctx); err != nil {
		return 0, 0, err
	}
	rest, err := idle(ctx, w.manager.ProcessNumber())
	if err != nil {
		return 0, 0, err
	}
	mib, err = residentMiB(w.manager.ProcessNumber())
	return rest.Sub(began).Seconds(), mib, err
}

// versions are the resourceVersions of all that the manager writes.
func (w *world) versions(ctx context.Context) (map[string]string, error) {
	versions := map[string]string{}
	for _, kind := range []string{v1alpha1.APIKeyKind, v1alpha1.APIKeyRecordKind, "Secret"} {
		list := &metav1.PartialObjectMetadataList{}
		gvk := v1alpha1.GroupVersion.WithKind(kind + "List")
		if kind == "Secret" {
			gvk = corev1.SchemeGroupVersion.WithKind("SecretList")
		}
		list.SetGroupVersionKind(gvk)
		if err := w.user.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		for _, item := range list.Items {
			versions[kind+" "+item.Name] = item.ResourceVersion
		}
	}
	return versions, nil
}

// crowd fills the cluster with Secrets that are none of the operator's business.
func (w *world) crowd(ctx context.Context) error {
	const crowded = "crowd"
	if err := w.user.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: crowded}}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sizes := make(chan int)
	var group sync.WaitGroup
	for range 2 * w.concurrency {
		group.Go(func() {
			for size := range sizes {
				secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: crowded, GenerateName: "theirs-"}}
				// A little less than the limit, which counts the names too.
				secret.Data = map[string][]byte{"data": make([]byte, size)}
				if err := w.user.Create(ctx, secret); err != nil {
					cancel(fmt.Errorf("creating a Secret of %d bytes: %w", size, err))
				}
			}
		})
	}
	for i := range w.foreign + w.large {
		size := 1 << 10
		if i < w.large {
			size = 1<<20 - 1024
		}
		sizes <- size
	}
	close(sizes)
	group.Wait()
	return context.Cause(ctx)
}
