//! Answers about single certificates (RFC 6960): from memory where one answer is good for all, signed anew for a nonce.

mod answers;
mod counts;
mod responders;

use std::sync::Arc;

use certctl_domain::ids::IssuerId;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Serial;
use certctl_pki::certificate::Certificate;
use certctl_pki::ocsp::{CertId, CertStatus, Nonce, Refusal, Request, ResponseSpec, Single};
use certctl_store::ocsp as rows;

use crate::ctx::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::publication::{Ca, Published, backdated};

pub use answers::{Answers, Kept};
pub use counts::{Counts, Outcome};
pub use responders::{Responders, keep};

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The same for everybody for a while.
    Shared(Arc<Kept>),
    /// For this request alone.
    Single(Arc<[u8]>),
    /// Nothing, and why.
    Refused(Refusal),
}

/// Answers a request about certificates of an issuer. Never an error: those are answers too.
pub async fn answer(ctx: &Ctx, issuer: &IssuerId, der: &[u8]) -> Answer {
    let request = match Request::parse(der) {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(issuer.id = %issuer, error = %error, "an OCSP request is malformed");
            return refused(ctx, Refusal::Malformed);
        }
    };
    match published(ctx, issuer).await {
        Ok(published) => respond(ctx, &published, issuer, &request).await,
        Err(refusal) => refused(ctx, refusal),
    }
}

/// Answers about one serial number, for callers that do not speak OCSP themselves.
pub async fn answer_about(ctx: &Ctx, issuer: &IssuerId, serial: &Serial) -> Answer {
    let published = match published(ctx, issuer).await {
        Ok(published) => published,
        Err(refusal) => return refused(ctx, refusal),
    };
    let ca = published.list(None).and_then(|list| published.ca(&list.authority_id));
    let Some(id) = ca.ok().and_then(|ca| CertId::new(&ca.hashes, serial).ok()) else {
        return refused(ctx, Refusal::Unauthorized);
    };
    shared(ctx, &published, issuer, &id).await
}

async fn published(ctx: &Ctx, issuer: &IssuerId) -> Result<Arc<Published>, Refusal> {
    ctx.engine().shelf().issuer(ctx, issuer).await.map_err(|error| match error.kind {
        ErrorKind::NotFound => Refusal::Unauthorized,
        _ => trouble(&error),
    })
}

async fn respond(ctx: &Ctx, published: &Published, issuer: &IssuerId, request: &Request) -> Answer {
    if let ([id], None) = (request.ids(), request.nonce()) {
        return shared(ctx, published, issuer, id).await;
    }
    match sign_all(ctx, published, issuer, request).await {
        Ok(der) => Answer::Single(der),
        Err(refusal) => refused(ctx, refusal),
    }
}

/// One certificate, no nonce: the answer is good for all who ask.
async fn shared(ctx: &Ctx, published: &Published, issuer: &IssuerId, id: &CertId) -> Answer {
    let shelf = ctx.engine().shelf();
    let now = ctx.now();
    if let Some(kept) = id.serial().and_then(|serial| shelf.answers.get(issuer, serial, id, now)) {
        shelf.counts.count(Outcome::Kept);
        return Answer::Shared(kept);
    }
    // Before the status is read: if it changes meanwhile, what comes of this is not kept.
    let epoch = shelf.answers.epoch();
    let asked = Asked { ctx, published, issuer, now };
    let signed = async {
        let ca = asked.ca_of(id).ok_or(Refusal::Unauthorized)?;
        let status = asked.status(ca, id).await.map_err(|error| trouble(&error))?;
        let (der, this_update, next_update) = asked.sign(ca, &[(id, status)], None).await.map_err(|error| trouble(&error))?;
        Ok::<_, Refusal>((status, Kept::new(der, this_update, now, next_update)))
    };
    match signed.await {
        Ok((CertStatus::Unknown, kept)) => Answer::Single(kept.der),
        Ok((_, kept)) => {
            let kept = Arc::new(kept);
            if let Some(serial) = id.serial() {
                shelf.answers.keep(epoch, (issuer, serial), id, &kept);
            }
            Answer::Shared(kept)
        }
        Err(refusal) => refused(ctx, refusal),
    }
}

