{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* Beside the labels of config. Selectors have none of these, since they change with the version. */}}
{{- define "dgbot.labels" -}}
{{- include "dgbot.labelsWith" (list . dict) }}
{{- end }}

{{/* Of a list the root, and labels that go before commonLabels: a key that is there twice is an error. */}}
{{- define "dgbot.labelsWith" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with merge dict (index . 1) $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of Pods: without the version, which would replace all Pods at each upgrade of the chart. */}}
{{- define "dgbot.podLabels" -}}
{{- include "dgbot.entries" (merge dict (index . 1) (index . 0).Values.commonLabels) }}
{{- end }}

{{/* Entries for a map that is there, and a map for an object that has none. */}}
{{- define "dgbot.entries" -}}
{{- with . }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "dgbot.annotations" -}}
{{- with . -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The entries of a map as JSON without those that are null or "": Helm 4 ignores null in the values of a parent chart. */}}
{{- define "dgbot.present" -}}
{{- $present := dict -}}
{{- range $name, $value := . -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) -}}{{- $_ := set $present $name $value -}}{{- end -}}
{{- end -}}
{{- toJson $present -}}
{{- end }}

{{/* The resources of a container as JSON, without the requests and limits that are null or "". */}}
{{- define "dgbot.resources" -}}
{{- $resources := dict -}}
{{- range $name, $quantities := . -}}
{{- $_ := set $resources $name (include "dgbot.present" $quantities | fromJson) -}}
{{- end -}}
{{- toJson $resources -}}
{{- end }}

{{/* What 'helm uninstall' is to leave. */}}
{{- define "dgbot.keep" -}}
{{- if .Values.crds.keep -}}
helm.sh/resource-policy: keep
{{- end }}
{{- end }}

{{- define "dgbot.keepAnnotation" -}}
{{- with include "dgbot.keep" . -}}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Environments are hooks, since Helm maps the kinds of everything else before it has installed the CRDs. They are the cluster admin's
from then on: one that exists is left alone, and Argo CD, which would replace a hook at each sync, skips them.
*/}}
{{- define "dgbot.environmentHook" -}}
helm.sh/hook: post-install,post-upgrade
argocd.argoproj.io/hook: Skip
{{- end }}

{{/* Whether the DGbotEnvironment "name" is missing in the cluster of "root". A lookup of a kind that does not exist would fail. */}}
{{- define "dgbot.environmentMissing" -}}
{{- if not (and (.root.Capabilities.APIVersions.Has "keys.dgbot.io/v1alpha1/DGbotEnvironment") (lookup "keys.dgbot.io/v1alpha1" "DGbotEnvironment" "" .name)) -}}
true
{{- end }}
{{- end }}

{{/* Which of config/default and its overlays the rights are those of. */}}
{{- define "dgbot.rights" -}}
{{- $getOnly := eq .Values.manager.secretAccess "get-only" -}}
{{- if and .Values.manager.watchNamespaces $getOnly -}}
namespaced-get-only
{{- else if .Values.manager.watchNamespaces -}}
namespaced
{{- else if $getOnly -}}
get-only
{{- else -}}
default
{{- end }}
{{- end }}

{{- define "dgbot.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dgbot.pullPolicy" -}}
{{- with .Values.image.pullPolicy -}}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{/* What listens, with the flag that says where. Tests compare the ports with those of config. */}}
{{- define "dgbot.listeners" -}}
manager:
- {name: metrics, flag: metrics-bind-address, port: 8443}
- {name: health, flag: health-probe-bind-address, port: 8081}
verifier:
- {name: http, flag: http-bind-address, port: 8080, appProtocol: http}
- {name: grpc, flag: grpc-bind-address, port: 9090, appProtocol: kubernetes.io/h2c}
- {name: metrics, flag: metrics-bind-address, port: 8082}
{{- end }}

{{/* The value of a flag: of a list the arguments, the flag's name, and its value where no argument gives one. The last one counts. */}}
{{- define "dgbot.flag" -}}
{{- $prefix := printf "--%s=" (index . 1) -}}
{{- $value := index . 2 -}}
{{- range index . 0 -}}
{{- if hasPrefix $prefix . -}}{{- $value = trimPrefix $prefix . -}}{{- end -}}
{{- end -}}
{{- $value -}}
{{- end }}

{{/* The port of a listener, nothing where it is off: of a list the root, the component and the listener's name. */}}
{{- define "dgbot.port" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $name := index . 2 -}}
{{- range index (fromYaml (include "dgbot.listeners" $root)) $component -}}
{{- if eq .name $name -}}
{{- regexFind "[1-9][0-9]*$" (include "dgbot.flag" (list (index $root.Values $component).extraArgs .flag (printf ":%v" .port))) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Whether HTTP and gRPC are served with TLS: "true", or nothing. Of a list the root and the component. */}}
{{- define "dgbot.tls" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- if or (dig "tls" "secretName" "" $values) (include "dgbot.flag" (list $values.extraArgs "tls-cert-file" "")) -}}true{{- end -}}
{{- end }}

