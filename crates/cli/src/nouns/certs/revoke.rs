//! Revokes a certificate, or one version of it.

use certctl_api::certificates::RevokeRequest;
use certctl_domain::ids::VersionId;
use certctl_domain::x509::{RevocationReason, Serial};
use clap::Args;

use super::versions::Issued;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::Known as _;
use crate::nouns::CERTIFICATE;
use crate::session::Session;

/// A certificate to revoke.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Name or id of the certificate
    name: String,
    /// Why (RFC 5280): unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation, certificate-hold or privilege-withdrawn
    #[arg(long, value_name = "REASON")]
    reason: RevocationReason,
    /// The version with this serial number alone; the certificate lives on
    #[arg(long, value_name = "HEX", conflicts_with = "version")]
    serial: Option<Serial>,
    /// This version alone, by its id; the certificate lives on
    #[arg(long, value_name = "ID")]
    version: Option<VersionId>,
}

impl Revoke {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let what = match (&self.serial, &self.version) {
            (Some(serial), _) => format!("version {serial} of certificate {}", self.name),
            (None, Some(version)) => format!("version {version} of certificate {}", self.name),
            (None, None) => format!("certificate {} and all its versions", self.name),
        };
        session.confirm(&format!("Revoke {what}?"))?;
        let request = RevokeRequest { reason: self.reason, serial_number: self.serial.clone(), version_id: self.version.clone() };
        let answer: Doc = session.client.post(&session.path(CERTIFICATE.path, &[&self.name, "revoke"])?, &request).await?;
        let before = doc::text(&answer, "status") == "already_revoked";
        session.out.note(&format!("{what} {}", if before { "was revoked before" } else { "revoked" }));
        let versions = doc::at(&answer, "versions").and_then(Doc::as_sequence).map(Vec::as_slice).unwrap_or_default();
        if session.out.is_for_people() || session.out.streams() {
            session.out.rows(Issued::NOUN, versions, true)
        } else {
            session.out.answer(&answer, String::new)
        }
    }
}

pub(super) const EXAMPLES: &str = "Examples:
  certctl certs revoke web --reason superseded --serial 5f3a09c1
  certctl certs revoke web --reason key-compromise --yes";
