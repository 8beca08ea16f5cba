//! The second witness: the server looks for itself whether a target serves what was put there.

use std::collections::BTreeSet;
use std::time::Duration;

use certctl_connector_core::fault;
use certctl_connector_core::probe::{KeyKind, Question, probe_all};
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::certificate::{Certificate, Version};
use certctl_domain::ids::{Id as _, JobId};
use certctl_domain::job::{Job, JobKind, JobStatus, Verification, Witness};
use certctl_domain::notification::NotificationKind;
use certctl_domain::x509::DnsName;
use certctl_store::jobs::{self, JobRow, SERVER};
use certctl_store::{Topic, WriteTx, agents, certificates, outbox, table};
use serde_json::{Map, json};
use tokio::task::JoinSet;

use crate::crud::Managed as _;
use crate::ctx::Ctx;
use crate::deploy;
use crate::error::{Error, Result};

/// What the server saw where something was deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The version that was put there.
    Verified,
    /// Another certificate.
    Mismatched,
    /// Nothing: it cannot look there, or nobody answers.
    Unseen,
}

impl Seen {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Verified, Self::Mismatched, Self::Unseen];

    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Mismatched => "mismatched",
            Self::Unseen => "unseen",
        }
    }

    /// The fleet's counter of such looks.
    #[must_use]
    pub fn counter(self) -> String {
        format!("deployments.{}", self.as_str())
    }

    const fn of(witness: &Witness) -> Self {
        match (witness.verified, &witness.actual_fingerprint) {
            (true, _) => Self::Verified,
            (false, Some(_)) => Self::Mismatched,
            (false, None) => Self::Unseen,
        }
    }
}

/// Starts a look of the server at where the agent looked.
///
/// # Errors
/// When the database fails.
pub async fn start(ctx: &Ctx, tx: &mut WriteTx, deployment: &Job, looked_at: &[(String, Option<String>)]) -> Result<()> {
    if looked_at.is_empty() {
        return Ok(());
    }
    let now = ctx.now();
    let job = Job {
        id: ctx.new_id()?,
        kind: JobKind::Validation,
        status: JobStatus::Pending,
        reason: "the server looks for itself next".to_owned(),
        hint: None,
        scheduled_at: now,
        attempts: 0,
        fence: 0,
        progress: Vec::new(),
        created_at: now,
        started_at: None,
        completed_at: None,
        updated_at: now,
        ..deployment.clone()
    };
    // Where to look travels in the column that issuances use for their request.
    let look = json!({"deployment": deployment.id, "at": looked_at}).to_string();
    let row = JobRow {
        worker: SERVER.to_owned(),
        lease_holder: None,
        lease_expires_at: None,
        csr_pem: Some(look),
        dedup_key: Some(format!("verify:{}", deployment.id)),
        job,
    };
    drop(jobs::insert(tx, &row).await?);
    tx.wake(Topic::Jobs);
    Ok(())
}

