// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// podValues are those that manager and verifier both have; the component takes the place of %s.
const podValues = `
%s:
  enabled: true
  replicas: null
  extraEnv: [{name: HTTPS_PROXY, value: "http://proxy:3128"}, {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
  extraEnvFrom: [{configMapRef: {name: settings}}]
  extraVolumes: [{name: ca, configMap: {name: ca-bundle}}]
  extraVolumeMounts: [{name: ca, mountPath: /etc/ssl/certs, readOnly: true}]
  extraInitContainers: [{name: wait, image: busybox}]
  extraContainers: [{name: sidecar, image: proxy}]
  podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: 2000}
  securityContext: {readOnlyRootFilesystem: false}
  podLabels: {azure.workload.identity/use: "true", team: keys}
  podAnnotations: {sidecar.istio.io/inject: "false"}
  deploymentAnnotations: {reloader.stakater.com/auto: "true"}
  livenessProbe: {failureThreshold: 6}
  readinessProbe: {periodSeconds: 2}
  strategy: {type: Recreate}
  terminationGracePeriodSeconds: 90
  podDisruptionBudget: {maxUnavailable: 50%%}
  serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::1:role/a"}}
  service: {annotations: {prometheus.io/scrape: "true"}, labels: {team: network}, spec: {type: LoadBalancer, loadBalancerClass: internal}}
  topologySpreadConstraints: []
  runtimeClassName: gvisor
  schedulerName: other
  dnsPolicy: None
  dnsConfig: {nameservers: [10.0.0.10]}
  hostAliases: [{ip: 10.0.0.1, hostnames: [api.internal]}]
commonLabels: {team: platform, cost-center: "42"}
`

// valuesOf returns podValues for a component.
func valuesOf(t *testing.T, component string) values {
	t.Helper()
	text := fmt.Sprintf(podValues, component)
	if component == "manager" {
		text = strings.Replace(text, "  enabled: true\n", "", 1)
	}
	return parse(t, text)
}

func TestValues_ReachThePodsOfBothPrograms(t *testing.T) {
	for component, service := range map[string]string{"manager": "dgbot-manager-metrics", "verifier": "dgbot-verifier"} {
		t.Run(component, func(t *testing.T) {
			objects := render(t, operatorNamespace, valuesOf(t, component))
			name := "dgbot-" + component
			workload := deployment(t, objects, name)
			if workload.Spec.Replicas != nil {
				t.Errorf("replicas is null, and the Deployment has %d", *workload.Spec.Replicas)
			}
			equal(t, workload.Annotations["reloader.stakater.com/auto"], "true")
			equal(t, string(workload.Spec.Strategy.Type), "Recreate")
			if workload.Spec.Strategy.RollingUpdate != nil {
				t.Error("the API server rejects Recreate with rollingUpdate")
			}
			template := workload.Spec.Template
			equal(t, template.Labels, map[string]string{
				"app.kubernetes.io/name": "dgbot-key-operator", "app.kubernetes.io/component": component,
				"azure.workload.identity/use": "true", "team": "keys", "cost-center": "42",
			})
			equal(t, template.Annotations, map[string]string{"kubectl.kubernetes.io/default-container": component, "sidecar.istio.io/inject": "false"})
			podFields(t, template.Spec)
			containerFields(t, template.Spec)
			account := metadataOf(objects, "v1 ServiceAccount "+operatorNamespace+" "+name)
			equal(t, account["annotations"], any(values{"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}))
			found := decodeAs[corev1.Service](t, objects["v1 Service "+operatorNamespace+" "+service])
			equal(t, found.Annotations, map[string]string{"prometheus.io/scrape": "true"})
			equal(t, found.Labels["team"], "network")
			equal(t, string(found.Spec.Type)+" "+*found.Spec.LoadBalancerClass, "LoadBalancer internal")
			budget := objects["policy/v1 PodDisruptionBudget "+operatorNamespace+" "+name]["spec"].(values)
			equal(t, budget["maxUnavailable"], any("50%"))
			for id := range objects {
				labels, _ := metadataOf(objects, id)["labels"].(values)
				if labels["cost-center"] != "42" {
					t.Errorf("%s lacks the common label", id)
				}
			}
		})
	}
}

func podFields(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	equal(t, pod.InitContainers[0].Name+" "+pod.Containers[1].Name, "wait sidecar")
	equal(t, pod.Volumes, []corev1.Volume{{Name: "ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "ca-bundle"},
	}}}})
	group, yes := int64(2000), true
	equal(t, pod.SecurityContext, &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, FSGroup: &group, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	})
	equal(t, *pod.TerminationGracePeriodSeconds, 90)
	equal(t, len(pod.TopologySpreadConstraints), 0)
	equal(t, *pod.RuntimeClassName+" "+pod.SchedulerName+" "+string(pod.DNSPolicy)+" "+pod.DNSConfig.Nameservers[0], "gvisor other None 10.0.0.10")
	equal(t, pod.HostAliases, []corev1.HostAlias{{IP: "10.0.0.1", Hostnames: []string{"api.internal"}}})
}

