//! Agents: enrolment, signs of life, work, requests, certificates, reports, retirement.

use std::time::Duration;

use certctl_connector_core::fault;
use certctl_domain::agent::{Agent, AgentDependencies, AgentDraft, AgentFacts, AgentStatus, EnrollmentToken};
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::certificate::{Certificate, Version};
use certctl_domain::challenge::ChallengeKind;
use certctl_domain::ids::{AgentId, CertificateId, EnrollmentTokenId, Id as _, JobId, VersionId};
use certctl_domain::job::{JobKind, JobStatus, WorkItem};
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::noun::{Check, Refusal};
use certctl_domain::profile::all_names;
use certctl_domain::secret::Secret;
use certctl_domain::x509::KeyAlgorithm;
use certctl_store::heartbeats::Beat;
use certctl_store::jobs::{self, JobRow};
use certctl_store::{StoreError, Topic, Who, agents as store, certificates, table, targets as store_targets};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::auth::{Token, TokenKind};
use crate::ctx::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::{Engine, deploy, holders, issue, targets};

/// A new enrolment token with its secret.
#[derive(Debug)]
pub struct MintedToken {
    /// What is kept.
    pub token: EnrollmentToken,
    /// What is given away, once.
    pub value: Secret<String>,
}

/// What an agent sends to enroll.
#[derive(Debug)]
pub struct Enrollment {
    /// The one-time token.
    pub token: Secret<String>,
    /// The name it would like.
    pub name: Option<String>,
    /// SHA-256 of the secret that it made for itself.
    pub secret_sha256: String,
    /// What it says of itself.
    pub facts: AgentFacts,
    /// The address it calls from.
    pub ip_address: String,
}

/// Makes a one-time token.
///
/// # Errors
/// When the name or labels are not as they should be.
pub async fn mint_token(
    ctx: &Ctx,
    agent_name: Option<String>,
    labels: BTreeMap<String, String>,
    life: time::Duration,
) -> Result<MintedToken> {
    let mut check = Check::default();
    if let Some(name) = &agent_name {
        check.name("agent_name", name);
    }
    check.tags("labels", &labels);
    check.that((60..=604_800).contains(&life.whole_seconds()), "expires_in_seconds", "is from 60 to 604800");
    check.finish(|| ())?;
    let id: EnrollmentTokenId = ctx.new_id()?;
    let secret = Token::mint(TokenKind::Enrollment, id.as_str().trim_start_matches(EnrollmentTokenId::PREFIX))?;
    let token = EnrollmentToken {
        id,
        agent_name,
        labels,
        expires_at: ctx.now().saturating_add(life),
        used_at: None,
        used_by: None,
        created_by: ctx.actor().clone(),
        created_at: ctx.now(),
    };
    let mut tx = ctx.write().await?;
    store::insert_token(&mut tx, &token, &secret.hash()).await?;
    let audit = Audit::new(AuditCategory::Auth, "enrollment_token.create", "enrollment_token", &token.id)
        .with("expires_at", token.expires_at.to_string());
    tx.commit(audit).await?;
    Ok(MintedToken { token, value: secret.text() })
}

/// Registers an agent ahead of its host: targets can be made for it now, and the token given with it enrolls the process that will be it.
///
/// # Errors
/// When the name or labels are not as they should be, or the name is taken.
pub async fn register(ctx: &Ctx, draft: AgentDraft) -> Result<(Agent, MintedToken)> {
    let mut check = Check::default();
    check.name("name", &draft.name).tags("labels", &draft.labels);
    for (field, text) in [("hostname", &draft.hostname), ("os", &draft.os), ("architecture", &draft.architecture)] {
        check.text(field, text).that(text.len() <= 255, field, "must have at most 255 bytes");
    }
    check.finish(|| ())?;
    let now = ctx.now();
    let agent = Agent {
        id: match draft.id {
            Some(id) => id,
            None => ctx.new_id()?,
        },
        name: draft.name,
        hostname: draft.hostname,
        status: AgentStatus::Offline,
        last_heartbeat_at: None,
        registered_at: now,
        os: draft.os,
        architecture: draft.architecture,
        ip_address: String::new(),
        version: String::new(),
        labels: draft.labels.clone(),
        clock_skew_ms: None,
        challenges: None,
        retired_at: None,
        retired_reason: None,
        revision: 1,
        updated_at: now,
    };
    let mut tx = ctx.write().await?;
    // No secret hashes to nothing: until it enrolls, nobody can be this agent.
    store::insert(&mut tx, &agent, "").await?;
    tx.wake(Topic::Progress);
    tx.commit(Audit::new(AuditCategory::Config, "agent.register", "agent", &agent.id).with("name", agent.name.as_str())).await?;
    let token = mint_token(ctx, Some(agent.name.clone()), draft.labels, ctx.engine().options().token_life).await?;
    Ok((agent, token))
}