async fn sign_all(ctx: &Ctx, published: &Published, issuer: &IssuerId, request: &Request) -> Result<Arc<[u8]>, Refusal> {
    let asked = Asked { ctx, published, issuer, now: ctx.now() };
    // One CA signs a response: that of the first certificate which is ours. What is of another one is unknown to it.
    let ca = request.ids().iter().find_map(|id| asked.ca_of(id)).ok_or(Refusal::Unauthorized)?;
    let mut singles = Vec::with_capacity(request.ids().len());
    for id in request.ids() {
        let status = if id.is_of(&ca.hashes) { asked.status(ca, id).await.map_err(|e| trouble(&e))? } else { CertStatus::Unknown };
        singles.push((id, status));
    }
    let (der, ..) = asked.sign(ca, &singles, request.nonce()).await.map_err(|error| trouble(&error))?;
    Ok(der)
}

/// A request that is being answered.
struct Asked<'a> {
    ctx: &'a Ctx,
    published: &'a Published,
    issuer: &'a IssuerId,
    now: Timestamp,
}

impl Asked<'_> {
    /// The CA whose certificate is asked about, if it is one that issues here and has not ended: nobody can be made its responder then,
    /// and what it issued has ended as well (RFC 5019 section 2.2.3).
    fn ca_of(&self, id: &CertId) -> Option<&Ca> {
        let issuing = self.published.cas.iter().filter(|ca| ca.authority.purpose == certctl_store::authorities::Purpose::Issuing);
        let living = issuing.filter(|ca| self.now < ca.authority.not_after);
        living.map(AsRef::as_ref).find(|ca| id.is_of(&ca.hashes))
    }

    async fn status(&self, ca: &Ca, id: &CertId) -> Result<CertStatus> {
        let Some(serial) = id.serial() else {
            return Ok(CertStatus::Unknown);
        };
        let Some(known) = rows::known(self.ctx.store().db(), self.issuer, serial).await? else {
            return Ok(CertStatus::Unknown);
        };
        // With several CAs, as after one took the place of another, the right one must have signed it.
        if self.published.cas.len() > 2 && !Certificate::parse_pem(&known.chain_pem).is_ok_and(|leaf| ca.signed(&leaf)) {
            return Ok(CertStatus::Unknown);
        }
        Ok(known.revoked.map_or(CertStatus::Good, |(at, reason)| CertStatus::Revoked { at, reason }))
    }

    /// Signs; gives the response and between when it holds.
    async fn sign(&self, ca: &Ca, statuses: &[(&CertId, CertStatus)], nonce: Option<&Nonce>) -> Result<(Arc<[u8]>, Timestamp, Timestamp)> {
        let responder = self.ctx.engine().shelf().responders.get(self.ctx, ca).await?;
        let produced_at = self.now.whole_seconds();
        let revoked_at = statuses.iter().filter_map(|(_, status)| match status {
            CertStatus::Revoked { at, .. } => Some(at.whole_seconds()),
            CertStatus::Good | CertStatus::Unknown => None,
        });
        let this_update = backdated(produced_at, revoked_at.max());
        let lifetime = self.ctx.engine().options().publication.ocsp_lifetime;
        let next_update = produced_at.saturating_add(lifetime).min(responder.not_after());
        let singles: Vec<Single<'_>> =
            statuses.iter().map(|(id, status)| Single { id, status: *status, this_update, next_update }).collect();
        let spec = ResponseSpec { produced_at, singles: &singles, nonce };
        let der = responder.sign(&spec).await.map_err(|e| Error::internal("an OCSP response was not signed").because(e))?;
        let counts = self.ctx.engine().shelf().counts();
        statuses.iter().for_each(|(_, status)| counts.count(Outcome::of(*status)));
        Ok((Arc::from(der), this_update, next_update))
    }
}

fn refused(ctx: &Ctx, refusal: Refusal) -> Answer {
    ctx.engine().shelf().counts().count(Outcome::Refused(refusal));
    Answer::Refused(refusal)
}

fn trouble(error: &Error) -> Refusal {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(error = %error, cause, "an OCSP request cannot be answered");
    if error.kind == ErrorKind::Unavailable { Refusal::TryLater } else { Refusal::InternalError }
}
