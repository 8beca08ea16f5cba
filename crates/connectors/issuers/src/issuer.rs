//! A CA that is asked. Mandatory is one verb: issue; everything else has a default that says it cannot.

use std::fmt;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_domain::challenge::ChallengeKind;
use certctl_domain::ids::{AgentId, JobId};
use certctl_domain::profile::ApprovedRequest;
use certctl_domain::renewal::Window;
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{RevocationReason, Serial};
use certctl_pki::authority::Publication;
use certctl_pki::csr::Csr;
use serde_json::{Map, Value};

use crate::surroundings::Surroundings;

/// What is asked for: a request that profile and policy approved, and the CSR it is for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The only source of names, usages and life.
    pub request: ApprovedRequest,
    /// The only source of the key.
    pub csr: Csr,
    /// Where this installation publishes CRL, OCSP and CA certificates of its own CAs.
    pub publication: Publication,
    /// The version that the new one takes the place of, if this issuer made it.
    pub predecessor: Option<Predecessor>,
    /// The hosts that the names lead to; for an issuer that [asks for them](Issuer::asks_hosts).
    pub hosts: Option<Hosts>,
}

/// The hosts that the names of an order lead to, as far as agents are there.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// The job that the order is for.
    pub job: JobId,
    /// The agent that has the key.
    pub holder: Option<Answerer>,
    /// Agents beside other targets of the certificate.
    pub beside: Vec<Answerer>,
}

/// An agent, and what it can prove on its host.
#[derive(Debug, Clone)]
pub struct Answerer {
    /// The agent.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// How; `None` when it has not said that yet.
    pub challenges: Option<Vec<ChallengeKind>>,
}

/// A version that is to be replaced by a new one.
#[derive(Debug, Clone)]
pub struct Predecessor {
    /// Its chain, leaf first.
    pub chain_pem: String,
    /// What the CA calls it.
    pub issuer_ref: Map<String, Value>,
}

/// What must be stored before a certificate is made, so that a crash does not make a second one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The serial number inside.
    pub serial: Serial,
    /// The DER that will be signed.
    pub tbs: Vec<u8>,
}

/// How an order stands.
#[derive(Debug)]
pub enum Outcome {
    /// The certificate is there.
    Ready(Issued),
    /// The CA wants time.
    Pending(Ticket),
}

/// A certificate as the CA gave it. Nobody has checked it yet.
#[derive(Debug)]
pub struct Issued {
    /// Leaf first, in PEM.
    pub chain_pem: String,
    /// What revoking and renewing at this CA will need.
    pub issuer_ref: Map<String, Value>,
    /// The CA's suggested renewal window (RFC 9773).
    pub ari: Option<Window>,
}

/// An order that is not finished.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticket {
    /// What the connector needs to go on, also after a restart.
    pub state: Value,
    /// When to ask again.
    pub poll_at: Timestamp,
    /// What the CA waits for.
    pub reason: String,
}

/// When a CA suggests renewal (RFC 9773).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// In which span of time.
    pub window: Window,
    /// How long the CA wants not to be asked again, if it says so.
    pub ask_after: Option<std::time::Duration>,
}

/// In [`Issued::issuer_ref`]: when the CA wants to be asked again when it suggests renewal, if it said so when the certificate was issued.
pub const ASK_RENEWAL_INFO_AT: &str = "ask_renewal_info_at";

/// A version that is to be revoked at its CA.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// Its serial number.
    pub serial: Serial,
    /// What the CA calls it.
    pub issuer_ref: Map<String, Value>,
    /// Its chain, leaf first.
    pub chain_pem: String,
    /// Why.
    pub reason: RevocationReason,
}

/// A CA certificate with its key, as this installation keeps it.
#[derive(Clone)]
pub struct Held {
    /// The CA certificate and those above it, in PEM.
    pub chain_pem: String,
    /// PKCS#8 in PEM.
    pub key_pem: Secret<String>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

/// The CAs that an issuer founds.
#[derive(Debug)]
pub struct Founded {
    /// The root, unless one was given from outside.
    pub root: Option<Held>,
    /// The CA that issues.
    pub issuing: Held,
}

/// CAs under new certificates, of the same names and keys: chains in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The root, where it was renewed as well.
    pub root: Option<String>,
    /// The CA that issues.
    pub issuing: String,
}

