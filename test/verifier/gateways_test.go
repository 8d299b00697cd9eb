// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/test/controlplane"
)

// gateways are the projects whose kinds config/gateways uses, with the file that defines these and its SHA-256. The programs
// themselves are too much to build for a test; what they accept is in these definitions.
var gateways = []struct{ module, file, sum string }{
	{"github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_securitypolicies.yaml",
		"0eddd4bb2ac007b709433fec37669e79fd57b153fbfe7b42446d45ea384c0a74"},
	{"github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/gatewayapi-crds.yaml",
		"f0342ed49e7cd1b62624659984ea2934addd334efc8630827d0e1a81194b157a"},
	{"istio.io/api@v1.32.0", "kubernetes/customresourcedefinitions.gen.yaml",
		"c65d3908ee5eefea7cb5f3baad2622455fd7b483e920ee428500b44da73f2601"},
	{"github.com/traefik/traefik/v3@v3.7.13", "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml",
		"1d5e8558803804562238b0d4a57174aadd6d87c36e3c4c55199ebcc356a9406c"},
}

// definitions returns the path of a file of a module, which the module cache has or gets.
func definitions(t *testing.T, module, file, sum string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	command.Dir = t.TempDir() // outside of this module, whose go.sum does not know it
	out, err := command.Output()
	if err != nil {
		t.Fatalf("downloading %s: %v: %s", module, err, out)
	}
	var downloaded struct{ Dir string }
	must(t, json.Unmarshal(out, &downloaded))
	path := filepath.Join(downloaded.Dir, filepath.FromSlash(file))
	content, err := os.ReadFile(path)
	must(t, err)
	if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != sum {
		t.Fatalf("%s of %s has SHA-256 %x", file, module, got)
	}
	return path
}

func kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := cluster.Kubectl(t.Context(), args...).CombinedOutput()
	return string(out), err
}

// TestGatewaysTakeTheExamples: the manifests of config/gateways are valid by the kinds' own definitions, to the last field,
// and lead to the Service that config/verifier installs.
func TestGatewaysTakeTheExamples(t *testing.T) {
	for _, of := range gateways {
		if out, err := kubectl(t, "apply", "--server-side", "-f", definitions(t, of.module, of.file, of.sum)); err != nil {
			t.Fatalf("%s: %s", of.file, out)
		}
	}
	must(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "support"}})))
	service := &corev1.Service{}
	must(t, admin.Get(t.Context(), types.NamespacedName{Namespace: controlplane.OperatorNamespace, Name: "dgbot-verifier"}, service))
	for name, leads := range map[string]string{
		"envoy-gateway.yaml":              "{name: dgbot-verifier, namespace: dgbot-system, port: 9090}",
		"istio/authorization-policy.yaml": "provider: {name: dgbot-keys}",
		"traefik.yaml":                    "address: http://dgbot-verifier.dgbot-system.svc.cluster.local/check",
		// Not of a kind of Kubernetes.
		"istio/mesh-config.yaml": "service: dgbot-verifier.dgbot-system.svc.cluster.local\n    port: 9090",
	} {
		path := filepath.Join(controlplane.Repository(), "config", "gateways", filepath.FromSlash(name))
		content, err := os.ReadFile(path)
		must(t, err)
		if !strings.Contains(string(content), leads) {
			t.Errorf("%s does not lead to the verifier by %q", name, leads)
		}
		if name == "istio/mesh-config.yaml" {
			continue
		}
		eventually(t, name+" is accepted", func() bool {
			out, err := kubectl(t, "apply", "--server-side", "--validate=strict", "-f", path)
			if err != nil && !strings.Contains(out, "no matches for kind") && !strings.Contains(out, "ensure CRDs are installed first") {
				t.Fatalf("%s is refused: %s", name, out)
			}
			return err == nil
		})
	}
	ports := map[int32]bool{}
	for _, port := range service.Spec.Ports {
		ports[port.Port] = true
	}
	if !ports[80] || !ports[9090] {
		t.Errorf("the Service has the ports %v", ports)
	}
}
