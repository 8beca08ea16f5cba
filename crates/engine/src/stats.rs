//! Numbers about the whole installation: how many there are now, from the fleet's counters, and how many on each day, through indexes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use certctl_domain::agent::AgentStatus;
use certctl_domain::auth::Permission;
use certctl_domain::certificate::CertificateStatus;
use certctl_domain::ids::IssuerId;
use certctl_domain::job::{JobKind, JobStatus};
use certctl_domain::noun::Refusal;
use certctl_domain::time::Timestamp;
use certctl_store::audit::Watch;
use certctl_store::gauges::{Edges, NamedAgent};
use certctl_store::stats::{Ended, Span};
use certctl_store::{agents, audit, backup, certificates, counters, gauges, jobs, leases, stats};
use time::Date;

use crate::ctx::Ctx;
use crate::error::Result;
use crate::metrics::TaskCount;
use crate::scheduler;
use crate::verify::Seen;

/// How many there are of everything, as of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet(BTreeMap<String, i64>);

/// A number of days that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u16);

/// The jobs that ended on each day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trends {
    /// Each day until today.
    pub days: Vec<(Date, Ended)>,
    /// Jobs that ended before are pruned.
    pub kept_since: Timestamp,
}

/// How a periodic task goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskState {
    /// Its name.
    pub name: &'static str,
    /// When it last succeeded on any replica.
    pub succeeded_at: Option<Timestamp>,
    /// Whether it is this replica that runs it.
    pub runs_here: bool,
    /// What became of it here.
    pub here: TaskCount,
}

/// How many there are of everything now: one statement, however large the fleet is, and one for all who ask at the same time.
///
/// # Errors
/// When `permission` is held for a part of the fleet only, for these numbers tell about all of it; or when the database fails.
pub async fn fleet(ctx: &Ctx, permission: Permission) -> Result<Arc<Fleet>> {
    ctx.everywhere(permission)?;
    let look = async || Ok(Fleet(counters::read_all(ctx.store().db(), "").await?));
    ctx.engine().fleet().take(Duration::ZERO, look).await.map_err(|error| error.shared())
}

/// Certificates that expire on each of the next days, today being the first.
///
/// # Errors
/// As [`fleet`].
pub async fn expirations(ctx: &Ctx, days: Days) -> Result<Vec<(Date, i64)>> {
    ctx.everywhere(Permission::StatsRead)?;
    let days = days.from(ctx.now());
    let counts = stats::expiring(ctx.store().db(), &spans(&days)).await?;
    Ok(days.into_iter().zip(counts).collect())
}

/// Versions that were issued on each of the last days, today being the last.
///
/// # Errors
/// As [`fleet`].
pub async fn issuances(ctx: &Ctx, days: Days) -> Result<Vec<(Date, i64)>> {
    ctx.everywhere(Permission::StatsRead)?;
    let days = days.until(ctx.now());
    let counts = stats::issued(ctx.store().db(), &spans(&days)).await?;
    Ok(days.into_iter().zip(counts).collect())
}

/// Jobs that ended on each of the last days, today being the last.
///
/// # Errors
/// As [`fleet`].
pub async fn job_trends(ctx: &Ctx, days: Days) -> Result<Trends> {
    ctx.everywhere(Permission::StatsRead)?;
    let days = days.until(ctx.now());
    let ended = stats::ended(ctx.store().db(), &spans(&days)).await?;
    let kept_since = ctx.now().saturating_sub(ctx.engine().options().retention.jobs);
    Ok(Trends { days: days.into_iter().zip(ended).collect(), kept_since })
}

/// How every periodic task goes, over all replicas.
///
/// # Errors
/// When the database fails.
pub async fn tasks(ctx: &Ctx) -> Result<Vec<TaskState>> {
    let leases = leases::list(ctx.store().db()).await?;
    let here = ctx.engine().metrics().tasks();
    let states = scheduler::TASKS.iter().map(|task| {
        let count = here.get(task.name).copied().unwrap_or_default();
        let lease = leases.iter().find(|lease| lease.name == task.name);
        let held = lease.is_some_and(|lease| lease.expires_at > ctx.now() && lease.holder.as_deref() == Some(ctx.engine().holder()));
        TaskState {
            name: task.name,
            succeeded_at: lease.and_then(|lease| lease.succeeded_at).max(count.succeeded_at),
            runs_here: held || task.place == scheduler::Place::Everywhere,
            here: count,
        }
    });
    Ok(states.collect())
}

/// For how long the oldest job that the server could work on has been due.
///
/// # Errors
/// When the database fails.
pub async fn queue_age(ctx: &Ctx) -> Result<Duration> {
    let now = ctx.now();
    Ok(jobs::oldest_due(ctx.store().db(), now).await?.map_or(Duration::ZERO, |due| now.since(due)))
}

/// What is oldest, and what ends first.
///
/// # Errors
/// When the database fails.
pub async fn edges(ctx: &Ctx) -> Result<Edges> {
    Ok(gauges::edges(ctx.store().db(), ctx.now()).await?)
}

/// Agents that are silent, and agents whose clocks are off: those of a status by name, no more than [`gauges::MOST_AGENTS`] of them.
///
/// # Errors
/// When the database fails.
pub async fn named_agents(ctx: &Ctx, fleet: &Fleet, status: AgentStatus) -> Result<Vec<NamedAgent>> {
    // Mostly there are none, and then nobody need look for them.
    if fleet.agents_in(status) == 0 {
        return Ok(Vec::new());
    }
    Ok(gauges::agents_in(ctx.store().db(), status).await?)
}