/// Looks, and writes what was seen at the deployment. A target that serves something else gets its deployment again.
///
/// # Errors
/// When the database fails.
pub async fn run(ctx: &Ctx, row: JobRow) -> Result<()> {
    let (deployment, places): (JobId, Vec<(String, Option<String>)>) = row
        .csr_pem
        .as_deref()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
        .and_then(|look| {
            Some((serde_json::from_value(look.get("deployment")?.clone()).ok()?, serde_json::from_value(look.get("at")?.clone()).ok()?))
        })
        .ok_or_else(|| Error::internal("a validation does not say where to look"))?;
    let expected = row.job.verification.as_ref().map(|verification| verification.expected_fingerprint.clone()).unwrap_or_default();
    let witness = look(ctx, &row.job, &places, &expected).await?;
    let mut tx = ctx.write().await?;
    let Some((mut row, certificate)) = crate::jobs::with_certificate(&mut tx, &row.job.id)
        .await?
        .filter(|(now, _)| now.job.fence == row.job.fence && now.job.status == JobStatus::Running)
    else {
        return Ok(());
    };
    let other = witness.actual_fingerprint.as_ref().is_some_and(|seen| *seen != expected);
    if other && row.job.attempts < 3 {
        // A reload takes a moment on a busy machine.
        let old = row.job.status;
        row.job = row
            .job
            .become_status(JobStatus::Pending, "something else is served; looks again", ctx.now())
            .map_err(|e| Error::internal(e.to_string()))?;
        row.job.scheduled_at = ctx.now().saturating_add(time::Duration::seconds(2));
        row.lease_holder = None;
        row.lease_expires_at = None;
        jobs::update(&mut tx, old, &row).await?;
        return Ok(tx.commit_housekeeping("verify.again").await?);
    }
    write_witness(&mut tx, &deployment, &witness).await?;
    tx.count(&Seen::of(&witness).counter(), 1);
    let reason = match &witness.error {
        None => "the server sees what it should".to_owned(),
        Some(error) => error.clone(),
    };
    let old = row.job.status;
    row.job.verification = Some(Verification { expected_fingerprint: expected, agent: None, server: Some(witness.clone()) });
    row.job = row.job.become_status(JobStatus::Completed, reason.clone(), ctx.now()).map_err(|e| Error::internal(e.to_string()))?;
    jobs::update(&mut tx, old, &row).await?;
    if other {
        reopen(ctx, &mut tx, &certificate, &row.job, &reason).await?;
    }
    tx.wake(Topic::Progress);
    let audit = Audit::new(AuditCategory::CertLifecycle, "deployment.verify", "job", &deployment)
        .with("certificate", row.job.certificate_id.as_str())
        .with("verified", witness.verified)
        .with("reason", reason);
    tx.commit(audit).await?;
    fault::point("deployment.seen");
    Ok(())
}

/// Takes what somebody else than the agent's own report says was seen at a target.
///
/// # Errors
/// When there is no such deployment, or it is outside of the caller's scope.
pub async fn record(ctx: &Ctx, id: &JobId, witness: Witness) -> Result<Job> {
    let mut tx = ctx.write().await?;
    let row = jobs::get_for_update(&mut tx, id)
        .await?
        .filter(|row| row.job.kind == JobKind::Deployment)
        .ok_or_else(|| Error::not_found("deployment", id))?;
    let mine = match ctx.agent() {
        Some(agent) => row.job.agent_id.as_ref() == Some(agent),
        None => table::get_in::<Certificate>(&mut tx, &row.job.certificate_id).await?.is_some_and(|certificate| certificate.is_within(ctx)),
    };
    if !mine {
        return Err(Error::not_found("deployment", id));
    }
    let mut row = row;
    let status = row.job.status;
    let mut verification =
        row.job.verification.take().unwrap_or(Verification { expected_fingerprint: String::new(), agent: None, server: None });
    verification.agent = Some(witness.clone());
    row.job.verification = Some(verification);
    row.job.updated_at = ctx.now();
    jobs::update(&mut tx, status, &row).await?;
    tx.wake(Topic::Progress);
    tx.commit(Audit::new(AuditCategory::CertLifecycle, "deployment.verify", "job", id).with("verified", witness.verified)).await?;
    Ok(row.job)
}

