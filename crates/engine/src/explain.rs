//! Why something is as it is, and what happens next: for people at three in the morning.

use certctl_domain::agent::{Agent, AgentStatus};
use certctl_domain::certificate::{Certificate, Explanation};
use certctl_domain::ids::{AgentId, CertificateId, JobId};
use certctl_domain::issuer::Issuer;
use certctl_domain::job::{Job, JobKind, JobStatus};
use certctl_domain::profile::Profile;
use certctl_domain::renewal::{Decision, Facts, RenewalPolicy, decide};
use certctl_store::{agents, certificates, jobs, table};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::holders::Holders;
use crate::{crud, renewal};

/// Explains a certificate.
///
/// # Errors
/// When there is none, or the caller may not know of it.
pub async fn certificate(ctx: &Ctx, id: &CertificateId) -> Result<Explanation> {
    let db = ctx.store().db();
    let certificate: Certificate = crud::load(ctx, id).await?;
    let gone = |what: &str| Error::internal(format!("the {what} of a certificate is gone"));
    let policy = table::get::<RenewalPolicy>(db, &certificate.renewal_policy_id).await?.ok_or_else(|| gone("renewal policy"))?;
    let issuer = table::get::<Issuer>(db, &certificate.issuer_id).await?.ok_or_else(|| gone("issuer"))?;
    let profile = table::get::<Profile>(db, &certificate.certificate_profile_id).await?.ok_or_else(|| gone("profile"))?;
    let live = certificates::read_live_agents(db, id).await?;
    let holders = Holders::new(&certificate, live, certificates::read_current_versions(db, id).await?);
    let first = holders.first();
    let facts = Facts {
        seed: certctl_domain::ids::Id::as_str(id),
        ended: certificate.status.ended(),
        issuer_enabled: issuer.enabled,
        profile_enabled: profile.enabled,
        policy: &policy,
        current: first.map(renewal::current_of),
        outdated: first.is_some_and(|version| renewal::is_outdated(&certificate, version)),
        failures: renewal::failures_of(&certificate),
    };
    let open = jobs::read_open_of_certificate(db, id).await?;
    let mut because = Vec::new();
    if certificate.failures > 0 {
        because.push(format!(
            "{} failures in a row, the last at {}",
            certificate.failures,
            certificate.last_failure_at.map(|at| at.to_string()).unwrap_or_default()
        ));
    }
    let mut waiting_for = None;
    for row in &open {
        because.push(sentence(&row.job));
        if let Some(agent) = offline_agent(ctx, &row.job).await? {
            because.push(format!("agent {} is offline", agent.name));
            waiting_for.get_or_insert_with(|| silent(&agent));
        }
    }
    for version in &holders.versions {
        let holder = version.agent_id.as_ref().map_or_else(|| "its requester".to_owned(), ToString::to_string);
        because.push(format!(
            "version {} of {holder} is valid until {}, serial number {}",
            version.id, version.not_after, version.serial_number
        ));
    }
    let over = jobs::latest_of_certificate(db, id, 10).await?;
    because.extend(over.iter().filter(|job| job.status.is_over()).map(sentence));
    let issuing = open.iter().find(|row| matches!(row.job.kind, JobKind::Issuance | JobKind::Renewal));
    let (next, next_at, hint) = match (issuing, decide(&facts, ctx.now())) {
        (Some(row), _) => (
            Some(format!("job {} goes on: {}", row.job.id, row.job.reason)),
            Some(row.job.scheduled_at),
            waiting_for.or_else(|| row.job.hint.clone()),
        ),
        (None, Decision::Wait { until, why }) => (Some(why), Some(until), None),
        (None, Decision::Renew { why }) => (Some(format!("a new version is due: {why}")), certificate.next_try_at, None),
        (None, Decision::Blocked { why, hint }) => (Some(format!("nothing by itself: {why}")), None, Some(hint)),
    };
    let deploying = open.iter().find(|row| row.job.kind == JobKind::Deployment && row.job.last_error.is_some());
    Ok(Explanation {
        summary: format!("{} is {}: {}", certificate.name, certificate.status.as_str(), certificate.reason),
        because,
        next,
        next_at,
        hint: certificate.hint.or(hint).or_else(|| deploying.and_then(|row| row.job.hint.clone())),
        jobs: open.into_iter().map(|row| row.job.id).collect(),
    })
}

