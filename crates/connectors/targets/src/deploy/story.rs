//! What a deployment tells: each event at once to who listens, all of them in the report.

use certctl_connector_core::ConnectorError;
use certctl_connector_core::report::{DeployEvent, DeployReport, Failure, Outcome, Proof, Served, Step};
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use tokio::time::Instant;

/// Collects the report.
pub(super) struct Story<'a> {
    report: DeployReport,
    begun: Timestamp,
    since: Instant,
    progress: &'a (dyn Fn(&DeployEvent) + Send + Sync),
}

impl<'a> Story<'a> {
    pub(super) fn new(
        deployment: &str,
        target: &str,
        fingerprint: Fingerprint,
        now: Timestamp,
        progress: &'a (dyn Fn(&DeployEvent) + Send + Sync),
    ) -> Self {
        let report = DeployReport {
            deployment: deployment.to_owned(),
            target: target.to_owned(),
            outcome: Outcome::Deployed,
            proof: Proof::NotObserved { reason: "it did not come to that".to_owned() },
            fingerprint,
            served: Vec::new(),
            events: Vec::new(),
            warnings: Vec::new(),
            backup: None,
        };
        Self { report, begun: now, since: Instant::now(), progress }
    }

    /// Something happened.
    pub(super) fn tell(&mut self, step: Step, detail: impl Into<String>) {
        let passed = time::Duration::try_from(self.since.elapsed()).unwrap_or(time::Duration::ZERO);
        let event = DeployEvent { step, at: self.begun.saturating_add(passed), detail: detail.into() };
        tracing::info!(deployment.id = %self.report.deployment, target.id = %self.report.target, deploy.step = %step, "{}", event.detail);
        (self.progress)(&event);
        self.report.events.push(event);
    }

    /// Something a person should know although it is no failure.
    pub(super) fn warn(&mut self, warnings: impl IntoIterator<Item = String>) {
        for warning in warnings {
            if !self.report.warnings.contains(&warning) {
                self.report.warnings.push(warning);
            }
        }
    }

    /// What the last handshakes showed.
    pub(super) fn saw(&mut self, served: Vec<Served>) {
        self.report.served = served;
    }

    /// The report as it goes out.
    pub(super) fn end(mut self, outcome: Outcome, proof: Proof) -> DeployReport {
        self.report.outcome = outcome;
        self.report.proof = proof;
        self.report
    }

    /// Where the replaced pair is kept.
    pub(super) fn backup(&mut self, path: Option<std::path::PathBuf>) {
        self.report.backup = path;
    }
}

/// A step's error as the report has it.
pub(super) fn failure(step: Step, error: &ConnectorError) -> Failure {
    Failure { step, reason: error.explain(), hint: error.advice().map(str::to_owned), retry: error.retry() }
}
