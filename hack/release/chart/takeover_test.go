// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
)

// handOver is the command of the chart's README before 'helm install --take-ownership'.
var handOver = []string{"apply", "--server-side", "--field-manager=helm", "--force-conflicts", "-k", filepath.Join(config, "default")}

// TestTakeOver_ReadmeHasTheCommand that the other tests of the takeover run, and names the flag that only one version of Helm has.
func TestTakeOver_ReadmeHasTheCommand(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(chartPath, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	arguments := handOver[:len(handOver)-1]
	for _, want := range []string{
		"\n    kubectl " + strings.Join(arguments, " ") + " config/default\n    helm install ", "`--force-conflicts` to the second command, too. **Only Helm 4 has that flag.**",
	} {
		if !strings.Contains(string(content), want) {
			t.Errorf("the chart's README.md lacks %q", want)
		}
	}
}

// TestTakeOver_KubectlHandsItsFieldsToHelm: then Helm changes them without --force-conflicts, which Helm 3 does not have.
func TestTakeOver_KubectlHandsItsFieldsToHelm(t *testing.T) {
	asHelm(t)
	h := startCluster(t)
	if err := h.Cluster.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Cluster.StartControllerManager(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	stop := h.operate()
	h.Must("", "create", "namespace", "support")
	h.Must(key, "apply", "-f", "-")
	h.Must("", "wait", "--for=condition=Ready", "dgkey/crm", "-n", "support", "--timeout=60s")
	text := h.Must("", "get", "secret", "crm", "-n", "support", "-o", "jsonpath={.data.api-key}")
	stop()

	h.Must("", handOver...)
	_, err := h.installAs(releaseName, values{"image": values{"tag": "other"}}, func(install *action.Install) { install.TakeOwnership = true })
	if err != nil {
		t.Fatalf("after kubectl %s: %v", strings.Join(handOver, " "), err)
	}
	image := h.Must("", "get", "deployment", "dgbot-manager", "-n", operatorNamespace, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	if image != "dgbot-key-operator:other" {
		t.Errorf("the image is %s", image)
	}
	if after := h.Must("", "get", "secret", "crm", "-n", "support", "-o", "jsonpath={.data.api-key}"); after != text || text == "" {
		t.Error("the key is another one, or none")
	}
	// From now on it is a release like any other.
	h.upgrade(loadChart(t), values{"image": values{"tag": "next"}, "manager": values{"replicas": nil}})
	h.leavesKeys()
}

// TestTakeOver_AfterServerSideApply: kubectl stays an owner of each field, so Helm has to force what it changes. An upgrade mends the
// installation that failed without.
func TestTakeOver_AfterServerSideApply(t *testing.T) {
	asHelm(t)
	h := startCluster(t)
	h.Must("", "apply", "--server-side", "-k", filepath.Join(config, "default"))
	h.Must("", handOver...)
	changed := values{"image": values{"tag": "other"}}
	_, err := h.installAs(releaseName, changed, func(install *action.Install) { install.TakeOwnership = true })
	if err == nil || !strings.Contains(err.Error(), `conflict with "kubectl": .spec.template.spec.containers[name="manager"].image`) {
		t.Errorf("without force: %v", err)
	}
	upgrade := action.NewUpgrade(h.actions())
	upgrade.Namespace, upgrade.WaitStrategy, upgrade.ResetValues = operatorNamespace, kube.HookOnlyStrategy, true
	upgrade.TakeOwnership, upgrade.ForceConflicts = true, true
	if _, err := upgrade.RunWithContext(t.Context(), releaseName, loadChart(t), changed); err != nil {
		t.Fatal(err)
	}
	image := h.Must("", "get", "deployment", "dgbot-manager", "-n", operatorNamespace, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	if image != "dgbot-key-operator:other" {
		t.Errorf("the image is %s", image)
	}
}

// asHelm gives what Helm writes the name of its command, which is otherwise that of the test's binary.
func asHelm(t *testing.T) {
	t.Helper()
	before := kube.ManagedFieldsManager
	kube.ManagedFieldsManager = "helm"
	t.Cleanup(func() { kube.ManagedFieldsManager = before })
}
