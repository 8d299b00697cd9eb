{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* Beside the labels of config. Selectors have none of these, since they change with the version. */}}
{{- define "dgbot.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
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

{{/* Where and how Pods are to run: of the dictionary's root the secrets for the image, of its values the rest. */}}
{{- define "dgbot.pod" -}}
{{- $pod := pick .values "nodeSelector" "tolerations" "affinity" "priorityClassName" -}}
{{- $pod = set $pod "imagePullSecrets" .root.Values.imagePullSecrets -}}
{{- range $field, $value := $pod -}}
{{- if $value }}
{{ $field }}: {{ toJson $value }}
{{- end }}
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
{{- if .requireEnvironment }}
- --require-environment
{{- end }}
{{- range .extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dgbot.manager.env" -}}
{{- with .Values.manager.watchNamespaces -}}
- name: WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}

{{- define "dgbot.verifier.args" -}}
{{- range .Values.verifier.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
