// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/browser"
)

// deploy creates a Deployment. No controller runs it.
func (p *place) deploy(name string, spec corev1.PodSpec) {
	p.T.Helper()
	labels := map[string]string{"app": name}
	must(p.T, admin.Create(p.T.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: name},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}},
	}))
}

func TestDescribeShowsWhoReadsTheSecret(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("web", nil)
	s.AwaitReady("web")
	s.deploy("api", corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app", Env: []corev1.EnvVar{{Name: "DGBOT_KEY", ValueFrom: &corev1.EnvVarSource{
		SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "web"}, Key: "api-key"},
	}}}}}})
	s.deploy("mounted", corev1.PodSpec{
		Containers: []corev1.Container{{Name: "app", Image: "app", VolumeMounts: []corev1.VolumeMount{{Name: "key", MountPath: "/etc/dgbot"}}}},
		Volumes:    []corev1.Volume{{Name: "key", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "web"}}}},
	})
	s.does("rotate", "web", "--wait")
	text := s.KeyText("web")
	s.Eventually("the events are there", func() bool { return strings.Contains(s.does("describe", "web"), "Issued revision 2") })
	s.gives(0, "", text, []string{
		"FirstIssue", "Request", "Admitted, current", "environment variable DGBOT_KEY of container app", "kubectl rollout restart deployment/api -n " + s.Name,
		"volume at /etc/dgbot of container app", "the file changes within about a minute", "Last used:", "Events:", "Ready",
	}, "describe", "web")
	var all []struct {
		Key       v1alpha1.DGbotAPIKey
		Records   []v1alpha1.DGbotAPIKeyRecord
		Consumers []struct{ Name, Effect string }
	}
	must(t, json.Unmarshal([]byte(s.does("describe", "web", "-o", "json")), &all))
	if len(all) != 1 || len(all[0].Records) != 2 || all[0].Records[0].Spec.Revision != 2 || len(all[0].Consumers) != 2 || all[0].Consumers[0].Effect != "NeedsRestart" {
		t.Errorf("%+v", all)
	}
	s.refuses(1, "", `there is no DGbotAPIKey "gone"`, "describe", "gone")
	s.refuses(2, "", "say which keys", "describe")
}

func TestTheAuditOfANamespace(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("mighty", func(k *v1alpha1.DGbotAPIKey) { k.Spec.Scopes = []v1alpha1.Scope{"*"} })
	s.CreateKey("modest", func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation = &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 720 * time.Hour}}
	})
	s.AwaitReady("mighty")
	s.AwaitReady("modest")
	s.gives(0, "", s.KeyText("mighty"), []string{"RISK", "Medium", "may do everything"}, "audit")
	s.gives(0, "", s.KeyText("mighty"), []string{"RISK,NAMESPACE,NAME"}, "audit", "-o", "csv")
	var report struct {
		Keys []struct {
			Risk, Name string
			Findings   []struct{ What string }
		}
	}
	must(t, json.Unmarshal([]byte(s.does("audit", "-o", "json")), &report))
	if len(report.Keys) != 2 || report.Keys[0].Name != "mighty" || report.Keys[0].Risk != "Medium" || len(report.Keys[0].Findings) == 0 {
		t.Errorf("%+v", report)
	}
	s.gives(3, "", s.KeyText("mighty"), []string{"risk Medium or a higher one"}, "audit", "--fail-on=medium")
	s.gives(0, "", s.KeyText("mighty"), nil, "audit", "--fail-on=high")
	s.refuses(2, "", "--fail-on", "audit", "--fail-on=much")
	s.refuses(2, "", "--unused-after", "audit", "--unused-after=0s")
	s.refuses(2, "", "audit takes no names", "audit", "web")
	s.refuses(2, "", "--html is empty", "audit", "--html", "")
	s.refuses(2, "", "do not go together", "audit", "--html", "-", "-o", "json")
	s.refuses(2, "", "--selector", "audit", "-l", "a=(")
	s.gives(0, "", s.KeyText("mighty"), []string{"<!doctype html>", "may do everything"}, "audit", "--html", "-")
	s.refuses(1, "", "cannot list resource", "audit", "-A")
	s.refuses(1, "", "no such file", "audit", "--html", "/nowhere/audit.html")

	folder := t.TempDir()
	page, link := filepath.Join(folder, "audit.html"), filepath.Join(folder, "link.html")
	must(t, os.WriteFile(page, []byte("old"), 0o640))
	must(t, os.Symlink(page, link))
	s.gives(0, "", s.KeyText("mighty"), []string{"2 keys in " + link}, "audit", "--html", link)
	// What is there stays what it is: a link, or a device.
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v now (%v)", info.Mode(), err)
	}
	s.gives(1, "", s.KeyText("mighty"), []string{"no space left"}, "audit", "--html", "/dev/full")
	written, err := os.ReadFile(page)
	must(t, err)
	if !strings.Contains(string(written), "may do everything") || exposes(string(written), s.KeyText("mighty")) {
		t.Error("the page lacks a finding, or has a key")
	}
	t.Run("in a browser", func(t *testing.T) {
		shown, err := browser.DumpPage(t.Context(), browser.FindOrSkip(t), "file://"+page)
		must(t, err)
		if strings.Count(shown, `<rect class="bar"`) != 2 || !strings.Contains(shown, s.Name+"/mighty") {
			t.Errorf("%s", shown)
		}
	})
}

func TestCompletion(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("web", nil)
	s.CreateKey("crm", nil)
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"rot"}, []string{"rotate"}},
		{[]string{"rotate", ""}, []string{"crm\t", "web\t"}},
		{[]string{"rotate", "web", ""}, []string{"crm\t"}},
		{[]string{"list", "-o", ""}, []string{"table", "csv"}},
		{[]string{"audit", "--fail-on", ""}, []string{"high"}},
	} {
		out, _, code := s.run("", append([]string{"__complete"}, tc.args...)...)
		for _, want := range tc.want {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%v: exit code %d, no %q in %q", tc.args, code, want, out)
			}
		}
		if len(tc.args) == 3 && tc.args[0] == "rotate" && strings.Contains(out, "web") {
			t.Errorf("%v offers what is named already: %q", tc.args, out)
		}
	}
}
