//! Certificates: what must hold for one to be managed, and the work that is asked for by hand.

use std::collections::BTreeSet;

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::certificate::{Certificate, CertificateStatus, Version};
use certctl_domain::ids::{CertificateId, Id as _, TargetId};
use certctl_domain::issuer::Issuer;
use certctl_domain::job::{Job, JobKind, JobStatus};
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::noun::{Check, Noun as _};
use certctl_domain::profile::{Profile, all_names};
use certctl_domain::renewal::RenewalPolicy;
use certctl_domain::target::Target;
use certctl_store::{Topic, WriteTx, certificates, jobs, table};

use crate::crud::{self, Actions, Hidden, Managed};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::{deploy, holders, issue};

impl Managed for Certificate {
    const ACTIONS: Actions = crate::actions!("certificate");
    const TOPIC: Option<Topic> = Some(Topic::Progress);
    const CATEGORY: AuditCategory = AuditCategory::CertLifecycle;

    fn is_within(&self, ctx: &Ctx) -> bool {
        ctx.reach().includes(Some(self.certificate_profile_id.as_str()), Some(self.issuer_id.as_str()))
    }

    async fn before_write(_ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &mut Self) -> Result<Hidden> {
        if let Some(ended) = old.and_then(|old| old.status.ended()) {
            return Err(
                Error::conflict("ended", format!("certificate `{}` cannot be changed: {ended}", new.name)).hint("make a new certificate")
            );
        }
        let mut check = Check::default();
        match table::get_in::<Profile>(tx, &new.certificate_profile_id).await? {
            None => {
                check.that(false, "certificate_profile_id", format_args!("there is no profile `{}`", new.certificate_profile_id));
            }
            Some(profile) => {
                check.that(profile.enabled, "certificate_profile_id", format_args!("profile `{}` is disabled", profile.name));
                if let Some(names) = check.ok("sans", all_names(&new.common_name, &new.sans)) {
                    check.that(!names.is_empty(), "sans", "a certificate needs at least one DNS name, address, e-mail address or URI");
                    profile.check_names(&names, &mut check);
                }
                if let Some(key) = new.key_algorithm {
                    check.that(
                        profile.allows_key(key),
                        "key_algorithm",
                        format_args!("profile `{}` does not allow keys of type {key}", profile.name),
                    );
                }
            }
        }
        match table::get_in::<Issuer>(tx, &new.issuer_id).await? {
            None => check.that(false, "issuer_id", format_args!("there is no issuer `{}`", new.issuer_id)),
            Some(issuer) => check.that(issuer.enabled, "issuer_id", format_args!("issuer `{}` is disabled", issuer.name)),
        };
        let policy = table::get_in::<RenewalPolicy>(tx, &new.renewal_policy_id).await?;
        check.that(policy.is_some(), "renewal_policy_id", format_args!("there is no renewal policy `{}`", new.renewal_policy_id));
        for id in &new.target_ids {
            check_target(tx, new, id, &mut check).await?;
        }
        check.finish(|| ())?;
        Ok(Hidden::new())
    }

    async fn after_write(ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &Self) -> Result<()> {
        certificates::write_relations(tx, old, new).await?;
        let Some(old) = old else {
            issue::start(ctx, tx, new, JobKind::Issuance, "the certificate is new").await?;
            return Ok(());
        };
        let content =
            |c: &Self| (c.common_name.clone(), c.sans.clone(), c.issuer_id.clone(), c.certificate_profile_id.clone(), c.key_algorithm);
        if content(old) != content(new) {
            issue::cancel_open(tx, new, "the certificate's record was changed").await?;
            let new = &holders::changed(ctx, tx, new, "the certificate's targets were changed").await?;
            issue::start(ctx, tx, new, JobKind::Renewal, "the certificate's record was changed").await?;
        } else if old.target_ids != new.target_ids {
            let fresh: BTreeSet<_> = new.target_ids.iter().filter(|id| !old.target_ids.contains(id)).cloned().collect();
            let new = holders::changed(ctx, tx, new, "the certificate's targets were changed").await?;
            deploy::start_on(ctx, tx, &new, Some(&fresh), "the target was added").await?;
            issue::start_where_missing(ctx, tx, &new, "a target was added on an agent that holds no key").await?;
        }
        Ok(())
    }
}

