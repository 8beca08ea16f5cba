//! What the scheduler, the worker and `explain` know when they ask the decision about a certificate.

use std::collections::{BTreeMap, BTreeSet};

use certctl_connector_core::fault;
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::certificate::{Certificate, CertificateStatus, Version, status_by_clock};
use certctl_domain::ids::{AgentId, CertificateId, Id as _, IssuerId, ProfileId, RenewalPolicyId};
use certctl_domain::issuer::Issuer;
use certctl_domain::job::{Job, JobKind, JobStatus};
use certctl_domain::notification::NotificationKind;
use certctl_domain::profile::{Profile, all_names};
use certctl_domain::renewal::{Current, Decision, Facts, Failures, RenewalPolicy, decide, due_at, within_life};
use certctl_domain::time::Timestamp;
use certctl_pki::chain::Chain;
use certctl_store::jobs::JobRow;
use certctl_store::{Topic, WriteTx, certificates, jobs, outbox, table};
use serde_json::{Map, json};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::holders::{Holder, Holders};
use crate::issue;

/// The name under which the scheduler asks for renewals.
pub const TASK: &str = "renewal_due";

/// Everything the decision rests on, read in one transaction.
#[derive(Debug)]
pub struct Known {
    /// The policy.
    pub policy: RenewalPolicy,
    /// Whether the issuer may be asked.
    pub issuer_enabled: bool,
    /// Whether the profile may be used.
    pub profile_enabled: bool,
    /// Who holds keys, and which versions.
    pub holders: Holders,
    /// Failures in a row.
    pub failures: Option<Failures>,
}

impl Known {
    /// As the decision wants it, about the version to which everything else can wait.
    #[must_use]
    pub fn borrow<'a>(&'a self, certificate: &'a Certificate) -> Facts<'a> {
        self.about(certificate, self.holders.first())
    }

    /// As the decision wants it, about what one holder has.
    #[must_use]
    pub fn of<'a>(&'a self, certificate: &'a Certificate, holder: &Holder) -> Facts<'a> {
        self.about(certificate, self.holders.version_of(holder))
    }

    fn about<'a>(&'a self, certificate: &'a Certificate, version: Option<&Version>) -> Facts<'a> {
        Facts {
            seed: certificate.id.as_str(),
            ended: certificate.status.ended(),
            issuer_enabled: self.issuer_enabled,
            profile_enabled: self.profile_enabled,
            policy: &self.policy,
            current: version.map(current_of),
            outdated: version.is_some_and(|version| is_outdated(certificate, version)),
            failures: self.failures,
        }
    }
}

/// Whether the record asks for something else by now than this version is.
#[must_use]
pub fn is_outdated(certificate: &Certificate, version: &Version) -> bool {
    let key = certificate
        .key_algorithm
        .is_some_and(|wanted| (wanted.family(), i64::from(wanted.bits())) != (version.key_algorithm.as_str(), version.key_size));
    // What was stored was linted: its names are those that the record had then.
    let names = || match (Chain::parse_pem(&version.pem_chain), all_names(&certificate.common_name, &certificate.sans)) {
        (Ok(chain), Ok(names)) => {
            let issued = chain.leaf().sans();
            !(issued.iter().all(|name| names.contains(name)) && names.iter().all(|name| issued.contains(name)))
        }
        _ => false,
    };
    version.issuer_id != certificate.issuer_id || key || names()
}

/// A version as the decision sees it.
#[must_use]
pub const fn current_of(version: &Version) -> Current {
    Current { not_before: version.not_before, not_after: version.not_after, revoked: version.revoked_at.is_some(), ari: version.ari }
}

/// The failures of a certificate since its last success.
#[must_use]
pub fn failures_of(certificate: &Certificate) -> Option<Failures> {
    certificate.last_failure_at.filter(|_| certificate.failures > 0).map(|last_at| Failures { count: certificate.failures, last_at })
}

/// Reads what the decision about a certificate rests on.
///
/// # Errors
/// When the database fails.
pub async fn facts(tx: &mut WriteTx, certificate: &Certificate) -> Result<Known> {
    Knowledge::about(tx, std::slice::from_ref(certificate)).await?.known(certificate)
}

/// What the decisions about several certificates rest on: read once for all of them.
#[derive(Debug, Default)]
struct Knowledge {
    policies: BTreeMap<RenewalPolicyId, RenewalPolicy>,
    issuers: BTreeMap<IssuerId, Issuer>,
    profiles: BTreeMap<ProfileId, Profile>,
    live: BTreeMap<CertificateId, BTreeSet<AgentId>>,
    versions: BTreeMap<CertificateId, Vec<Version>>,
}

