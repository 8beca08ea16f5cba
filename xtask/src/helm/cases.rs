//! The situations in which the chart is rendered: the examples, the six of the guard, and every two parts together.

use std::collections::BTreeSet;

use super::chart::CHART;

/// A part of the chart that can be turned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    ExternalDatabase,
    Hook,
    Backup,
    Bucket,
    Agent,
    AgentVolumes,
    Network,
    Ingress,
    Budget,
    Scrape,
    Alerts,
    Dashboard,
    MetricsPort,
    CertManager,
    SelfMade,
    Pki,
    Commands,
    AgentCommands,
    /// Passwords and keys are values instead of Secrets of the operator's.
    SecretValues,
}

use Part::{
    Agent, AgentCommands, AgentVolumes, Alerts, Backup, Bucket, Budget, CertManager, Commands, Dashboard, ExternalDatabase, Hook, Ingress,
    MetricsPort, Network, Pki, Scrape, SecretValues, SelfMade,
};

impl Part {
    pub(super) const ALL: [Self; 19] = [
        ExternalDatabase,
        Hook,
        Backup,
        Bucket,
        Agent,
        AgentVolumes,
        Network,
        Ingress,
        Budget,
        Scrape,
        Alerts,
        Dashboard,
        MetricsPort,
        CertManager,
        SelfMade,
        Pki,
        Commands,
        AgentCommands,
        SecretValues,
    ];

    /// The values that turn it on, over those of the example `small`.
    pub(super) fn sets(self) -> &'static [&'static str] {
        match self {
            ExternalDatabase => {
                &["postgresql.enabled=false", "externalDatabase.host=db.example.test", "externalDatabase.existingSecret=certctl-database"]
            }
            Hook => &["migrations.viaHook=true"],
            Backup => &["backup.enabled=true", "backup.allowExternalDatabase=true"],
            Bucket => &["backup.sink=s3", "backup.s3.bucket=bucket-of-tests", "backup.s3.credentialsSecret=certctl-s3"],
            Agent => &["agent.enabled=true", "agent.enrollment.existingSecret=certctl-agent-tokens"],
            AgentVolumes => &["agent.kind=StatefulSet"],
            Network => &["networkPolicy.enabled=true"],
            Ingress => &["ingress.enabled=true", "ingress.hosts={certctl.example.test}"],
            Budget => &["podDisruptionBudget.enabled=true", "server.replicas=2"],
            Scrape => {
                &["monitoring.serviceMonitor.enabled=true", "monitoring.serviceMonitor.bearerTokenSecret.name=certctl-prometheus-key"]
            }
            Alerts => &["monitoring.prometheusRules.enabled=true"],
            Dashboard => &["monitoring.grafanaDashboard.enabled=true"],
            MetricsPort => &["server.metrics.enabled=true"],
            CertManager => {
                &["server.tls.existingSecret=", "server.tls.certManager.enabled=true", "server.tls.certManager.issuerRef.name=internal-ca"]
            }
            SelfMade => &["server.tls.existingSecret=", "server.tls.selfMade.enabled=true"],
            Pki => &["server.pki.enabled=true", "server.pki.publicUrl=http://pki.example.test"],
            Commands => &["server.acme.commands=a file"],
            AgentCommands => &["agent.commands=a file"],
            SecretValues => &[
                "encryption.existingSecret=",
                "encryption.key=Q0FOQVJZLUNBTkFSWS1DQU5BUlktQ0FOQVJZLUNBTkE=",
                "postgresql.auth.existingSecret=",
                "postgresql.auth.password=canary/+@:%?",
                "externalDatabase.existingSecret=",
                "externalDatabase.password=canary/+@:%?",
            ],
        }
    }

    /// Whether both can be on.
    fn goes_with(self, other: Self) -> bool {
        !matches!((self, other), (CertManager, SelfMade) | (SelfMade, CertManager))
    }
}

/// A shipped values file, and the parts that it turns on.
pub(super) struct Example {
    pub(super) name: &'static str,
    parts: &'static [Part],
}

