//! One look at everything that is measured, and its series. What the table names has a line here, or this does not compile.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use certctl_domain::agent::AgentStatus;
use certctl_domain::auth::Permission;
use certctl_domain::certificate::CertificateStatus;
use certctl_domain::ids::{Id as _, IssuerId};
use certctl_domain::job::{JobKind, JobStatus};
use certctl_domain::time::Timestamp;
use certctl_engine::metrics::{Answer, Answers, Durations, IssuerLabels, TaskLabels};
use certctl_engine::ocsp::Outcome;
use certctl_engine::stats::{self, Fleet, TaskState};
use certctl_engine::verify::Seen;
use certctl_engine::{Ctx, Result};
use certctl_store::audit::Watch;
use certctl_store::backup::{self, Run, Verb};
use certctl_store::crls::List;
use certctl_store::gauges::{Edges, NamedAgent};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::histogram::Histogram;

use super::process::Process;
use super::requests::RequestLabels;
use super::series::Series;
use super::table::Metric;
use crate::listener::ListenerCounts;
use crate::rate_limit::RefusedCounts;
use crate::state::{App, Version};
use crate::tls::TlsStatus;

/// What the database tells of the installation, as of one moment.
#[derive(Debug)]
pub struct Installation {
    now: Timestamp,
    fleet: Arc<Fleet>,
    edges: Edges,
    queue_age: Duration,
    silent: Vec<NamedAgent>,
    skewed: Vec<NamedAgent>,
    issuers: Vec<(IssuerId, bool)>,
    audit: Option<Watch>,
    tasks: Vec<TaskState>,
    backup_made: Run,
    backup_verified: Run,
}

/// Everything that is measured, as of one moment.
#[derive(Debug)]
pub struct Snapshot {
    now: Timestamp,
    started_at: Timestamp,
    version: Version,
    installation: Arc<Installation>,
    issuer_answers: BTreeMap<IssuerId, Answers>,
    issuers_paused: HashMap<IssuerId, Duration>,
    task_durations: Durations<TaskLabels>,
    answers: BTreeMap<(&'static str, Answer), u64>,
    answer_durations: Durations<IssuerLabels>,
    cas: Vec<(IssuerId, Timestamp)>,
    lists: Vec<List>,
    ocsp: [(Outcome, u64); Outcome::ALL.len()],
    request_durations: prometheus_client::metrics::family::Family<RequestLabels, Histogram>,
    requests_in_flight: i64,
    connections: ListenerCounts,
    refused: RefusedCounts,
    tls: TlsStatus,
    pool: (usize, usize),
    pool_limit: u32,
    waits: (u64, Duration),
    process: Option<Process>,
}

impl Installation {
    /// Looks. Seven statements, however large the fleet is, and one more each where agents are silent or their clocks are off.
    async fn look(ctx: &Ctx) -> Result<Self> {
        let db = ctx.store().db();
        let fleet = stats::fleet(ctx, Permission::MetricsRead).await?;
        let mut runs = backup::last_runs(db).await?;
        Ok(Self {
            now: ctx.now(),
            edges: stats::edges(ctx).await?,
            queue_age: stats::queue_age(ctx).await?,
            silent: stats::named_agents(ctx, &fleet, AgentStatus::Offline).await?,
            skewed: stats::named_agents(ctx, &fleet, AgentStatus::Degraded).await?,
            fleet,
            issuers: stats::issuers(ctx).await?,
            audit: stats::audit_watch(ctx).await?,
            tasks: stats::tasks(ctx).await?,
            backup_made: runs.remove(Verb::Create.as_str()).unwrap_or_default(),
            backup_verified: runs.remove(Verb::Verify.as_str()).unwrap_or_default(),
        })
    }
}

impl Snapshot {
    /// Looks at everything; at the database together with all others who look at the same time.
    ///
    /// # Errors
    /// When `metrics.read` is held for a part of the fleet only, or the database fails.
    pub async fn take(ctx: &Ctx, app: &App) -> Result<Self> {
        ctx.everywhere(Permission::MetricsRead)?;
        let (engine, sources) = (ctx.engine(), &app.metrics);
        // First, for the statements below take connections themselves.
        let pool = engine.store().db().pool_size();
        let installation = sources.installation.take(sources.age, || Installation::look(ctx)).await.map_err(|error| error.shared())?;
        Ok(Self {
            now: ctx.now(),
            started_at: sources.started_at,
            version: app.version.clone(),
            installation,
            issuer_answers: engine.metrics().issuers(),
            issuers_paused: engine.issuers().left_alone(),
            task_durations: engine.metrics().task_durations().clone(),
            answers: engine.metrics().answers(),
            answer_durations: engine.metrics().answer_durations().clone(),
            cas: engine.shelf().ends(),
            lists: engine.shelf().lists(),
            ocsp: engine.shelf().counts().all(),
            request_durations: sources.requests.durations().clone(),
            requests_in_flight: sources.requests.in_flight(),
            connections: sources.listener.counts(),
            refused: app.rates.refused(),
            tls: sources.tls.status(),
            pool,
            pool_limit: engine.store().db().pool_limit(),
            waits: engine.store().waits(),
            process: tokio::task::spawn_blocking(Process::look).await.ok().flatten(),
        })
    }

