// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// namespace holds the keys and records that are measured with.
const namespace = "bench"

// world is a control plane without a controller manager: its garbage collector would remove records without a key.
type world struct {
	*settings
	cluster *controlplane.Cluster
	admin   client.WithWatch
	log     *os.File
	// texts are keys of some of the records.
	texts []string
}

func newWorld(ctx context.Context, s *settings) (*world, error) {
	figures.Progress("starting the control plane")
	if err := errors.Join(controlplane.BuildOperator(), controlplane.BuildVerifier()); err != nil {
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

func (w *world) prepare(ctx context.Context) (err error) {
	if err := w.cluster.Install(ctx); err != nil {
		return err
	}
	if err := w.cluster.InstallFrom(ctx, filepath.Join(controlplane.Repository(), "config", "verifier")); err != nil {
		return err
	}
	if w.admin, err = w.cluster.AdminClient(); err != nil {
		return err
	}
	if w.log, err = os.CreateTemp("", "dgbot-bench-"); err != nil {
		return err
	}
	return w.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func (w *world) stop() error {
	err := w.cluster.Stop()
	if w.log != nil {
		err = errors.Join(err, w.log.Close(), os.Remove(w.log.Name()))
	}
	return err
}

// verifier is one that runs, and is ready.
type verifier struct {
	*process.Program
	http, grpc string
	// readyAfter is how long it took.
	readyAfter time.Duration
}

// startVerifier runs the built verifier: against the API server, or against what a config leads to.
func (w *world) startVerifier(ctx context.Context, config *rest.Config) (v *verifier, err error) {
	v = &verifier{}
	if v.http, err = process.FreeAddress(); err != nil {
		return nil, err
	}
	if v.grpc, err = process.FreeAddress(); err != nil {
		return nil, err
	}
	if config == nil {
		if config, err = w.cluster.ServiceAccountConfig(ctx, controlplane.OperatorNamespace, controlplane.VerifierAccount); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	v.Program, err = w.cluster.StartVerifierWith(config, w.log, "--http-bind-address="+v.http, "--grpc-bind-address="+v.grpc, "--drain-delay=0s")
	if err != nil {
		return nil, err
	}
	if err := v.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, v.Stop())
	}
	v.readyAfter = time.Since(began)
	return v, nil
}

func (v *verifier) awaitReady(ctx context.Context) error {
	return wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, 10*time.Minute, true, func(ctx context.Context) (bool, error) {
		select {
		case <-v.Exited():
			return false, fmt.Errorf("the verifier ended: %w", v.Err())
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.http+"/readyz", nil)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
}
