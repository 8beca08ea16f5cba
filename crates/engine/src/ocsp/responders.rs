//! Delegated responders: made by the platform, kept sealed in the database, the same on every replica, replaced before they end.

use std::collections::HashMap;
use std::sync::Arc;

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::AuthorityId;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::KeyAlgorithm;
use certctl_pki::authority::{Validity, random_serial};
use certctl_pki::certificate::Certificate;
use certctl_pki::key::PrivateKey;
use certctl_pki::ocsp::{Responder, certify};
use certctl_pki::signer::SoftwareSigner;
use certctl_store::authorities::{self, Purpose};
use certctl_store::ocsp::{self as rows, ResponderRow};
use certctl_store::secrets;
use tokio::sync::Mutex;

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::publication::Ca;

/// Responders that this replica has unsealed.
#[derive(Debug, Default)]
pub struct Responders(Mutex<HashMap<AuthorityId, Loaded>>);

#[derive(Debug, Clone)]
struct Loaded {
    responder: Arc<Responder>,
    looked_at: Timestamp,
}

impl Responders {
    /// The responder of a CA, made now if there is none.
    pub(super) async fn get(&self, ctx: &Ctx, ca: &Ca) -> Result<Arc<Responder>> {
        let now = ctx.now();
        let mut loaded = self.0.lock().await;
        if let Some(found) = loaded.get(&ca.authority.id).filter(|found| found.is_current(now)) {
            return Ok(Arc::clone(&found.responder));
        }
        let row = match rows::responder(ctx.store().db(), &ca.authority.id, now).await? {
            Some(row) => row,
            None => renew(ctx, ca).await?,
        };
        let responder = match open(ctx, &row).await {
            Ok(responder) => responder,
            Err(error) => {
                // What cannot be read is replaced: a responder is not worth keeping, answers are.
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(authority.id = %ca.authority.id, error = %error, cause, "an OCSP responder that is kept cannot be used; another is made");
                open(ctx, &make(ctx, ca, Some(&row)).await?).await?
            }
        };
        let responder = Arc::new(responder);
        loaded.insert(ca.authority.id.clone(), Loaded { responder: Arc::clone(&responder), looked_at: now });
        Ok(responder)
    }
}

impl Loaded {
    /// Whether it need not be looked for a newer one.
    fn is_current(&self, now: Timestamp) -> bool {
        self.looked_at <= now && self.looked_at.until(now) < LOOK_AGAIN && now < self.responder.not_after()
    }
}

/// Sees to it that every CA that issues has a responder with some time left, and forgets those that have ended; gives how many changed.
///
/// # Errors
/// When the database fails, or a CA cannot sign.
pub async fn keep(ctx: &Ctx) -> Result<u64> {
    let now = ctx.now();
    let mut changed = 0;
    let mut failed = None;
    for authority in authorities::list(ctx.store().db()).await? {
        if authority.purpose != Purpose::Issuing || authority.issuer_id.is_none() || authority.not_after <= now {
            continue;
        }
        let ca = Ca::new(authority)?;
        let row = rows::responder(ctx.store().db(), &ca.authority.id, now).await?;
        if row.is_some_and(|row| !must_be_replaced(&row, &ca, now)) {
            continue;
        }
        match renew(ctx, &ca).await {
            Ok(_) => changed += 1,
            Err(error) => {
                tracing::error!(authority.id = %ca.authority.id, error = %error, "an OCSP responder cannot be made; it is tried again");
                failed = Some(error);
            }
        }
    }
    let mut tx = ctx.write().await?;
    let forgotten = rows::forget_ended(&mut tx).await?;
    if forgotten > 0 {
        tx.commit_housekeeping("ocsp.forget").await?;
    }
    failed.map_or(Ok(changed + forgotten), Err)
}

/// Makes a responder unless another replica did meanwhile.
async fn renew(ctx: &Ctx, ca: &Ca) -> Result<ResponderRow> {
    make(ctx, ca, None).await
}

/// Makes a responder, unless there is one with time left that is not `broken`.
async fn make(ctx: &Ctx, ca: &Ca, broken: Option<&ResponderRow>) -> Result<ResponderRow> {
    let now = ctx.now();
    let internal = |what: &'static str| move |e: Box<dyn std::error::Error + Send + Sync>| Error::internal(what).because(e);
    let ca_signer = ca.signer(ctx).await?;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).map_err(|e| internal("a responder's key cannot be made")(e.into()))?;
    let wanted =
        Validity::starting(now, LIFE, Validity::DEFAULT_BACKDATE).map_err(|e| internal("a responder's life is not possible")(e.into()))?;
    let outer = Validity::new(ca.certificate.not_before(), ca.certificate.not_after());
    let validity = outer.and_then(|outer| wanted.clamped_to(outer)).map_err(|e| internal("the CA has ended")(e.into()))?;
    let serial = random_serial().map_err(|e| internal("a responder's serial number cannot be drawn")(e.into()))?;
    let certificate = certify(key.public_key(), &serial, validity, &ca.certificate, &ca_signer)
        .await
        .map_err(|e| internal("the CA did not certify a responder")(e.into()))?;
    let key_pem = key.to_pkcs8_pem().map_err(|e| internal("a responder's key cannot be written")(e.into()))?;

    let mut tx = ctx.write().await?;
    if let Some(row) = rows::responder_for_update(&mut tx, &ca.authority.id).await?
        && broken.is_none_or(|broken| broken.secret_id != row.secret_id)
        && !must_be_replaced(&row, ca, now)
    {
        return Ok(row);
    }
    let row = ResponderRow {
        authority_id: ca.authority.id.clone(),
        certificate_pem: certificate.to_pem(),
        secret_id: secrets::seal(&mut tx, SECRET, key_pem.expose().as_bytes()).await?,
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        created_at: now,
    };
    rows::insert(&mut tx, &row).await?;
    let audit = Audit::new(AuditCategory::Config, "ocsp.certify_responder", "authority", &ca.authority.id)
        .with("serial_number", certificate.serial().as_str())
        .with("not_after", row.not_after.to_string());
    tx.commit(audit).await?;
    Ok(row)
}

/// A week before its end, so that nobody who keeps an answer finds its signer ended; one that ends with its CA is as good as it gets.
fn must_be_replaced(row: &ResponderRow, ca: &Ca, now: Timestamp) -> bool {
    now.until(row.not_after) < RENEW_BEFORE && row.not_after < ca.authority.not_after.whole_seconds()
}

async fn open(ctx: &Ctx, row: &ResponderRow) -> Result<Responder> {
    let unreadable = || Error::internal("the key of a responder cannot be read");
    let certificate =
        Certificate::parse_pem(&row.certificate_pem).map_err(|e| Error::internal("a responder's certificate cannot be read").because(e))?;
    let pem = secrets::open(ctx.store(), &row.secret_id).await?;
    let pem = std::str::from_utf8(pem.expose()).map_err(|_| unreadable())?;
    let key = PrivateKey::from_pem(pem).map_err(|e| unreadable().because(e))?;
    Responder::new(certificate, Box::new(SoftwareSigner::new(key))).map_err(|e| Error::internal("a responder cannot be used").because(e))
}

/// What its secrets are sealed for.
const SECRET: &str = "ocsp responder";
const LIFE: time::Duration = time::Duration::days(30);
const RENEW_BEFORE: time::Duration = time::Duration::days(7);
const LOOK_AGAIN: time::Duration = time::Duration::minutes(1);
