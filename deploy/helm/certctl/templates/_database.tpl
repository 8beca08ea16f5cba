{{/* How a pod reaches the database: an address without a password, and the password as a file. */}}

{{- define "certctl.databaseUrl" -}}
{{- if .Values.postgresql.enabled -}}
postgres://{{ .Values.postgresql.auth.username }}@{{ include "certctl.postgres" . }}:5432/{{ .Values.postgresql.auth.database }}
{{- else -}}
{{- with .Values.externalDatabase -}}
postgres://{{ .username }}@{{ .host }}:{{ int .port }}/{{ .database }}?sslmode={{ .sslMode }}{{ if .caSecret }}&sslrootcert=/etc/certctl/database-ca/ca.crt{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the password; the chart's own when it is a value. Called with (dict "root" $ "own" "name of our Secret"). */}}
{{- define "certctl.databaseSecret" -}}
{{- $database := ternary .root.Values.postgresql.auth .root.Values.externalDatabase .root.Values.postgresql.enabled -}}
{{- coalesce $database.existingSecret .own -}}
{{- end -}}

{{- define "certctl.databaseSecretKey" -}}
{{- $database := ternary .Values.postgresql.auth .Values.externalDatabase .Values.postgresql.enabled -}}
{{- ternary $database.secretKey "password" (ne $database.existingSecret "") -}}
{{- end -}}

{{- define "certctl.databasePassword" -}}
{{- ternary .Values.postgresql.auth.password .Values.externalDatabase.password .Values.postgresql.enabled -}}
{{- end -}}

{{- define "certctl.databaseEnv" -}}
- name: CERTCTL_DATABASE_URL
  value: {{ include "certctl.databaseUrl" . | quote }}
- name: CERTCTL_DATABASE_PASSWORD_FILE
  value: /etc/certctl/database/password
{{- end -}}

{{- define "certctl.databaseMounts" -}}
- name: database
  mountPath: /etc/certctl/database
  readOnly: true
{{- if include "certctl.databaseCa" . }}
- name: database-ca
  mountPath: /etc/certctl/database-ca
  readOnly: true
{{- end }}
{{- end -}}

{{/* Called with (dict "root" $ "own" "name of our Secret"). */}}
{{- define "certctl.databaseVolumes" -}}
- name: database
  secret:
    secretName: {{ include "certctl.databaseSecret" . }}
    defaultMode: 288 # 0440
    items:
      - key: {{ include "certctl.databaseSecretKey" .root }}
        path: password
{{- if include "certctl.databaseCa" .root }}
- name: database-ca
  secret:
    secretName: {{ .root.Values.externalDatabase.caSecret }}
    items:
      - key: {{ .root.Values.externalDatabase.caSecretKey }}
        path: ca.crt
{{- end }}
{{- end -}}

{{- define "certctl.databaseCa" -}}
{{- if not .Values.postgresql.enabled -}}{{ .Values.externalDatabase.caSecret }}{{- end -}}
{{- end -}}

{{/* The Secret that holds our own passwords and keys, when they are values. */}}
{{- define "certctl.secret" -}}{{ include "certctl.fullname" . }}{{- end -}}
