//! Bad values: each is refused while Helm renders, with a sentence that says what to do. And zero, which is not "not given".

use crate::failure::Failure;

use super::cases::example;
use super::chart::World;

/// Every bad value that is taken, or refused without the words that it needs.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    for (sets, sentence) in REFUSED {
        match world.template(&arguments(sets))? {
            Ok(_) => findings.push(format!("`{}` is taken", sets.join(","))),
            Err(said) if !said.contains(sentence) => findings.push(format!("`{}` is refused without `{sentence}`: {said}", sets.join(","))),
            Err(_) => {}
        }
    }
    Ok(findings)
}

/// Every number that becomes another when it is zero.
pub(super) fn zero_survives(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    for (set, rendered) in ZEROS {
        let text = match world.template(&arguments(&[
            "backup.enabled=true",
            "migrations.viaHook=true",
            "monitoring.prometheusRules.enabled=true",
            set,
        ]))? {
            Ok(text) => text,
            Err(said) => return Ok(vec![format!("`{set}`: {said}")]),
        };
        if !text.contains(rendered) {
            findings.push(format!("`{set}` does not render `{rendered}`"));
        }
    }
    Ok(findings)
}

fn arguments(sets: &[&str]) -> Vec<String> {
    let sets = sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]);
    ["--values".to_owned(), example("small")].into_iter().chain(sets).collect()
}

const REFUSED: [(&[&str], &str); 31] = [
    (&["backup.enabled=true", "backup.sink=S3"], "one of 'pvc', 's3'"),
    (&["backup.enabled=true", "backup.sink=s3 "], "one of 'pvc', 's3'"),
    (&["backup.enabled=true", "backup.sink=s3"], "backup.s3.bucket"),
    (&["backup.enabled=true", "backup.sink=s3", "backup.s3.bucket=x"], "/backup/s3/bucket"),
    (&["backup.s3.credentialsSecret=x", "backup.s3.roleArn=arn:x"], "leave one out"),
    (&["backup.s3.credentialsSecret.name=x"], "/backup/s3/credentialsSecret"),
    (&["backup.schedule=nightly"], "/backup/schedule"),
    (&["backup.pvc.storageClassName=x"], "storageClassName"),
    (
        &["backup.enabled=true", "postgresql.enabled=false", "externalDatabase.host=db.example.test", "externalDatabase.password=x"],
        "backup.allowExternalDatabase",
    ),
    (&["server.tls.existingSecret="], "exactly one way"),
    (&["server.tls.selfMade.enabled=true"], "exactly one way"),
    (&["server.tls.existingSecret=", "server.tls.certManager.enabled=true"], "issuerRef.name"),
    (&["encryption.existingSecret="], "encryption.existingSecret"),
    (&["encryption.existingSecret=", "encryption.key=short"], "/encryption/key"),
    (&["postgresql.auth.existingSecret="], "postgresql.auth.existingSecret"),
    (&["postgresql.enabled=false"], "externalDatabase.host"),
    (&["postgresql.enabled=false", "externalDatabase.host=db.example.test"], "externalDatabase.existingSecret"),
    (&["externalDatabase.host=db.example.test"], "postgresql.enabled=false"),
    (&["externalDatabase.sslMode=disable"], "/externalDatabase/sslMode"),
    (&["server.replicas=0"], "/server/replicas"),
    (&["server.replicas=5"], "postgresql.maxConnections"),
    (&["server.replicas=2", "podDisruptionBudget.enabled=true", "podDisruptionBudget.minAvailable=2"], "podDisruptionBudget.minAvailable"),
    (&["ingress.enabled=true"], "ingress.hosts"),
    (&["server.pki.enabled=true"], "server.pki.publicUrl"),
    (&["agent.enabled=true", "agent.ca.source=secret"], "agent.ca.name"),
    (&["agent.kind=Deployment"], "/agent/kind"),
    (&["server.settings.CERTCTL_DATABASE_PASSWORD=x"], "CERTCTL_DATABASE_PASSWORD"),
    (&["server.settings.CERTCTL_LOG_LEVEL=debug"], "a value of its own"),
    (&["monitoring.serviceMonitor.tlsConfig.caFile=/a", "monitoring.serviceMonitor.tlsConfig.ca.secret.name=b"], "leave one out"),
    (&["monitoring.prometheusRules.thresholds.jobFailureRatio=5"], "/monitoring/prometheusRules/thresholds/jobFailureRatio"),
    (&["nonsense=1"], "nonsense"),
];

const ZEROS: [(&str, &str); 10] = [
    ("backup.failedJobsHistoryLimit=0", "failedJobsHistoryLimit: 0\n"),
    ("backup.successfulJobsHistoryLimit=0", "successfulJobsHistoryLimit: 0\n"),
    ("backup.backoffLimit=0", "backoffLimit: 0\n"),
    ("migrations.backoffLimit=0", "backoffLimit: 0\n"),
    ("monitoring.prometheusRules.thresholds.jobFailureRatio=0", "> 0\n            and\n"),
    ("monitoring.prometheusRules.thresholds.jobFailureMinimum=0", ">= 0\n"),
    ("monitoring.prometheusRules.thresholds.issuerFailures=0", "[30m])) > 0\n            unless"),
    ("monitoring.prometheusRules.thresholds.agentSilentSeconds=0", "> 0\n          for: 5m"),
    (
        "monitoring.prometheusRules.thresholds.requestsRefused=0",
        "[15m])) > 0\n          labels: {severity: warning}\n          annotations:\n            summary: '{{ $value | humanize }} requests",
    ),
    ("monitoring.prometheusRules.thresholds.serverErrorRatio=0", "[10m]))\n              > 0\n"),
];