/// Reads one page of tokens, without their secrets.
///
/// # Errors
/// When the query is not one of this list.
pub async fn list_tokens(ctx: &Ctx, query: &ListQuery) -> Result<Page<EnrollmentToken>> {
    Ok(store::list_tokens(ctx.store().db(), query).await?)
}

/// Takes back a token that was not used.
///
/// # Errors
/// When there is none, or it was used.
pub async fn delete_token(ctx: &Ctx, id: &EnrollmentTokenId) -> Result<()> {
    let mut tx = ctx.write().await?;
    if !store::delete_token(&mut tx, id).await? {
        return Err(Error::not_found("unused enrollment token", id).hint("a token that was used cannot be taken back: retire its agent"));
    }
    Ok(tx.commit(Audit::new(AuditCategory::Auth, "enrollment_token.delete", "enrollment_token", id)).await?)
}

/// Enrolls an agent with a one-time token. The token is the credential; it is used up in the transaction that makes the agent.
///
/// # Errors
/// When the token is unknown, used or expired, or the name is taken.
pub async fn enroll(engine: &Arc<Engine>, request_id: Option<String>, enrollment: Enrollment) -> Result<Agent> {
    let refused = |code, detail: &str, hint: &str| Error::new(ErrorKind::Unauthenticated, code, detail).hint(hint);
    let unknown = || refused("token_unknown", "the enrollment token is not known", "make one with `certctl agents token create`");
    let token = Token::parse(enrollment.token.expose()).filter(|token| token.kind() == TokenKind::Enrollment).ok_or_else(unknown)?;
    let id = EnrollmentTokenId::parse(&format!("{}{}", EnrollmentTokenId::PREFIX, token.id())).map_err(|_| unknown())?;
    let secret_hash = enrollment.secret_sha256.to_ascii_lowercase();
    if secret_hash.len() != 64 || !secret_hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Refusal::field("secret_sha256", "is not the 64 hex digits of a SHA-256").into());
    }
    let now = engine.now();
    let agent_id: AgentId = engine.store().new_id(now)?;
    let who = Who { actor: agent_id.to_string(), kind: certctl_domain::auth::ActorKind::Agent, request_id, at: now };
    let mut tx = engine.store().write(who).await?;
    let (kept, hash) = store::token_for_update(&mut tx, &id).await?.filter(|(_, hash)| token.matches(hash)).ok_or_else(unknown)?;
    drop(hash);
    if let Some(agent) = &kept.used_by {
        // The answer was lost on its way: whoever has the token and the same secret is that agent, and is told the same again.
        if let Some(agent) = store::enrolled_with(&mut tx, agent, &secret_hash).await? {
            return Ok(agent);
        }
        return Err(refused(
            "token_used",
            "the enrollment token was used already",
            "each agent needs a token of its own: `certctl agents token create`",
        ));
    }
    if kept.expires_at <= now {
        return Err(refused(
            "token_expired",
            &format!("the enrollment token expired at {}", kept.expires_at),
            "make a new one with `certctl agents token create`",
        ));
    }
    let facts = enrollment.facts;
    // Whoever may enroll under any name must not become the agent that was registered for somebody else.
    let is_named = kept.agent_name.is_some();
    let name = kept
        .agent_name
        .or(enrollment.name)
        .or_else(|| Some(facts.hostname.clone()).filter(|name| !name.is_empty()))
        .unwrap_or_else(|| agent_id.to_string());
    let mut check = Check::default();
    check.name("name", &name);
    for (field, text) in
        [("hostname", &facts.hostname), ("os", &facts.os), ("architecture", &facts.architecture), ("version", &facts.version)]
    {
        check.text(field, text).that(text.len() <= 255, field, "must have at most 255 bytes");
    }
    check.finish(|| ())?;
    let agent = Agent {
        id: agent_id,
        name,
        hostname: facts.hostname,
        status: AgentStatus::Online,
        last_heartbeat_at: Some(now),
        registered_at: now,
        os: facts.os,
        architecture: facts.architecture,
        ip_address: enrollment.ip_address,
        version: facts.version,
        labels: kept.labels,
        clock_skew_ms: facts.sent_at.map(|sent| skew_ms(sent, now)),
        // Told by its first heartbeat: whoever enrolls it need not be who runs it.
        challenges: None,
        retired_at: None,
        retired_reason: None,
        revision: 1,
        updated_at: now,
    };
    let adopted = if is_named { store::adopt(&mut tx, &agent, &secret_hash).await? } else { None };
    let agent = adopted.unwrap_or(agent);
    let inserted = if agent.revision > 1 { Ok(()) } else { store::insert(&mut tx, &agent, &secret_hash).await };
    match inserted {
        Err(StoreError::Duplicate(_)) => {
            return Err(Error::conflict("name_taken", format!("an agent named `{}` is enrolled already", agent.name))
                .hint("choose another name with --name, or retire the old agent: `certctl agents retire`"));
        }
        other => other?,
    }
    if !store::use_token(&mut tx, &id, &agent.id).await? {
        return Err(refused(
            "token_used",
            "the enrollment token was used already",
            "each agent needs a token of its own: `certctl agents token create`",
        ));
    }
    tx.wake(Topic::Progress);
    tx.commit(
        Audit::new(AuditCategory::Auth, "agent.enroll", "agent", &agent.id).with("name", agent.name.as_str()).with("token", id.as_str()),
    )
    .await?;
    Ok(agent)
}