/// A CA that is asked.
#[async_trait]
pub trait Issuer: Send + Sync + fmt::Debug {
    /// Whether this installation keeps the CA's key itself. Then it is founded once and held from then on.
    fn keeps_authority(&self) -> bool {
        false
    }

    /// Looks whether the settings can work before they are kept, asking nobody. `held` is the chain of the CA that is held already.
    ///
    /// # Errors
    /// When they cannot.
    fn check(&self, held: Option<&str>, now: Timestamp) -> Result<(), ConnectorError> {
        let _unused = (held, now);
        Ok(())
    }

    /// The chain in PEM of the CA that was made elsewhere and is to be kept here, if there is one.
    fn imports(&self) -> Option<&str> {
        None
    }

    /// Makes the CA, once in the life of the issuer.
    ///
    /// # Errors
    /// When no CA can be made of the settings.
    async fn found(&self, now: Timestamp) -> Result<Founded, ConnectorError> {
        let _unused = now;
        Err(ConnectorError::unsupported("this kind of issuer keeps no CA of its own"))
    }

    /// Takes the CA that was founded.
    ///
    /// # Errors
    /// When it cannot be used.
    fn hold(&mut self, held: &Held) -> Result<(), ConnectorError> {
        let _unused = held;
        Err(ConnectorError::unsupported("this kind of issuer keeps no CA of its own"))
    }

    /// Makes a new certificate for the CA that is held, with the root that was founded with it, once that is due: so early that no
    /// certificate is cut short by the CA's end. A CA from elsewhere is renewed there.
    ///
    /// # Errors
    /// When it cannot be made.
    async fn renew_authority(&self, root: Option<&Held>, now: Timestamp) -> Result<Option<Renewed>, ConnectorError> {
        let _unused = (root, now);
        Ok(None)
    }

    /// Whether orders must say which hosts their names lead to.
    fn asks_hosts(&self) -> bool {
        false
    }

    /// For how long the CA is left alone, since it failed several times in a row or asked for it; `None` when it may be asked.
    fn left_alone(&self) -> Option<std::time::Duration> {
        None
    }

    /// Takes what surrounds it. Called once, before it is asked for anything.
    fn settle_in(&mut self, surroundings: Surroundings) {
        drop(surroundings);
    }

    /// Puts a new key in the place of the one by which the CA knows this installation.
    ///
    /// # Errors
    /// When there is none, or the CA refuses or cannot be reached.
    async fn roll_account_key(&self, now: Timestamp) -> Result<(), ConnectorError> {
        let _unused = now;
        Err(ConnectorError::unsupported("this kind of issuer has no account with a key"))
    }

    /// What must be stored before [`Issuer::issue`].
    ///
    /// # Errors
    /// When the order cannot be filled.
    fn prepare(&self, order: &Order, now: Timestamp) -> Result<Option<Prepared>, ConnectorError> {
        let _unused = (order, now);
        Ok(None)
    }

    /// Makes the certificate of an order, or goes on with it. The same order with the same `prepared` or `ticket` never makes two.
    ///
    /// # Errors
    /// When the CA refuses or cannot be reached.
    async fn issue(
        &self,
        order: &Order,
        prepared: Option<&[u8]>,
        ticket: Option<&Value>,
        now: Timestamp,
    ) -> Result<Outcome, ConnectorError>;

    /// Tells the CA that a version is revoked.
    ///
    /// # Errors
    /// When the CA refuses or cannot be reached.
    async fn revoke(&self, revocation: &Revocation) -> Result<(), ConnectorError> {
        let _unused = revocation;
        Err(ConnectorError::unsupported("this kind of issuer cannot revoke"))
    }

    /// The CA's certificate and those above it, in PEM.
    ///
    /// # Errors
    /// When they are not known.
    async fn authorities(&self) -> Result<String, ConnectorError> {
        Err(ConnectorError::unsupported("this kind of issuer does not say what its CA certificates are"))
    }

    /// The CA's suggested renewal window of a version (RFC 9773).
    ///
    /// # Errors
    /// When the CA cannot be reached.
    async fn renewal_info(&self, chain_pem: &str, now: Timestamp) -> Result<Option<Suggestion>, ConnectorError> {
        let _unused = (chain_pem, now);
        Ok(None)
    }

    /// Looks whether the CA would answer, without ordering anything.
    ///
    /// # Errors
    /// When it would not.
    async fn test(&self, now: Timestamp) -> Result<String, ConnectorError>;
}
