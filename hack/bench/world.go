// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// namespace holds the keys that are measured.
const namespace = "bench"

// world is a control plane with clients for the user, who applies keys, and for the operator's account.
type world struct {
	settings
	cluster *controlplane.Cluster
	user    client.WithWatch
	account client.Client
	raw     *kubernetes.Clientset
	log     *os.File
	manager *process.Program
}

func newWorld(ctx context.Context, s settings) (*world, error) {
	figures.Progress("starting the control plane")
	if err := controlplane.BuildOperator(); err != nil {
		return nil, err
	}
	cluster, err := controlplane.Start(controlplane.Options{})
	if err != nil {
		return nil, err
	}
	w := &world{settings: s, cluster: cluster}
	if err := w.prepare(ctx); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *world) prepare(ctx context.Context) error {
	var err error
	if w.user, err = w.cluster.Furnish(ctx); err != nil {
		return err
	}
	if w.raw, err = kubernetes.NewForConfig(w.cluster.Config); err != nil {
		return err
	}
	config, err := w.cluster.ServiceAccountConfig(ctx, controlplane.OperatorNamespace, controlplane.OperatorAccount)
	if err != nil {
		return err
	}
	if w.account, err = client.New(config, client.Options{Scheme: w.user.Scheme()}); err != nil {
		return err
	}
	if w.log, err = os.CreateTemp("", "dgbot-bench-"); err != nil {
		return err
	}
	return w.user.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func (w *world) startManager(ctx context.Context) error {
	manager, err := w.cluster.StartOperator(ctx, w.log, "--leader-elect=false", fmt.Sprintf("--max-concurrent-reconciles=%d", w.concurrency))
	w.manager = manager
	return err
}

func (w *world) stopManager() error {
	if w.manager == nil {
		return nil
	}
	err := w.manager.Stop()
	w.manager = nil
	return err
}

func (w *world) stop() error {
	err := errors.Join(w.stopManager(), w.cluster.Stop())
	if w.log != nil {
		err = errors.Join(err, w.log.Close(), os.Remove(w.log.Name()))
	}
	return err
}

// purge removes everything that a round left. No manager runs meanwhile.
func (w *world) purge(ctx context.Context) error {
	if err := w.stopManager(); err != nil {
		return err
	}
	kinds := []client.Object{&v1alpha1.DGbotAPIKey{}, &v1alpha1.DGbotAPIKeyRecord{}, &corev1.Secret{}, &eventsv1.Event{}}
	for _, kind := range kinds {
		if err := w.user.DeleteAllOf(ctx, kind, client.InNamespace(namespace)); err != nil {
			return err
		}
	}
	return wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
		var keys v1alpha1.DGbotAPIKeyList
		var records v1alpha1.DGbotAPIKeyRecordList
		var secrets corev1.SecretList
		for _, list := range []client.ObjectList{&keys, &records, &secrets} {
			if err := w.user.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
				return false, err
			}
		}
		return len(keys.Items)+len(records.Items)+len(secrets.Items) == 0, nil
	})
}