/// The bearer token of an agent without its secret.
#[must_use]
pub fn credential_prefix(id: &AgentId) -> String {
    format!("{}_{}_", TokenKind::Agent.prefix(), id.as_str().trim_start_matches(AgentId::PREFIX))
}

/// Reads one.
///
/// # Errors
/// When there is none.
pub async fn get(ctx: &Ctx, id: &AgentId) -> Result<Agent> {
    store::get(ctx.store().db(), id).await?.ok_or_else(|| Error::not_found("agent", id))
}

/// Reads one page.
///
/// # Errors
/// When the query is not one of this list.
pub async fn list(ctx: &Ctx, query: &ListQuery) -> Result<Page<Agent>> {
    Ok(store::list(ctx.store().db(), query).await?)
}

/// Notes that an agent lives; gives how far its clock is ahead.
pub fn heartbeat(ctx: &Ctx, id: &AgentId, facts: AgentFacts, ip_address: String) -> Option<i64> {
    let now = ctx.now();
    let clock_skew_ms = facts.sent_at.map(|sent| skew_ms(sent, now));
    let short = |text: String| -> String { text.chars().filter(|c| !c.is_control()).take(255).collect() };
    let beat = Beat {
        at: now,
        hostname: short(facts.hostname),
        os: short(facts.os),
        architecture: short(facts.architecture),
        version: short(facts.version),
        ip_address,
        clock_skew_ms,
        challenges: distinct(facts.challenges),
    };
    ctx.engine().heartbeats().beat(id.clone(), beat);
    clock_skew_ms
}

/// Work for an agent: what is there, or what comes within `wait`.
///
/// # Errors
/// When the database fails.
pub async fn work(ctx: &Ctx, id: &AgentId, wait: Duration) -> Result<Vec<WorkItem>> {
    let deadline = tokio::time::Instant::now() + wait.min(ctx.engine().options().poll_wait);
    loop {
        // Listening begins before looking, so that work which comes in between is not missed.
        let waiting = ctx.store().wake().wait_for(Topic::Agent(id.clone()));
        let items = claim(ctx, id).await?;
        if !items.is_empty() {
            return Ok(items);
        }
        let next_due = jobs::next_due(ctx.store().db(), id.as_str()).await?;
        let until_due =
            next_due.map(|at| Duration::try_from(ctx.now().until(at)).unwrap_or(Duration::ZERO).max(Duration::from_millis(200)));
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return Ok(Vec::new());
        }
        tokio::select! {
            () = waiting => {}
            () = tokio::time::sleep(until_due.unwrap_or(left).min(left)) => {}
            () = ctx.engine().stopping() => return Ok(Vec::new()),
        }
    }
}

