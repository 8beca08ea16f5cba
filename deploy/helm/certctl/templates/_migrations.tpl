{{/*
When the hook runs. An external database is there before anything else, so its schema is made before the first server starts. The one
that comes along is created together with the servers: at the first installation they bring the empty database up to date themselves,
under the lock that they all take, and the hook serves every upgrade after that. A hook that ran after the first installation would
never run under `helm install --wait`, which first waits for servers that wait for the hook.
*/}}

{{/* Called with (dict "root" $ "weight" "-5"). */}}
{{- define "certctl.hook" -}}
helm.sh/hook: {{ if .root.Values.postgresql.enabled }}pre-upgrade{{ else }}pre-install,pre-upgrade{{ end }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Whether servers leave the schema to the hook. */}}
{{- define "certctl.schemaByHook" -}}
{{- and .Values.migrations.viaHook (not (and .Values.postgresql.enabled .Release.IsInstall)) -}}
{{- end -}}