impl Knowledge {
    async fn about(tx: &mut WriteTx, certificates: &[Certificate]) -> Result<Self> {
        let mut this = Self::default();
        for certificate in certificates {
            read_once(tx, &mut this.policies, &certificate.renewal_policy_id).await?;
            read_once(tx, &mut this.issuers, &certificate.issuer_id).await?;
            read_once(tx, &mut this.profiles, &certificate.certificate_profile_id).await?;
        }
        let ids: Vec<CertificateId> = certificates.iter().map(|certificate| certificate.id.clone()).collect();
        for (id, agent) in certificates::live_agents_of(tx, &ids).await? {
            this.live.entry(id).or_default().insert(agent);
        }
        for version in certificates::current_versions_of(tx, &ids).await? {
            this.versions.entry(version.certificate_id.clone()).or_default().push(version);
        }
        Ok(this)
    }

    fn known(&mut self, certificate: &Certificate) -> Result<Known> {
        let gone = |what: &str| Error::internal(format!("the {what} of a certificate is gone"));
        let policy = self.policies.get(&certificate.renewal_policy_id).ok_or_else(|| gone("renewal policy"))?;
        let issuer = self.issuers.get(&certificate.issuer_id).ok_or_else(|| gone("issuer"))?;
        let profile = self.profiles.get(&certificate.certificate_profile_id).ok_or_else(|| gone("profile"))?;
        let live = self.live.remove(&certificate.id).unwrap_or_default();
        let versions = self.versions.remove(&certificate.id).unwrap_or_default();
        Ok(Known {
            policy: policy.clone(),
            issuer_enabled: issuer.enabled,
            profile_enabled: profile.enabled,
            holders: Holders::new(certificate, live, versions),
            failures: failures_of(certificate),
        })
    }
}

async fn read_once<N: table::Stored>(tx: &mut WriteTx, into: &mut BTreeMap<N::Id, N>, id: &N::Id) -> Result<()> {
    if !into.contains_key(id)
        && let Some(found) = table::get_in::<N>(tx, id).await?
    {
        into.insert(id.clone(), found);
    }
    Ok(())
}

/// When a certificate must be looked at next by itself: when renewal begins, when a warning is due, or when it ends.
#[must_use]
pub fn next_look(expires_at: Timestamp, renew_at: Timestamp, policy: &RenewalPolicy, now: Timestamp) -> Timestamp {
    let warnings = policy.alert_thresholds_days.iter().map(|days| expires_at.saturating_sub(time::Duration::days(*days)));
    let next = warnings.chain([renew_at, expires_at]).filter(|at| *at > now).min();
    next.unwrap_or_else(|| now.saturating_add(time::Duration::hours(1)))
}

/// Looks at certificates that are due: starts what is to be started, warns, and sets when to look again; says for how many something was
/// started. What another replica has looked at meanwhile, or somebody works on right now, is left alone.
///
/// # Errors
/// When the database fails; then nothing was done about any of them.
pub async fn look(ctx: &Ctx, ids: &[CertificateId]) -> Result<u64> {
    let mut tx = ctx.write().await?;
    let due = certificates::lock_due(&mut tx, ids, ctx.now()).await?;
    let mut knowledge = Knowledge::about(&mut tx, &due).await?;
    let mut open: BTreeMap<CertificateId, Vec<JobRow>> = BTreeMap::new();
    let locked: Vec<CertificateId> = due.iter().map(|certificate| certificate.id.clone()).collect();
    for row in jobs::open_of_certificates(&mut tx, &locked).await? {
        open.entry(row.job.certificate_id.clone()).or_default().push(row);
    }
    let (mut wanted, mut states, mut audits) = (Vec::new(), Vec::new(), Vec::new());
    for old in due {
        let open = open.remove(&old.id).unwrap_or_default();
        let found = match knowledge.known(&old) {
            Ok(known) => found(ctx, &mut tx, &old, &known, &open).await?,
            Err(error) => {
                // One that cannot be looked at keeps no other back.
                tracing::error!(cert.id = %old.id, error = %error, "a certificate cannot be looked at");
                continue;
            }
        };
        let new = match found {
            Found::Renew { kind, why, due } => {
                let profile = knowledge.profiles.get(&old.certificate_profile_id);
                let policy = knowledge.policies.get(&old.renewal_policy_id);
                let Some(rules) = policy.zip(profile) else { continue };
                let rows =
                    due.into_iter().map(|holder| issue::wanted(ctx, &old, (kind, &why), rules, holder)).collect::<Result<Vec<_>>>()?;
                let new_jobs: Vec<Job> = rows.iter().map(|row| row.job.clone()).collect();
                rows.iter().for_each(|row| issue::tell_holder(&mut tx, row));
                wanted.extend(rows);
                let audit = Audit::new(AuditCategory::CertLifecycle, "certificate.renew", "certificate", &old.id);
                audits.push(audit.with("name", old.name.as_str()).with("why", why.as_str()));
                issue::under_way(&old, &why, &new_jobs, ctx.now())
            }
            Found::Stand(new) => *new,
        };
        if new != old {
            states.push((old, new));
        }
    }
    jobs::insert_all(&mut tx, &wanted).await?;
    if !states.is_empty() {
        certificates::write_states(&mut tx, &states).await?;
    }
    let started = audits.len() as u64;
    match audits.pop() {
        Some(last) => {
            tx.wake(Topic::Progress);
            audits.into_iter().for_each(|audit| tx.audit(audit));
            tx.commit(last).await?;
            fault::point("renewal.started");
        }
        None => tx.commit_housekeeping(TASK).await?,
    }
    Ok(started)
}

