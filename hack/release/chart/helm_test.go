// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

const releaseName = "dgbot"

// helm does to a control plane what the command of that name does, with its defaults. It waits for no Pods: there are no nodes.
type helm struct{ testenv.Kubectl }

func startCluster(t *testing.T) *helm {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	if err := controlplane.BuildOperator(); err != nil {
		t.Fatal(err)
	}
	cluster := testenv.StartCluster(t, controlplane.Options{})
	return &helm{testenv.Kubectl{T: t, Cluster: cluster}}
}

func (h *helm) actions() *action.Configuration {
	h.T.Helper()
	settings := cli.New()
	settings.KubeConfig = h.Cluster.Kubeconfig
	settings.SetNamespace(operatorNamespace)
	actions := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	if err := actions.Init(settings.RESTClientGetter(), operatorNamespace, "secret"); err != nil {
		h.T.Fatal(err)
	}
	return actions
}

// installAs is 'helm install', and tune what else its flags say.
func (h *helm) installAs(name string, given values, tune func(*action.Install)) (*release.Release, error) {
	h.T.Helper()
	install := action.NewInstall(h.actions())
	install.ReleaseName, install.Namespace, install.WaitStrategy = name, operatorNamespace, kube.HookOnlyStrategy
	if tune != nil {
		tune(install)
	}
	got, err := install.RunWithContext(h.T.Context(), loadChart(h.T), given)
	if err != nil {
		return nil, err
	}
	h.established()
	return got.(*release.Release), nil
}

func (h *helm) install(given values) *release.Release {
	h.T.Helper()
	installed, err := h.installAs(releaseName, given, nil)
	if err != nil {
		h.T.Fatal(err)
	}
	return installed
}

// upgrade is 'helm upgrade --reset-values': by itself Helm takes no values for those of the last time.
func (h *helm) upgrade(to *chart.Chart, given values) {
	h.T.Helper()
	upgrade := action.NewUpgrade(h.actions())
	upgrade.Namespace, upgrade.WaitStrategy, upgrade.ResetValues = operatorNamespace, kube.HookOnlyStrategy, true
	if _, err := upgrade.RunWithContext(h.T.Context(), releaseName, to, given); err != nil {
		h.T.Fatal(err)
	}
}

func (h *helm) uninstall() string {
	h.T.Helper()
	uninstall := action.NewUninstall(h.actions())
	uninstall.WaitStrategy, uninstall.DeletionPropagation = kube.HookOnlyStrategy, "background"
	response, err := uninstall.Run(releaseName)
	if err != nil {
		h.T.Fatal(err)
	}
	return response.Info
}

func (h *helm) established() {
	h.T.Helper()
	h.Must("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
}

// operate runs the manager under its account with the arguments of the installed Deployment.
func (h *helm) operate() (stop func()) {
	h.T.Helper()
	var args []string
	h.Decode(&args, "get", "deployment", "dgbot-manager", "-n", operatorNamespace, "-o", "jsonpath={.spec.template.spec.containers[0].args}")
	watched := h.Must("", "get", "deployment", "dgbot-manager", "-n", operatorNamespace, "-o",
		`jsonpath={.spec.template.spec.containers[0].env[?(@.name=="WATCH_NAMESPACES")].value}`)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$(WATCH_NAMESPACES)", watched)
	}
	log := &bytes.Buffer{}
	args = append(args, "--health-probe-bind-address=0", "--metrics-bind-address=0")
	operator, err := h.Cluster.StartOperatorAs(h.T.Context(), operatorNamespace, "dgbot-manager", log, args...)
	if err != nil {
		h.T.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := operator.Stop(); err != nil {
			h.T.Error(err)
		}
		if h.T.Failed() {
			h.T.Log(log.String())
		}
	}
	h.T.Cleanup(stop)
	return stop
}
