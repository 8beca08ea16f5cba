//! Numbers about the whole installation, for dashboards and for scripts that read no OpenMetrics.

use certctl_domain::certificate::CertificateStatus;
use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /api/v1/stats/summary`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DashboardSummary {
    /// Certificates, archived ones not counted.
    pub total_certificates: i64,
    /// Certificates whose renewal is due.
    pub expiring_certificates: i64,
    /// Certificates whose version in use has ended.
    pub expired_certificates: i64,
    /// Certificates that somebody revoked.
    pub revoked_certificates: i64,
    /// Certificates whose last attempt to issue failed.
    #[serde(default)]
    pub failed_certificates: i64,
    /// Agents that are heard of.
    pub active_agents: i64,
    /// Agents that are not heard of.
    pub offline_agents: i64,
    /// Agents, retired ones not counted.
    pub total_agents: i64,
    /// Jobs that wait for their time, or for somebody to take them.
    pub pending_jobs: i64,
    /// Jobs that failed, of those that are kept.
    pub failed_jobs: i64,
    /// Jobs that were done, of those that are kept.
    pub complete_jobs: i64,
    /// When these numbers were read.
    pub completed_at: Timestamp,
}

/// `GET /api/v1/stats/certificates-by-status`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificatesByStatus {
    /// Every status, also those that no certificate has.
    pub status_counts: Vec<StatusCount>,
}

/// How many certificates are in a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusCount {
    /// The status.
    pub status: CertificateStatus,
    /// Certificates in it.
    pub count: i64,
}

/// `GET /api/v1/stats/expiration-timeline`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExpirationTimeline {
    /// One for each day, from today on, with the certificates whose version in use ends on it.
    pub buckets: Vec<DayCount>,
}

/// `GET /api/v1/stats/issuance-rate`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuanceRate {
    /// One for each day until today, with the versions that were issued on it.
    pub rate: Vec<DayCount>,
}

/// How many on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DayCount {
    /// The day, in UTC.
    #[schema(format = Date)]
    pub date: String,
    /// How many.
    pub count: i64,
}

/// `GET /api/v1/stats/job-trends`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobTrends {
    /// One for each day until today.
    pub trends: Vec<JobTrend>,
    /// Jobs that ended before are pruned, so days before this one show too few.
    pub kept_since: Timestamp,
}

/// What became of the jobs that ended on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobTrend {
    /// The day, in UTC.
    #[schema(format = Date)]
    pub date: String,
    /// Jobs that were done.
    pub completed: i64,
    /// Jobs that failed.
    pub failed: i64,
}

/// `GET /api/v1/metrics`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetricsResponse {
    /// Numbers that rise and fall.
    pub gauge: MetricsGauges,
    /// Numbers that only rise.
    pub counter: MetricsCounters,
    /// How long the process that answers has been up.
    pub uptime: Uptime,
}

/// Numbers that rise and fall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetricsGauges {
    /// Certificates, archived ones not counted.
    pub certificate_total: i64,
    /// Certificates with a version in use whose renewal is not due.
    pub certificate_active: i64,
    /// Certificates whose renewal is due.
    pub certificate_expiring_soon: i64,
    /// Certificates whose version in use has ended.
    pub certificate_expired: i64,
    /// Certificates that somebody revoked.
    pub certificate_revoked: i64,
    /// Agents, retired ones not counted.
    pub agent_total: i64,
    /// Agents that are heard of.
    pub agent_online: i64,
    /// Jobs that wait for their time, or for somebody to take them.
    pub job_pending: i64,
}

/// Numbers that only rise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetricsCounters {
    /// Jobs that were ever done.
    pub job_completed_total: i64,
    /// Jobs that ever failed.
    pub job_failed_total: i64,
}

/// How long the process that answers has been up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Uptime {
    /// Seconds since it started.
    pub uptime_seconds: i64,
    /// When it started.
    pub server_started: Timestamp,
    /// When this was read.
    pub measured_at: Timestamp,
}
