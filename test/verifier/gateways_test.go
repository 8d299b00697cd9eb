// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// gateways are the projects whose kinds config/integrations/gateways uses, with the file that defines these and its SHA-256. The programs
// themselves are too much to build for a test; what they accept is in these definitions.
var gateways = []struct{ module, file, sum string }{
	{"github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_securitypolicies.yaml",
		"0eddd4bb2ac007b709433fec37669e79fd57b153fbfe7b42446d45ea384c0a74"},
	{"github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/gatewayapi-crds.yaml",
		"f0342ed49e7cd1b62624659984ea2934addd334efc8630827d0e1a81194b157a"},
	{"github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_clienttrafficpolicies.yaml",
		"2c7eaa1ce30de626e9c362b8d9002281c2f435f970020fa81902ad7f30b38d5b"},
	{"github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_envoyproxies.yaml",
		"3e9ea2f348445e3798b02daf02bf024b0d944227cf5ef8a18da7f675a1afd223"},
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
	out, err := world.Kubectl(t.Context(), args...).CombinedOutput()
	return string(out), err
}

// TestGatewaysTakeTheExamples: the manifests of config/integrations/gateways are valid by the kinds' own definitions, to the last field,
// and lead to the Service that config/verifier installs.
func TestGatewaysTakeTheExamples(t *testing.T) {
	for _, of := range gateways {
		if out, err := kubectl(t, "apply", "--server-side", "-f", definitions(t, of.module, of.file, of.sum)); err != nil {
			t.Fatalf("%s: %s", of.file, out)
		}
	}
	must(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "support"}})))
	for name, leads := range map[string]string{
		"envoy-gateway.yaml":              "{name: dgbot-verifier, namespace: dgbot-system, port: 9090}",
		"istio/authorization-policy.yaml": "provider: {name: dgbot-keys}",
		"istio/destination-rule.yaml":     "host: dgbot-verifier.dgbot-system.svc.cluster.local",
		"traefik.yaml":                    "address: https://dgbot-verifier.dgbot-system.svc.cluster.local/check",
		// Not of a kind of Kubernetes.
		"istio/mesh-config.yaml": "service: dgbot-verifier.dgbot-system.svc.cluster.local\n    port: 9090",
	} {
		path := filepath.Join(controlplane.Repository(), "config", "integrations", "gateways", filepath.FromSlash(name))
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
}

// TestVerifierTLS_IsWhatTheExamplesExpect: on top of config/verifier the component gives the Service the ports that the examples name, and the
// verifiers a certificate.
func TestVerifierTLS_IsWhatTheExamplesExpect(t *testing.T) {
	folder := t.TempDir()
	relative := func(parts ...string) string {
		to, err := filepath.Rel(folder, filepath.Join(append([]string{controlplane.Repository(), "config"}, parts...)...))
		must(t, err)
		return filepath.ToSlash(to)
	}
	content := fmt.Sprintf("resources: [%q]\ncomponents: [%q]\n", relative("verifier"), relative("components", "verifier-tls"))
	must(t, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(content), 0o600))
	if out, err := kubectl(t, "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-k", folder); err != nil {
		t.Fatalf("%s", out)
	}
	out, err := kubectl(t, "kustomize", folder)
	must(t, err)
	ports, pod := map[string]int32{}, corev1.PodSpec{}
	for document := range strings.SplitSeq(out, "\n---\n") {
		var kind metav1.TypeMeta
		must(t, yaml.Unmarshal([]byte(document), &kind))
		switch kind.Kind {
		case "Service":
			var service corev1.Service
			must(t, yaml.Unmarshal([]byte(document), &service))
			for _, port := range service.Spec.Ports {
				ports[port.Name] = port.Port
			}
		case "Deployment":
			var deployment appsv1.Deployment
			must(t, yaml.Unmarshal([]byte(document), &deployment))
			pod = deployment.Spec.Template.Spec
		}
	}
	if ports["https"] != 443 || ports["grpc"] != 9090 || ports["http"] != 0 {
		t.Errorf("the Service has the ports %v", ports)
	}
	verifier := pod.Containers[0]
	if args := strings.Join(verifier.Args, " "); !strings.Contains(args, "--tls-cert-file=/tls/tls.crt --tls-key-file=/tls/tls.key") ||
		len(verifier.VolumeMounts) != 1 || pod.Volumes[0].Secret.SecretName != "dgbot-verifier-tls" ||
		verifier.LivenessProbe.HTTPGet.Scheme != corev1.URISchemeHTTPS || verifier.ReadinessProbe.HTTPGet.Scheme != corev1.URISchemeHTTPS {
		t.Errorf("%s, %v, %v", args, verifier.VolumeMounts, pod.Volumes)
	}
}

