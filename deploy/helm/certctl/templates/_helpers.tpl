{{/* Names, labels and the parts that several objects share. */}}

{{- define "certctl.name" -}}
{{- coalesce .Values.nameOverride .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "certctl.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "certctl.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "certctl.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "certctl.server" -}}{{ include "certctl.fullname" . }}-server{{- end -}}
{{- define "certctl.agent" -}}{{ include "certctl.fullname" . }}-agent{{- end -}}
{{- define "certctl.postgres" -}}{{ include "certctl.fullname" . }}-postgres{{- end -}}
{{- define "certctl.migrate" -}}{{ include "certctl.fullname" . }}-migrate{{- end -}}
{{- define "certctl.backup" -}}{{ include "certctl.fullname" . }}-backup{{- end -}}

{{/* What finds the pods of one component. Called with (dict "root" $ "component" "server"). */}}
{{- define "certctl.selector" -}}
app.kubernetes.io/name: {{ include "certctl.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "certctl.labels" -}}
{{ include "certctl.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: certctl
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Of pods: without the numbers of the release, or every upgrade would replace pods of which nothing else changed. */}}
{{- define "certctl.podLabels" -}}
{{ include "certctl.selector" . }}
app.kubernetes.io/part-of: certctl
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* One of our own images. Called with (dict "root" $ "image" .Values.server.image). */}}
{{- define "certctl.image" -}}
{{- $name := .image.repository -}}
{{- with .root.Values.image.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}{{- end -}}
{{- if .image.digest -}}{{ $name }}@{{ .image.digest }}{{- else -}}{{ $name }}:{{ coalesce .image.tag .root.Chart.AppVersion }}{{- end -}}
{{- end -}}

{{- define "certctl.postgresImage" -}}
{{- with .Values.postgresql.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "certctl.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Pod Security "restricted". Called with the number of the user. */}}
{{- define "certctl.podSecurity" -}}
runAsNonRoot: {{ ne (int .) 0 }}
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "certctl.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The resource ladder; docs/operator/helm.md says what of it was measured. Called with (dict "root" $ "part" "server" "own" map). */}}
{{- define "certctl.resources" -}}
{{- if .own -}}
{{ toYaml .own }}
{{- else -}}
{{ toYaml (index (.root.Files.Get "files/ladder.yaml" | fromYaml) .root.Values.size .part) }}
{{- end -}}
{{- end -}}

{{/* Where pods are put. Called with a map that has the keys. */}}
{{- define "certctl.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The address under which the server is reached within the cluster, and by everybody. */}}
{{- define "certctl.serverHost" -}}{{ include "certctl.server" . }}.{{ .Release.Namespace }}.svc{{- end -}}
{{- define "certctl.serverUrl" -}}https://{{ include "certctl.serverHost" . }}:{{ .Values.server.service.port }}{{- end -}}
{{- define "certctl.publicUrl" -}}
{{- if .Values.server.publicUrl -}}
{{ .Values.server.publicUrl }}
{{- else if and .Values.ingress.enabled .Values.ingress.hosts -}}
https://{{ first .Values.ingress.hosts }}
{{- else -}}
{{ include "certctl.serverUrl" . }}
{{- end -}}
{{- end -}}

{{/* Every name that the server's certificate must have. */}}
{{- define "certctl.serverNames" -}}
{{- $server := include "certctl.server" . -}}
{{- $names := list $server (printf "%s.%s" $server .Release.Namespace) (include "certctl.serverHost" .) (printf "%s.cluster.local" (include "certctl.serverHost" .)) -}}
{{- if .Values.ingress.enabled -}}{{- $names = concat $names .Values.ingress.hosts -}}{{- end -}}
{{- with .Values.server.publicUrl -}}{{- $names = append $names (urlParse .).hostname -}}{{- end -}}
{{- concat $names .Values.server.tls.extraNames | uniq | toYaml -}}
{{- end -}}

{{- define "certctl.tlsSecret" -}}{{ coalesce .Values.server.tls.existingSecret (printf "%s-tls" (include "certctl.server" .)) }}{{- end -}}

{{/* The server's CA, alone, as the source of a volume. */}}
{{- define "certctl.caVolume" -}}
{{- $ca := .Values.agent.ca -}}
{{- if or (eq $ca.source "configMap") (and (eq $ca.source "server") .Values.server.tls.selfMade.enabled) -}}
configMap:
  name: {{ if eq $ca.source "configMap" }}{{ $ca.name }}{{ else }}{{ include "certctl.server" . }}-ca{{ end }}
{{- else }}
secret:
  secretName: {{ if eq $ca.source "secret" }}{{ $ca.name }}{{ else }}{{ include "certctl.tlsSecret" . }}{{ end }}
{{- end }}
  items:
    - key: {{ $ca.key }}
      path: ca.crt
{{- end -}}
