//! Issuing: from "a version is wanted" over the CSR and the CA to a new version that was checked.

use std::collections::BTreeSet;

use certctl_connector_core::{ConnectorError, Retry, fault};
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::auth::ActorKind;
use certctl_domain::certificate::{Certificate, CertificateStatus, Version, VersionState};
use certctl_domain::ids::Id as _;
use certctl_domain::issuer::Issuer;
use certctl_domain::job::{Job, JobKind, JobStatus};
use certctl_domain::notification::NotificationKind;
use certctl_domain::noun::Refusal;
use certctl_domain::profile::{ApprovedRequest, Profile, RequestFacts};
use certctl_domain::renewal::{Decision, RenewalPolicy, backoff, decide, due_at, within_life};
use certctl_domain::time::Timestamp;
use certctl_domain::x509::SanSet;
use certctl_issuers::{Issued, Order, Outcome, Predecessor};
use certctl_pki::chain::Chain;
use certctl_pki::csr::{Csr, CsrError};
use certctl_pki::lint::{Expected, check_issued};
use certctl_store::issuances::{self, Issuance};
use certctl_store::jobs::{self, JobRow, SERVER};
use certctl_store::{Topic, WriteTx, certificates, outbox, table};
use serde_json::{Map, json};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::holders::{self, Holder, Holders};
use crate::{approve, challenges, deploy, publication, renewal};

/// Starts the work for a new version: a job for each agent beside the certificate's targets, or one that waits for a CSR.
/// Gives the certificate as it is then, whether any job is new, and the jobs.
///
/// # Errors
/// When the database fails.
pub async fn start(
    ctx: &Ctx,
    tx: &mut WriteTx,
    certificate: &Certificate,
    kind: JobKind,
    why: &str,
) -> Result<(Certificate, bool, Vec<Job>)> {
    let live = certificates::live_targets(tx, &certificate.id).await?.into_iter().map(|(_, agent)| agent).collect();
    let able = holders::able(certificate, live);
    // Where no target can be served, somebody may bring a CSR.
    let agents = if able.is_empty() { BTreeSet::from([None]) } else { able };
    start_for(ctx, tx, certificate, (kind, why), agents).await
}

/// Starts the work for agents that hold no version in use.
///
/// # Errors
/// When the database fails.
pub async fn start_where_missing(ctx: &Ctx, tx: &mut WriteTx, certificate: &Certificate, why: &str) -> Result<Certificate> {
    let missing = Holders::of(tx, certificate).await?.empty_handed();
    if !missing.is_empty() {
        return Ok(start_for(ctx, tx, certificate, (JobKind::Issuance, why), missing).await?.0);
    }
    Ok(certificate.clone())
}

/// As [`start`], for these alone.
///
/// # Errors
/// When the database fails.
pub async fn start_for(
    ctx: &Ctx,
    tx: &mut WriteTx,
    certificate: &Certificate,
    (kind, why): (JobKind, &str),
    agents: BTreeSet<Holder>,
) -> Result<(Certificate, bool, Vec<Job>)> {
    let policy = load::<RenewalPolicy>(tx, &certificate.renewal_policy_id).await?;
    let profile = load::<Profile>(tx, &certificate.certificate_profile_id).await?;
    let mut started = Vec::with_capacity(agents.len());
    let mut fresh = false;
    for agent in agents {
        let row = wanted(ctx, certificate, (kind, why), (&policy, &profile), agent)?;
        match jobs::insert(tx, &row).await? {
            Ok(()) => {
                fresh = true;
                tell_holder(tx, &row);
                started.push(row.job);
            }
            Err(existing) => {
                if let Some(row) = jobs::get_for_update(tx, &existing).await? {
                    started.push(at_once(ctx, tx, row).await?);
                }
            }
        }
    }
    tx.wake(Topic::Progress);
    if !fresh {
        return Ok((certificate.clone(), false, started));
    }
    let new = certificates::write_state(tx, certificate, under_way(certificate, why, &started, ctx.now())).await?;
    Ok((new, true, started))
}

