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
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// namespace holds the keys that are measured.
const namespace = "bench"

// measurement is a World with a client for the operator's account and a manager. The user who applies keys is Admin.
type measurement struct {
	settings
	*testenv.World
	account client.Client
	raw     *kubernetes.Clientset
	log     *os.File
	manager *process.Program
}

func startMeasurement(ctx context.Context, s settings) (*measurement, error) {
	figures.Progress("starting the control plane")
	world, err := testenv.Start(ctx, testenv.Options{Build: []func() error{controlplane.BuildOperator}})
	if err != nil {
		return nil, err
	}
	w := &measurement{settings: s, World: world}
	if err := w.prepare(ctx); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *measurement) prepare(ctx context.Context) error {
	var err error
	if w.raw, err = kubernetes.NewForConfig(w.Config); err != nil {
		return err
	}
	config, err := w.ServiceAccountConfig(ctx, controlplane.OperatorNamespace, controlplane.OperatorAccount)
	if err != nil {
		return err
	}
	if w.account, err = client.New(config, client.Options{Scheme: w.Admin.Scheme()}); err != nil {
		return err
	}
	if w.log, err = os.CreateTemp("", "dgbot-bench-"); err != nil {
		return err
	}
	return w.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func (w *measurement) startManager(ctx context.Context) error {
	manager, err := w.StartOperator(ctx, w.log, "--leader-elect=false", fmt.Sprintf("--max-concurrent-reconciles=%d", w.concurrency))
	w.manager = manager
	return err
}

func (w *measurement) stopManager() error {
	if w.manager == nil {
		return nil
	}
	err := w.manager.Stop()
	w.manager = nil
	return err
}

func (w *measurement) stop() error {
	err := errors.Join(w.stopManager(), w.Stop())
	if w.log != nil {
		err = errors.Join(err, w.log.Close(), os.Remove(w.log.Name()))
	}
	return err
}

// purge removes everything that a round left. No manager runs meanwhile.
func (w *measurement) purge(ctx context.Context) error {
	if err := w.stopManager(); err != nil {
		return err
	}
	kinds := []client.Object{&v1alpha1.DGbotAPIKey{}, &v1alpha1.DGbotAPIKeyRecord{}, &corev1.Secret{}, &eventsv1.Event{}}
	for _, kind := range kinds {
		if err := w.Admin.DeleteAllOf(ctx, kind, client.InNamespace(namespace)); err != nil {
			return err
		}
	}
	return wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
		var keys v1alpha1.DGbotAPIKeyList
		var records v1alpha1.DGbotAPIKeyRecordList
		var secrets corev1.SecretList
		for _, list := range []client.ObjectList{&keys, &records, &secrets} {
			if err := w.Admin.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
				return false, err
			}
		}
		return len(keys.Items)+len(records.Items)+len(secrets.Items) == 0, nil
	})
}
