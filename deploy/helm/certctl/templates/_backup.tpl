{{/* The one place that knows how the program is asked for a backup. */}}

{{- define "certctl.backupTarget" -}}
{{- if eq .Values.backup.sink "s3" -}}
s3://{{ .Values.backup.s3.bucket }}/{{ coalesce .Values.backup.s3.prefix (printf "%s/%s" .Release.Namespace .Release.Name) }}
{{- else -}}
/backups
{{- end -}}
{{- end -}}

{{- define "certctl.backupArgs" -}}
- backup
- create
- --to
- {{ include "certctl.backupTarget" . | quote }}
{{- range .Values.backup.recipients }}
- --recipient
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "certctl.backupEnv" -}}
{{ include "certctl.databaseEnv" . }}
- name: CERTCTL_ENCRYPTION_KEY_FILE
  value: /etc/certctl/encryption/key
{{- if eq .Values.backup.sink "s3" }}
{{- with .Values.backup.s3 }}
- name: CERTCTL_BACKUP_S3_REGION
  value: {{ .region | quote }}
{{- if .endpoint }}
- name: CERTCTL_BACKUP_S3_ENDPOINT
  value: {{ .endpoint | quote }}
{{- end }}
- name: CERTCTL_BACKUP_S3_PATH_STYLE
  value: {{ .pathStyle | quote }}
{{- if .credentialsSecret }}
- name: CERTCTL_BACKUP_S3_ACCESS_KEY_ID_FILE
  value: /etc/certctl/s3/access-key-id
- name: CERTCTL_BACKUP_S3_SECRET_ACCESS_KEY_FILE
  value: /etc/certctl/s3/secret-access-key
{{- end }}
{{- end }}
{{- end }}
- name: CERTCTL_LOG_LEVEL
  value: {{ .Values.log.level }}
- name: CERTCTL_LOG_FORMAT
  value: {{ .Values.log.format }}
{{- end -}}

{{- define "certctl.backupImage" -}}
{{- $image := .Values.backup.image -}}
{{- $server := .Values.server.image -}}
{{- if $image.repository -}}
{{- include "certctl.image" (dict "root" . "image" $image) -}}
{{- else -}}
{{- include "certctl.image" (dict "root" . "image" $server) -}}
{{- end -}}
{{- end -}}