// example is a manifest of config/integrations/gateways, by kind and name.
type example map[string]any

func readExamples(t *testing.T, name string) map[string]example {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Repository(), "config", "integrations", "gateways", filepath.FromSlash(name)))
	must(t, err)
	all := map[string]example{}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		manifest := example{}
		must(t, yaml.Unmarshal([]byte(document), &manifest))
		all[manifest.at("kind")+"/"+manifest.at("metadata.name")] = manifest
	}
	return all
}

// at returns what is at a path of fields and indexes, as text; empty where nothing is.
func (e example) at(fields string) string {
	var value any = map[string]any(e)
	for field := range strings.SplitSeq(fields, ".") {
		switch holder := value.(type) {
		case map[string]any:
			value = holder[field]
		case []any:
			if i, err := strconv.Atoi(field); err == nil && i < len(holder) {
				value = holder[i]
			} else {
				value = nil
			}
		default:
			value = nil
		}
	}
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// TestManifests_AskForTheScopesOfEverySpelling, over TLS, and take no word of the client's for the verifier's.
func TestManifests_AskForTheScopesOfEverySpelling(t *testing.T) {
	envoy, traefik := readExamples(t, "envoy-gateway.yaml"), readExamples(t, "traefik.yaml")
	istio, mesh := readExamples(t, "istio/destination-rule.yaml"), readExamples(t, "istio/mesh-config.yaml")
	for _, tc := range []struct {
		of           example
		fields, want string
	}{
		{envoy["BackendTLSPolicy/dgbot-verifier"], "spec.validation.hostname", tlsName},
		{envoy["BackendTLSPolicy/dgbot-verifier"], "spec.validation.caCertificateRefs.0.name", "dgbot-verifier-ca"},
		{envoy["ClientTrafficPolicy/api-keys"], "spec.path.escapedSlashesAction", "RejectRequest"},
		{envoy["ClientTrafficPolicy/api-keys"], "spec.path.disableMergeSlashes", "false"},
		{envoy["ClientTrafficPolicy/api-keys"], "spec.headers.withUnderscoresAction", "RejectRequest"},
		{envoy["SecurityPolicy/api-keys"], "spec.extAuth.failOpen", "false"},
		{envoy["EnvoyProxy/api-keys"], "spec.provider.kubernetes.envoyDeployment.pod.labels", "map[keys.dgbot.io/verifier-client:true]"},
		{envoy["SecurityPolicy/api-keys"], "spec.extAuth.contextExtensions.0.name", "required-scopes"},
		{envoy["HTTPRoute/api"], "spec.rules.0.matches.0.path.type", "RegularExpression"},
		{envoy["HTTPRoute/api"], "spec.rules.0.filters.0.requestHeaderModifier.remove", "[X-Original-URL X-Rewrite-URL X-Original-URI]"},
		{istio["DestinationRule/dgbot-verifier"], "spec.trafficPolicy.tls.mode", "SIMPLE"},
		{istio["DestinationRule/dgbot-verifier"], "spec.trafficPolicy.tls.subjectAltNames.0", tlsName},
		{istio["DestinationRule/dgbot-verifier"], "spec.trafficPolicy.tls.caCertificates", "/etc/dgbot/ca.pem"},
		{mesh["/"], "pathNormalization.normalization", "DECODE_AND_MERGE_SLASHES"},
		{mesh["/"], "extensionProviders.0.envoyExtAuthzGrpc.failOpen", "false"},
		{traefik["Middleware/api-keys"], "spec.forwardAuth.trustForwardHeader", "false"},
		{traefik["Middleware/api-keys"], "spec.forwardAuth.maxResponseBodySize", "1024"},
		{traefik["Middleware/api-keys"], "spec.forwardAuth.tls.caSecret", "dgbot-verifier-ca"},
		{traefik["Middleware/api-keys"], "spec.forwardAuth.tls.insecureSkipVerify", ""},
		{traefik["Middleware/conversations-scopes"], "spec.headers.customRequestHeaders.X-DGbot-Required-Scopes", "conversations.read,conversations.write"},
		{traefik["IngressRoute/api"], "spec.routes.1", ""},
	} {
		if got := tc.of.at(tc.fields); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.of.at("kind"), tc.fields, got, tc.want)
		}
	}
	removed, _ := traefik["Middleware/without-key"]["spec"].(map[string]any)["headers"].(map[string]any)["customRequestHeaders"].(map[string]any)
	for _, name := range []string{"Authorization", "X-API-Key", "Connection", "X-Original-URL", "X-Rewrite-URL", "X-Original-URI"} {
		if value, isNamed := removed[name]; !isNamed || value != "" {
			t.Errorf("Traefik passes %s on", name)
		}
	}
	ours := regexp.MustCompile(traefik["Middleware/api-keys"].at("spec.forwardAuth.authResponseHeadersRegex"))
	for _, name := range []string{"X-DGbot-Scopes", "x_dgbot_scopes", "X-Dgbot_Key-Id", "x.dgbot.scopes", "X-DGbot-Key-UID"} {
		if !ours.MatchString(name) {
			t.Errorf("Traefik passes a client's %s on", name)
		}
	}
	for what, expression := range map[string]string{
		"Envoy Gateway": envoy["HTTPRoute/api"].at("spec.rules.0.matches.0.path.value"), "Traefik": regexp.MustCompile("`(.*)`").FindStringSubmatch(traefik["IngressRoute/api"].at("spec.routes.0.match"))[1],
	} {
		route := regexp.MustCompile("^(?:" + expression + ")$")
		for _, good := range []string{"/conversations", "/conversations/", "/conversations/1/messages", "/conversations/a-b_c~d.e"} {
			if !route.MatchString(good) {
				t.Errorf("%s has no route for %s", what, good)
			}
		}
		for _, target := range hostilePaths {
			if target, _, _ := strings.Cut(target, "?"); route.MatchString(target) && leniently(target) != target && leniently(target)+"/" != target {
				t.Errorf("%s passes %s on, which may be read as %s", what, target, leniently(target))
			}
		}
	}
}

