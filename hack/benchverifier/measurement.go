// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// namespace holds the keys and records that are measured with.
const namespace = "bench"

// measurement is a World without a controller manager: its garbage collector would delete records without a key.
type measurement struct {
	*settings
	*testenv.World
	log *os.File
	// texts are keys of some of the records.
	texts []string
}

func startMeasurement(ctx context.Context, s *settings) (*measurement, error) {
	figures.Progress("starting the control plane")
	world, err := testenv.Start(ctx, testenv.Options{
		Build:  []func() error{controlplane.BuildOperator, controlplane.BuildVerifier},
		Config: []string{"verifier"}, WithoutControllers: true,
	})
	if err != nil {
		return nil, err
	}
	w := &measurement{settings: s, World: world}
	if err := w.prepare(ctx); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *measurement) prepare(ctx context.Context) (err error) {
	if w.log, err = os.CreateTemp("", "dgbot-bench-"); err != nil {
		return err
	}
	return w.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func (w *measurement) stop() error {
	err := w.Stop()
	if w.log != nil {
		err = errors.Join(err, w.log.Close(), os.Remove(w.log.Name()))
	}
	return err
}

// verifier is one that runs, and is ready.
type verifier struct {
	testenv.Verifier
	grpc string
	// readyAfter is how long it took.
	readyAfter time.Duration
}

// startVerifier runs the built verifier: against the API server, or against what a config leads to.
func (w *measurement) startVerifier(ctx context.Context, config *rest.Config) (v *verifier, err error) {
	v = &verifier{}
	if v.Address, err = process.FreeAddress(); err != nil {
		return nil, err
	}
	if v.grpc, err = process.FreeAddress(); err != nil {
		return nil, err
	}
	arguments := []string{"--http-bind-address=" + v.Address, "--grpc-bind-address=" + v.grpc, "--drain-delay=0s"}
	if config != nil {
		arguments = append(arguments, "--register=false") // what it leads to serves records alone
	} else {
		if config, err = w.ServiceAccountConfig(ctx, controlplane.OperatorNamespace, controlplane.VerifierAccount); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	v.Program, err = w.StartVerifierWith(config, w.log, arguments...)
	if err != nil {
		return nil, err
	}
	if err := v.AwaitReady(ctx, 5*time.Millisecond, 10*time.Minute); err != nil {
		return nil, errors.Join(err, v.Stop())
	}
	v.readyAfter = time.Since(began)
	return v, nil
}