func containerFields(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	container := pod.Containers[0]
	extra := container.Env[len(container.Env)-2:] // after those of the chart
	equal(t, extra[0], corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://proxy:3128"})
	equal(t, extra[1].ValueFrom.FieldRef.FieldPath, "status.podIP")
	equal(t, container.EnvFrom[0].ConfigMapRef.Name, "settings")
	equal(t, container.VolumeMounts, []corev1.VolumeMount{{Name: "ca", MountPath: "/etc/ssl/certs", ReadOnly: true}})
	if *container.SecurityContext.ReadOnlyRootFilesystem || *container.SecurityContext.AllowPrivilegeEscalation {
		t.Errorf("the security context is %v", container.SecurityContext)
	}
	equal(t, container.LivenessProbe.FailureThreshold, 6)
	equal(t, container.ReadinessProbe.PeriodSeconds, 2)
}

// TestFlags_MoveEverythingThatNamesThePort: container, Service, probes, and network policies, which name it.
func TestFlags_MoveEverythingThatNamesThePort(t *testing.T) {
	objects := render(t, operatorNamespace, parse(t, `
manager: {extraArgs: [--metrics-bind-address=:9443, --health-probe-bind-address=:7000, "--health-probe-bind-address=[::]:7081"]}
verifier: {enabled: true, extraArgs: [--http-bind-address=0.0.0.0:9999, --grpc-bind-address=0, --metrics-bind-address=$(POD_IP):8443], service: {httpPort: 443}}
`))
	manager := deployment(t, objects, "dgbot-manager").Spec.Template.Spec.Containers[0]
	equal(t, portsOf(manager), "metrics=9443 health=7081")
	equal(t, manager.LivenessProbe.HTTPGet.Port, intstr.FromString("health"))
	equal(t, servicePortsOf(t, objects, "dgbot-manager-metrics"), "metrics=9443->metrics")
	verifier := deployment(t, objects, "dgbot-verifier").Spec.Template.Spec.Containers[0]
	equal(t, portsOf(verifier), "http=9999 metrics=8443")
	equal(t, verifier.ReadinessProbe.HTTPGet.Port, intstr.FromString("http"))
	equal(t, servicePortsOf(t, objects, "dgbot-verifier"), "http=443->http(http) metrics=8443->metrics")
	for id, object := range objects {
		content, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(id, "NetworkPolicy") && !strings.Contains(string(content), `"port":"metrics"`) {
			t.Errorf("%s does not name the port: %s", id, content)
		}
	}
}

func TestFlags_NoMetricsListenerIsNoService(t *testing.T) {
	const id = "v1 Service " + operatorNamespace + " dgbot-manager-metrics"
	if render(t, operatorNamespace, nil)[id] == nil {
		t.Fatal("there is no such Service at all: this test looks at nothing")
	}
	objects := render(t, operatorNamespace, parse(t, `{manager: {extraArgs: [--metrics-bind-address=0]}}`))
	if objects[id] != nil {
		t.Error("a Service without a port is rejected")
	}
	equal(t, portsOf(deployment(t, objects, "dgbot-manager").Spec.Template.Spec.Containers[0]), "health=8081")
}

// TestTLS_ProbesAndServiceFollow, whether a value or flags bring it.
func TestTLS_ProbesAndServiceFollow(t *testing.T) {
	for given, scheme := range map[string]corev1.URIScheme{
		`{}`:                                 "",
		`{tls: {secretName: verifier-cert}}`: corev1.URISchemeHTTPS,
		`{extraArgs: [--tls-cert-file=/c/tls.crt, --tls-key-file=/c/tls.key]}`: corev1.URISchemeHTTPS,
	} {
		t.Run(given, func(t *testing.T) {
			verifier := parse(t, given)
			verifier["enabled"] = true
			objects := render(t, operatorNamespace, values{"verifier": verifier})
			pod := deployment(t, objects, "dgbot-verifier").Spec.Template.Spec
			equal(t, pod.Containers[0].LivenessProbe.HTTPGet.Scheme, scheme)
			equal(t, pod.Containers[0].ReadinessProbe.HTTPGet.Scheme, scheme)
			want := "http=80->http(http) grpc=9090->grpc(kubernetes.io/h2c) metrics=8082->metrics"
			if scheme != "" {
				want = "http=80->http(https) grpc=9090->grpc(https) metrics=8082->metrics"
			}
			equal(t, servicePortsOf(t, objects, "dgbot-verifier"), want)
		})
	}
}

func TestTLS_SecretIsMountedWhereTheFlagsPoint(t *testing.T) {
	objects := render(t, operatorNamespace, parse(t, `{verifier: {enabled: true, tls: {secretName: verifier-cert}, extraVolumes: [{name: a, emptyDir: {}}]}}`))
	pod := deployment(t, objects, "dgbot-verifier").Spec.Template.Spec
	equal(t, pod.Volumes[1].Secret.SecretName, "verifier-cert")
	equal(t, pod.Containers[0].VolumeMounts, []corev1.VolumeMount{{Name: pod.Volumes[1].Name, MountPath: "/tls", ReadOnly: true}})
	args := strings.Join(pod.Containers[0].Args, " ")
	if !strings.Contains(args, "--tls-cert-file=/tls/tls.crt --tls-key-file=/tls/tls.key") {
		t.Errorf("the arguments are %s", args)
	}
}

func TestPrometheus_LabelsReachBothKinds(t *testing.T) {
	objects := render(t, operatorNamespace, parse(t, `
commonLabels: {release: common}
prometheus:
  enabled: true
  serviceMonitor: {labels: {release: monitoring}, annotations: {a: b}, endpoint: {interval: 15s, metricRelabelings: [{action: labeldrop, regex: pod}]}}
  prometheusRule: {labels: {release: rules}, annotations: {c: d}}
`))
	counted := map[string]int{}
	for id, object := range objects {
		labels, _ := metadataOf(objects, id)["labels"].(values)
		switch object["kind"] {
		case "ServiceMonitor":
			equal(t, labels["release"], any("monitoring"))
			for _, endpoint := range object["spec"].(values)["endpoints"].([]any) {
				equal(t, endpoint.(values)["interval"], any("15s"))
				counted["endpoint"]++
			}
		case "PrometheusRule":
			equal(t, labels["release"], any("rules"))
			equal(t, metadataOf(objects, id)["annotations"], any(values{"c": "d"}))
			counted["rule"]++
		default:
			equal(t, labels["release"], any("common"))
		}
	}
	equal(t, counted, map[string]int{"endpoint": 2, "rule": 1})
}

func TestPodDisruptionBudgetIsAChoice(t *testing.T) {
	objects := render(t, operatorNamespace, parse(t, `{manager: {podDisruptionBudget: {enabled: false}}, verifier: {enabled: true, podDisruptionBudget: {enabled: false}}}`))
	for id := range objects {
		if strings.Contains(id, "PodDisruptionBudget") {
			t.Errorf("%s is there", id)
		}
	}
}

func TestExtraObjectsAreExpanded(t *testing.T) {
	objects := render(t, operatorNamespace, parse(t, `
extraObjects:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-a"}}
- |
  apiVersion: autoscaling/v2
  kind: HorizontalPodAutoscaler
  metadata: {name: verifier, namespace: {{ .Release.Namespace }}}
`))
	for _, id := range []string{"v1 ConfigMap  dgbot-a", "autoscaling/v2 HorizontalPodAutoscaler " + operatorNamespace + " verifier"} {
		if objects[id] == nil {
			t.Errorf("%s is not among %s", id, slices.Sorted(maps.Keys(objects)))
		}
	}
}

func metadataOf(objects map[string]object, id string) values {
	metadata, _ := objects[id]["metadata"].(values)
	return metadata
}

func decodeAs[T any](t *testing.T, from object) *T {
	t.Helper()
	content, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	into := new(T)
	if err := yaml.UnmarshalStrict(content, into); err != nil {
		t.Fatal(err)
	}
	return into
}

func portsOf(container corev1.Container) string {
	var all []string
	for _, port := range container.Ports {
		all = append(all, fmt.Sprintf("%s=%d", port.Name, port.ContainerPort))
	}
	return strings.Join(all, " ")
}

func servicePortsOf(t *testing.T, objects map[string]object, name string) string {
	t.Helper()
	var all []string
	for _, port := range decodeAs[corev1.Service](t, objects["v1 Service "+operatorNamespace+" "+name]).Spec.Ports {
		text := fmt.Sprintf("%s=%d->%s", port.Name, port.Port, port.TargetPort.String())
		if port.AppProtocol != nil {
			text += "(" + *port.AppProtocol + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}
