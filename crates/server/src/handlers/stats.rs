//! Numbers about the whole installation: for dashboards, and for whoever scrapes metrics.

use certctl_api::stats::{
    CertificatesByStatus, DashboardSummary, DayCount, ExpirationTimeline, IssuanceRate, JobTrend, JobTrends, MetricsCounters,
    MetricsGauges, MetricsResponse, StatusCount, Uptime,
};
use certctl_domain::agent::AgentStatus;
use certctl_domain::auth::{Permission, perm};
use certctl_domain::certificate::CertificateStatus;
use certctl_domain::job::JobStatus;
use certctl_engine::stats::{self, Days};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::{Authorized, Json, Query};
use crate::metrics::{Exposition, Format, Snapshot};
use crate::problem::Answer;
use crate::state::AppState;

/// For how many days.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DaysParams {
    /// How many days.
    #[schema(default = 30, minimum = 1, maximum = 400)]
    pub days: Option<u16>,
}

impl DaysParams {
    fn days(&self) -> Answer<Days> {
        Ok(self.days.map_or(Ok(Days::DEFAULT), Days::new)?)
    }
}

/// How the installation stands, in a few numbers.
///
/// # Errors
/// When the permission is held for a part of the installation only; the same for every function here.
pub async fn summary(ctx: Authorized<perm::StatsRead>) -> Answer<Json<DashboardSummary>> {
    let fleet = stats::fleet(&ctx, Permission::StatsRead).await?;
    Ok(Json(DashboardSummary {
        total_certificates: fleet.certificates(),
        expiring_certificates: fleet.certificates_in(CertificateStatus::Expiring),
        expired_certificates: fleet.certificates_in(CertificateStatus::Expired),
        revoked_certificates: fleet.certificates_in(CertificateStatus::Revoked),
        failed_certificates: fleet.certificates_in(CertificateStatus::Failed),
        active_agents: fleet.agents_heard_of(),
        offline_agents: fleet.agents_in(AgentStatus::Offline),
        total_agents: fleet.agents(),
        pending_jobs: fleet.jobs_in(JobStatus::Pending),
        failed_jobs: fleet.jobs_in(JobStatus::Failed),
        complete_jobs: fleet.jobs_in(JobStatus::Completed),
        completed_at: ctx.now(),
    }))
}

/// How many certificates are in each status.
///
/// # Errors
/// As [`summary`].
pub async fn certificates_by_status(ctx: Authorized<perm::StatsRead>) -> Answer<Json<CertificatesByStatus>> {
    let fleet = stats::fleet(&ctx, Permission::StatsRead).await?;
    let status_counts = CertificateStatus::ALL.map(|status| StatusCount { status, count: fleet.certificates_in(status) });
    Ok(Json(CertificatesByStatus { status_counts: status_counts.into() }))
}

/// How many certificates expire on each of the next days.
///
/// # Errors
/// As [`summary`], and when the number of days is out of range.
pub async fn expiration_timeline(ctx: Authorized<perm::StatsRead>, Query(params): Query<DaysParams>) -> Answer<Json<ExpirationTimeline>> {
    let days = stats::expirations(&ctx, params.days()?).await?;
    Ok(Json(ExpirationTimeline { buckets: days.into_iter().map(day_count).collect() }))
}

/// How many jobs were done and failed on each of the last days.
///
/// # Errors
/// As [`expiration_timeline`].
pub async fn job_trends(ctx: Authorized<perm::StatsRead>, Query(params): Query<DaysParams>) -> Answer<Json<JobTrends>> {
    let trends = stats::job_trends(&ctx, params.days()?).await?;
    let trend = |(date, ended): (time::Date, certctl_store::stats::Ended)| JobTrend {
        date: date.to_string(),
        completed: ended.completed,
        failed: ended.failed,
    };
    Ok(Json(JobTrends { trends: trends.days.into_iter().map(trend).collect(), kept_since: trends.kept_since }))
}

/// How many versions were issued on each of the last days.
///
/// # Errors
/// As [`expiration_timeline`].
pub async fn issuance_rate(ctx: Authorized<perm::StatsRead>, Query(params): Query<DaysParams>) -> Answer<Json<IssuanceRate>> {
    let days = stats::issuances(&ctx, params.days()?).await?;
    Ok(Json(IssuanceRate { rate: days.into_iter().map(day_count).collect() }))
}

/// The metrics that existing scripts read, as JSON.
///
/// # Errors
/// As [`summary`].
pub async fn metrics(ctx: Authorized<perm::MetricsRead>, state: AppState) -> Answer<Json<MetricsResponse>> {
    let fleet = stats::fleet(&ctx, Permission::MetricsRead).await?;
    let now = ctx.now();
    Ok(Json(MetricsResponse {
        gauge: MetricsGauges {
            certificate_total: fleet.certificates(),
            certificate_active: fleet.certificates_in(CertificateStatus::Active),
            certificate_expiring_soon: fleet.certificates_in(CertificateStatus::Expiring),
            certificate_expired: fleet.certificates_in(CertificateStatus::Expired),
            certificate_revoked: fleet.certificates_in(CertificateStatus::Revoked),
            agent_total: fleet.agents(),
            agent_online: fleet.agents_heard_of(),
            job_pending: fleet.jobs_in(JobStatus::Pending),
        },
        counter: MetricsCounters {
            job_completed_total: fleet.all_jobs_ended(JobStatus::Completed),
            job_failed_total: fleet.all_jobs_ended(JobStatus::Failed),
        },
        uptime: Uptime {
            uptime_seconds: i64::try_from(now.since(state.metrics.started_at).as_secs()).unwrap_or(i64::MAX),
            server_started: state.metrics.started_at,
            measured_at: now,
        },
    }))
}

/// All metrics, for a scraper.
///
/// # Errors
/// As [`summary`].
pub async fn prometheus(ctx: Authorized<perm::MetricsRead>, state: AppState, format: Format) -> Answer<Exposition> {
    let snapshot = Snapshot::take(&ctx, &state).await?;
    Ok(Exposition::write(snapshot, format)?)
}

fn day_count((date, count): (time::Date, i64)) -> DayCount {
    DayCount { date: date.to_string(), count }
}
