//! Every metric in one table: its name, what it is, its labels, who counts it, and what it means. The scrape, the reference and the tests
//! are made of it.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Whose number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The whole installation's: every replica says the same, so take one of them, not the sum.
    Fleet,
    /// This process's.
    Process,
}

/// What is known of a metric.
#[derive(Debug)]
struct Row {
    name: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    of: Of,
    help: &'static str,
}

macro_rules! metrics {
    ($($metric:ident = $kind:ident $name:literal [$($label:literal),*] $of:ident $help:literal)+) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $(#[doc = concat!("`", $name, "`")] $metric,)+
        }

        impl Metric {
            /// Every metric, in the order of the scrape.
            pub const ALL: &'static [Self] = &[$(Self::$metric),+];

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$metric => &Row { name: $name, kind: MetricType::$kind, labels: &[$($label),*], of: Of::$of, help: $help },)+
                }
            }
        }
    };
}

metrics! {
    CertificateTotal = Gauge "certctl_certificate_total" [] Fleet
        "Certificates, archived ones not counted."
    CertificateActive = Gauge "certctl_certificate_active" [] Fleet
        "Certificates with a version in use whose renewal is not due."
    CertificateExpiringSoon = Gauge "certctl_certificate_expiring_soon" [] Fleet
        "Certificates whose renewal is due and has not begun: above zero for long means that renewal does not work."
    CertificateExpired = Gauge "certctl_certificate_expired" [] Fleet
        "Certificates whose version in use has ended."
    CertificateRevoked = Gauge "certctl_certificate_revoked" [] Fleet
        "Certificates that somebody revoked."
    Certificates = Gauge "certctl_certificates" ["status"] Fleet
        "Certificates by status."
    CertificateNextExpiry = Gauge "certctl_certificate_next_expiry_timestamp_seconds" [] Fleet
        "The end of the version in use that ends first, of certificates that are neither expired, revoked nor archived; 0 when there is none. Renewal begins long before: an instant that comes near means that one is overdue."
    CertificateVersionsIssued = Counter "certctl_certificate_versions_issued_total" [] Fleet
        "Versions of certificates that were issued."
    CertificateIssueFailures = Counter "certctl_certificate_issue_failures_total" [] Fleet
        "Attempts to issue a version that failed."
    CertificateVersionsRevoked = Counter "certctl_certificate_versions_revoked_total" [] Fleet
        "Versions of certificates that were revoked."
    AgentTotal = Gauge "certctl_agent_total" [] Fleet
        "Agents, retired ones not counted."
    AgentOnline = Gauge "certctl_agent_online" [] Fleet
        "Agents that are heard of, degraded ones included."
    Agents = Gauge "certctl_agents" ["status"] Fleet
        "Agents by status, retired ones not counted."
    AgentLastHeartbeat = Gauge "certctl_agent_last_heartbeat_timestamp_seconds" ["agent"] Fleet
        "When an agent was last heard of that is offline now; of the 50 at most that were heard of last. An agent that is heard of has none, nor has one that never was."
    AgentClockSkew = Gauge "certctl_agent_clock_skew_seconds" ["agent"] Fleet
        "How far the clock of an agent is ahead that is degraded because it is off by more than 30 s; of the 50 at most that were heard of last."
    Targets = Gauge "certctl_targets" [] Fleet
        "Targets."
    DeploymentVerifications = Counter "certctl_deployment_verifications_total" ["outcome"] Fleet
        "Looks of the server at what was deployed, by what it saw: the certificate that was put there (verified), another one (mismatched), or nothing, since it cannot look there or nobody answers (unseen)."
    JobPending = Gauge "certctl_job_pending" [] Fleet
        "Jobs that wait for their time, or for somebody to take them."
    Jobs = Gauge "certctl_jobs" ["status"] Fleet
        "Jobs by status, of those that are kept."
    JobCompleted = Counter "certctl_job_completed_total" [] Fleet
        "Jobs that were done."
    JobFailed = Counter "certctl_job_failed_total" [] Fleet
        "Jobs that failed."
    JobsEnded = Counter "certctl_jobs_ended_total" ["type", "status"] Fleet
        "Jobs that ended, by what they were for and how they ended."
    JobQueueAge = Gauge "certctl_job_queue_age_seconds" [] Fleet
        "For how long the oldest job that the server could work on has been due; 0 when there is none."
    JobOldestAge = Gauge "certctl_job_oldest_age_seconds" ["status"] Fleet
        "For how long the oldest job has been open that stands in a status; 0 when there is none."
    TaskLastSuccess = Gauge "certctl_task_last_success_timestamp_seconds" ["task"] Fleet
        "When a periodic task last succeeded on any replica; 0 when it never did."
    CaExpiry = Gauge "certctl_ca_expiry_timestamp_seconds" ["issuer"] Fleet
        "When the CA of an issuer expires, of those that are kept here. One that was founded here is renewed before its last fifth: an instant that comes near means that it was not, or that it is from elsewhere."
    IssuerEnabled = Gauge "certctl_issuer_enabled" ["issuer"] Fleet
        "1 when an issuer may be asked, 0 when somebody turned it off; of the first 200."
    CrlLists = Gauge "certctl_crl_lists" [] Fleet
        "Revocation lists of the CAs that are kept here."
    CrlUnpublished = Gauge "certctl_crl_unpublished" [] Fleet
        "Revocation lists of which no edition was made yet: above zero for long means that a CA cannot sign its list."
    CrlNextUpdate = Gauge "certctl_crl_next_update_timestamp_seconds" [] Fleet
        "The earliest instant at which a revocation list is no longer good; 0 while there is none. Lists are made anew at half of their time: alert before this comes near."
    CrlEntries = Gauge "certctl_crl_entries" [] Fleet
        "Entries of all revocation lists together."
    AuditChainBroken = Gauge "certctl_audit_chain_broken" [] Fleet
        "1 when the chain of audit events did not hold when it was last verified."
    AuditLastVerified = Gauge "certctl_audit_last_verified_timestamp_seconds" [] Fleet
        "When the chain of audit events was last verified up to its end, from where it was verified before; 0 when it never was."
    AuditWholeVerified = Gauge "certctl_audit_whole_verified_timestamp_seconds" [] Fleet
        "When the chain of audit events was last verified from one end to the other; 0 when it never was."
    BackupLastSuccess = Gauge "certctl_backup_last_success_timestamp_seconds" [] Fleet
        "When a backup was last made; 0 when none ever was. Alert when that is longer ago than two runs."
    BackupSize = Gauge "certctl_backup_size_bytes" [] Fleet
        "The size of that backup."
    BackupDuration = Gauge "certctl_backup_duration_seconds" [] Fleet
        "How long it took to make that backup."
    BackupLastVerified = Gauge "certctl_backup_last_verified_timestamp_seconds" [] Fleet
        "When a backup was last read from one end to the other and found good by backup verify; 0 when none ever was."
    BackupFailures = Counter "certctl_backup_failures_total" ["verb"] Fleet
        "Runs on backups that failed, by what they were for: create, verify or prune."

    OcspRequests = Counter "certctl_ocsp_requests_total" ["outcome"] Process
        "OCSP answers: signed as good, revoked or unknown, given from memory (cached), or refused, and why."
    Issuance = Counter "certctl_issuance_total" ["issuer_type", "outcome"] Process
        "Times that a CA was asked for a certificate, by outcome: success, failure, or pending when it wants time."
    IssuanceFailures = Counter "certctl_issuance_failures_total" ["issuer_type", "error_class"] Process
        "Times that a CA did not give the certificate that was ordered, by error class: auth, rate_limited, transient, permanent, unsupported."
    IssuanceDuration = Histogram "certctl_issuance_duration_seconds" ["issuer_type"] Process
        "How long a CA took to answer when it was asked for a certificate."
    IssuerAnswers = Counter "certctl_issuer_answers_total" ["issuer", "outcome"] Process
        "Times that the CA of an issuer was asked for a certificate, by outcome: success, failure, or pending when it wants time; of the first 200 issuers."
    IssuerPaused = Gauge "certctl_issuer_paused_seconds" ["issuer"] Process
        "For how long this process still leaves the CA of an issuer alone that failed several times in a row or asked for it; 0 when it does not; of the first 200 issuers."
    TaskRuns = Counter "certctl_task_runs_total" ["task", "outcome"] Process
        "Runs of a periodic task, by outcome: success or failure."
    TaskItems = Counter "certctl_task_items_total" ["task"] Process
        "What all runs of a periodic task did, such as rows that were pruned."
    TaskDuration = Histogram "certctl_task_duration_seconds" ["task"] Process
        "How long runs of a periodic task took that succeeded."
    TaskLeaseHeld = Gauge "certctl_task_lease_held" ["task"] Process
        "1 when this process is the replica that runs a periodic task."

    HttpRequestDuration = Histogram "certctl_http_request_duration_seconds" ["method", "route", "status"] Process
        "Time from a request to the beginning of its answer, by method, template of the path, and class of the status such as 2xx."
    HttpRequestsInFlight = Gauge "certctl_http_requests_in_flight" [] Process
        "Requests whose answer has not begun, polls for work included."
    ConnectionsOpen = Gauge "certctl_connections_open" [] Process
        "Connections that are open."
    ConnectionsAccepted = Counter "certctl_connections_accepted_total" [] Process
        "Connections that were accepted."
    ConnectionFailures = Counter "certctl_connection_failures_total" ["reason"] Process
        "Connections that ended badly, by reason: handshake_failed, handshake_timed_out, plain_http, timed_out."
    RequestsRefused = Counter "certctl_http_requests_refused_total" ["reason"] Process
        "Requests that were refused because their caller asked too much at once (rate_limited), or after too many wrong credentials from one address (too_many_failures)."
    TlsCertificateExpiry = Gauge "certctl_tls_certificate_expiry_timestamp_seconds" [] Process
        "When the certificate that this server shows expires."
    TlsReloads = Counter "certctl_tls_reloads_total" ["outcome"] Process
        "Times that new certificate files of this server were taken up or refused, by outcome: replaced or failed."
    TlsReloadFailing = Gauge "certctl_tls_reload_failing" [] Process
        "1 while the certificate files of this server cannot be used and the pair before them is shown."
    DatabaseConnectionsInUse = Gauge "certctl_database_connections_in_use" [] Process
        "Connections to the database that are in use; on SQLite those that read."
    DatabaseConnectionsOpen = Gauge "certctl_database_connections_open" [] Process
        "Connections to the database that are open; on SQLite those that read."
    DatabaseConnectionsLimit = Gauge "certctl_database_connections_limit" [] Process
        "How many connections to the database this process may have; on SQLite such that read."
    DatabaseTransactions = Counter "certctl_database_transactions_total" [] Process
        "Transactions that this process began, or waited in vain to begin."
    DatabaseWait = Counter "certctl_database_wait_seconds_total" [] Process
        "How long all of these waited to begin: for a connection, and on SQLite for the one that writes."

    Uptime = Gauge "certctl_uptime_seconds" [] Process
        "For how long this process has been up."
    BuildInfo = Info "certctl_build_info" ["version", "commit"] Process
        "Which program this is."
    ProcessStartTime = Gauge "process_start_time_seconds" [] Process
        "When this process started."
    ProcessCpu = Counter "process_cpu_seconds_total" [] Process
        "Processor time that this process took, in user mode and in the system. Linux only, as all below."
    ProcessResidentMemory = Gauge "process_resident_memory_bytes" [] Process
        "Memory that this process has in use."
    ProcessVirtualMemory = Gauge "process_virtual_memory_bytes" [] Process
        "Address space that this process has taken."
    ProcessOpenFds = Gauge "process_open_fds" [] Process
        "Files, sockets and the like that this process has open."
    ProcessMaxFds = Gauge "process_max_fds" [] Process
        "How many of them it may have open."
}