/// All of them.
pub(super) const EXAMPLES: [Example; 5] = [
    Example { name: "dev", parts: &[Agent, AgentVolumes, SelfMade, SecretValues] },
    Example { name: "small", parts: &[] },
    Example { name: "external-db", parts: &[ExternalDatabase, Hook, Backup, Bucket, Ingress] },
    Example {
        name: "ha",
        parts: &[ExternalDatabase, Hook, Agent, AgentCommands, Network, Ingress, Budget, Scrape, Alerts, Dashboard, CertManager, Pki],
    },
    Example { name: "acme-dns01", parts: &[Commands, Network] },
];

/// The combinations of the guard script, over the example `small`.
pub(super) const SIX: [(&str, &[Part]); 6] = [
    ("defaults", &[]),
    ("backup to a volume", &[Backup]),
    ("backup to S3", &[Backup, Bucket]),
    ("prometheusRules", &[Alerts]),
    ("migrations.viaHook", &[Hook]),
    ("all on", &[Backup, Bucket, Alerts, Hook, Scrape, Network, Ingress, Budget, Agent]),
];

/// One situation.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// The values file below `examples`.
    example: &'static str,
    /// The parts that are on, whether by the file or by `sets`.
    pub(super) on: BTreeSet<Part>,
    /// The values beside the file.
    sets: Vec<&'static str>,
    /// Rendered as an upgrade, not as a first installation.
    pub(super) upgrade: bool,
}

impl Case {
    fn of(name: impl Into<String>, parts: &[Part]) -> Self {
        let sets = parts.iter().flat_map(|part| part.sets()).copied().collect();
        Self { name: name.into(), example: "small", on: parts.iter().copied().collect(), sets, upgrade: false }
    }

    /// Whether it is one of the guard's.
    pub(super) fn is_of_the_six(&self) -> bool {
        SIX.iter().any(|(name, _)| *name == self.name)
    }

    /// Whether a part is on.
    pub(super) fn has(&self, part: Part) -> bool {
        self.on.contains(&part)
    }

    /// The arguments for Helm.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--values".to_owned(), example(self.example)];
        arguments.extend(self.sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
        if self.upgrade {
            arguments.push("--is-upgrade".to_owned());
        }
        arguments
    }
}

/// The path of an example.
pub(super) fn example(name: &str) -> String {
    format!("{CHART}/examples/{name}.yaml")
}

/// Enough of them to see every template.
pub(super) fn few() -> Vec<Case> {
    all()
        .into_iter()
        .filter(|case| case.name.starts_with("example ") || case.name == "Scrape and MetricsPort" || case.is_of_the_six())
        .collect()
}

/// Every situation. Two parts at a time, each alone, and none: so every pair is seen in all four ways.
pub(super) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for example in &EXAMPLES {
        let case = |name: String, upgrade| Case {
            name,
            example: example.name,
            on: example.parts.iter().copied().collect(),
            sets: Vec::new(),
            upgrade,
        };
        all.push(case(format!("example {}", example.name), false));
        all.push(case(format!("example {}, upgraded", example.name), true));
    }
    all.extend(SIX.iter().map(|(name, parts)| Case::of(*name, parts)));
    for (index, first) in Part::ALL.into_iter().enumerate() {
        all.push(Case::of(format!("{first:?}"), &[first]));
        let others = Part::ALL.into_iter().skip(index + 1).filter(|second| first.goes_with(*second));
        all.extend(others.map(|second| Case::of(format!("{first:?} and {second:?}"), &[first, second])));
    }
    all.push(Case { upgrade: true, ..Case::of("Hook and SecretValues, upgraded", &[Hook, SecretValues, Network]) });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_that_can_be_is_there() {
        let all = all();
        for first in Part::ALL {
            for second in Part::ALL.into_iter().filter(|second| *second != first && first.goes_with(*second)) {
                let seen = |a, b| all.iter().any(|case| case.has(first) == a && case.has(second) == b);
                assert!(seen(true, true) && seen(true, false) && seen(false, true) && seen(false, false), "{first:?} {second:?}");
            }
        }
        assert_eq!(all.iter().filter(|case| case.is_of_the_six()).count(), 6);
    }
}
