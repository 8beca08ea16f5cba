//! The platform's own CA, which signs nothing but the certificate that the server shows when nobody gave it one.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::secret::Secret;
use certctl_domain::x509::{ExtendedKeyUsage, KeyAlgorithm, SanSet};
use certctl_issuers::Held;
use certctl_pki::authority::{IssuingCa, LeafRequest, Publication, RootSpec, Validity, random_serial};
use certctl_pki::chain::Chain;
use certctl_pki::dn::Subject;
use certctl_pki::key::PrivateKey;
use certctl_pki::signer::SoftwareSigner;
use certctl_store::authorities::{self, Purpose};

use crate::authorities::recertify;
use crate::connectors::{insert_authority, open_authority};
use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// A certificate with its key, and the CA that clients trust for it.
#[derive(Debug)]
pub struct Pair {
    /// The certificate and the platform CA, in PEM.
    pub chain_pem: String,
    /// PKCS#8 in PEM.
    pub key_pem: Secret<String>,
    /// The platform CA, in PEM.
    pub ca_pem: String,
}

/// Makes a certificate for the server under these names.
///
/// # Errors
/// When the database fails, or the CA cannot be opened.
pub async fn issue(ctx: &Ctx, names: &SanSet) -> Result<Pair> {
    let held = authority(ctx).await?;
    let (ca, signer) = load(&held)?;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).map_err(|e| internal("the server's key", &e))?;
    let request = LeafRequest {
        key: key.public_key().clone(),
        common_name: None,
        organization: None,
        sans: names.clone(),
        validity: Validity::starting(ctx.now(), LIFE, Validity::DEFAULT_BACKDATE).map_err(|e| internal("the server's certificate", &e))?,
        usages: vec![ExtendedKeyUsage::ServerAuth],
        must_staple: false,
        publication: Publication::default(),
        policies: Vec::new(),
        serial: random_serial().map_err(|e| internal("the server's certificate", &e))?,
    };
    let prepared = ca.prepare_leaf(&request, ctx.now()).map_err(|e| internal("the server's certificate", &e))?;
    let leaf = ca.sign_leaf(prepared.body(), &signer).await.map_err(|e| internal("the server's certificate", &e))?;
    let key_pem = key.to_pkcs8_pem().map_err(|e| internal("the server's key", &e))?;
    // With the root, which a server need not send: an agent that was given no more than its SHA-256 finds it there.
    Ok(Pair { chain_pem: format!("{}{}", leaf.to_pem(), held.chain_pem), key_pem, ca_pem: held.chain_pem })
}

/// The platform CA, in PEM.
///
/// # Errors
/// When the database fails, or the CA cannot be opened.
pub async fn ca_pem(ctx: &Ctx) -> Result<String> {
    Ok(authority(ctx).await?.chain_pem)
}

/// Makes a new certificate for the platform CA in the last fifth of its life; whether it was made now. Its name and key stay, so that
/// whoever trusts the old one trusts what the new one signs until the old one ends.
///
/// # Errors
/// When the database fails, or the CA cannot be opened.
pub async fn renew_ca(ctx: &Ctx) -> Result<bool> {
    let Some(old) = authorities::active(ctx.store().db(), Purpose::Platform, None).await? else {
        return Ok(false);
    };
    let (ca, signer) = load(&authority(ctx).await?)?;
    let (own, now) = (ca.certificate(), ctx.now());
    if now < own.not_after().saturating_sub(own.not_before().until(own.not_after()) / 5) {
        return Ok(false);
    }
    let validity = Validity::starting(now, CA_LIFE, Validity::DEFAULT_BACKDATE).map_err(|e| internal("the platform CA's life", &e))?;
    let serial = random_serial().map_err(|e| internal("the platform CA's serial number", &e))?;
    let renewed = ca.recertify(own, (validity, &serial), now, &signer).await.map_err(|e| internal("the platform CA", &e))?;
    let mut tx = ctx.write().await?;
    if !recertify(&mut tx, &old, &renewed.to_pem()).await? {
        return Ok(false);
    }
    tracing::info!(until = %renewed.not_after(), "the platform CA was renewed");
    tx.commit(Audit::new(AuditCategory::Config, "platform.renew", "authority", "platform").with("until", renewed.not_after().to_string()))
        .await?;
    Ok(true)
}

fn load(held: &Held) -> Result<(IssuingCa, SoftwareSigner)> {
    let key = PrivateKey::from_pem(held.key_pem.expose()).map_err(|e| internal("the platform CA's key", &e))?;
    let signer = SoftwareSigner::new(key);
    let chain = Chain::parse_pem(&held.chain_pem).map_err(|e| internal("the platform CA", &e))?;
    let ca = IssuingCa::load(chain, &signer).map_err(|e| internal("the platform CA", &e))?;
    Ok((ca, signer))
}

fn internal(what: &str, error: &dyn std::error::Error) -> Error {
    Error::internal(format!("{what}: {error}"))
}

async fn authority(ctx: &Ctx) -> Result<Held> {
    if let Some(held) = open_authority(ctx, Purpose::Platform, None).await? {
        return Ok(held);
    }
    let internal = |e: &dyn std::error::Error| internal("the platform CA cannot be made", e);
    let signer = SoftwareSigner::new(PrivateKey::generate(KeyAlgorithm::EcdsaP256).map_err(|e| internal(&e))?);
    let spec = RootSpec {
        subject: Subject::with_common_name("certctl platform CA").map_err(|e| internal(&e))?,
        validity: Validity::starting(ctx.now(), CA_LIFE, Validity::DEFAULT_BACKDATE).map_err(|e| internal(&e))?,
        serial: random_serial().map_err(|e| internal(&e))?,
        path_len: Some(0),
    };
    let root = spec.self_sign(&signer).await.map_err(|e| internal(&e))?;
    let held = Held { chain_pem: root.to_pem(), key_pem: signer.key().to_pkcs8_pem().map_err(|e| internal(&e))? };
    let mut tx = ctx.write().await?;
    if insert_authority(&mut tx, Purpose::Platform, None, &held).await? {
        tx.commit(Audit::new(AuditCategory::Config, "platform.found", "authority", "platform")).await?;
        return Ok(held);
    }
    drop(tx);
    open_authority(ctx, Purpose::Platform, None).await?.ok_or_else(|| Error::internal("a platform CA that another replica made is gone"))
}

const LIFE: time::Duration = time::Duration::days(90);
const CA_LIFE: time::Duration = time::Duration::days(3_650);