async fn check_target(tx: &mut WriteTx, certificate: &Certificate, id: &TargetId, check: &mut Check) -> Result<()> {
    match table::get_in::<Target>(tx, id).await? {
        None => {
            check.that(false, "target_ids", format_args!("there is no target `{id}`"));
        }
        Some(target) => {
            check.that(target.enabled, "target_ids", format_args!("target `{}` is disabled", target.name));
            if let Some(other) = certificates::other_on_target(tx, id, &certificate.id).await? {
                check.that(false, "target_ids", format_args!("target `{}` already has the certificate `{other}`", target.name));
            }
        }
    }
    Ok(())
}

/// Reads one page of the versions of a certificate.
///
/// # Errors
/// When there is no such certificate, or the query is not one of this list.
pub async fn versions(ctx: &Ctx, id: &CertificateId, query: &ListQuery) -> Result<Page<Version>> {
    crud::load::<Certificate>(ctx, id).await?;
    Ok(certificates::list_versions(ctx.store().db(), id, query).await?)
}

/// The newest version in use, for export.
///
/// # Errors
/// When there is none yet.
pub async fn current(ctx: &Ctx, id: &CertificateId) -> Result<Version> {
    let certificate: Certificate = crud::load(ctx, id).await?;
    let versions = certificates::read_current_versions(ctx.store().db(), id).await?;
    versions.into_iter().max_by_key(|version| version.created_at).ok_or_else(|| {
        Error::not_found("version of certificate", &certificate.name).hint(format!(
            "it is {}: {}",
            certificate.status.as_str(),
            certificate.reason
        ))
    })
}

/// Issues a new version now, for every agent that holds a key.
///
/// # Errors
/// When the certificate was revoked or archived.
pub async fn renew(ctx: &Ctx, id: &CertificateId) -> Result<(bool, Vec<Job>)> {
    let mut tx = ctx.write().await?;
    let certificate = load_for_update(ctx, &mut tx, id).await?;
    refuse_ended(&certificate, "renewed")?;
    let kind = if certificate.expires_at.is_some() { JobKind::Renewal } else { JobKind::Issuance };
    let (certificate, fresh, jobs) = issue::start(ctx, &mut tx, &certificate, kind, "asked for by hand").await?;
    let audit = Audit::new(AuditCategory::CertLifecycle, "certificate.renew", "certificate", id)
        .with("name", certificate.name)
        .with("jobs", jobs.len());
    tx.commit(audit).await?;
    Ok((fresh, jobs))
}

/// Puts the version in use on its targets again, or on one of them.
///
/// # Errors
/// When there is no version yet, or the target is not one of the certificate's.
pub async fn deploy(ctx: &Ctx, id: &CertificateId, target: Option<&TargetId>) -> Result<Vec<Job>> {
    let mut tx = ctx.write().await?;
    let certificate = load_for_update(ctx, &mut tx, id).await?;
    refuse_ended(&certificate, "deployed")?;
    if let Some(target) = target.filter(|target| !certificate.target_ids.contains(target)) {
        return Err(Error::invalid("not_its_target", format!("`{target}` is not a target of certificate `{}`", certificate.name))
            .hint("add it to target_ids first"));
    }
    let only = target.map(|target| BTreeSet::from([target.clone()]));
    let jobs = deploy::start_on(ctx, &mut tx, &certificate, only.as_ref(), "asked for by hand").await?;
    if jobs.is_empty() {
        return Err(Error::conflict(
            "nothing_to_deploy",
            format!("certificate `{}` has no version with a target to put it on", certificate.name),
        )
        .hint(format!("it is {}: {}", certificate.status.as_str(), certificate.reason)));
    }
    let audit = Audit::new(AuditCategory::CertLifecycle, "certificate.deploy", "certificate", id)
        .with("name", certificate.name)
        .with("jobs", jobs.len());
    tx.commit(audit).await?;
    Ok(jobs)
}

