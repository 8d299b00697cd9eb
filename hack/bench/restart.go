// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/testenv/process"
	"dgbot.io/key-operator/test/starvation"
)

// memoryOfAnIdleManager is what one occupies that has nothing to do.
func (w *measurement) memoryOfAnIdleManager(ctx context.Context) (float64, error) {
	if err := w.startManager(ctx); err != nil {
		return 0, err
	}
	if _, err := idle(ctx, w.manager.ProcessNumber()); err != nil {
		return 0, err
	}
	mib, err := process.ResidentMiB(w.manager.ProcessNumber())
	if err != nil {
		return 0, err
	}
	return mib, w.stopManager()
}

// restartAndCrowd restarts the manager with all keys there, and once more when there are many Secrets of others.
func (w *measurement) restartAndCrowd(ctx context.Context, result *report) error {
	figures.Progress("restarting the manager with %d keys", w.keys)
	before, err := w.versions(ctx)
	if err != nil {
		return err
	}
	if result.RestartSeconds, result.FullMiB, err = w.restart(ctx); err != nil {
		return err
	}
	figures.Progress("creating %d Secrets of 1 KiB and %d of 1 MiB", w.foreign, w.large)
	if err := starvation.CreateSecrets(ctx, w.Admin, "crowd", w.foreign, w.large); err != nil {
		return err
	}
	running, err := process.ResidentMiB(w.manager.ProcessNumber())
	if err != nil {
		return err
	}
	_, restarted, err := w.restart(ctx)
	if err != nil {
		return err
	}
	result.CrowdedMiB = max(running, restarted)
	after, err := w.versions(ctx)
	if err != nil {
		return err
	}
	for name, version := range after {
		if before[name] != version {
			result.RestartWrites++
		}
	}
	return nil
}

func (w *measurement) restart(ctx context.Context) (seconds, mib float64, err error) {
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
	mib, err = process.ResidentMiB(w.manager.ProcessNumber())
	return rest.Sub(began).Seconds(), mib, err
}

// versions are the resourceVersions of all that the manager writes.
func (w *measurement) versions(ctx context.Context) (map[string]string, error) {
	versions := map[string]string{}
	for _, kind := range []string{v1alpha1.APIKeyKind, v1alpha1.APIKeyRecordKind, "Secret"} {
		list := &metav1.PartialObjectMetadataList{}
		gvk := v1alpha1.GroupVersion.WithKind(kind + "List")
		if kind == "Secret" {
			gvk = corev1.SchemeGroupVersion.WithKind("SecretList")
		}
		list.SetGroupVersionKind(gvk)
		if err := w.Admin.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		for _, item := range list.Items {
			versions[kind+" "+item.Name] = item.ResourceVersion
		}
	}
	return versions, nil
}