/// What a look at a certificate finds.
enum Found {
    /// These holders are to have new versions.
    Renew { kind: JobKind, why: String, due: BTreeSet<Holder> },
    /// It stands so.
    Stand(Box<Certificate>),
}

async fn found(ctx: &Ctx, tx: &mut WriteTx, old: &Certificate, known: &Known, open: &[JobRow]) -> Result<Found> {
    let now = ctx.now();
    warn(tx, old, known, now).await?;
    let busy: BTreeSet<&Holder> =
        open.iter().filter(|row| matches!(row.job.kind, JobKind::Issuance | JobKind::Renewal)).map(|row| &row.job.agent_id).collect();
    let waits_too_long = told_of_waiting(ctx, tx, old, open).await?;
    let mut decision = decide(&known.borrow(old), now);
    // Each holder for itself: one that does not answer keeps no other back.
    let mut due = BTreeSet::new();
    for holder in known.holders.able.iter().filter(|holder| !busy.contains(holder)) {
        let about_it = decide(&known.of(old, holder), now);
        if matches!(about_it, Decision::Renew { .. }) {
            due.insert(holder.clone());
            decision = about_it;
        }
    }
    if matches!(decision, Decision::Renew { .. }) && known.holders.able.is_empty() {
        let (why, hint) = ("all of its targets are disabled, or their agents are retired", "enable a target, or give it another");
        decision = Decision::Blocked { why: why.to_owned(), hint: hint.to_owned() };
    }
    match decision {
        Decision::Renew { why } if !due.is_empty() => {
            let kind = if known.holders.versions.is_empty() { JobKind::Issuance } else { JobKind::Renewal };
            Ok(Found::Renew { kind, why, due })
        }
        decision => {
            let mut new = old.clone();
            new.next_try_at = after_decision(&decision, known, old, now);
            new.status = by_clock(old, known, !busy.is_empty(), now);
            if let Decision::Blocked { why, hint } = decision {
                new.reason = why;
                new.hint = Some(hint);
            }
            if let Some(waiting) = waits_too_long {
                new.reason = waiting;
                new.hint = Some("look whether the agent runs: `certctl agents explain`".to_owned());
            }
            Ok(Found::Stand(Box::new(new)))
        }
    }
}

/// Tells people, once for each job, of an agent that does not send its CSR; gives the words.
async fn told_of_waiting(ctx: &Ctx, tx: &mut WriteTx, certificate: &Certificate, open: &[JobRow]) -> Result<Option<String>> {
    let since = ctx.now().saturating_sub(ctx.engine().options().csr_patience);
    let waiting =
        open.iter().find(|row| row.job.status == JobStatus::AwaitingCSR && row.job.agent_id.is_some() && row.job.created_at <= since);
    let Some((job, agent)) = waiting.and_then(|row| Some((&row.job, row.job.agent_id.as_ref()?))) else {
        return Ok(None);
    };
    let text = format!("agent {agent} has not sent a CSR for {} since {}", certificate.name, job.created_at);
    let message = outbox::Message {
        kind: NotificationKind::RenewalFailure,
        certificate: Some(&certificate.id),
        dedup_key: &format!("awaiting-csr:{}", job.id),
        text: &text,
        payload: Map::from_iter([("agent_id".to_owned(), json!(agent)), ("job_id".to_owned(), json!(job.id))]),
    };
    outbox::put(tx, message).await?;
    Ok(Some(text))
}

