//! What this installation publishes about the certificates of its own CAs, and where: revocation lists, OCSP, CA certificates.

mod ca;
mod shelf;

use certctl_domain::ids::IssuerId;
use certctl_domain::issuer::Issuer;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::UriName;
use certctl_pki::authority::Publication;

use crate::crl;
use crate::ctx::Ctx;
use crate::error::{Error, Result};

pub use ca::{Ca, certificate};
pub(crate) use shelf::Published;
pub use shelf::{NOT_KEPT_HERE, Shelf};

/// What is set up for publishing.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address under which relying parties reach [`ROOT`]; without one, certificates name no list and no responder.
    pub base: Option<Base>,
    /// From one edition of a list to the time at which the next one must be there.
    pub crl_lifetime: time::Duration,
    /// The longest that a revocation may take into its list.
    pub crl_delay: time::Duration,
    /// How many certificates may name one list before further ones name the next.
    pub crl_shard_size: i64,
    /// How long an OCSP response is good for.
    pub ocsp_lifetime: time::Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: None,
            crl_lifetime: time::Duration::DAY,
            crl_delay: time::Duration::seconds(30),
            crl_shard_size: 100_000,
            ocsp_lifetime: time::Duration::HOUR,
        }
    }
}

/// `http://pki.example.com`, without a slash behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(String);

/// An address that cannot stand in certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an http or https address without a query")]
pub struct InvalidBase(String);

impl Base {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is not one of http or https, or has a query or a fragment.
    pub fn parse(text: &str) -> Result<Self, InvalidBase> {
        let plain = text.trim_end_matches('/');
        let rest = plain.strip_prefix("http://").or_else(|| plain.strip_prefix("https://")).unwrap_or_default();
        if rest.is_empty() || rest.contains(['?', '#', '@']) || UriName::parse(plain).is_err() {
            return Err(InvalidBase(text.to_owned()));
        }
        Ok(Self(plain.to_owned()))
    }

    /// Where one list of an issuer is.
    #[must_use]
    pub fn crl(&self, issuer: &IssuerId, shard: i64) -> String {
        format!("{}{ROOT}crl/{issuer}/{shard}", self.0)
    }

    fn ocsp(&self, issuer: &IssuerId) -> String {
        format!("{}{ROOT}ocsp/{issuer}", self.0)
    }

    fn ca(&self, issuer: &IssuerId, shard: i64) -> String {
        format!("{}{ROOT}ca/{issuer}/{shard}", self.0)
    }
}

/// Where a new certificate of an issuer says that its list, its responder and its CA's certificate are. Nothing for CAs that are not
/// kept here: those publish themselves.
///
/// # Errors
/// When the database fails.
pub async fn of(ctx: &Ctx, issuer: &Issuer) -> Result<Publication> {
    let Some(base) = &ctx.engine().options().publication.base else {
        return Ok(Publication::default());
    };
    let Some(list) = crl::open_list(ctx, &issuer.id).await? else {
        return Ok(Publication::default());
    };
    let uri = |text: String| {
        let parsed = UriName::parse(&text).map_err(|e| Error::internal("an address to publish at is not possible").because(e))?;
        Ok::<_, Error>(vec![parsed])
    };
    // A list of a part is named in its certificates exactly as it names itself.
    let crl = list.url.unwrap_or_else(|| base.crl(&issuer.id, list.shard));
    Ok(Publication { ocsp: uri(base.ocsp(&issuer.id))?, ca_issuers: uri(base.ca(&issuer.id, list.shard))?, crl: uri(crl)? })
}

/// What a list or an answer made now says of when it was true: good at once for clients whose clocks run late, but not from before the
/// newest revocation that it tells of.
pub(crate) fn backdated(now: Timestamp, newest_revocation: Option<Timestamp>) -> Timestamp {
    newest_revocation.unwrap_or(Timestamp::UNIX_EPOCH).max(now.saturating_sub(BACKDATE)).min(now)
}

const BACKDATE: time::Duration = time::Duration::minutes(5);

/// Below this everything is published, on every listener.
pub const ROOT: &str = "/.well-known/pki/";

#[cfg(test)]
mod tests {
    use certctl_domain::ids::Id as _;

    use super::*;

    #[test]
    fn addresses_are_plain() {
        let base = Base::parse("http://pki.example.test:8080/certctl/").unwrap();
        let issuer = IssuerId::parse("iss-1").unwrap();
        assert_eq!(base.crl(&issuer, 3), "http://pki.example.test:8080/certctl/.well-known/pki/crl/iss-1/3");
        for text in ["", "http://", "ftp://pki.test", "http://pki.test/?x", "http://pki.test/#x", "http://a@pki.test", "http://pki test"] {
            assert!(Base::parse(text).is_err(), "{text}");
        }
    }
}
