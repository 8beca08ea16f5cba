//! TXT records for dns-01: who writes them, and whether all can see them.

mod acme_dns;
mod exec;
mod message;
pub(super) mod propagation;
mod query;
mod rfc2136;
mod tsig;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_domain::time::Timestamp;

use super::Acme;
use super::config::{AcmeConfig, Challenge, DnsKind};

/// A record that proves a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TxtRecord {
    /// The name to be proven.
    pub(super) domain: String,
    /// The name of the record.
    pub(super) name: String,
    /// Its text.
    pub(super) value: String,
    /// The challenge's token.
    pub(super) token: String,
}

/// Writes records. Both verbs may be repeated.
#[async_trait]
pub(super) trait Writer: Send + Sync {
    async fn add(&self, record: &TxtRecord, now: Timestamp) -> Result<(), ConnectorError>;
    async fn remove(&self, record: &TxtRecord, now: Timestamp) -> Result<(), ConnectorError>;

    /// The place where the record of a domain is kept, if such a place keeps only the [`ROOM`] newest records.
    fn narrow_place(&self, domain: &str) -> Result<Option<String>, ConnectorError> {
        let _unused = domain;
        Ok(None)
    }
}

/// How many records a narrow place keeps: what acme-dns does, so that a name and its wildcard can be proven together.
pub(super) const ROOM: usize = 2;

/// Checks the settings, without asking anybody.
pub(super) fn check(config: &AcmeConfig) -> Result<(), ConnectorError> {
    match config.dns {
        None if config.challenge == Challenge::Dns01 => {
            Err(ConnectorError::permanent("dns-01 needs somebody who writes records").hint("set dns to rfc2136, exec or acme-dns"))
        }
        None => Ok(()),
        Some(DnsKind::Rfc2136) => rfc2136::Updates::new(config).map(drop),
        Some(DnsKind::Exec) => exec::commands(config).map(drop),
        Some(DnsKind::AcmeDns) => acme_dns::Server::new(config).map(drop),
    }
}

/// Who writes records for this issuer.
pub(super) fn writer(acme: &Acme) -> Result<Box<dyn Writer + '_>, ConnectorError> {
    match acme.config.dns {
        None => Err(ConnectorError::permanent("nobody writes DNS records for this issuer").hint("set dns to rfc2136, exec or acme-dns")),
        Some(DnsKind::Rfc2136) => Ok(Box::new(rfc2136::Updates::new(&acme.config)?)),
        Some(DnsKind::Exec) => Ok(Box::new(exec::Programs::new(&acme.config, &acme.surroundings()?.commands)?)),
        Some(DnsKind::AcmeDns) => Ok(Box::new(acme_dns::Server::new(&acme.config)?)),
    }
}
