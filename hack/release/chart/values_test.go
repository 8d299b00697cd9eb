// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// TestWrongValuesAreRefused, with a word on where and why.
func TestWrongValuesAreRefused(t *testing.T) {
	for given, want := range map[string]string{
		`{replicas: 2}`:                                                          `additional properties 'replicas' not allowed`,
		`{manager: {replica: 2}}`:                                                `at '/manager': additional properties 'replica' not allowed`,
		`{manager: {replicas: 0}}`:                                               `at '/manager/replicas': minimum: got 0, want 1`,
		`{manager: {replicas: "2"}}`:                                             `at '/manager/replicas': maxLength: got 1, want 0`,
		`{manager: {replicas: 1.5}}`:                                             `at '/manager/replicas': got number, want `,
		`{verifier: {replicas: 0}}`:                                              `at '/verifier/replicas': minimum: got 0, want 1`,
		`{verifier: {enabled: "yes"}}`:                                           `at '/verifier/enabled': got string, want boolean`,
		`{crds: {keep: "false"}}`:                                                `at '/crds/keep': got string, want boolean`,
		`{manager: {secretAccess: list}}`:                                        `at '/manager/secretAccess': value must be one of 'watch', 'get-only'`,
		`{manager: {watchNamespaces: support}}`:                                  `at '/manager/watchNamespaces': got string, want array`,
		`{manager: {watchNamespaces: ["*"]}}`:                                    `at '/manager/watchNamespaces/0': '*' does not match pattern`,
		`{manager: {watchNamespaces: [a, a]}}`:                                   `at '/manager/watchNamespaces': items at 0 and 1 are equal`,
		`{manager: {extraArgs: [--secret-access=get-only]}}`:                     `at '/manager/extraArgs/0': 'not' failed`,
		`{manager: {extraArgs: [--watch-namespaces=support]}}`:                   `at '/manager/extraArgs/0': 'not' failed`,
		`{manager: {extraArgs: [max-concurrent-reconciles=1]}}`:                  `at '/manager/extraArgs/0': 'max-concurrent-reconciles=1' does not match pattern`,
		`{manager: {extraArgs: [-secret-access=get-only]}}`:                      `at '/manager/extraArgs/0': '-secret-access=get-only' does not match pattern`,
		`{manager: {resources: {limit: {memory: 1Gi}}}}`:                         `at '/manager/resources': additional properties 'limit' not allowed`,
		`{crds: {keep: null}}`:                                                   `at '/crds': missing property 'keep'`,
		`{manager: null}`:                                                        `missing property 'manager'`,
		`{manager: {secretAccess: null}}`:                                        `at '/manager': missing property 'secretAccess'`,
		`{manager: {replicas: 99999999999}}`:                                     `at '/manager/replicas': maximum`,
		`{manager: {extraArgs: ["--watch-namespaces a"]}}`:                       `at '/manager/extraArgs/0': '--watch-namespaces a' does not match pattern`,
		`{manager: {extraArgs: ["--health-probe-bind-address=0"]}}`:              `at '/manager/extraArgs/0': 'not' failed`,
		`{image: {repository: "registry.example.com/operator:1.0"}}`:             `at '/image/repository': 'registry.example.com/operator:1.0' does not match pattern`,
		`{image: {repository: "https://registry.example.com/operator"}}`:         `at '/image/repository': 'https://registry.example.com/operator' does not match pattern`,
		`{image: {digest: "sha256:abc"}}`:                                        `at '/image/digest': 'sha256:abc' does not match pattern`,
		`{image: {tag: "1.0@sha256:abc"}}`:                                       `at '/image/tag': '1.0@sha256:abc' does not match pattern`,
		`{image: {tag: 1.0}}`:                                                    `at '/image/tag': got number, want string`,
		`{image: {repository: ""}}`:                                              `at '/image/repository': '' does not match pattern`,
		`{image: {pullPolicy: Sometimes}}`:                                       `at '/image/pullPolicy': value must be one of`,
		`{imagePullSecrets: [registry]}`:                                         `at '/imagePullSecrets/0': got string, want object`,
		`{enabled: false}`:                                                       `at '/enabled': value must be true`,
		`{global: true}`:                                                         `at '/global': got boolean, want object`,
		`{manager: {extraArgs: ["--metrics-bind-address=8443"]}}`:                `at '/manager/extraArgs/0': '--metrics-bind-address=8443' does not match pattern`,
		`{manager: {extraArgs: ["--metrics-bind-address=:0"]}}`:                  `at '/manager/extraArgs/0': '--metrics-bind-address=:0' does not match pattern`,
		`{manager: {extraArgs: ["--metrics-bind-address"]}}`:                     `at '/manager/extraArgs/0': '--metrics-bind-address' does not match pattern`,
		`{manager: {extraArgs: ["--health-probe-bind-address=127.0.0.1:8081"]}}`: `at '/manager/extraArgs/0': 'not' failed`,
		`{verifier: {extraArgs: ["--http-bind-address=0"]}}`:                     `at '/verifier/extraArgs/0': 'not' failed`,
		`{verifier: {extraArgs: ["--tls-cert-file="]}}`:                          `at '/verifier/extraArgs/0': 'not' failed`,
		`{verifier: {enabled: true, extraArgs: ["--grpc-bind-address=:8080"]}}`:  `--http-bind-address and --grpc-bind-address have the same port 8080`,
		`{manager: {podSecurityContext: {runAsUsr: 1}}}`:                         `at '/manager/podSecurityContext': additional properties 'runAsUsr' not allowed`,
		`{manager: {podSecurityContext: {runAsUser: "1000"}}}`:                   `at '/manager/podSecurityContext/runAsUser': maxLength: got 4, want 0`,
		`{manager: {extraEnv: {A: b}}}`:                                          `at '/manager/extraEnv': got object, want array`,
		`{manager: {extraEnv: [{name: GOMEMLIMIT, value: 1GiB}]}}`:               `at '/manager/extraEnv/0/name': 'not' failed`,
		`{manager: {extraVolumes: [{emptyDir: {}}]}}`:                            `at '/manager/extraVolumes/0': missing property 'name'`,
		`{manager: {podLabels: {app.kubernetes.io/component: verifier}}}`:        `at '/manager/podLabels/app.kubernetes.io~1component': false schema`,
		`{commonLabels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}`:  `at '/commonLabels/rbac.authorization.k8s.io~1aggregate-to-view': false schema`,
		`{commonLabels: {team: 1}}`:                                              `at '/commonLabels/team': got number, want string`,
		`{verifier: {service: {spec: {selector: {a: b}}}}}`:                      `at '/verifier/service/spec': additional properties 'selector' not allowed`,
		`{verifier: {service: {httpPort: 0}}}`:                                   `at '/verifier/service/httpPort': minimum: got 0, want 1`,
		`{prometheus: {serviceMonitor: {endpoint: {port: http}}}}`:               `at '/prometheus/serviceMonitor/endpoint': additional properties 'port' not allowed`,
		`{manager: {podDisruptionBudget: {maxUnavailable: all}}}`:                `at '/manager/podDisruptionBudget/maxUnavailable'`,
		`{networkPolicy: {enable: true}}`:                                        `at '/networkPolicy': additional properties 'enable' not allowed`,
		`{networkPolicy: {verifierClients: []}}`:                                 `at '/networkPolicy/verifierClients': minItems: got 0, want 1`,
		`{networkPolicy: {enabled: false, restrictedEgress: true}}`:              `at '/networkPolicy/restrictedEgress': value must be false`,
		`{identity: {create: false}, namespace: {}, prometheus: {a: true}}`:      `at '/identity': additional properties 'create' not allowed`,
	} {
		t.Run(given, func(t *testing.T) {
			_, err := rendered(t, operatorNamespace, parse(t, given))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

func parse(t *testing.T, text string) values {
	t.Helper()
	var parsed values
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestEveryValueHasASchema and nothing else has one: what is misspelled in the schema would be refused of users who spell it right.
func TestEveryValueHasASchema(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(chartPath, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	// A chart that has this one as a dependency gives these.
	delete(schema["properties"].(map[string]any), "global")
	delete(schema["properties"].(map[string]any), "enabled")
	compareKeys(t, "", loadChart(t).Values, schema)
}

func compareKeys(t *testing.T, at string, given values, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	if schema["additionalProperties"] != false {
		t.Errorf("%s: the schema takes what values.yaml does not have", at)
	}
	if difference := cmp.Diff(slices.Sorted(maps.Keys(properties)), slices.Sorted(maps.Keys(given))); difference != "" {
		t.Errorf("%s: the schema has -, values.yaml has +\n%s", at, difference)
	}
	for name, value := range given {
		property, _ := properties[name].(map[string]any)
		// A map with a schema of its own for what is in it is the user's: resources, and where Pods run.
		if nested, ok := value.(map[string]any); ok && property["properties"] != nil {
			compareKeys(t, at+"/"+name, nested, property)
		}
	}
}

// TestLint: as 'helm lint --strict' does.
func TestLint(t *testing.T) {
	lint := action.NewLint()
	lint.Strict, lint.Namespace = true, operatorNamespace
	result := lint.Run([]string{chartPath}, values{})
	for _, err := range result.Errors {
		t.Error(err)
	}
	if result.TotalChartsLinted != 1 {
		t.Errorf("%d charts", result.TotalChartsLinted)
	}
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// everything are values none of which is the default.
const everything = `
image: {repository: registry.example:5000/keys/operator, tag: 1.2.3, digest: "` + digest + `", pullPolicy: Always}
imagePullSecrets: [{name: registry}]
manager:
  replicas: 3
  requireEnvironment: false
  extraArgs: [--max-concurrent-reconciles=16, '--zap-time-encoding="quoted"']
  resources: {limits: {memory: 1Gi, cpu: 2}}
  nodeSelector: {kubernetes.io/os: linux}
  tolerations: [{key: control, operator: Exists}]
  affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchFields: [{key: metadata.name, operator: In, values: [a]}]}}]}}
  priorityClassName: system-cluster-critical
verifier:
  enabled: true
  replicas: 5
  extraArgs: [--environment=production]
  resources: {requests: {cpu: null}}
  priorityClassName: high
`

// TestValuesArrive where they belong. What the rights go by is compared with the overlays, in render_test.go.
func TestValuesArrive(t *testing.T) {
	objects := render(t, operatorNamespace, parse(t, everything))
	manager := deployment(t, objects, "dgbot-manager")
	container := manager.Spec.Template.Spec.Containers[0]
	if got := *manager.Spec.Replicas; got != 3 {
		t.Errorf("%d managers", got)
	}
	equal(t, container.Image, "registry.example:5000/keys/operator@"+digest)
	equal(t, container.ImagePullPolicy, corev1.PullAlways)
	equal(t, container.Args[len(container.Args)-3:], []string{"--require-environment=false", "--max-concurrent-reconciles=16", `--zap-time-encoding="quoted"`})
	equal(t, container.Resources.Limits.Memory().String()+" "+container.Resources.Limits.Cpu().String(), "1Gi 2")
	equal(t, container.Resources.Requests.Memory().String(), "64Mi")
	pod := manager.Spec.Template.Spec
	equal(t, pod.ImagePullSecrets, []corev1.LocalObjectReference{{Name: "registry"}})
	equal(t, pod.NodeSelector, map[string]string{"kubernetes.io/os": "linux"})
	equal(t, pod.Tolerations, []corev1.Toleration{{Key: "control", Operator: corev1.TolerationOpExists}})
	equal(t, pod.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].Weight, 1)
	equal(t, pod.PriorityClassName, "system-cluster-critical")

	verifier := deployment(t, objects, "dgbot-verifier")
	container = verifier.Spec.Template.Spec.Containers[0]
	if got := *verifier.Spec.Replicas; got != 5 {
		t.Errorf("%d verifiers", got)
	}
	equal(t, container.Image, "registry.example:5000/keys/operator@"+digest)
	equal(t, container.Args[len(container.Args)-1], "--environment=production")
	if _, asked := container.Resources.Requests[corev1.ResourceCPU]; asked {
		t.Errorf("a request that was taken away is there: %v", container.Resources)
	}
	equal(t, verifier.Spec.Template.Spec.PriorityClassName, "high")
	equal(t, verifier.Spec.Template.Spec.ImagePullSecrets, []corev1.LocalObjectReference{{Name: "registry"}})
}

// TestVerifierClients_AreTheOnlyPeers of the policy for what gateways ask.
func TestVerifierClients_AreTheOnlyPeers(t *testing.T) {
	objects := render(t, operatorNamespace, values{"verifier": values{"enabled": true}, "networkPolicy": values{
		"verifierClients": []any{values{"namespaceSelector": values{"matchLabels": values{"gateways": "true"}}}},
	}})
	content, err := json.Marshal(objects["networking.k8s.io/v1 NetworkPolicy "+operatorNamespace+" dgbot-verifier-ingress"])
	if err != nil {
		t.Fatal(err)
	}
	var policy networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict(content, &policy); err != nil {
		t.Fatal(err)
	}
	equal(t, policy.Spec.Ingress[0].From, []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"gateways": "true"}}}})
}

// TestPartsAreLeftOut where they are not wanted, and the rest stays.
func TestPartsAreLeftOut(t *testing.T) {
	all := render(t, operatorNamespace, values{"verifier": values{"enabled": true}})
	for given, gone := range map[string]string{
		`{crds: {install: false}}`:             "apiextensions.k8s.io/v1 CustomResourceDefinition ",
		`{networkPolicy: {enabled: false}}`:    "networking.k8s.io/v1 NetworkPolicy ",
		`{identity: {createNamespace: false}}`: "v1 Namespace  dgbot-identity",
	} {
		t.Run(given, func(t *testing.T) {
			values := parse(t, given)
			values["verifier"] = map[string]any{"enabled": true}
			left := render(t, operatorNamespace, values)
			for id := range all {
				if (left[id] == nil) != strings.HasPrefix(id, gone) {
					t.Errorf("%s: left out? %v", id, left[id] == nil)
				}
			}
			if len(left) == len(all) {
				t.Error("nothing is left out")
			}
		})
	}
}

// TestKeepIsAChoice: with crds.keep=false nothing is annotated to stay.
func TestKeepIsAChoice(t *testing.T) {
	for id, object := range render(t, operatorNamespace, values{"crds": values{"keep": false}}) {
		annotations, _ := object["metadata"].(map[string]any)["annotations"].(map[string]any)
		if annotations["helm.sh/resource-policy"] != nil {
			t.Errorf("%s is kept", id)
		}
	}
}

func equal[T any](t *testing.T, got T, want T) {
	t.Helper()
	if difference := cmp.Diff(want, got); difference != "" {
		t.Errorf("want -, got +\n%s", difference)
	}
}

func deployment(t *testing.T, objects map[string]object, name string) *appsv1.Deployment {
	t.Helper()
	content, err := json.Marshal(objects["apps/v1 Deployment "+operatorNamespace+" "+name])
	if err != nil {
		t.Fatal(err)
	}
	parsed := &appsv1.Deployment{}
	if err := yaml.UnmarshalStrict(content, parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}