async fn claim(ctx: &Ctx, id: &AgentId) -> Result<Vec<WorkItem>> {
    let who = Who { actor: id.to_string(), kind: ctx.kind(), request_id: ctx.request_id().map(str::to_owned), at: ctx.now() };
    let rows =
        jobs::claim(ctx.store(), who, jobs::Claim { worker: id.as_str(), holder: id.as_str(), lease: deploy::LEASE, limit: BATCH }).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let job = row.job.id.clone();
        match item(ctx, row).await {
            Ok(item) => items.push(item),
            // One that cannot be handed out does not keep the others back; its lease ends and it is looked at again.
            Err(error) => tracing::error!(job.id = %job, error = %error, "a job cannot be handed out"),
        }
    }
    Ok(items)
}

async fn item(ctx: &Ctx, row: JobRow) -> Result<WorkItem> {
    let job = row.job;
    let db = ctx.store().db();
    let certificate =
        table::get::<Certificate>(db, &job.certificate_id).await?.ok_or_else(|| Error::not_found("certificate", &job.certificate_id))?;
    let names = all_names(&certificate.common_name, &certificate.sans).map_err(|e| Error::internal(e.to_string()))?;
    let mut item = WorkItem {
        id: job.id,
        kind: job.kind,
        certificate_id: certificate.id,
        certificate_name: certificate.name,
        common_name: certificate.common_name,
        sans: names.iter().map(ToString::to_string).collect(),
        key_algorithm: certificate.key_algorithm.unwrap_or(KeyAlgorithm::EcdsaP256),
        target_id: None,
        target_type: None,
        target_config: None,
        version_id: job.version_id.clone(),
        key_job_id: None,
        status: job.status,
        fence: job.fence,
        lease_expires_at: row.lease_expires_at.unwrap_or_else(|| ctx.now()),
    };
    if let Some(id) = &job.target_id {
        let (target, config) = targets::whole(ctx, id).await?;
        item.target_id = Some(target.id);
        item.target_type = Some(target.kind);
        item.target_config = Some(config);
    }
    if let Some(version) = &job.version_id {
        item.key_job_id = certificates::job_of_version(db, version).await?;
    }
    Ok(item)
}

/// A CSR as an agent sends it.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// For which certificate.
    pub certificate: &'a CertificateId,
    /// For which job; absent takes the one that waits.
    pub job: Option<&'a JobId>,
    /// The fence of the work item.
    pub fence: Option<i64>,
    /// PKCS#10 in PEM.
    pub csr_pem: &'a str,
}

/// Takes the CSR that an agent made for a job.
///
/// # Errors
/// When no job of this agent waits for it, its lease was lost, or the CSR is not as it should be.
pub async fn submit_csr(ctx: &Ctx, id: &AgentId, submission: Submission<'_>) -> Result<JobId> {
    let Submission { certificate, job, fence, csr_pem } = submission;
    let mut tx = ctx.write().await?;
    // The certificate first, as everywhere.
    let locked = table::get_for_update::<Certificate>(&mut tx, certificate).await?;
    let open = jobs::open_of_certificate(&mut tx, certificate).await?;
    let mine = open.into_iter().find(|row| {
        row.job.agent_id.as_ref() == Some(id)
            && matches!(row.job.kind, JobKind::Issuance | JobKind::Renewal)
            && job.is_none_or(|job| row.job.id == *job)
    });
    let Some(row) = mine else {
        // The same request may come once more when the job is done already: its first answer was lost.
        let done = match job {
            Some(job) => jobs::get_for_update(&mut tx, job).await?,
            None => None,
        };
        return done.filter(|row| row.job.agent_id.as_ref() == Some(id) && is_same_csr(row, csr_pem)).map(|row| row.job.id).ok_or_else(
            || Error::not_found("open job for a CSR of certificate", certificate).hint("poll for work: the job may have been cancelled"),
        );
    };
    if row.job.status != JobStatus::AwaitingCSR {
        // The same request that comes twice after a broken connection is fine.
        if is_same_csr(&row, csr_pem) {
            return Ok(row.job.id);
        }
        return Err(Error::conflict("job_state", format!("job {} is {} and takes no CSR", row.job.id, row.job.status.as_str())));
    }
    if fence.is_some_and(|fence| fence != row.job.fence) {
        return Err(Error::conflict("lease_lost", format!("job {} was handed out again meanwhile", row.job.id))
            .hint("poll for work and use the job as it comes"));
    }
    let certificate = locked.ok_or_else(|| Error::not_found("certificate", certificate))?;
    let row = issue::accept_csr(ctx, &mut tx, &certificate, row, csr_pem).await?;
    let audit = Audit::new(AuditCategory::CertLifecycle, "certificate.submit_csr", "certificate", &certificate.id)
        .with("name", certificate.name.as_str())
        .with("job", row.job.id.as_str());
    tx.commit(audit).await?;
    fault::point("csr.taken");
    Ok(row.job.id)
}

