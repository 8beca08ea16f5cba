//! The CAs about whose certificates something is published.

use std::sync::Arc;

use certctl_domain::ids::IssuerId;
use certctl_pki::certificate::Certificate;
use certctl_pki::key::PrivateKey;
use certctl_pki::ocsp::IssuerHashes;
use certctl_pki::signer::SoftwareSigner;
use certctl_store::authorities::Authority;
use certctl_store::secrets;

use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// A CA: its row, its certificate, and its name and key as OCSP requests give them.
#[derive(Debug)]
pub struct Ca {
    pub(crate) authority: Authority,
    pub(crate) certificate: Certificate,
    pub(crate) hashes: IssuerHashes,
}

impl Ca {
    pub(crate) fn new(authority: Authority) -> Result<Self> {
        let certificate = Certificate::parse_pem(&authority.chain_pem)
            .map_err(|e| Error::internal(format!("the certificate of the CA {} cannot be read", authority.id)).because(e))?;
        let hashes = IssuerHashes::of(&certificate);
        Ok(Self { authority, certificate, hashes })
    }

    /// Whether the leaf names this CA's key as the one that signed it.
    pub(crate) fn signed(&self, leaf: &Certificate) -> bool {
        let own = self.certificate.subject_key_id().unwrap_or_else(|| self.certificate.public_key().key_id().to_vec());
        leaf.issuer_der() == self.certificate.subject_der() && leaf.authority_key_id().is_none_or(|id| id == own)
    }

    /// Its key.
    pub(crate) async fn signer(&self, ctx: &Ctx) -> Result<SoftwareSigner> {
        let pem = secrets::open(ctx.store(), &self.authority.secret_id).await?;
        let key = std::str::from_utf8(pem.expose()).ok().and_then(|pem| PrivateKey::from_pem(pem).ok());
        key.map(SoftwareSigner::new).ok_or_else(|| Error::internal(format!("the key of the CA {} cannot be read", self.authority.id)))
    }
}

/// The certificate of the CA that signs an issuer's certificates, or of the one that signs those of one list, in DER.
///
/// # Errors
/// When the issuer keeps no CA here, or there is no such list.
pub async fn certificate(ctx: &Ctx, issuer: &IssuerId, shard: Option<i64>) -> Result<Arc<[u8]>> {
    let of_issuer = ctx.engine().shelf().issuer(ctx, issuer).await?;
    let list = of_issuer.list(shard)?;
    Ok(Arc::from(of_issuer.ca(&list.authority_id)?.certificate.der()))
}