// TestExamples_AskOverTLS: a key is in every question.
func TestExamples_AskOverTLS(t *testing.T) {
	must(t, filepath.WalkDir(filepath.Join(controlplane.Repository(), "config", "integrations", "gateways"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if regexp.MustCompile(`http://dgbot|dgbot-verifier[a-z.-]*:80\b|proxy_ssl_verify off|insecureSkipVerify: true`).Match(content) {
			t.Errorf("%s asks the verifier without TLS, or does not look whom it asks", path)
		}
		return err
	}))
}

// TestExamples_NameTheLabelThatTheNetworkPolicyAsksFor: a gateway without it gets no connection to the verifier.
func TestExamples_NameTheLabelThatTheNetworkPolicyAsksFor(t *testing.T) {
	root := filepath.Join(controlplane.Repository(), "config")
	content, err := os.ReadFile(filepath.Join(root, "verifier", "network_policy.yaml"))
	must(t, err)
	var policy networkingv1.NetworkPolicy
	must(t, yaml.Unmarshal(content, &policy))
	labels := policy.Spec.Ingress[0].From[0].PodSelector.MatchLabels
	if len(labels) != 1 {
		t.Fatalf("the policy asks for %v", labels)
	}
	for name, value := range labels {
		for _, example := range []string{"envoy-gateway.yaml", "traefik.yaml", "envoy/grpc.yaml", "envoy/http.yaml", "istio/authorization-policy.yaml", "nginx/dgbot.conf", "caddy/Caddyfile"} {
			content, err := os.ReadFile(filepath.Join(root, "integrations", "gateways", filepath.FromSlash(example)))
			must(t, err)
			if label := fmt.Sprintf("%s: %q", name, value); !strings.Contains(string(content), label) {
				t.Errorf("%s does not say that its Pods need the label %s", example, label)
			}
		}
	}
}

// TestExamples_CloseIdleConnectionsBeforeTheVerifier does, which is after 20 s: a request over a connection that is being closed fails.
func TestExamples_CloseIdleConnectionsBeforeTheVerifier(t *testing.T) {
	for example, setting := range map[string]string{
		"nginx/dgbot.conf": `(?s)upstream dgbot_verifier \{[^}]*keepalive_timeout 15s;`, "envoy/http.yaml": `(?s)- name: dgbot-verifier\n.*idle_timeout: 15s.*- name: api\n`,
		"caddy/Caddyfile": `keepalive 15s\n`,
	} {
		content, err := os.ReadFile(filepath.Join(controlplane.Repository(), "config", "integrations", "gateways", filepath.FromSlash(example)))
		must(t, err)
		if !regexp.MustCompile(setting).Match(content) {
			t.Errorf("%s keeps idle connections for longer than the verifier", example)
		}
	}
}