/// Archives a certificate: nothing more is issued, its name is free again, its versions and history stay.
///
/// # Errors
/// When `if_match` is not the revision it has.
pub async fn archive(ctx: &Ctx, id: &CertificateId, if_match: Option<i64>) -> Result<()> {
    let mut tx = ctx.write().await?;
    let old = load_for_update(ctx, &mut tx, id).await?;
    if if_match.is_some_and(|revision| revision != old.revision()) {
        return Err(certctl_store::StoreError::Stale.into());
    }
    if old.status == CertificateStatus::Archived {
        return Ok(());
    }
    issue::cancel_open(&mut tx, &old, "the certificate was archived").await?;
    let mut new = old.clone();
    new.status = CertificateStatus::Archived;
    new.reason = format!("archived by {}", ctx.actor());
    new.hint = None;
    new.next_try_at = None;
    new.target_ids.clear();
    new.name = format!("{}~{}", old.name, old.id);
    let new = certificates::write_state(&mut tx, &old, new).await?;
    certificates::write_relations(&mut tx, Some(&new), &new).await?;
    tx.wake(Topic::Progress);
    tx.commit(Audit::new(AuditCategory::CertLifecycle, "certificate.archive", "certificate", id).with("name", old.name)).await?;
    Ok(())
}

/// Takes a CSR for a certificate whose key no agent holds.
///
/// # Errors
/// When the CSR is not as it should be, or an agent holds the key.
pub async fn submit_csr(ctx: &Ctx, id: &CertificateId, csr_pem: &str) -> Result<Job> {
    let mut tx = ctx.write().await?;
    let certificate = load_for_update(ctx, &mut tx, id).await?;
    refuse_ended(&certificate, "issued")?;
    let open = jobs::open_of_certificate(&mut tx, id).await?;
    let mut waiting = open.into_iter().find(|row| row.job.status == JobStatus::AwaitingCSR && row.job.agent_id.is_none());
    if waiting.is_none() {
        if !certificates::live_targets(&mut tx, id).await?.is_empty() {
            return Err(Error::conflict("agent_holds_key", format!("the key of certificate `{}` is made by its agent", certificate.name))
                .hint("take the targets away from the certificate to bring a key of your own"));
        }
        let kind = if certificate.expires_at.is_some() { JobKind::Renewal } else { JobKind::Issuance };
        let (_, _, started) = issue::start(ctx, &mut tx, &certificate, kind, "a CSR was submitted").await?;
        if let Some(job) = started.first() {
            waiting = jobs::get_for_update(&mut tx, &job.id).await?.filter(|row| row.job.status == JobStatus::AwaitingCSR);
        }
    }
    let row = waiting.ok_or_else(|| Error::conflict("awaits_approval", "this issuance waits for an approval before a CSR is taken"))?;
    let row = issue::accept_csr(ctx, &mut tx, &certificate, row, csr_pem).await?;
    tx.commit(
        Audit::new(AuditCategory::CertLifecycle, "certificate.submit_csr", "certificate", id)
            .with("name", certificate.name)
            .with("job", row.job.id.as_str()),
    )
    .await?;
    Ok(row.job)
}

/// Reads a certificate and keeps others from changing it until the commit.
///
/// # Errors
/// When there is none, or the caller may not know of it.
pub async fn load_for_update(ctx: &Ctx, tx: &mut WriteTx, id: &CertificateId) -> Result<Certificate> {
    let certificate = table::get_for_update::<Certificate>(tx, id).await?;
    certificate.filter(|certificate| certificate.is_within(ctx)).ok_or_else(|| Error::not_found(Certificate::KIND, id))
}

fn refuse_ended(certificate: &Certificate, verb: &str) -> Result<()> {
    match certificate.status.ended() {
        Some(ended) => Err(Error::conflict("ended", format!("certificate `{}` cannot be {verb}: {ended}", certificate.name))
            .hint("make a new certificate")),
        None => Ok(()),
    }
}

/// The targets of a certificate, whatever their state.
///
/// # Errors
/// When the database fails.
pub async fn targets(ctx: &Ctx, certificate: &Certificate) -> Result<Vec<Target>> {
    let query =
        ListQuery { filters: vec![("certificate_id".to_owned(), certificate.id.to_string())], per_page: 500, ..ListQuery::default() };
    Ok(table::list::<Target>(ctx.store().db(), &query, &certctl_domain::auth::Reach::everywhere()).await?.data)
}
