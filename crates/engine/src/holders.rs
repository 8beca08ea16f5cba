//! Holders: who makes and keeps a certificate's key. That is the agent beside each of its targets; where it has no target, whoever brings
//! a CSR.
//!
//! Each holder has a version of its own, and each is renewed for itself: one that does not answer keeps no other back.

use std::collections::BTreeSet;

use certctl_domain::certificate::{Certificate, Version};
use certctl_domain::ids::{AgentId, Id as _};
use certctl_domain::job::{JobKind, JobStatus};
use certctl_store::{WriteTx, certificates, jobs};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::issue;

/// An agent, or whoever brings a CSR.
pub type Holder = Option<AgentId>;

/// The holders of a certificate, and what they hold.
#[derive(Debug, Clone)]
pub struct Holders {
    /// Those who can make a key now. Nobody, where every target is disabled or its agent retired.
    pub able: BTreeSet<Holder>,
    /// Their versions in use, the one that ends first first; of those before them as long as they have none.
    pub versions: Vec<Version>,
}

impl Holders {
    /// From the agents beside enabled targets, and all versions in use.
    #[must_use]
    pub fn new(certificate: &Certificate, live: BTreeSet<AgentId>, mut versions: Vec<Version>) -> Self {
        let able = able(certificate, live);
        if versions.iter().any(|version| able.contains(&version.agent_id)) {
            versions.retain(|version| able.contains(&version.agent_id));
        }
        Self { able, versions }
    }

    /// Reads them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(tx: &mut WriteTx, certificate: &Certificate) -> Result<Self> {
        let live = certificates::live_targets(tx, &certificate.id).await?.into_iter().map(|(_, agent)| agent).collect();
        Ok(Self::new(certificate, live, certificates::current_versions(tx, &certificate.id).await?))
    }

    /// The version to which everything else can wait: one that was revoked, or the one that ends first.
    #[must_use]
    pub fn first(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.revoked_at.is_some()).or_else(|| self.versions.first())
    }

    /// What a holder has. Whoever brings a CSR goes on where the agents before left off.
    #[must_use]
    pub fn version_of(&self, holder: &Holder) -> Option<&Version> {
        let own = self.versions.iter().find(|version| version.agent_id == *holder);
        own.or_else(|| self.first().filter(|_| holder.is_none()))
    }

    /// Agents that hold nothing yet.
    pub fn empty_handed(&self) -> BTreeSet<Holder> {
        self.able.iter().filter(|holder| holder.is_some() && self.version_of(holder).is_none()).cloned().collect()
    }
}

/// Those who can make a key now, of the agents beside enabled targets. Nobody, where every target is disabled or its agent retired.
#[must_use]
pub fn able(certificate: &Certificate, live: BTreeSet<AgentId>) -> BTreeSet<Holder> {
    if certificate.target_ids.is_empty() { BTreeSet::from([None]) } else { live.into_iter().map(Some).collect() }
}

/// After it may have changed who holds keys: ends what is under way for those who do so no more, and takes what they hold out of use as
/// soon as somebody who does holds a version. Gives the certificate as it is then.
///
/// # Errors
/// When the database fails.
pub async fn changed(ctx: &Ctx, tx: &mut WriteTx, certificate: &Certificate, why: &str) -> Result<Certificate> {
    if certificate.status.ended().is_some() {
        return Ok(certificate.clone());
    }
    let live = certificates::live_targets(tx, &certificate.id).await?;
    let able = able(certificate, live.iter().map(|(_, agent)| agent.clone()).collect());
    let mut ended = 0;
    for mut row in jobs::open_of_certificate(tx, &certificate.id).await? {
        let wanted = match row.job.kind {
            // With nobody able, a CSR may be brought by hand.
            JobKind::Issuance | JobKind::Renewal => able.contains(&row.job.agent_id) || (able.is_empty() && row.job.agent_id.is_none()),
            JobKind::Deployment | JobKind::Validation => {
                live.iter().any(|(target, agent)| row.job.target_id.as_ref() == Some(target) && row.job.agent_id.as_ref() == Some(agent))
            }
        };
        if !wanted {
            let old = row.job.status;
            row.job = row.job.become_status(JobStatus::Cancelled, why, ctx.now()).map_err(|e| Error::internal(e.to_string()))?;
            jobs::update(tx, old, &row).await?;
            ended += 1;
        }
    }
    let superseded = supersede_former(tx, certificate).await?;
    if ended + superseded == 0 {
        return Ok(certificate.clone());
    }
    issue::settle(tx, certificate, |_| {}).await
}

/// Takes out of use what former holders have, once a present one has a version; says how many versions that were.
///
/// # Errors
/// When the database fails.
pub async fn supersede_former(tx: &mut WriteTx, certificate: &Certificate) -> Result<u64> {
    let held = certificates::current_versions(tx, &certificate.id).await?;
    if held.len() < 2 {
        return Ok(0);
    }
    // A target that is disabled for a while keeps its agent among the holders.
    let agents = certificates::linked_agents(tx, &certificate.id).await?;
    let keep: Vec<&str> = if certificate.target_ids.is_empty() { vec![""] } else { agents.iter().map(|agent| agent.as_str()).collect() };
    let present = held.iter().filter(|version| keep.contains(&version.agent_id.as_ref().map_or("", |agent| agent.as_str()))).count();
    if present == 0 || present == held.len() {
        return Ok(0);
    }
    Ok(certificates::supersede_others(tx, &certificate.id, &keep).await?)
}
