// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

const releaseName = "dgbot"

// helm does to a control plane what the command of that name does, with its defaults. Nobody waits for Pods: there are no nodes.
type helm struct {
	t       *testing.T
	cluster *controlplane.Cluster
}

func startCluster(t *testing.T) *helm {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	if err := controlplane.BuildOperator(); err != nil {
		t.Fatal(err)
	}
	cluster, err := controlplane.Start(controlplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &helm{t, cluster}
}

func (h *helm) actions() *action.Configuration {
	h.t.Helper()
	settings := cli.New()
	settings.KubeConfig = h.cluster.Kubeconfig
	settings.SetNamespace(operatorNamespace)
	actions := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	if err := actions.Init(settings.RESTClientGetter(), operatorNamespace, "secret"); err != nil {
		h.t.Fatal(err)
	}
	return actions
}

// installAs is 'helm install', and tune what else its flags say.
func (h *helm) installAs(name string, given values, tune func(*action.Install)) (*release.Release, error) {
	h.t.Helper()
	install := action.NewInstall(h.actions())
	install.ReleaseName, install.Namespace, install.WaitStrategy = name, operatorNamespace, kube.HookOnlyStrategy
	if tune != nil {
		tune(install)
	}
	got, err := install.RunWithContext(h.t.Context(), loadChart(h.t), given)
	if err != nil {
		return nil, err
	}
	h.established()
	return got.(*release.Release), nil
}

func (h *helm) install(given values) *release.Release {
	h.t.Helper()
	installed, err := h.installAs(releaseName, given, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return installed
}

// upgrade is 'helm upgrade --reset-values': by itself Helm takes no values for those of the last time.
func (h *helm) upgrade(to *chart.Chart, given values) {
	h.t.Helper()
	upgrade := action.NewUpgrade(h.actions())
	upgrade.Namespace, upgrade.WaitStrategy, upgrade.ResetValues = operatorNamespace, kube.HookOnlyStrategy, true
	if _, err := upgrade.RunWithContext(h.t.Context(), releaseName, to, given); err != nil {
		h.t.Fatal(err)
	}
}

func (h *helm) uninstall() string {
	h.t.Helper()
	uninstall := action.NewUninstall(h.actions())
	uninstall.WaitStrategy, uninstall.DeletionPropagation = kube.HookOnlyStrategy, "background"
	response, err := uninstall.Run(releaseName)
	if err != nil {
		h.t.Fatal(err)
	}
	return response.Info
}

func (h *helm) established() {
	h.t.Helper()
	h.must("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
}

// operate runs the manager under its account with the arguments of the installed Deployment.
func (h *helm) operate() (stop func()) {
	h.t.Helper()
	var args []string
	h.decode(&args, "get", "deployment", "dgbot-manager", "-n", operatorNamespace, "-o", "jsonpath={.spec.template.spec.containers[0].args}")
	watched := h.must("", "get", "deployment", "dgbot-manager", "-n", operatorNamespace, "-o",
		`jsonpath={.spec.template.spec.containers[0].env[?(@.name=="WATCH_NAMESPACES")].value}`)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$(WATCH_NAMESPACES)", watched)
	}
	log := &bytes.Buffer{}
	args = append(args, "--health-probe-bind-address=0", "--metrics-bind-address=0")
	operator, err := h.cluster.StartOperatorAs(h.t.Context(), operatorNamespace, "dgbot-manager", log, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := operator.Stop(); err != nil {
			h.t.Error(err)
		}
		if h.t.Failed() {
			h.t.Log(log.String())
		}
	}
	h.t.Cleanup(stop)
	return stop
}

func (h *helm) run(input string, args ...string) (string, error) {
	command := h.cluster.Kubectl(h.t.Context(), args...)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	return string(out), err
}

func (h *helm) must(input string, args ...string) string {
	h.t.Helper()
	out, err := h.run(input, args...)
	if err != nil {
		h.t.Fatalf("kubectl %s: %s", strings.Join(args, " "), out)
	}
	return out
}

func (h *helm) decode(into any, args ...string) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.must("", args...)), into); err != nil {
		h.t.Fatal(err)
	}
}

func (h *helm) eventually(what string, condition func() (bool, string)) {
	h.t.Helper()
	var last string
	err := wait.PollUntilContextTimeout(h.t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		done, said := condition()
		last = said
		return done, nil
	})
	if err != nil {
		h.t.Fatalf("%s: %v: %s", what, err, last)
	}
}
