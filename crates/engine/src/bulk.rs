//! The same verb for many certificates: every one that fits, however many, each in a transaction of its own.

use std::collections::BTreeSet;

use certctl_domain::certificate::Certificate;
use certctl_domain::ids::{CertificateId, JobId};
use certctl_domain::list::ListQuery;
use certctl_domain::noun::{Noun as _, Refusal};
use certctl_domain::x509::RevocationReason;
use serde_json::json;

use crate::certificates;
use crate::crud;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::revoke::{self, What};

/// What a bulk operation applies to: these ids, or everything that fits all filters.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Ids.
    pub ids: Vec<CertificateId>,
    /// Filters of the list of certificates.
    pub filters: Vec<(String, String)>,
}

/// What became of one certificate.
#[derive(Debug)]
pub enum Each<T> {
    /// It was done.
    Done(T),
    /// There was nothing to do.
    Skipped,
    /// It could not be done.
    Failed(Error),
}

/// What became of every certificate that fits, in order of their ids.
pub type Outcome<T> = Vec<(CertificateId, Each<T>)>;

/// Renews every certificate that fits.
///
/// # Errors
/// When nothing is selected, or the list cannot be read.
pub async fn renew(ctx: &Ctx, selection: &Selection) -> Result<Outcome<Vec<JobId>>> {
    let mut outcome = Outcome::new();
    for id in select(ctx, selection).await? {
        let each = match certificates::renew(ctx, &id).await {
            Ok((true, jobs)) => Each::Done(jobs.into_iter().map(|job| job.id).collect()),
            Ok((false, _)) => Each::Skipped,
            Err(error) if error.code == "ended" => Each::Skipped,
            Err(error) => Each::Failed(error),
        };
        outcome.push((id, each));
    }
    Ok(outcome)
}

/// Revokes every certificate that fits.
///
/// # Errors
/// When nothing is selected, or the list cannot be read.
pub async fn revoke(ctx: &Ctx, selection: &Selection, reason: RevocationReason) -> Result<Outcome<()>> {
    let mut outcome = Outcome::new();
    for id in select(ctx, selection).await? {
        let each = match revoke::revoke(ctx, &id, &What::Everything, reason).await {
            Ok(versions) if versions.is_empty() => Each::Skipped,
            Ok(_) => Each::Done(()),
            Err(error) if error.code == "nothing_issued" => Each::Skipped,
            Err(error) => Each::Failed(error),
        };
        outcome.push((id, each));
    }
    Ok(outcome)
}

/// Gives certificates another owner, and another team where one is named.
///
/// # Errors
/// When no certificate is named.
pub async fn reassign(ctx: &Ctx, ids: &[CertificateId], owner: &str, team: Option<&str>) -> Result<Outcome<()>> {
    let mut patch = json!({"owner_id": owner});
    if let (Some(team), Some(patch)) = (team, patch.as_object_mut()) {
        patch.insert("team_id".to_owned(), json!(team));
    }
    let mut outcome = Outcome::new();
    for id in select(ctx, &Selection { ids: ids.to_vec(), filters: Vec::new() }).await? {
        let each = match crud::load::<Certificate>(ctx, &id).await {
            Ok(has)
                if has.owner_id.as_ref().is_some_and(|has| has.to_string() == owner)
                    && team.is_none_or(|team| has.team_id.as_ref().is_some_and(|has| has.to_string() == team)) =>
            {
                Each::Skipped
            }
            Ok(_) => match crud::patch::<Certificate>(ctx, &id, &patch, None).await {
                Ok(_) => Each::Done(()),
                Err(error) => Each::Failed(error),
            },
            Err(error) => Each::Failed(error),
        };
        outcome.push((id, each));
    }
    Ok(outcome)
}

/// The ids, page by page to the last: a mass revocation that stops after a page would be worse than none.
async fn select(ctx: &Ctx, selection: &Selection) -> Result<BTreeSet<CertificateId>> {
    if selection.ids.is_empty() && selection.filters.is_empty() {
        return Err(Refusal::field("certificate_ids", "must not be empty when there is no filter")
            .hint("name certificates, or one of profile_id, owner_id, agent_id, issuer_id, team_id")
            .into());
    }
    let mut found: BTreeSet<CertificateId> = selection.ids.iter().cloned().collect();
    if selection.filters.is_empty() {
        return Ok(found);
    }
    let mut query =
        ListQuery { filters: selection.filters.clone(), per_page: 500, sort: Some("created_at".to_owned()), ..ListQuery::default() };
    let mut fits = BTreeSet::new();
    loop {
        let page = crud::list::<Certificate>(ctx, &query).await?;
        fits.extend(page.data.iter().map(|certificate| certificate.id().clone()));
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    if selection.ids.is_empty() {
        return Ok(fits);
    }
    found.retain(|id| fits.contains(id));
    Ok(found)
}