/// What the server sees at these places. It looks at all of them at the same time, and ends long before its lease does.
async fn look(ctx: &Ctx, job: &Job, places: &[(String, Option<String>)], expected: &str) -> Result<Witness> {
    let at = ctx.now();
    let db = ctx.store().db();
    let same_host = match &job.agent_id {
        Some(agent) => agents::get(db, agent).await?.is_some_and(|agent| is_loopback(&agent.ip_address)),
        None => false,
    };
    // A server may have a certificate for each kind of key: it is asked for the one that was put there.
    let key_kind = match &job.version_id {
        Some(version) => certificates::version(db, version).await?.and_then(|version| kind_of(&version)),
        None => None,
    };
    let mut seen = None;
    let mut blind = None;
    let mut asked = JoinSet::new();
    for (address, name) in places.iter().take(MOST_PLACES) {
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).trim_matches(['[', ']']);
        if (is_loopback(host) || host == "localhost") && !same_host {
            blind = Some(format!("the server cannot see {address}: it is an address of the agent's own host"));
            continue;
        }
        let server_name = name.as_deref().filter(|name| DnsName::parse(name).is_ok()).map(str::to_owned);
        let question = Question { server_name, key_kind, timeout: Duration::from_secs(5) };
        let (address, name) = (address.clone(), name.clone());
        asked.spawn(async move {
            let answers = tokio::time::timeout(LONGEST_LOOK, probe_all(&address, &question)).await;
            (address, name, answers)
        });
    }
    while let Some(ended) = asked.join_next().await {
        let Ok((place, name, answers)) = ended else { continue };
        match answers {
            Ok(Ok(answers)) => {
                for (address, answer) in answers {
                    match answer {
                        Ok(report) if report.leaf_fingerprint.as_str() == expected => {
                            seen = seen.or(Some(report.leaf_fingerprint.to_string()));
                        }
                        Ok(report) => {
                            let name = name.as_deref().unwrap_or("no name");
                            let error = Some(format!("{address} serves another certificate for {name}"));
                            return Ok(Witness {
                                verified: false,
                                actual_fingerprint: Some(report.leaf_fingerprint.to_string()),
                                at,
                                error,
                            });
                        }
                        Err(error) => blind = Some(format!("the server cannot see {address}: {error}")),
                    }
                }
            }
            Ok(Err(error)) => blind = Some(format!("the server cannot see {place}: {error}")),
            Err(_) => blind = Some(format!("the server cannot see {place}: nothing answered within {LONGEST_LOOK:?}")),
        }
    }
    let error = if seen.is_some() { None } else { blind.or_else(|| Some("there was nothing to look at".to_owned())) };
    Ok(Witness { verified: seen.is_some(), actual_fingerprint: seen, at, error })
}

fn kind_of(version: &Version) -> Option<KeyKind> {
    match version.key_algorithm.as_str() {
        "RSA" => Some(KeyKind::Rsa),
        "ECDSA" => Some(KeyKind::Ecdsa),
        "Ed25519" => Some(KeyKind::Ed25519),
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|ip| {
        ip.is_loopback() || matches!(ip, std::net::IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()))
    })
}

async fn write_witness(tx: &mut WriteTx, deployment: &JobId, witness: &Witness) -> Result<()> {
    let Some(mut row) = jobs::get_for_update(tx, deployment).await? else {
        return Ok(());
    };
    if let Some(verification) = &mut row.job.verification {
        verification.server = Some(witness.clone());
        let status = row.job.status;
        row.job.updated_at = tx.now();
        jobs::update(tx, status, &row).await?;
    }
    Ok(())
}

/// Has a version put on its target once more. When that did not help a few times, people are told instead: what the server sees may be
/// another machine than the agent's, and no deployment changes that.
async fn reopen(ctx: &Ctx, tx: &mut WriteTx, certificate: &Certificate, job: &Job, reason: &str) -> Result<()> {
    let (Some(target), Some(version)) = (&job.target_id, &job.version_id) else {
        return Ok(());
    };
    if certificate.status.ended().is_some() {
        return Ok(());
    }
    if jobs::ended_deployments(tx, target, version).await? >= MOST_DEPLOYMENTS {
        let text = format!("{} was put on {target}, and yet {reason}", certificate.name);
        let message = outbox::Message {
            kind: NotificationKind::DeploymentFailure,
            certificate: Some(&certificate.id),
            dedup_key: &format!("seen-otherwise:{target}:{version}"),
            text: &text,
            payload: Map::from_iter([("target_id".to_owned(), json!(target)), ("error".to_owned(), json!(reason))]),
        };
        outbox::put(tx, message).await?;
        return Ok(());
    }
    let only = BTreeSet::from([target.clone()]);
    deploy::start_on(ctx, tx, certificate, Some(&only), "the server saw another certificate than the agent did").await?;
    Ok(())
}

const MOST_PLACES: usize = 20;
const LONGEST_LOOK: Duration = Duration::from_secs(20);
const MOST_DEPLOYMENTS: i64 = 3;