/// The job for a new version of a holder's, as it is written.
///
/// # Errors
/// When the system gives no randomness.
pub fn wanted(
    ctx: &Ctx,
    certificate: &Certificate,
    (kind, why): (JobKind, &str),
    (policy, profile): (&RenewalPolicy, &Profile),
    agent: Holder,
) -> Result<JobRow> {
    let now = ctx.now();
    let (status, reason, hint) = approve::first_status(profile, agent.as_ref(), why);
    let holder = agent.as_ref().map_or("", |agent| agent.as_str()).to_owned();
    let job = Job {
        id: ctx.new_id()?,
        kind,
        certificate_id: certificate.id.clone(),
        target_id: None,
        agent_id: agent,
        version_id: None,
        status,
        reason,
        hint,
        scheduled_at: now,
        attempts: 0,
        max_attempts: policy.max_retries,
        last_error: None,
        progress: Vec::new(),
        verification: None,
        requested_by: ctx.actor().clone(),
        fence: 0,
        created_at: now,
        started_at: None,
        completed_at: None,
        updated_at: now,
    };
    let dedup_key = Some(format!("issue:{}:{holder}", certificate.id));
    Ok(JobRow { worker: holder, lease_holder: None, lease_expires_at: None, csr_pem: None, dedup_key, job })
}

/// Wakes the agent that is to make the key.
pub fn tell_holder(tx: &mut WriteTx, row: &JobRow) {
    if let Some(agent) = &row.job.agent_id {
        tx.wake(Topic::Agent(agent.clone()));
    }
}

/// A certificate as it is once the jobs for its next version are there.
#[must_use]
pub fn under_way(certificate: &Certificate, why: &str, started: &[Job], now: Timestamp) -> Certificate {
    let mut new = certificate.clone();
    new.status = if certificate.expires_at.is_some() { CertificateStatus::RenewalInProgress } else { CertificateStatus::Pending };
    why.clone_into(&mut new.reason);
    new.hint = started.iter().find_map(|job| job.hint.clone());
    new.next_try_at = Some(now.saturating_add(within_life(renewal::LOOK_AGAIN, certificate.expires_at, now)));
    new
}

/// A job that is under way already. What waits to be tried again is tried at once when a person asks: they may have mended what was wrong.
async fn at_once(ctx: &Ctx, tx: &mut WriteTx, mut row: JobRow) -> Result<Job> {
    let waits = matches!(row.job.status, JobStatus::Pending | JobStatus::AwaitingCSR) && row.lease_holder.is_none();
    if waits && row.job.scheduled_at > ctx.now() && ctx.kind() != ActorKind::System {
        row.job.scheduled_at = ctx.now();
        row.job.updated_at = ctx.now();
        jobs::update(tx, row.job.status, &row).await?;
        tx.wake(row.job.agent_id.clone().filter(|_| row.worker != SERVER).map_or(Topic::Jobs, Topic::Agent));
    }
    Ok(row.job)
}

/// Ends every open job of a certificate.
///
/// # Errors
/// When the database fails.
pub async fn cancel_open(tx: &mut WriteTx, certificate: &Certificate, why: &str) -> Result<()> {
    for mut row in jobs::open_of_certificate(tx, &certificate.id).await? {
        let old = row.job.status;
        row.job = row.job.become_status(JobStatus::Cancelled, why, tx.now()).map_err(|e| Error::internal(e.to_string()))?;
        jobs::update(tx, old, &row).await?;
    }
    Ok(())
}