{{- define "dgbot.containerPorts" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
{{- $taken := dict -}}
{{- range index (fromYaml (include "dgbot.listeners" $root)) $component -}}
{{- $port := include "dgbot.port" (list $root $component .name) -}}
{{- if $port -}}
{{- if hasKey $taken $port -}}
{{- fail (printf "%s.extraArgs: --%s and --%s have the same port %s; give each its own" $component (get $taken $port) .flag $port) -}}
{{- end }}
- {name: {{ .name }}, containerPort: {{ $port }}, protocol: TCP}
{{- $_ := set $taken $port .flag -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Of a list the root, the component, and the names of the ports. HTTP has a port of its own in the Service. */}}
{{- define "dgbot.servicePorts" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $names := index . 2 -}}
{{- range index (fromYaml (include "dgbot.listeners" $root)) $component -}}
{{- $port := include "dgbot.port" (list $root $component .name) -}}
{{- if and $port (has .name $names) -}}
{{- if eq .name "http" -}}{{- $port = (index $root.Values $component).service.httpPort -}}{{- end -}}
{{- $protocol := .appProtocol | default "" -}}
{{- if and $protocol (include "dgbot.tls" (list $root $component)) -}}{{- $protocol = "https" -}}{{- end }}
- {name: {{ .name }}, port: {{ $port }}, targetPort: {{ .name }}, protocol: TCP{{ with $protocol }}, appProtocol: {{ . }}{{ end }}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Of a list the root and the component: what kubelet is to ask with. */}}
{{- define "dgbot.probeScheme" -}}
{{- if include "dgbot.tls" . -}}
scheme: HTTPS
{{- end }}
{{- end }}

{{/* Of a Deployment: of a list the root and the component. */}}
{{- define "dgbot.deployment" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- with $values.replicas }}
replicas: {{ . }}
{{- end }}
{{- with $values.strategy }}
strategy: {{ ternary (omit . "rollingUpdate") . (eq (.type | default "") "Recreate") | toJson }}
{{- end }}
{{- end }}

{{/* Where and how Pods are to run: of a list the root and the component. */}}
{{- define "dgbot.pod" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- $pod := pick $values "terminationGracePeriodSeconds" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName"
      "runtimeClassName" "schedulerName" "dnsPolicy" "dnsConfig" "hostAliases" -}}
{{- $volumes := $values.extraVolumes -}}
{{- with dig "tls" "secretName" "" $values -}}
{{- $volumes = append $volumes (dict "name" "dgbot-tls" "secret" (dict "secretName" .)) -}}
{{- end -}}
{{- with dig "sources" "secretName" "" $values -}}
{{- $volumes = append $volumes (dict "name" "dgbot-sources" "secret" (dict "secretName" .)) -}}
{{- end -}}
{{- $pod = merge $pod (dict
      "imagePullSecrets" (index . 0).Values.imagePullSecrets "securityContext" (include "dgbot.present" $values.podSecurityContext | fromJson)
      "initContainers" $values.extraInitContainers "volumes" $volumes) -}}
{{- range $field, $value := $pod -}}
{{- if $value }}
{{ $field }}: {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of the container: of a list the root and the component. */}}
{{- define "dgbot.container" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- $mounts := $values.extraVolumeMounts -}}
{{- if dig "tls" "secretName" "" $values -}}
{{- $mounts = append $mounts (dict "name" "dgbot-tls" "mountPath" "/tls" "readOnly" true) -}}
{{- end -}}
{{- if dig "sources" "secretName" "" $values -}}
{{- $mounts = append $mounts (dict "name" "dgbot-sources" "mountPath" "/sources" "readOnly" true) -}}
{{- end -}}
{{- $container := dict "securityContext" (include "dgbot.present" $values.securityContext | fromJson) "envFrom" $values.extraEnvFrom "volumeMounts" $mounts -}}
{{- range $field, $value := $container -}}
{{- if $value }}
{{ $field }}: {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* The items of a list, one a line. */}}
{{- define "dgbot.items" -}}
{{- range . }}
- {{ toJson . }}
{{- end }}
{{- end }}

{{- define "dgbot.manager.args" -}}
{{- with .Values.manager -}}
{{- if .watchNamespaces }}
- --watch-namespaces=$(WATCH_NAMESPACES)
{{- end }}
{{- if ne .secretAccess "watch" }}
- --secret-access={{ .secretAccess }}
{{- end }}
{{- if not .requireEnvironment }}
- --require-environment=false
{{- end }}
{{- include "dgbot.items" .extraArgs }}
{{- end }}
{{- end }}

{{- define "dgbot.manager.env" -}}
{{- with .Values.manager -}}
{{- with .watchNamespaces }}
- name: WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- include "dgbot.items" .extraEnv }}
{{- end }}
{{- end }}

{{- define "dgbot.verifier.args" -}}
{{- with .Values.verifier -}}
{{- if .tls.secretName }}
- --tls-cert-file=/tls/tls.crt
- --tls-key-file=/tls/tls.key
{{- end }}
{{- if .sources.secretName }}
- --source-config=/sources/sources.yaml
{{- end }}
{{- include "dgbot.items" .extraArgs }}
{{- end }}
{{- end }}

{{- define "dgbot.verifier.env" -}}
{{- include "dgbot.items" .Values.verifier.extraEnv }}
{{- end }}