fn is_same_csr(row: &JobRow, csr_pem: &str) -> bool {
    row.csr_pem.as_deref().map(str::trim) == Some(csr_pem.trim())
}

/// The version an agent is to put in place: only one whose key it holds.
///
/// # Errors
/// When there is none for this agent.
pub async fn certificate(ctx: &Ctx, id: &AgentId, certificate: &CertificateId, version: Option<&VersionId>) -> Result<(Version, JobId)> {
    let db = ctx.store().db();
    let none = || Error::not_found("version for this agent of certificate", certificate);
    let version = match version {
        Some(version) => certificates::version(db, version).await?.filter(|version| version.certificate_id == *certificate),
        None => {
            certificates::read_current_versions(db, certificate).await?.into_iter().find(|version| version.agent_id.as_ref() == Some(id))
        }
    };
    let version = version.filter(|version| version.agent_id.as_ref() == Some(id)).ok_or_else(none)?;
    let job = certificates::job_of_version(db, &version.id).await?.ok_or_else(none)?;
    Ok((version, job))
}

/// How an agent is retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retire {
    /// Only when nothing depends on it.
    Unused,
    /// With its targets.
    Cascade,
}

/// Retires an agent: its credential ends at once.
///
/// # Errors
/// When something depends on it and `how` does not take that along; the counts are in the error's hint.
pub async fn retire(ctx: &Ctx, id: &AgentId, how: Retire, reason: &str) -> Result<(Agent, bool, AgentDependencies)> {
    let agent = get(ctx, id).await?;
    let counts = store::dependencies(ctx.store().db(), id).await?;
    if agent.retired_at.is_some() {
        return Ok((agent, true, counts));
    }
    if how == Retire::Unused && (counts.active_targets > 0 || counts.pending_jobs > 0) {
        return Err(Error::conflict(
            "in_use",
            format!(
                "agent `{}` has {} targets, {} certificates and {} open jobs",
                agent.name, counts.active_targets, counts.active_certificates, counts.pending_jobs
            ),
        )
        .hint("retire it with force and a reason to disable its targets and cancel its jobs"));
    }
    let mut tx = ctx.write().await?;
    // Certificates first, as everywhere, and always in the same order.
    let mut touched = Vec::new();
    for certificate in certificates::of_agent(&mut tx, id).await? {
        table::get_for_update::<Certificate>(&mut tx, &certificate).await?;
        touched.push(certificate);
    }
    store_targets::disable_of_agent(&mut tx, id).await?;
    for mut row in jobs::open_of_agent_for_update(&mut tx, id).await? {
        let old = row.job.status;
        row.job =
            row.job.become_status(JobStatus::Cancelled, "its agent was retired", ctx.now()).map_err(|e| Error::internal(e.to_string()))?;
        jobs::update(&mut tx, old, &row).await?;
        crate::renewal::after_stop(&mut tx, &row.job, "its agent was retired").await?;
    }
    store::retire(&mut tx, id, reason).await?;
    for certificate in touched {
        if let Some(certificate) = table::get_for_update::<Certificate>(&mut tx, &certificate).await? {
            holders::changed(ctx, &mut tx, &certificate, "its agent was retired").await?;
        }
    }
    tx.wake(Topic::Agent(id.clone()));
    let audit = Audit::new(AuditCategory::Config, "agent.retire", "agent", id)
        .with("name", agent.name)
        .with("reason", reason)
        .with("targets", counts.active_targets);
    tx.commit(audit).await?;
    Ok((get(ctx, id).await?, false, counts))
}

fn distinct(challenges: Vec<ChallengeKind>) -> Vec<ChallengeKind> {
    BTreeSet::from_iter(challenges).into_iter().collect()
}

fn skew_ms(sent: certctl_domain::time::Timestamp, now: certctl_domain::time::Timestamp) -> i64 {
    i64::try_from(now.until(sent).whole_milliseconds()).unwrap_or(i64::MAX)
}

const BATCH: i64 = 16;
