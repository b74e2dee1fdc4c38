{{/* Names. */}}
{{- define "edgecanary.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "edgecanary.fullname" -}}
{{- $name := include "edgecanary.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "edgecanary.operator.name" -}}
{{ include "edgecanary.fullname" . }}-operator
{{- end }}

{{- define "edgecanary.agent.name" -}}
{{ include "edgecanary.fullname" . }}-agent
{{- end }}

{{- define "edgecanary.operator.account" -}}
{{- .Values.operator.serviceAccount.name | default (ternary (include "edgecanary.operator.name" .) "default" .Values.operator.serviceAccount.create) }}
{{- end }}

{{- define "edgecanary.agent.account" -}}
{{- .Values.agent.serviceAccount.name | default (ternary (include "edgecanary.agent.name" .) "default" .Values.agent.serviceAccount.create) }}
{{- end }}

{{/*
Labels of an object, as YAML. Call with (list $ "operator"), or with further labels as a third item. Those by which pods
are selected win over all others, then the further ones, then commonLabels.
*/}}
{{- define "edgecanary.labels" -}}
{{- $root := index . 0 }}
{{- $further := dict }}
{{- if gt (len .) 2 }}
{{- $further = index . 2 | default dict }}
{{- end }}
{{- $usual := dict "app.kubernetes.io/version" $root.Chart.AppVersion "app.kubernetes.io/part-of" "edgecanary" }}
{{- $_ := set $usual "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $_ := set $usual "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") }}
{{- $selecting := include "edgecanary.selector" . | fromYaml }}
{{- toYaml (merge (dict) $selecting $further $root.Values.commonLabels $usual) }}
{{- end }}

{{- define "edgecanary.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "edgecanary.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The image of a component: its values, and the tag that the chart stands for. Call with (list $ .Values.x.image). */}}
{{- define "edgecanary.image" -}}
{{- $image := index . 1 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 0).Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Flags in camelCase as the program's variables. */}}
{{- define "edgecanary.settings" -}}
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}
- name: EDGECANARY_{{ $name | snakecase | upper }}
  value: {{ include "edgecanary.text" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* A setting as text. Whole numbers from YAML are floats here, which print as 1e+06. */}}
{{- define "edgecanary.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if kindIs "string" . }}{{ . }}
{{- else }}{{ toJson . }}
{{- end }}
{{- end }}

{{/* The agent's values, with what is null taken from its profile; as YAML. */}}
{{- define "edgecanary.agent.settled" -}}
{{- $agent := .Values.agent }}
{{- $profile := index (.Files.Get "files/profiles.yaml" | fromYaml) $agent.profile }}
{{- $settled := dict }}
{{- range $name, $usual := $profile }}
{{- $own := get $agent $name }}
{{- $_ := set $settled $name (ternary $usual $own (kindIs "invalid" $own)) }}
{{- end }}
{{- if and (not $settled.hostNetwork) (not (hasPrefix ":" $settled.listen)) }}
{{- fail (printf "agent.listen must be \":port\" without agent.hostNetwork, got %q: nobody reaches a pod's own loopback" $settled.listen) }}
{{- end }}
{{- if and $agent.settings.trustThreshold (not $agent.trust.configMap) }}
{{- fail "agent.settings.trustThreshold must not be given without agent.trust.configMap: there are no keys to count" }}
{{- end }}
{{- toYaml $settled }}
{{- end }}

{{- define "edgecanary.agent.inferencePort" -}}
{{- (include "edgecanary.agent.settled" . | fromYaml).listen | splitList ":" | last }}
{{- end }}

{{/* The grants as rules, one a line. */}}
{{- define "edgecanary.tenancy.rules" -}}
{{- with .Values.tenancy.contact }}
* contact {{ . }}
{{- end }}
{{- if .Values.tenancy.requireSecretLabel }}
* secrets labelled
{{- end }}
{{- range $grant := .Values.tenancy.grants }}
{{- $pairs := list }}
{{- range $key, $value := $grant.nodeSelector.matchLabels }}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) }}
{{- end }}
{{- range $namespace := $grant.namespaces }}
{{ $namespace }} nodes {{ join "," $pairs | default "*" }}
{{- range $grant.prometheusHosts }}
{{ $namespace }} prometheus {{ . }}
{{- end }}
{{- range $grant.objectStoreHosts }}
{{ $namespace }} object-store {{ . }}
{{- end }}
{{- range $grant.downloadHosts }}
{{ $namespace }} download {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a container may not, whatever the profile. */}}
{{- define "edgecanary.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}