/// Puts a certificate whose job was stopped by somebody into a state with a reason and a next look.
///
/// # Errors
/// When the database fails.
pub async fn after_stop(tx: &mut WriteTx, job: &Job, why: &str) -> Result<()> {
    if !matches!(job.kind, JobKind::Issuance | JobKind::Renewal) {
        return Ok(());
    }
    let Some(old) = table::get_for_update::<Certificate>(tx, &job.certificate_id).await? else {
        return Ok(());
    };
    if old.status.ended().is_some() {
        return Ok(());
    }
    let now = tx.now();
    let known = facts(tx, &old).await?;
    let mut new = old.clone();
    new.status = by_clock(&old, &known, false, now);
    new.reason = format!("the last attempt was stopped: {why}");
    new.hint = Some("it is tried again by itself within a day; `certctl certs renew` tries now".to_owned());
    let end = known.holders.first().map(|version| version.not_after);
    new.next_try_at = Some(now.saturating_add(within_life(time::Duration::days(1), end, now)));
    certificates::write_state(tx, &old, new).await?;
    Ok(())
}

fn after_decision(decision: &Decision, known: &Known, certificate: &Certificate, now: Timestamp) -> Option<Timestamp> {
    if certificate.status.ended().is_some() {
        return None;
    }
    let first = known.holders.first();
    let soon = now.saturating_add(within_life(LOOK_AGAIN, first.map(|version| version.not_after), now));
    let Some(first) = first else {
        return Some(soon);
    };
    let look = next_look(first.not_after, due_at(&current_of(first), &known.policy, certificate.id.as_str()).0, &known.policy, now);
    Some(match decision {
        Decision::Wait { until, .. } => look.min(*until),
        Decision::Renew { .. } => soon,
        Decision::Blocked { .. } => look,
    })
}

fn by_clock(certificate: &Certificate, known: &Known, issuing: bool, now: Timestamp) -> CertificateStatus {
    if certificate.status.ended().is_some() {
        return certificate.status;
    }
    let Some(first) = known.holders.first() else {
        return if certificate.failures > 0 { CertificateStatus::Failed } else { CertificateStatus::Pending };
    };
    let renew_at = due_at(&current_of(first), &known.policy, certificate.id.as_str()).0;
    status_of(certificate, (first.not_after, renew_at), issuing, now)
}

/// The status of a certificate whose version ends and is to be renewed at these times.
#[must_use]
pub fn status_of(
    certificate: &Certificate,
    (not_after, renew_at): (Timestamp, Timestamp),
    issuing: bool,
    now: Timestamp,
) -> CertificateStatus {
    match status_by_clock(not_after, renew_at, now) {
        // What has ended is told as ended, whatever is under way.
        CertificateStatus::Expired => CertificateStatus::Expired,
        _ if issuing => CertificateStatus::RenewalInProgress,
        _ if certificate.failures > 0 => CertificateStatus::Failed,
        other => other,
    }
}

/// Writes the warnings whose days have come; each is told once per version.
async fn warn(tx: &mut WriteTx, certificate: &Certificate, known: &Known, now: Timestamp) -> Result<()> {
    let Some(first) = known.holders.first().filter(|_| certificate.status.ended().is_none()) else {
        return Ok(());
    };
    // The nearest threshold alone: a server that was down for a month does not send all of them.
    let passed = known
        .policy
        .alert_thresholds_days
        .iter()
        .copied()
        .filter(|days| first.not_after.saturating_sub(time::Duration::days(*days)) <= now)
        .min();
    // A life shorter than the threshold is warned of by shorter thresholds only.
    let life_days = first.not_before.until(first.not_after).whole_days();
    if let Some(days) = passed.filter(|days| *days < life_days) {
        let left = now.until(first.not_after);
        let message = if left.is_positive() {
            format!("{} ends in {} days, at {}", certificate.name, left.whole_days(), first.not_after)
        } else {
            format!("{} ended at {}", certificate.name, first.not_after)
        };
        let payload = Map::from_iter([
            ("days".to_owned(), json!(days)),
            ("not_after".to_owned(), json!(first.not_after)),
            ("reason".to_owned(), json!(certificate.reason)),
        ]);
        outbox::put(
            tx,
            outbox::Message {
                kind: NotificationKind::ExpirationWarning,
                certificate: Some(&certificate.id),
                dedup_key: &format!("expiry:{}:{days}", first.id),
                text: &message,
                payload,
            },
        )
        .await?;
    }
    Ok(())
}

/// When to look again at what somebody else is at: nothing hangs on a job that is lost. Sooner where little is left of its life.
pub const LOOK_AGAIN: time::Duration = time::Duration::hours(1);