/// Takes the CSR of a job that waits for one: refused before any effect, or the server goes on with it at once.
///
/// # Errors
/// When the CSR is not sound, or profile and record do not agree with it.
pub async fn accept_csr(ctx: &Ctx, tx: &mut WriteTx, certificate: &Certificate, mut row: JobRow, csr_pem: &str) -> Result<JobRow> {
    let csr = parse_csr(csr_pem)?;
    let profile = load::<Profile>(tx, &certificate.certificate_profile_id).await?;
    approved(certificate, &profile, &csr)?;
    let old = row.job.status;
    row.csr_pem = Some(csr.pem());
    SERVER.clone_into(&mut row.worker);
    row.lease_holder = None;
    row.lease_expires_at = None;
    row.job = row
        .job
        .become_status(JobStatus::Pending, "the CSR is here, the CA is asked next", ctx.now())
        .map_err(|e| Error::conflict("job_state", e.to_string()))?;
    row.job.scheduled_at = ctx.now();
    jobs::update(tx, old, &row).await?;
    tx.wake(Topic::Jobs);
    tx.wake(Topic::Progress);
    Ok(row)
}

/// Works on a claimed job until a version is there, the CA wants time, or the attempt failed.
///
/// # Errors
/// When the database fails; the lease then ends and another attempt follows.
pub async fn run(ctx: &Ctx, row: JobRow) -> Result<()> {
    match attempt(ctx, &row).await {
        Ok(()) => Ok(()),
        Err(Failed::Try(error)) => fail(ctx, &row, &error).await,
        Err(Failed::Engine(error)) => Err(error),
    }
}

