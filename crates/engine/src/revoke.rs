//! Revocation: of a whole certificate, or of one version by serial number or id.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::certificate::{Certificate, CertificateStatus, Revocation, Version};
use certctl_domain::ids::{CertificateId, Id as _, VersionId};
use certctl_domain::issuer::Issuer;
use certctl_domain::notification::NotificationKind;
use certctl_domain::x509::{RevocationReason, Serial};
use certctl_store::{Topic, WriteTx, certificates, outbox, table};
use serde_json::{Map, json};

use crate::certificates::load_for_update;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::issue;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Every version that has not ended; then nothing more is issued.
    Everything,
    /// The version with this serial number; the certificate lives on.
    Serial(Serial),
    /// This version; the certificate lives on.
    Version(VersionId),
}

/// Revokes. What was revoked before is left as it is; gives what was revoked now.
///
/// # Errors
/// When there is no such version, or nothing was ever issued.
pub async fn revoke(ctx: &Ctx, id: &CertificateId, what: &What, reason: RevocationReason) -> Result<Vec<Version>> {
    let mut tx = ctx.write().await?;
    let old = load_for_update(ctx, &mut tx, id).await?;
    let versions = match what {
        What::Everything => certificates::living_versions(&mut tx, id).await?,
        What::Serial(serial) => {
            let version = certificates::version_by_serial(&mut tx, id, serial).await?;
            vec![version.ok_or_else(|| no_version(&old, serial))?]
        }
        What::Version(version) => {
            let version = certificates::version_in(&mut tx, version).await?.filter(|version| version.certificate_id == *id);
            vec![version.ok_or_else(|| no_version(&old, version_text(what)))?]
        }
    };
    if versions.is_empty() && *what == What::Everything && old.expires_at.is_none() {
        return Err(Error::conflict("nothing_issued", format!("certificate `{}` has no version to revoke", old.name))
            .hint("archive it instead: DELETE /api/v1/certificates/{id}"));
    }
    let mut revoked = Vec::new();
    for version in versions {
        if let Some(version) = revoke_version(ctx, &mut tx, version, reason).await? {
            revoked.push(version);
        }
    }
    if revoked.is_empty() && (*what != What::Everything || old.status.ended().is_some()) {
        return Ok(revoked);
    }
    let now = ctx.now();
    if *what == What::Everything {
        issue::cancel_open(&mut tx, &old, "the certificate was revoked").await?;
        let mut new = old.clone();
        new.status = CertificateStatus::Revoked;
        new.reason = format!("revoked by {} for {reason}", ctx.actor());
        new.hint = None;
        new.next_try_at = None;
        new.revoked_at = Some(now);
        new.revocation_reason = Some(reason);
        certificates::write_state(&mut tx, &old, new).await?;
    } else {
        // When the version in use was revoked, a new one is due at once.
        let mut new = old.clone();
        let in_use = revoked.iter().any(|version| version.state == certctl_domain::certificate::VersionState::Current);
        if in_use && old.status.ended().is_none() {
            new.next_try_at = Some(now);
            new.reason = format!("the version in use was revoked for {reason}");
        }
        certificates::write_state(&mut tx, &old, new).await?;
        tx.wake(Topic::Due);
    }
    tell(&mut tx, &old, &revoked, reason).await?;
    tx.wake(Topic::Progress);
    tx.wake(Topic::Revocations);
    let serials: Vec<_> = revoked.iter().map(|version| version.serial_number.to_string()).collect();
    let audit = Audit::new(AuditCategory::CertLifecycle, "certificate.revoke", "certificate", id)
        .with("name", old.name)
        .with("reason", reason.as_str())
        .with("serial_numbers", serials);
    tx.commit(audit).await?;
    Ok(revoked)
}

async fn revoke_version(ctx: &Ctx, tx: &mut WriteTx, mut version: Version, reason: RevocationReason) -> Result<Option<Version>> {
    let now = ctx.now();
    // The built-in CA need not be told: this table is what it answers from.
    let issuer = table::get_in::<Issuer>(tx, &version.issuer_id).await?;
    let told = issuer.is_some_and(|issuer| issuer.kind == "GenericCA").then_some(now);
    let revocation = Revocation {
        id: ctx.new_id()?,
        issuer_id: version.issuer_id.clone(),
        serial_number: version.serial_number.clone(),
        certificate_id: version.certificate_id.clone(),
        version_id: version.id.clone(),
        reason,
        revoked_by: ctx.actor().clone(),
        revoked_at: now,
        issuer_notified_at: told,
    };
    if !certificates::revoke_version(tx, &version, &revocation).await? {
        return Ok(None);
    }
    tx.count("certificates.revoked", 1);
    version.revoked_at = Some(now);
    version.revocation_reason = Some(reason);
    Ok(Some(version))
}

async fn tell(tx: &mut WriteTx, certificate: &Certificate, revoked: &[Version], reason: RevocationReason) -> Result<()> {
    for version in revoked {
        let message = format!("{} with serial number {} was revoked for {reason}", certificate.name, version.serial_number);
        let payload = Map::from_iter([("serial_number".to_owned(), json!(version.serial_number)), ("reason".to_owned(), json!(reason))]);
        outbox::put(
            tx,
            outbox::Message {
                kind: NotificationKind::Revocation,
                certificate: Some(&certificate.id),
                dedup_key: &format!("revoked:{}", version.id),
                text: &message,
                payload,
            },
        )
        .await?;
    }
    Ok(())
}

fn no_version(certificate: &Certificate, which: impl std::fmt::Display) -> Error {
    Error::not_found("version", which).hint(format!("`certctl certs versions {}` lists them", certificate.name))
}

fn version_text(what: &What) -> String {
    match what {
        What::Everything => "any".to_owned(),
        What::Serial(serial) => serial.to_string(),
        What::Version(version) => version.as_str().to_owned(),
    }
}