/// Issuers, and whether they may be asked; no more than [`gauges::MOST_ISSUERS`] of them.
///
/// # Errors
/// When the database fails.
pub async fn issuers(ctx: &Ctx) -> Result<Vec<(IssuerId, bool)>> {
    Ok(gauges::issuers(ctx.store().db()).await?)
}

/// How the chain of audit events was when it was last verified; `None` when it never was.
///
/// # Errors
/// When the database fails.
pub async fn audit_watch(ctx: &Ctx) -> Result<Option<Watch>> {
    Ok(audit::watched(ctx.store().db()).await?)
}

impl Fleet {
    /// Looks of the server at what was deployed that ever came out so. Never falls.
    #[must_use]
    pub fn verified(&self, seen: Seen) -> i64 {
        self.get(&seen.counter())
    }

    /// Certificates under management: archived ones are not.
    #[must_use]
    pub fn certificates(&self) -> i64 {
        CertificateStatus::ALL
            .into_iter()
            .filter(|status| *status != CertificateStatus::Archived)
            .map(|status| self.certificates_in(status))
            .sum()
    }

    /// Runs on backups that failed.
    #[must_use]
    pub fn backups_failed(&self, verb: backup::Verb) -> i64 {
        self.get(&backup::failure_counter(verb))
    }

    /// Certificates in a status.
    #[must_use]
    pub fn certificates_in(&self, status: CertificateStatus) -> i64 {
        self.get(&certificates::status_counter(status))
    }

    /// Agents that are not retired.
    #[must_use]
    pub fn agents(&self) -> i64 {
        self.get("agents")
    }

    /// Agents that are heard of, also those that need a look.
    #[must_use]
    pub fn agents_heard_of(&self) -> i64 {
        self.agents_in(AgentStatus::Online) + self.agents_in(AgentStatus::Degraded)
    }

    /// Agents in a status that are not retired.
    #[must_use]
    pub fn agents_in(&self, status: AgentStatus) -> i64 {
        self.get(&agents::status_counter(status.as_str()))
    }

    /// Targets.
    #[must_use]
    pub fn targets(&self) -> i64 {
        self.get("targets")
    }

    /// Jobs in a status, of those that are kept.
    #[must_use]
    pub fn jobs_in(&self, status: JobStatus) -> i64 {
        self.get(&jobs::status_counter(status))
    }

    /// Jobs of a kind that ever ended so. Never falls.
    #[must_use]
    pub fn jobs_ended(&self, kind: JobKind, status: JobStatus) -> i64 {
        self.get(&format!("jobs.ended.{}.{}", kind.as_str(), status.as_str()))
    }

    /// Jobs that ever ended so. Never falls.
    #[must_use]
    pub fn all_jobs_ended(&self, status: JobStatus) -> i64 {
        JobKind::ALL.into_iter().map(|kind| self.jobs_ended(kind, status)).sum()
    }

    /// Versions that were ever issued. Never falls.
    #[must_use]
    pub fn issued(&self) -> i64 {
        self.get("certificates.issued")
    }

    /// Attempts to issue that ever failed. Never falls.
    #[must_use]
    pub fn issue_failures(&self) -> i64 {
        self.get("certificates.failures")
    }

    /// Versions that were ever revoked. Never falls.
    #[must_use]
    pub fn revoked(&self) -> i64 {
        self.get("certificates.revoked")
    }

    fn get(&self, counter: &str) -> i64 {
        self.0.get(counter).copied().unwrap_or(0)
    }
}

impl Days {
    /// The most: longer than any public certificate lives.
    pub const MOST: u16 = 400;

    /// What is taken when nobody says.
    pub const DEFAULT: Self = Self(30);

    /// From 1 to [`Days::MOST`].
    ///
    /// # Errors
    /// When it is another number.
    pub fn new(days: u16) -> Result<Self, Refusal> {
        if (1..=Self::MOST).contains(&days) {
            Ok(Self(days))
        } else {
            Err(Refusal::field("days", format!("{days} is not between 1 and {}", Self::MOST)))
        }
    }

    fn from(self, now: Timestamp) -> Vec<Date> {
        let today = now.to_offset().date();
        (0..i64::from(self.0)).map(|n| today.saturating_add(time::Duration::days(n))).collect()
    }

    fn until(self, now: Timestamp) -> Vec<Date> {
        let today = now.to_offset().date();
        (0..i64::from(self.0)).rev().map(|n| today.saturating_sub(time::Duration::days(n))).collect()
    }
}

/// Each day from its midnight to the next, in UTC.
fn spans(days: &[Date]) -> Vec<Span> {
    let midnight = |date: Date| Timestamp::new(date.midnight().assume_utc());
    days.iter().map(|date| Span { begins: midnight(*date), ends: midnight(*date).saturating_add(time::Duration::DAY) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_run_to_and_from_today_without_a_gap() {
        let now: Timestamp = "2026-03-01T23:59:59.999999Z".parse().unwrap();
        let texts = |days: Vec<Date>| days.iter().map(ToString::to_string).collect::<Vec<_>>();
        let three = Days::new(3).unwrap();
        assert_eq!(texts(three.from(now)), ["2026-03-01", "2026-03-02", "2026-03-03"]);
        assert_eq!(texts(three.until(now)), ["2026-02-27", "2026-02-28", "2026-03-01"]);
        let spans = spans(&Days::new(400).unwrap().until(now));
        assert_eq!(spans.len(), 400);
        assert!(spans.windows(2).all(|pair| pair[0].ends == pair[1].begins));
        assert!(spans.last().is_some_and(|today| today.begins <= now && now < today.ends));
    }

    #[test]
    fn refuses_no_day_and_too_many() {
        assert!(Days::new(0).is_err());
        assert!(Days::new(401).is_err());
    }
}