/// Why an attempt did not lead to a version.
enum Failed {
    /// It is to be noted at the job, and tried again.
    Try(ConnectorError),
    /// It could not even be noted.
    Engine(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<certctl_store::StoreError> for Failed {
    fn from(error: certctl_store::StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<ConnectorError> for Failed {
    fn from(error: ConnectorError) -> Self {
        Self::Try(error)
    }
}

async fn attempt(ctx: &Ctx, row: &JobRow) -> Result<(), Failed> {
    let Some(prepared) = prepare(ctx, row).await? else {
        return Ok(());
    };
    let Ready { order, issuer_type, connector, issuance } = prepared;
    let asking = ctx.engine().metrics().asking(&issuance.issuer_id, &issuer_type);
    let outcome = connector.issue(&order, issuance.tbs.as_deref(), issuance.ticket.as_ref(), ctx.now()).await;
    fault::point("issue.signed");
    match outcome.inspect_err(|error| asking.failed(error))? {
        Outcome::Pending(ticket) => {
            asking.pending();
            let mut tx = ctx.write().await?;
            let Some(mut row) = still_ours(&mut tx, row).await? else {
                return Ok(());
            };
            issuances::put(&mut tx, &Issuance { ticket: Some(ticket.state), ..issuance }).await?;
            let old = row.job.status;
            row.job = row.job.become_status(JobStatus::Pending, ticket.reason, ctx.now()).map_err(|e| Error::internal(e.to_string()))?;
            row.job.scheduled_at = ticket.poll_at;
            // Waiting is not failing.
            row.job.attempts -= 1;
            row.lease_holder = None;
            row.lease_expires_at = None;
            jobs::update(&mut tx, old, &row).await?;
            tx.commit_housekeeping("issue.pending").await?;
            Ok(())
        }
        Outcome::Ready(issued) => {
            let chain = check(ctx, &order, &issued).inspect_err(|error| asking.failed(error))?;
            asking.issued();
            store_version(ctx, row, &order, &chain, issued).await
        }
    }
}

/// Everything that is needed to ask the CA.
struct Ready {
    order: Order,
    issuer_type: String,
    connector: std::sync::Arc<dyn certctl_issuers::Issuer>,
    issuance: Issuance,
}

/// Checks the job once more and stores what is about to be signed. `None` when there is nothing more to do.
async fn prepare(ctx: &Ctx, row: &JobRow) -> Result<Option<Ready>, Failed> {
    let mut tx = ctx.write().await?;
    let Some((row, certificate)) = still_ours_with_certificate(&mut tx, row).await? else {
        return Ok(None);
    };
    if let Some(ended) = certificate.status.ended() {
        end(ctx, tx, row, JobStatus::Cancelled, ended).await?;
        return Ok(None);
    }
    if let Some(wait) = not_due_any_more(ctx, &mut tx, &row, &certificate).await? {
        end(ctx, tx, row, JobStatus::Cancelled, &wait).await?;
        return Ok(None);
    }
    let profile = load::<Profile>(&mut tx, &certificate.certificate_profile_id).await?;
    let issuer = load::<Issuer>(&mut tx, &certificate.issuer_id).await?;
    if !issuer.enabled {
        return Err(ConnectorError::permanent(format!("issuer `{}` is disabled", issuer.name))
            .hint("enable the issuer, or give the certificate another one")
            .into());
    }
    let csr = parse_csr(row.csr_pem.as_deref().unwrap_or_default()).map_err(refused)?;
    let request = approved(&certificate, &profile, &csr).map_err(refused)?;
    let begun = issuances::get(&mut tx, &row.job.id).await?.filter(|issuance| issuance.issuer_id == issuer.id);
    let versions = certificates::current_versions(&mut tx, &certificate.id).await?;
    let predecessor = versions.into_iter().find(|version| version.agent_id == row.job.agent_id && version.issuer_id == issuer.id);
    let predecessor = predecessor.map(|version| Predecessor { chain_pem: version.pem_chain, issuer_ref: version.issuer_ref });
    drop(tx);
    let connector = ctx.engine().issuers().get(ctx, &issuer).await?;
    let hosts = if connector.asks_hosts() { Some(challenges::hosts(ctx, &row.job).await?) } else { None };
    let order = Order { request, csr, publication: publication::of(ctx, &issuer).await?, predecessor, hosts };
    if let Some(issuance) = begun {
        return Ok(Some(Ready { order, issuer_type: issuer.kind, connector, issuance }));
    }
    let asking = ctx.engine().metrics().asking(&issuer.id, &issuer.kind);
    let prepared = connector.prepare(&order, ctx.now()).inspect_err(|error| asking.failed(error))?;
    let (serial, tbs) = prepared.map_or((None, None), |prepared| (Some(prepared.serial), Some(prepared.tbs)));
    let issuance = Issuance { job_id: row.job.id.clone(), issuer_id: issuer.id.clone(), serial, tbs, ticket: None };
    let mut tx = ctx.write().await?;
    if still_ours(&mut tx, &row).await?.is_none() {
        return Ok(None);
    }
    if let Some(serial) = &issuance.serial
        && certificates::serial_is_taken(&mut tx, &issuer.id, serial).await?
    {
        return Err(ConnectorError::transient("the serial number that was drawn is taken").into());
    }
    issuances::put(&mut tx, &issuance).await?;
    tx.commit_housekeeping("issue.prepare").await?;
    fault::point("issue.intended");
    Ok(Some(Ready { order, issuer_type: issuer.kind, connector, issuance }))
}

/// The chain, if it is what was ordered. Never "store and hope".
fn check(ctx: &Ctx, order: &Order, issued: &Issued) -> Result<Chain, ConnectorError> {
    let chain = Chain::parse_pem(&issued.chain_pem)
        .map_err(|e| ConnectorError::permanent(format!("what the CA gave is no certificate chain: {e}")))?;
    let expected = Expected {
        spki: order.csr.spki(),
        sans: order.request.sans(),
        common_name: order.request.common_name(),
        usages: order.request.ekus(),
        not_after_max: order.request.max_ttl().map(|ttl| ctx.now().saturating_add(ttl).saturating_add(time::Duration::minutes(5))),
        now: ctx.now(),
    };
    check_issued(&chain, &expected).map_err(|findings| {
        ConnectorError::permanent(format!("the CA gave another certificate than was ordered: {}", certctl_pki::lint::summary(&findings)))
            .hint("look at the issuer's settings and at the profile or template that the CA uses")
    })?;
    Ok(chain)
}

async fn store_version(ctx: &Ctx, row: &JobRow, order: &Order, chain: &Chain, issued: Issued) -> Result<(), Failed> {
    let now = ctx.now();
    let leaf = chain.leaf();
    let mut tx = ctx.write().await?;
    let Some((mut row, certificate)) = still_ours_with_certificate(&mut tx, row).await? else {
        return Ok(());
    };
    let key = order.request.key_algorithm();
    let version = Version {
        id: ctx.new_id()?,
        certificate_id: certificate.id.clone(),
        agent_id: row.job.agent_id.clone(),
        issuer_id: certificate.issuer_id.clone(),
        serial_number: leaf.serial().clone(),
        fingerprint_sha256: leaf.fingerprint().clone(),
        not_before: leaf.not_before(),
        not_after: leaf.not_after(),
        pem_chain: chain.to_pem(),
        csr_pem: order.csr.pem(),
        key_algorithm: key.family().to_owned(),
        key_size: i64::from(key.bits()),
        state: VersionState::Current,
        issuer_ref: issued.issuer_ref,
        ari: issued.ari,
        revoked_at: None,
        revocation_reason: None,
        created_at: now,
    };
    certificates::insert_version(&mut tx, &version, &row.job.id).await?;
    holders::supersede_former(&mut tx, &certificate).await?;
    let was = row.job.status;
    row.job = row.job.become_status(JobStatus::Completed, "the version was issued", now).map_err(|e| Error::internal(e.to_string()))?;
    row.job.version_id = Some(version.id.clone());
    jobs::update(&mut tx, was, &row).await?;
    settle(&mut tx, &certificate, |new| {
        new.last_renewal_at = Some(now);
        new.failures = 0;
        new.last_failure_at = None;
        new.hint = None;
    })
    .await?;
    deploy::start_of(ctx, &mut tx, &version, "a new version was issued").await?;
    tx.count("certificates.issued", 1);
    let message = format!("{} was issued until {}", certificate.name, version.not_after);
    let payload =
        Map::from_iter([("serial_number".to_owned(), json!(version.serial_number)), ("not_after".to_owned(), json!(version.not_after))]);
    outbox::put(
        &mut tx,
        outbox::Message {
            kind: NotificationKind::RenewalSuccess,
            certificate: Some(&certificate.id),
            dedup_key: &format!("issued:{}", version.id),
            text: &message,
            payload,
        },
    )
    .await?;
    tx.wake(Topic::Progress);
    let audit = Audit::new(AuditCategory::CertLifecycle, "certificate.issue", "certificate", &certificate.id)
        .with("name", certificate.name.as_str())
        .with("version", version.id.as_str())
        .with("serial_number", version.serial_number.as_str())
        .with("fingerprint_sha256", version.fingerprint_sha256.as_str())
        .with("job", row.job.id.as_str());
    tx.commit(audit).await?;
    fault::point("issue.stored");
    Ok(())
}

/// Writes the certificate's state as its versions and the clock have it, after `change`.
///
/// # Errors
/// When the database fails.
pub async fn settle(tx: &mut WriteTx, old: &Certificate, change: impl FnOnce(&mut Certificate)) -> Result<Certificate> {
    let now = tx.now();
    let policy = load::<RenewalPolicy>(tx, &old.renewal_policy_id).await?;
    let holders = Holders::of(tx, old).await?;
    let open = jobs::open_of_certificate(tx, &old.id).await?;
    let mut new = old.clone();
    change(&mut new);
    let Some(first) = holders.versions.first() else {
        return Ok(certificates::write_state(tx, old, new).await?);
    };
    new.expires_at = Some(first.not_after);
    let (renew_at, why) = due_at(&renewal::current_of(first), &policy, old.id.as_str());
    let issuing = open.iter().any(|row| matches!(row.job.kind, JobKind::Issuance | JobKind::Renewal));
    new.status = renewal::status_of(&new, (first.not_after, renew_at), issuing, now);
    new.reason = why;
    let look = renewal::next_look(first.not_after, renew_at, &policy, now);
    new.next_try_at = Some(if issuing {
        look.min(now.saturating_add(within_life(renewal::LOOK_AGAIN, new.expires_at, now)))
    } else if renew_at <= now {
        now
    } else {
        look
    });
    Ok(certificates::write_state(tx, old, new).await?)
}

/// Notes that an attempt failed: what can help itself waits at the job, what cannot ends the job and waits at the certificate.
async fn fail(ctx: &Ctx, row: &JobRow, error: &ConnectorError) -> Result<()> {
    let now = ctx.now();
    let mut tx = ctx.write().await?;
    let Some((mut row, old)) = still_ours_with_certificate(&mut tx, row).await? else {
        return Ok(());
    };
    let policy = load::<RenewalPolicy>(&mut tx, &old.renewal_policy_id).await?;
    let text = error.explain();
    let failures = old.failures + 1;
    let wait = match error.retry() {
        Retry::Throttled { retry_after_seconds } => {
            let asked =
                time::Duration::seconds(retry_after_seconds.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0).min(86_400));
            asked.max(backoff(&policy, failures).min(time::Duration::minutes(5)))
        }
        _ => within_life(backoff(&policy, failures), old.expires_at, now),
    };
    let again = now.saturating_add(wait);
    let was = row.job.status;
    let helps_itself = matches!(error.retry(), Retry::Transient | Retry::Throttled { .. });
    row.job.last_error = Some(text.clone());
    row.lease_holder = None;
    row.lease_expires_at = None;
    let to = if helps_itself { JobStatus::Pending } else { JobStatus::Failed };
    row.job = row.job.become_status(to, format!("the CA was asked in vain: {text}"), now).map_err(|e| Error::internal(e.to_string()))?;
    row.job.hint = error.advice().map(str::to_owned);
    if helps_itself {
        row.job.scheduled_at = again;
    }
    jobs::update(&mut tx, was, &row).await?;
    note_failure(&mut tx, &old, &policy, error, again).await?;
    let audit = Audit::new(AuditCategory::CertLifecycle, "certificate.issue_failed", "certificate", &old.id)
        .with("name", old.name.as_str())
        .with("job", row.job.id.as_str())
        .with("error", text)
        .with("next_try_at", again.to_string());
    tx.wake(Topic::Progress);
    tx.commit(audit).await?;
    Ok(())
}

/// Notes a failure at the certificate: status, reason, hint, next try; alerts when the policy's patience is over.
///
/// # Errors
/// When the database fails.
pub async fn note_failure(
    tx: &mut WriteTx,
    old: &Certificate,
    policy: &RenewalPolicy,
    error: &ConnectorError,
    again: Timestamp,
) -> Result<Certificate> {
    let text = error.explain();
    let now = tx.now();
    let mut new = old.clone();
    new.failures += 1;
    new.last_failure_at = Some(now);
    new.status = if old.expires_at.is_some_and(|at| at <= now) { CertificateStatus::Expired } else { CertificateStatus::Failed };
    new.reason = format!("the last attempt failed: {text}");
    new.hint = error.advice().map(str::to_owned);
    new.next_try_at = Some(again);
    let new = certificates::write_state(tx, old, new).await?;
    tx.count("certificates.failures", 1);
    if new.failures == policy.max_retries.max(1) {
        let message = format!("{} could not be issued {} times in a row: {text}", new.name, new.failures);
        let payload = Map::from_iter([("error".to_owned(), json!(text)), ("next_try_at".to_owned(), json!(again))]);
        outbox::put(
            tx,
            outbox::Message {
                kind: NotificationKind::RenewalFailure,
                certificate: Some(&new.id),
                dedup_key: &format!("failing:{}:{}", new.id, now.unix_micros()),
                text: &message,
                payload,
            },
        )
        .await?;
    }
    Ok(new)
}

/// The certificate and its job as they are now, if this worker still holds the job. The certificate is locked first, as everywhere.
async fn still_ours_with_certificate(tx: &mut WriteTx, row: &JobRow) -> Result<Option<(JobRow, Certificate)>> {
    let certificate = table::get_for_update::<Certificate>(tx, &row.job.certificate_id).await?;
    Ok(still_ours(tx, row).await?.zip(certificate))
}

/// The job as it is now, if this worker still holds it: a late result is refused by the fencing number.
async fn still_ours(tx: &mut WriteTx, row: &JobRow) -> Result<Option<JobRow>> {
    let now = jobs::get_for_update(tx, &row.job.id).await?;
    let ours = now.filter(|now| now.job.fence == row.job.fence && now.job.status == JobStatus::Running);
    if ours.is_none() {
        tracing::warn!(job.id = %row.job.id, "a job was taken over or ended meanwhile; this result is dropped");
    }
    Ok(ours)
}

async fn end(ctx: &Ctx, mut tx: WriteTx, mut row: JobRow, to: JobStatus, why: &str) -> Result<()> {
    let old = row.job.status;
    row.job = row.job.become_status(to, why, ctx.now()).map_err(|e| Error::internal(e.to_string()))?;
    jobs::update(&mut tx, old, &row).await?;
    tx.wake(Topic::Progress);
    let audit = Audit::new(AuditCategory::CertLifecycle, "job.end", "job", &row.job.id).with("status", to.as_str()).with("reason", why);
    Ok(tx.commit(audit).await?)
}

/// Asks the decision again before the CA is asked: what the scheduler started may not be due any more.
async fn not_due_any_more(ctx: &Ctx, tx: &mut WriteTx, row: &JobRow, certificate: &Certificate) -> Result<Option<String>> {
    if row.job.kind != JobKind::Renewal || row.job.requested_by.as_str() != renewal::TASK {
        return Ok(None);
    }
    let mut facts = renewal::facts(tx, certificate).await?;
    facts.failures = None;
    Ok(match decide(&facts.of(certificate, &row.job.agent_id), ctx.now()) {
        Decision::Wait { until, .. } => Some(format!("renewal is not due before {until} any more")),
        Decision::Blocked { why, .. } => Some(why),
        Decision::Renew { .. } => None,
    })
}

fn parse_csr(pem: &str) -> Result<Csr> {
    Csr::parse_pem(pem).map_err(csr_error)
}

/// A refused CSR as the API says it.
#[must_use]
pub fn csr_error(error: CsrError) -> Error {
    let mut refusal = Refusal::field("csr_pem", &error);
    refusal.hint = Some(error.hint().to_owned());
    let mut out = Error::from(refusal);
    out.code = error.code();
    out
}

fn approved(certificate: &Certificate, profile: &Profile, csr: &Csr) -> Result<ApprovedRequest> {
    let empty = SanSet::default();
    let facts = RequestFacts {
        common_name: &certificate.common_name,
        sans: &certificate.sans,
        wanted_key: certificate.key_algorithm,
        csr_common_name: csr.common_name(),
        csr_sans: if csr.sans().is_empty() { &empty } else { csr.sans() },
        csr_key: csr.key_algorithm(),
    };
    profile.approve(&facts).map_err(|refusal| {
        let hint = refusal.hint.clone().unwrap_or_else(|| {
            "names come from the certificate's record: change the record, or make a CSR with its names or with none".to_owned()
        });
        let mut error = Error::from(refusal).hint(hint);
        error.code = "csr_not_approved";
        error
    })
}

fn refused(error: Error) -> ConnectorError {
    let hint = error.hint.clone().unwrap_or_default();
    ConnectorError::permanent(error.detail).hint(hint)
}

async fn load<N: certctl_store::table::Stored>(tx: &mut WriteTx, id: &N::Id) -> Result<N> {
    table::get_in::<N>(tx, id).await?.ok_or_else(|| Error::internal(format!("a {} that is referred to is gone", N::KIND)))
}
