{{/* What the schema cannot say: values that are each right but do not go together. Each ends the rendering with a sentence. */}}

{{- define "certctl.validate" -}}
{{- $tls := .Values.server.tls -}}
{{- $sources := 0 -}}
{{- range list (ne $tls.existingSecret "") $tls.certManager.enabled $tls.selfMade.enabled -}}{{- if . -}}{{- $sources = add1 $sources -}}{{- end -}}{{- end -}}
{{- if ne (int $sources) 1 -}}
{{- fail "give the server's certificate in exactly one way: server.tls.existingSecret, server.tls.certManager.enabled or server.tls.selfMade.enabled" -}}
{{- end -}}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) -}}
{{- fail "server.tls.certManager.enabled needs server.tls.certManager.issuerRef.name, the issuer that cert-manager is to ask" -}}
{{- end -}}
{{- if eq (empty .Values.encryption.existingSecret) (empty .Values.encryption.key) -}}
{{- fail "give the encryption key in exactly one way: encryption.existingSecret (made with `openssl rand -base64 32`, and a copy kept elsewhere) or encryption.key" -}}
{{- end -}}
{{- if and .Values.encryption.previousKeysSecretKey (not .Values.encryption.existingSecret) -}}
{{- fail "encryption.previousKeysSecretKey names an entry of encryption.existingSecret, which is not given" -}}
{{- end -}}
{{- if .Values.postgresql.enabled -}}
{{- if eq (empty .Values.postgresql.auth.existingSecret) (empty .Values.postgresql.auth.password) -}}
{{- fail "give the password of PostgreSQL in exactly one way: postgresql.auth.existingSecret or postgresql.auth.password" -}}
{{- end -}}
{{- if .Values.externalDatabase.host -}}
{{- fail "externalDatabase.host is given while postgresql.enabled is true: set postgresql.enabled=false to use the other database" -}}
{{- end -}}
{{- $wanted := add (mul .Values.server.replicas .Values.server.database.maxConnections) 10 -}}
{{- if gt (int $wanted) (int .Values.postgresql.maxConnections) -}}
{{- fail (printf "%d replicas with %d connections each, and ten for others, are more than postgresql.maxConnections=%d: raise that or lower server.database.maxConnections" (int .Values.server.replicas) (int .Values.server.database.maxConnections) (int .Values.postgresql.maxConnections)) -}}
{{- end -}}
{{- else -}}
{{- if not .Values.externalDatabase.host -}}
{{- fail "postgresql.enabled is false: give externalDatabase.host, the PostgreSQL to use instead" -}}
{{- end -}}
{{- if eq (empty .Values.externalDatabase.existingSecret) (empty .Values.externalDatabase.password) -}}
{{- fail "give the password of the external database in exactly one way: externalDatabase.existingSecret or externalDatabase.password" -}}
{{- end -}}
{{- if and .Values.backup.enabled (not .Values.backup.allowExternalDatabase) -}}
{{- fail "backup.enabled with an external database: use the snapshots of its provider, or set backup.allowExternalDatabase=true for logical backups as well" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.backup.enabled (eq .Values.backup.sink "s3") (not .Values.backup.s3.bucket) -}}
{{- fail "backup.sink=s3 needs backup.s3.bucket, the name of the bucket" -}}
{{- end -}}
{{- if and .Values.backup.s3.credentialsSecret .Values.backup.s3.roleArn -}}
{{- fail "backup.s3.credentialsSecret and backup.s3.roleArn are both given: leave one out" -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (gt (int .Values.server.replicas) 1) (ge (int .Values.podDisruptionBudget.minAvailable) (int .Values.server.replicas)) -}}
{{- fail (printf "podDisruptionBudget.minAvailable=%d with server.replicas=%d would keep every node from being drained: let it be smaller" (int .Values.podDisruptionBudget.minAvailable) (int .Values.server.replicas)) -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts, at least one name" -}}
{{- end -}}
{{- if and .Values.server.pki.enabled (not .Values.server.pki.publicUrl) -}}
{{- fail "server.pki.enabled needs server.pki.publicUrl: the address goes into every certificate and should never change" -}}
{{- end -}}
{{- if and .Values.agent.enabled (has .Values.agent.ca.source (list "secret" "configMap")) (not .Values.agent.ca.name) -}}
{{- fail (printf "agent.ca.source=%s needs agent.ca.name" .Values.agent.ca.source) -}}
{{- end -}}
{{- if and .Values.monitoring.serviceMonitor.tlsConfig.ca .Values.monitoring.serviceMonitor.tlsConfig.caFile -}}
{{- fail "monitoring.serviceMonitor.tlsConfig has both ca and caFile, which the Prometheus Operator refuses: leave one out" -}}
{{- end -}}
{{- range $name, $value := .Values.server.settings -}}
{{- if has $name (list "CERTCTL_SERVER_LISTEN" "CERTCTL_SERVER_PUBLIC_URL" "CERTCTL_SERVER_DATA_DIR" "CERTCTL_DATABASE_MAX_CONNECTIONS" "CERTCTL_DATABASE_URL" "CERTCTL_LOG_LEVEL" "CERTCTL_LOG_FORMAT" "CERTCTL_TLS_CERT_FILE" "CERTCTL_TLS_KEY_FILE" "CERTCTL_MIGRATIONS_VIA_HOOK" "CERTCTL_PKI_HTTP_LISTEN" "CERTCTL_PKI_PUBLIC_URL" "CERTCTL_ACME_HTTP01_LISTEN" "CERTCTL_ACME_COMMANDS_FILE") -}}
{{- fail (printf "server.settings has %s, which the chart sets from a value of its own" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
