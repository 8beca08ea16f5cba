{{/* Rules that several NetworkPolicies share. */}}

{{- define "certctl.egressDns" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}

{{- define "certctl.egressDatabase" -}}
{{- if .Values.postgresql.enabled -}}
- to:
    - podSelector:
        matchLabels: {{- include "certctl.selector" (dict "root" . "component" "postgres") | nindent 10 }}
  ports:
    - port: 5432
      protocol: TCP
{{- else -}}
- ports:
    - port: {{ int .Values.externalDatabase.port }}
      protocol: TCP
{{- end -}}
{{- end -}}