    /// Writes the series of a metric.
    fn write(&self, metric: Metric, series: Series<'_>) -> fmt::Result {
        let installation = &self.installation;
        let fleet = &installation.fleet;
        match metric {
            Metric::CertificateTotal => series.gauge(fleet.certificates()),
            Metric::CertificateActive => series.gauge(fleet.certificates_in(CertificateStatus::Active)),
            Metric::CertificateExpiringSoon => series.gauge(fleet.certificates_in(CertificateStatus::Expiring)),
            Metric::CertificateExpired => series.gauge(fleet.certificates_in(CertificateStatus::Expired)),
            Metric::CertificateRevoked => series.gauge(fleet.certificates_in(CertificateStatus::Revoked)),
            Metric::Certificates => series.gauges(CertificateStatus::ALL.map(|status| ([status.as_str()], fleet.certificates_in(status)))),
            Metric::CertificateNextExpiry => series.gauge(installation.edges.next_expiry.map_or(0.0, unix_seconds)),
            Metric::CertificateVersionsIssued => series.counter(ever(fleet.issued())),
            Metric::CertificateIssueFailures => series.counter(ever(fleet.issue_failures())),
            Metric::CertificateVersionsRevoked => series.counter(ever(fleet.revoked())),
            Metric::AgentTotal => series.gauge(fleet.agents()),
            Metric::AgentOnline => series.gauge(fleet.agents_heard_of()),
            Metric::Agents => series.gauges(AGENT_STATUSES.map(|status| ([status.as_str()], fleet.agents_in(status)))),
            Metric::AgentLastHeartbeat => {
                series.gauges(installation.silent.iter().map(|agent| ([agent.name.as_str()], unix_seconds(agent.heard_at))))
            }
            Metric::AgentClockSkew => series
                .gauges(installation.skewed.iter().filter_map(|agent| Some(([agent.name.as_str()], agent.clock_skew_ms? as f64 / 1e3)))),
            Metric::DeploymentVerifications => series.counters(Seen::ALL.map(|seen| ([seen.as_str()], ever(fleet.verified(seen))))),
            Metric::Targets => series.gauge(fleet.targets()),
            Metric::JobPending => series.gauge(fleet.jobs_in(JobStatus::Pending)),
            Metric::Jobs => series.gauges(JobStatus::ALL.map(|status| ([status.as_str()], fleet.jobs_in(status)))),
            Metric::JobCompleted => series.counter(ever(fleet.all_jobs_ended(JobStatus::Completed))),
            Metric::JobFailed => series.counter(ever(fleet.all_jobs_ended(JobStatus::Failed))),
            Metric::JobsEnded => series.counters(JobKind::ALL.into_iter().flat_map(|kind| {
                let ends = JobStatus::ALL.into_iter().filter(|status| status.is_over());
                ends.map(move |status| ([kind.as_str(), status.as_str()], ever(fleet.jobs_ended(kind, status))))
            })),
            Metric::JobQueueAge => series.gauge(installation.queue_age.as_secs_f64()),
            Metric::JobOldestAge => series.gauges(JobStatus::ALL.into_iter().filter(|status| !status.is_over()).map(|status| {
                let age = installation.edges.oldest_jobs.get(&status).map_or(Duration::ZERO, |made| installation.now.since(*made));
                ([status.as_str()], age.as_secs_f64())
            })),
            Metric::TaskLastSuccess => {
                series.gauges(installation.tasks.iter().map(|task| ([task.name], task.succeeded_at.map_or(0.0, unix_seconds))))
            }

            Metric::CaExpiry => series.gauges(self.cas.iter().map(|(issuer, ends)| ([issuer.as_str()], unix_seconds(*ends)))),
            Metric::IssuerEnabled => {
                series.gauges(installation.issuers.iter().map(|(issuer, enabled)| ([issuer.as_str()], i64::from(*enabled))))
            }
            Metric::AuditChainBroken => series.gauge(i64::from(installation.audit.as_ref().is_some_and(|watch| watch.broken.is_some()))),
            Metric::AuditLastVerified => series.gauge(installation.audit.as_ref().map_or(0.0, |watch| unix_seconds(watch.verified_at))),
            Metric::AuditWholeVerified => series.gauge(installation.audit.as_ref().map_or(0.0, |watch| unix_seconds(watch.whole_at))),
            Metric::CrlLists => series.gauge(self.lists.len()),
            Metric::CrlUnpublished => series.gauge(self.lists.iter().filter(|list| list.edition.is_none()).count()),
            Metric::CrlNextUpdate => {
                let next = self.lists.iter().filter_map(|list| Some(list.edition.as_ref()?.next_update)).min();
                series.gauge(next.map_or(0.0, unix_seconds))
            }
            Metric::CrlEntries => {
                series.gauge(self.lists.iter().filter_map(|list| Some(list.edition.as_ref()?.revoked_count)).sum::<i64>())
            }
            Metric::BackupLastSuccess => series.gauge(installation.backup_made.succeeded_at.map_or(0.0, unix_seconds)),
            Metric::BackupSize => series.gauge(installation.backup_made.size_bytes.unwrap_or(0)),
            Metric::BackupDuration => {
                let took = u64::try_from(installation.backup_made.duration_ms.unwrap_or(0)).unwrap_or(0);
                series.gauge(Duration::from_millis(took).as_secs_f64())
            }
            Metric::BackupLastVerified => series.gauge(installation.backup_verified.succeeded_at.map_or(0.0, unix_seconds)),
            Metric::BackupFailures => {
                let verbs = [Verb::Create, Verb::Verify, Verb::Prune];
                series.counters(verbs.map(|verb| ([verb.as_str()], ever(fleet.backups_failed(verb)))))
            }
            Metric::OcspRequests => series.counters(self.ocsp.iter().map(|(outcome, n)| ([outcome.as_str()], *n))),

            Metric::Issuance => {
                let mut outcomes: BTreeMap<[&'static str; 2], u64> = BTreeMap::new();
                for ((issuer, answer), n) in &self.answers {
                    *outcomes.entry([issuer, answer.outcome()]).or_default() += n;
                }
                series.counters(outcomes)
            }
            Metric::IssuanceFailures => series.counters(self.answers.iter().filter_map(|((issuer, answer), n)| match answer {
                Answer::Failed(class) => Some(([*issuer, *class], *n)),
                Answer::Issued | Answer::Pending => None,
            })),
            Metric::IssuanceDuration => self.answer_durations.encode(series.out),
            Metric::IssuerAnswers => series.counters(installation.issuers.iter().flat_map(|(issuer, _)| {
                let answers = self.issuer_answers.get(issuer).copied().unwrap_or_default();
                [("success", answers.issued), ("failure", answers.failed), ("pending", answers.pending)]
                    .map(|(outcome, n)| ([issuer.as_str(), outcome], n))
            })),
            Metric::IssuerPaused => series.gauges(installation.issuers.iter().map(|(issuer, _)| {
                let left = self.issuers_paused.get(issuer).copied().unwrap_or_default();
                ([issuer.as_str()], left.as_secs_f64())
            })),
            Metric::TaskRuns => series.counters(
                installation
                    .tasks
                    .iter()
                    .flat_map(|task| [([task.name, "success"], task.here.runs), ([task.name, "failure"], task.here.failures)]),
            ),
            Metric::TaskItems => series.counters(installation.tasks.iter().map(|task| ([task.name], task.here.done))),
            Metric::TaskDuration => self.task_durations.encode(series.out),
            Metric::TaskLeaseHeld => series.gauges(installation.tasks.iter().map(|task| ([task.name], i64::from(task.runs_here)))),

            Metric::HttpRequestDuration => self.request_durations.encode(series.out),
            Metric::HttpRequestsInFlight => series.gauge(self.requests_in_flight),
            Metric::ConnectionsOpen => series.gauge(self.connections.open),
            Metric::ConnectionsAccepted => series.counter(self.connections.accepted),
            Metric::ConnectionFailures => series.counters([
                (["handshake_failed"], self.connections.handshake_failed),
                (["handshake_timed_out"], self.connections.handshake_timed_out),
                (["plain_http"], self.connections.plain_http),
                (["timed_out"], self.connections.timed_out),
            ]),
            Metric::RequestsRefused => {
                series.counters([(["rate_limited"], self.refused.rate_limited), (["too_many_failures"], self.refused.too_many_failures)])
            }
            Metric::TlsCertificateExpiry => series.gauge(unix_seconds(self.tls.not_after)),
            Metric::TlsReloads => series.counters([(["replaced"], self.tls.replaced), (["failed"], self.tls.failed)]),
            Metric::TlsReloadFailing => series.gauge(i64::from(self.tls.problem.is_some())),
            Metric::DatabaseConnectionsInUse => series.gauge(self.pool.0),
            Metric::DatabaseConnectionsOpen => series.gauge(self.pool.1),

            Metric::DatabaseConnectionsLimit => series.gauge(i64::from(self.pool_limit)),
            Metric::DatabaseTransactions => series.counter(self.waits.0),
            Metric::DatabaseWait => series.counter(self.waits.1.as_secs_f64()),

            Metric::Uptime => series.gauge(self.now.since(self.started_at).as_secs_f64()),
            Metric::BuildInfo => series.info(&[&self.version.version, &self.version.commit]),
            Metric::ProcessStartTime => series.gauge(unix_seconds(self.started_at)),
            Metric::ProcessCpu => self.process.map_or(Ok(()), |process| series.counter(process.cpu_seconds)),
            Metric::ProcessResidentMemory => self.process.map_or(Ok(()), |process| series.gauge(whole(process.resident_bytes))),
            Metric::ProcessVirtualMemory => self.process.map_or(Ok(()), |process| series.gauge(whole(process.virtual_bytes))),
            Metric::ProcessOpenFds => self.process.map_or(Ok(()), |process| series.gauge(whole(process.open_fds))),
            Metric::ProcessMaxFds => self.process.map_or(Ok(()), |process| series.gauge(whole(process.max_fds))),
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in Metric::ALL.iter().copied() {
            let out = encoder.encode_descriptor(metric.stem(), metric.help(), metric.unit(), metric.kind())?;
            self.write(metric, Series { metric, out })?;
        }
        Ok(())
    }
}

/// A count from the database.
fn ever(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// A number that the encoder can write, which knows no larger ones.
fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A float holds microseconds since 1970 exactly for two centuries and a half.
fn unix_seconds(at: Timestamp) -> f64 {
    at.unix_micros() as f64 / 1e6
}

const AGENT_STATUSES: [AgentStatus; 3] = [AgentStatus::Online, AgentStatus::Offline, AgentStatus::Degraded];
