//! Who watches the watchers: a copy of the chart is broken in one way after the other, and each time the check that is there for it must
//! find something.

use std::path::Path;
use std::time::Instant;

use crate::failure::Failure;
use crate::{files, say};

use super::chart::{CHART, Tools, World};
use super::{CHECKS, cases};

/// One way to break the chart.
struct Mutation {
    name: &'static str,
    /// Below the chart, or from the root where it begins with `/`.
    file: &'static str,
    change: Change,
    /// The check that must find it; its place in [`CHECKS`] by the beginning of its name.
    found_by: &'static str,
}

enum Change {
    Delete,
    Replace(&'static str, &'static str),
}

use Change::{Delete, Replace};

/// Breaks copies, and fails where nobody notices.
pub(super) fn run(root: &Path, tools: &Tools) -> Result<(), Failure> {
    say::title("Ways to break the chart");
    let mut unseen = 0;
    for mutation in &MUTATIONS {
        let started = Instant::now();
        let copy = tempfile::tempdir().map_err(|error| Failure::new("cannot make a temporary folder").because(error))?;
        copy_of(root, copy.path())?;
        mutation.apply(copy.path())?;
        let found = mutation.found(copy.path(), tools)?;
        match found.first() {
            Some(first) => {
                say::held(mutation.name, started.elapsed());
                say::detail(first.lines().next().unwrap_or_default());
            }
            None => {
                say::broke(format_args!("{}: nobody notices", mutation.name));
                unseen += 1;
            }
        }
    }
    say::line(format_args!("{}/{} mutations found", MUTATIONS.len() - unseen, MUTATIONS.len()));
    if unseen == 0 { Ok(()) } else { Err(Failure::new(format!("{unseen} ways to break the chart go unnoticed"))) }
}

impl Mutation {
    fn apply(&self, root: &Path) -> Result<(), Failure> {
        let path = match self.file.strip_prefix('/') {
            Some(from_root) => root.join(from_root),
            None => root.join(CHART).join(self.file),
        };
        match self.change {
            Delete => std::fs::remove_file(&path).map_err(|error| Failure::new(format!("cannot remove {}", path.display())).because(error)),
            Replace(old, new) => {
                let text = files::read(&path)?;
                if !text.contains(old) {
                    return Err(Failure::new(format!("`{}` changes nothing: {} has no `{old}` any more", self.name, self.file)));
                }
                files::write(&path, &text.replacen(old, new, 1))
            }
        }
    }

    fn found(&self, root: &Path, tools: &Tools) -> Result<Vec<String>, Failure> {
        let check = CHECKS.iter().find(|check| check.name.starts_with(self.found_by));
        let check = check.ok_or_else(|| Failure::new(format!("there is no check `{}`", self.found_by)))?;
        let world = World::look_at(root, tools, cases::few())?;
        (check.run)(&world)
    }
}

/// What the checks read.
fn copy_of(root: &Path, to: &Path) -> Result<(), Failure> {
    for place in COPIED {
        files::copy(&root.join(place), &to.join(place))?;
    }
    Ok(())
}

const COPIED: [&str; 7] = [
    "deploy/grafana",
    "deploy/helm",
    "deploy/prometheus",
    "docs/decisions",
    "docs/operator",
    "docs/reference",
    "crates/agent/src/settings.rs",
];

