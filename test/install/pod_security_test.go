// SPDX-License-Identifier: Apache-2.0

package install

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// restrictedPodsAreTaken: the API server takes a Pod of an installed Deployment, named like its account, into the installed
// namespace, which asks for the restricted standard; the API server rejects it if one of its restrictions is missing.
func (h *hardened) restrictedPodsAreTaken(name string) {
	h.T.Helper()
	template := h.deploymentOf(name).Spec.Template
	if out, err := h.tryPod(&template); err != nil {
		h.T.Errorf("the Pod of %s is refused: %s", name, out)
	}
	for what, loosen := range map[string]func(*corev1.PodSpec){
		"runAsNonRoot":             func(s *corev1.PodSpec) { s.SecurityContext.RunAsNonRoot = nil },
		"seccompProfile":           func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil },
		"capabilities":             func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil },
		"allowPrivilegeEscalation": func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil },
	} {
		looser := template.DeepCopy()
		loosen(&looser.Spec)
		if out, err := h.tryPod(looser); err == nil || !strings.Contains(out, `violates PodSecurity "restricted`) {
			h.T.Errorf("%s without %s: %s", name, what, out)
		}
	}
	container := template.Spec.Containers[0].SecurityContext
	if !*container.ReadOnlyRootFilesystem || template.Spec.SecurityContext.RunAsGroup == nil || *template.Spec.SecurityContext.RunAsGroup == 0 {
		h.T.Errorf("the Pod of %s may write its file system, or runs with the group of root", name)
	}
	account := h.Must("", "get", "serviceaccount", name, "-n", controlplane.OperatorNamespace, "-o", "jsonpath={.automountServiceAccountToken}")
	if account != "false" || template.Spec.AutomountServiceAccountToken == nil || !*template.Spec.AutomountServiceAccountToken {
		h.T.Errorf("the token of %s is to be mounted into its Pod, and into no other of its account", name)
	}
}

func (h *hardened) tryPod(template *corev1.PodTemplateSpec) (string, error) {
	h.T.Helper()
	manifest, err := json.Marshal(&corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: controlplane.OperatorNamespace, Name: "try", Labels: template.Labels},
		Spec:       template.Spec,
	})
	if err != nil {
		h.T.Fatal(err)
	}
	return h.Run(string(manifest), "create", "--dry-run=server", "-f", "-")
}