impl Metric {
    /// The name of its samples; those of a histogram have more behind it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What it is.
    #[must_use]
    pub const fn kind(self) -> MetricType {
        self.row().kind
    }

    /// The names of its labels.
    #[must_use]
    pub const fn labels(self) -> &'static [&'static str] {
        self.row().labels
    }

    /// Whose number it is.
    #[must_use]
    pub const fn of(self) -> Of {
        self.row().of
    }

    /// What it means.
    #[must_use]
    pub const fn help(self) -> &'static str {
        self.row().help
    }

    /// Its unit, which its name ends with.
    #[must_use]
    pub fn unit(self) -> Option<&'static Unit> {
        let name = self.bare();
        [(&SECONDS, "_seconds"), (&BYTES, "_bytes")].into_iter().find(|(_, end)| name.ends_with(end)).map(|(unit, _)| unit)
    }

    /// The name as the encoder takes it, which adds the unit, and the suffix of the kind.
    pub(super) fn stem(self) -> &'static str {
        let name = self.bare();
        self.unit().and_then(|unit| name.strip_suffix(unit.as_str())?.strip_suffix('_')).unwrap_or(name)
    }

    /// The name of the family in OpenMetrics: without the suffix of its kind.
    fn bare(self) -> &'static str {
        let suffix = match self.kind() {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            MetricType::Gauge | MetricType::Histogram | MetricType::Unknown => "",
        };
        self.name().strip_suffix(suffix).unwrap_or(self.name())
    }
}