const MUTATIONS: [Mutation; 47] = [
    Mutation { name: "the backup is lost", file: "templates/backup-cronjob.yaml", change: Delete, found_by: "each renders" },
    Mutation { name: "the migration is lost", file: "templates/migration-job.yaml", change: Delete, found_by: "each renders" },
    Mutation { name: "the alerts are lost", file: "templates/prometheusrules.yaml", change: Delete, found_by: "each renders" },
    Mutation {
        name: "alerts need a second switch",
        file: "templates/prometheusrules.yaml",
        change: Replace(
            "if and .Values.monitoring.enabled $rules.enabled",
            "if and .Values.monitoring.serviceMonitor.enabled $rules.enabled",
        ),
        found_by: "each renders",
    },
    Mutation {
        name: "a template ends too early",
        file: "templates/ingress.yaml",
        change: Replace("{{- end }}\n{{- end }}", "{{- end }}"),
        found_by: "every case renders",
    },
    Mutation {
        name: "a field of Kubernetes is misspelled",
        file: "templates/server-deployment.yaml",
        change: Replace("livenessProbe:", "livenesProbe:"),
        found_by: "objects fit",
    },
    Mutation {
        name: "a field of the Operator is misspelled",
        file: "templates/servicemonitor.yaml",
        change: Replace("scrapeTimeout:", "scrapeTimeOut:"),
        found_by: "objects fit",
    },
    Mutation {
        name: "a number becomes a text",
        file: "templates/backup-cronjob.yaml",
        change: Replace("{{ int $backup.failedJobsHistoryLimit }}", "{{ $backup.failedJobsHistoryLimit | quote }}"),
        found_by: "objects fit",
    },
    Mutation {
        name: "zero becomes one",
        file: "templates/backup-cronjob.yaml",
        change: Replace("{{ int $backup.failedJobsHistoryLimit }}", "{{ default 1 $backup.failedJobsHistoryLimit }}"),
        found_by: "zero survives",
    },
    Mutation {
        name: "a misspelled sink is taken",
        file: "values.schema.json",
        change: Replace(r#"{"enum": ["pvc", "s3"]}"#, r#"{"type": "string"}"#),
        found_by: "values that do not",
    },
    Mutation {
        name: "an empty bucket is taken",
        file: "templates/_validate.tpl",
        change: Replace("(not .Values.backup.s3.bucket)", "false"),
        found_by: "values that do not",
    },
    Mutation {
        name: "an external database is backed up unasked",
        file: "templates/_validate.tpl",
        change: Replace("(not .Values.backup.allowExternalDatabase)", "false"),
        found_by: "values that do not",
    },
    Mutation {
        name: "unknown values are taken",
        file: "values.schema.json",
        change: Replace(r#""additionalProperties": false"#, r#""additionalProperties": true"#),
        found_by: "values that do not",
    },
    Mutation {
        name: "an impossible number is taken",
        file: "values.schema.json",
        change: Replace("\"replicas\": {\"type\": \"integer\", \"minimum\": 1},\n", "\"replicas\": {},\n"),
        found_by: "values that do not",
    },
    Mutation {
        name: "a value is not in the schema",
        file: "values.yaml",
        change: Replace("size: small\n", "size: small\n# More.\nmore: 1\n"),
        found_by: "values and schema",
    },
    Mutation {
        name: "a value is in the schema only",
        file: "values.yaml",
        change: Replace("  # The port for HTTPS.\n    port: 8443\n", ""),
        found_by: "values and schema",
    },
    Mutation {
        name: "a value is read by nobody",
        file: "templates/server-service.yaml",
        change: Replace("{{ .Values.server.service.type }}", "ClusterIP"),
        found_by: "every value",
    },
    Mutation {
        name: "the server may run as root",
        file: "templates/_helpers.tpl",
        change: Replace("runAsUser: {{ int . }}", "runAsUser: 0"),
        found_by: "pods keep",
    },
    Mutation {
        name: "capabilities are kept",
        file: "templates/_helpers.tpl",
        change: Replace("  drop: [ALL]", "  drop: []"),
        found_by: "pods keep",
    },
    Mutation {
        name: "no seccomp profile",
        file: "templates/_helpers.tpl",
        change: Replace("seccompProfile:\n  type: RuntimeDefault\n", ""),
        found_by: "pods keep",
    },
    Mutation {
        name: "agents see the server's key",
        file: "templates/_helpers.tpl",
        change: Replace("  items:\n    - key: {{ $ca.key }}\n      path: ca.crt\n", ""),
        found_by: "pods keep",
    },
    Mutation {
        name: "a token is mounted",
        file: "templates/backup-cronjob.yaml",
        change: Replace("          automountServiceAccountToken: false\n", ""),
        found_by: "pods keep",
    },
    Mutation {
        name: "the password is a variable of the migration",
        file: "templates/migration-job.yaml",
        change: Replace(
            "            - name: CERTCTL_LOG_LEVEL\n",
            "            - name: CERTCTL_DATABASE_PASSWORD\n              value: {{ include \"certctl.databasePassword\" . | quote }}\n            - name: CERTCTL_LOG_LEVEL\n",
        ),
        found_by: "secrets stand",
    },
    Mutation {
        name: "a hook needs an account that comes later",
        file: "templates/migration-job.yaml",
        change: Replace("serviceAccountName: {{ $name }}", "serviceAccountName: {{ include \"certctl.server\" . }}"),
        found_by: "what is referred to",
    },
    Mutation {
        name: "a hook comes before its account",
        file: "templates/migration-job.yaml",
        change: Replace("\"weight\" \"-5\"", "\"weight\" \"-20\""),
        found_by: "what is referred to",
    },
    Mutation {
        name: "the hook waits for a database that is not there",
        file: "templates/_migrations.tpl",
        change: Replace(
            "{{ if .root.Values.postgresql.enabled }}pre-upgrade{{ else }}pre-install,pre-upgrade{{ end }}",
            "pre-install,pre-upgrade",
        ),
        found_by: "what is referred to",
    },
    Mutation {
        name: "the server mounts another Secret",
        file: "templates/server-deployment.yaml",
        change: Replace("secretName: {{ include \"certctl.tlsSecret\" . }}", "secretName: certctl-tls"),
        found_by: "what is referred to",
    },
    Mutation {
        name: "a label is dropped",
        file: "templates/_helpers.tpl",
        change: Replace(
            "{{- define \"certctl.podLabels\" -}}\n{{ include \"certctl.selector\" . }}\n",
            "{{- define \"certctl.podLabels\" -}}\n",
        ),
        found_by: "what selects",
    },
    Mutation {
        name: "a Service leads to no port",
        file: "templates/server-service.yaml",
        change: Replace("targetPort: https", "targetPort: http"),
        found_by: "what selects",
    },
    Mutation {
        name: "a setting is misspelled",
        file: "templates/server-deployment.yaml",
        change: Replace("CERTCTL_ENCRYPTION_KEY_FILE", "CERTCTL_ENCRYPTION_KEYFILE"),
        found_by: "settings are",
    },
    Mutation {
        name: "a file is not mounted",
        file: "templates/server-deployment.yaml",
        change: Replace("mountPath: /etc/certctl/encryption", "mountPath: /etc/certctl/keys"),
        found_by: "settings are",
    },
    Mutation {
        name: "an alert speaks of no metric",
        file: "templates/prometheusrules.yaml",
        change: Replace("certctl_crl_unpublished", "certctl_crl_missing"),
        found_by: "alerts fire",
    },
    Mutation {
        name: "an alert never fires",
        file: "templates/prometheusrules.yaml",
        change: Replace("(certctl_certificate_expired{ {{- $of -}} }) > 0", "(certctl_certificate_expired{ {{- $of -}} }) > 1e9"),
        found_by: "alerts fire",
    },
    Mutation {
        name: "a broken audit log wakes nobody",
        file: "templates/prometheusrules.yaml",
        change: Replace("(certctl_audit_chain_broken{ {{- $of -}} }) > 0", "(certctl_audit_chain_broken{ {{- $of -}} }) > 1"),
        found_by: "alerts fire",
    },
    Mutation {
        name: "each replica wakes somebody",
        file: "templates/prometheusrules.yaml",
        change: Replace(
            "max by (job, namespace) (certctl_audit_chain_broken",
            "max by (job, namespace, instance) (certctl_audit_chain_broken",
        ),
        found_by: "alerts fire",
    },
    Mutation { name: "the dashboard is lost", file: "templates/grafana-dashboard.yaml", change: Delete, found_by: "each renders" },
    Mutation {
        name: "a panel speaks of no metric",
        file: "/deploy/grafana/certctl.json",
        change: Replace("max(certctl_certificate_expired{", "max(certctl_certificate_ended{"),
        found_by: "the dashboard",
    },
    Mutation {
        name: "a panel speaks of no label",
        file: "/deploy/grafana/certctl.json",
        change: Replace("max by (agent) (certctl_agent_last", "max by (host) (certctl_agent_last"),
        found_by: "the dashboard",
    },
    Mutation {
        name: "a panel shows every installation",
        file: "/deploy/grafana/certctl.json",
        change: Replace("certctl_audit_chain_broken{job=\\\"$job\\\",", "certctl_audit_chain_broken{"),
        found_by: "the dashboard",
    },
    Mutation {
        name: "monitoring scrapes a port that is not open",
        file: "templates/servicemonitor.yaml",
        change: Replace(
            "{{ if .Values.server.metrics.enabled }}metrics{{ else }}",
            "{{ if .Values.server.metrics.enabled }}scrape{{ else }}",
        ),
        found_by: "what selects",
    },
    Mutation {
        name: "a rendered example is stale",
        file: "/deploy/helm/rendered/small.yaml",
        change: Replace("kind: Deployment", "kind: Deploiment"),
        found_by: "what is kept",
    },
    Mutation {
        name: "the guide sets a value that there is not",
        file: "/docs/operator/helm.md",
        change: Replace("--set agent.enabled=true", "--set agents.enabled=true"),
        found_by: "the guide's",
    },
    Mutation {
        name: "the guide looks at a Deployment that there is not",
        file: "/docs/operator/helm.md",
        change: Replace("deployment/certctl-server", "deployment/certctl"),
        found_by: "the guide's",
    },
    Mutation {
        name: "the guide points at a measurement that there is not",
        file: "/docs/operator/helm.md",
        change: Replace("`memory at rest` has ", "`memory at rest` has 9"),
        found_by: "the guide's",
    },
    Mutation {
        name: "probes end long migrations",
        file: "values.yaml",
        change: Replace("failureThreshold: 120", "failureThreshold: 10"),
        found_by: "settings are",
    },
    Mutation {
        name: "PostgreSQL restarts with every upgrade",
        file: "templates/postgres-statefulset.yaml",
        change: Replace("  updateStrategy:\n    type: OnDelete\n", ""),
        found_by: "each renders",
    },
    Mutation {
        name: "the table names a test that there is not",
        file: "/docs/decisions/0005-deploy-acceptance.md",
        change: Replace("::postgresql_can_begin", "::postgresql_may_begin"),
        found_by: "the table of acceptance",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_way_to_be_broken() {
        for check in &CHECKS {
            assert!(MUTATIONS.iter().any(|mutation| check.name.starts_with(mutation.found_by)), "{}", check.name);
        }
    }
}
