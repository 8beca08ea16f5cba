{{/* The one place that knows how the program is asked for a backup. */}}

{{/* Called with (dict "root" $ "verb" "create"). */}}
{{- define "certctl.backupContainer" -}}
{{- $root := .root -}}
{{- $s3 := .root.Values.backup.s3 -}}
- name: {{ .verb }}
  image: {{ include "certctl.backupImage" $root | quote }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command: [certctl-server]
  # Another run, such as one by hand, may hold the lock for a while.
  args: [backup, {{ .verb }}, --wait, 10m]
  securityContext: {{- include "certctl.containerSecurity" $root | nindent 4 }}
  env:
    {{- include "certctl.databaseEnv" $root | nindent 4 }}
    {{- if eq $root.Values.backup.sink "pvc" }}
    - name: CERTCTL_BACKUP_DIRECTORY
      value: /var/lib/certctl/backups
    {{- else }}
    - name: CERTCTL_BACKUP_S3_BUCKET
      value: {{ $s3.bucket | quote }}
    - name: CERTCTL_BACKUP_S3_PREFIX
      value: {{ coalesce $s3.prefix (printf "%s/%s" $root.Release.Namespace $root.Release.Name) | quote }}
    - name: CERTCTL_BACKUP_S3_REGION
      value: {{ $s3.region | quote }}
    {{- with $s3.endpoint }}
    - name: CERTCTL_BACKUP_S3_ENDPOINT
      value: {{ . | quote }}
    {{- end }}
    {{- with $s3.encryption }}
    - name: CERTCTL_BACKUP_S3_ENCRYPTION
      value: {{ . | quote }}
    {{- end }}
    {{- with $s3.kmsKeyId }}
    - name: CERTCTL_BACKUP_S3_KMS_KEY_ID
      value: {{ . | quote }}
    {{- end }}
    {{- with $s3.credentialsSecret }}
    - name: CERTCTL_BACKUP_S3_ACCESS_KEY_ID
      valueFrom:
        secretKeyRef:
          name: {{ . }}
          key: {{ $s3.accessKeyIdKey }}
    - name: CERTCTL_BACKUP_S3_SECRET_ACCESS_KEY_FILE
      value: /etc/certctl/s3/secret-access-key
    {{- end }}
    {{- with $s3.roleArn }}
    - name: CERTCTL_BACKUP_S3_ROLE_ARN
      value: {{ . | quote }}
    - name: CERTCTL_BACKUP_S3_WEB_IDENTITY_TOKEN_FILE
      value: /etc/certctl/identity/token
    {{- end }}
    {{- end }}
    {{- with $root.Values.backup.recipients }}
    - name: CERTCTL_BACKUP_RECIPIENTS
      value: {{ join "," . | quote }}
    {{- end }}
    {{- range $age, $count := $root.Values.backup.keep }}
    - name: CERTCTL_BACKUP_KEEP_{{ upper $age }}
      value: {{ int $count | quote }}
    {{- end }}
    - name: CERTCTL_LOG_LEVEL
      value: {{ $root.Values.log.level }}
    - name: CERTCTL_LOG_FORMAT
      value: {{ $root.Values.log.format }}
  resources: {{- toYaml $root.Values.backup.resources | nindent 4 }}
  volumeMounts:
    {{- include "certctl.databaseMounts" $root | nindent 4 }}
    {{- if eq $root.Values.backup.sink "pvc" }}
    - name: backups
      mountPath: /var/lib/certctl/backups
    {{- else }}
    {{- if $s3.credentialsSecret }}
    - name: s3
      mountPath: /etc/certctl/s3
      readOnly: true
    {{- end }}
    {{- if $s3.roleArn }}
    - name: identity
      mountPath: /etc/certctl/identity
      readOnly: true
    {{- end }}
    {{- end }}
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