impl Of {
    /// In a word, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "installation",
            Self::Process => "process",
        }
    }
}

static SECONDS: Unit = Unit::Seconds;
static BYTES: Unit = Unit::Bytes;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_as_openmetrics_wants_them() {
        let mut seen = BTreeSet::new();
        for metric in Metric::ALL {
            let name = metric.name();
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(name.starts_with("certctl_") || name.starts_with("process_"), "{name}");
            assert_eq!(metric.kind() == MetricType::Info, name.ends_with("_info"), "{name}");
            if metric.kind() == MetricType::Counter {
                assert!(name.ends_with("_total"), "{name} is a counter");
            }
        }
    }

    #[test]
    fn gauges_that_end_as_counters_are_those_that_existing_alerts_know() {
        let odd: Vec<_> = Metric::ALL.iter().filter(|m| m.kind() == MetricType::Gauge && m.name().ends_with("_total")).collect();
        assert_eq!(odd, [&Metric::CertificateTotal, &Metric::AgentTotal]);
    }

    #[test]
    fn help_needs_no_escaping_and_is_a_sentence() {
        for metric in Metric::ALL {
            let help = metric.help();
            assert!(!help.contains(['\\', '"', '\n', '|']), "{help}");
            assert!(help.ends_with('.'), "{help}");
        }
    }

    #[test]
    fn the_stem_is_what_the_encoder_adds_to() {
        assert_eq!(Metric::ProcessCpu.stem(), "process_cpu");
        assert_eq!(Metric::ProcessResidentMemory.stem(), "process_resident_memory");
        assert_eq!(Metric::TaskRuns.stem(), "certctl_task_runs");
        assert_eq!(Metric::BuildInfo.stem(), "certctl_build");
        assert_eq!(Metric::AgentTotal.stem(), "certctl_agent_total");
        assert_eq!(Metric::ProcessOpenFds.unit(), None);
    }
}