/// Explains a job.
///
/// # Errors
/// When there is none, or the caller may not know of it.
pub async fn job(ctx: &Ctx, id: &JobId) -> Result<Explanation> {
    let job = crate::jobs::get(ctx, id).await?;
    let mut because: Vec<String> = job.progress.iter().rev().map(|step| format!("{}: {} {}", step.at, step.step, step.detail)).collect();
    if let Some(error) = &job.last_error {
        because.insert(0, format!("the last error was: {error}"));
    }
    let mut hint = job.hint.clone();
    let mut next = None;
    if !job.status.is_over() {
        next = Some(match (job.status, &job.agent_id) {
            (JobStatus::AwaitingApproval, _) => "it goes on when somebody else than the requester approves it".to_owned(),
            (JobStatus::Running, _) => "it is being worked on".to_owned(),
            (_, Some(_)) => {
                if let Some(agent) = offline_agent(ctx, &job).await? {
                    hint.get_or_insert_with(|| silent(&agent));
                }
                "its agent takes it at the next poll after that time".to_owned()
            }
            (_, None) => "the server takes it at that time".to_owned(),
        });
    }
    let next_at = next.as_ref().map(|_| job.scheduled_at);
    Ok(Explanation { summary: sentence(&job), because, next, next_at, hint, jobs: vec![job.id] })
}

/// The agent that a job waits for, if it is not heard of.
async fn offline_agent(ctx: &Ctx, job: &Job) -> Result<Option<Agent>> {
    let Some(id) = job.agent_id.as_ref().filter(|_| !job.status.is_over()) else { return Ok(None) };
    Ok(agents::get(ctx.store().db(), id).await?.filter(|agent| agent.status == AgentStatus::Offline))
}

fn silent(agent: &Agent) -> String {
    let heard = agent.last_heartbeat_at.map_or_else(|| "never heard of".to_owned(), |at| format!("last heard of at {at}"));
    format!("agent `{}` was {heard}: look whether it runs", agent.name)
}

/// Explains an agent.
///
/// # Errors
/// When there is none.
pub async fn agent(ctx: &Ctx, id: &AgentId) -> Result<Explanation> {
    let agent = crate::agents::get(ctx, id).await?;
    let counts = agents::dependencies(ctx.store().db(), id).await?;
    let heard = agent.last_heartbeat_at.map_or_else(|| "never".to_owned(), |at| format!("at {at}"));
    let mut because = vec![
        format!("last heard of {heard}, from {}", agent.ip_address),
        format!("{} targets, {} certificates, {} open jobs", counts.active_targets, counts.active_certificates, counts.pending_jobs),
    ];
    if let Some(skew) = agent.clock_skew_ms.filter(|skew| skew.abs() > certctl_domain::agent::CLOCK_SKEW_LIMIT_MS) {
        because.push(format!("its clock is {} seconds {}", skew.abs() / 1_000, if skew > 0 { "ahead" } else { "behind" }));
    }
    let hint = match agent.status {
        _ if agent.retired_at.is_some() => None,
        AgentStatus::Offline => Some(format!("on {}: `systemctl status certctl-agent` and `certctl-agent status`", agent.hostname)),
        AgentStatus::Degraded => Some("set the host's clock by NTP".to_owned()),
        AgentStatus::Online => None,
    };
    let state = if agent.retired_at.is_some() { "retired" } else { agent.status.as_str() };
    Ok(Explanation { summary: format!("agent {} is {state}", agent.name), because, next: None, next_at: None, hint, jobs: Vec::new() })
}

fn sentence(job: &Job) -> String {
    let target = job.target_id.as_ref().map(|target| format!(" on {target}")).unwrap_or_default();
    format!("{} {}{target} is {}: {}", job.kind.as_str(), job.id, job.status.as_str(), job.reason)
}
