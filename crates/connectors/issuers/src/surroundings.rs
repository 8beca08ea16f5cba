//! What an issuer may use of the installation around it: a place that remembers, and a place that relying parties can look at.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_domain::challenge::AnswerState;
use certctl_domain::ids::{AgentId, JobId};
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;

/// What surrounds an issuer.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where it remembers.
    pub vault: Arc<dyn Vault>,
    /// The file on the server that decides which programs may run.
    pub commands: PathBuf,
}

/// An ACME account as it is kept (RFC 8555 section 7.1.2).
#[derive(Clone)]
pub struct KeptAccount {
    /// The account's key, as PKCS#8 in DER.
    pub key: Secret<Vec<u8>>,
    /// The key that is to take its place; the CA may know it already or not.
    pub next_key: Option<Secret<Vec<u8>>>,
    /// What the CA calls the account; `None` until it has been registered.
    pub url: Option<String>,
    /// The contact that the CA was last told.
    pub contact: String,
}

impl fmt::Debug for KeptAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptAccount").field("url", &self.url).field("contact", &self.contact).finish_non_exhaustive()
    }
}

/// The answer to a challenge over HTTP (RFC 8555 section 8.3) or TLS (RFC 8737), for every replica to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeAnswer {
    /// The challenge's token; over HTTP the last part of the path that the CA asks for.
    pub token: String,
    /// What it must find.
    pub key_authorization: String,
    /// Over TLS the name that it asks for in the handshake.
    pub server_name: Option<String>,
    /// From when on nobody asks any more.
    pub expires_at: Timestamp,
    /// The agents that are to give it on their hosts; without any the server alone does.
    pub handover: Option<Handover>,
}

/// To whom an answer is given to be given on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The job that waits for it.
    pub job: JobId,
    /// The agents.
    pub agents: Vec<AgentId>,
}

/// An agent that was handed an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The agent.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// How far it has got.
    pub state: AnswerState,
}

/// The memory of one issuer. Everything in it is shared by all replicas, and every verb may be repeated.
#[async_trait]
pub trait Vault: Send + Sync + fmt::Debug {
    /// The account at a CA, if one was begun.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn account(&self, directory: &str) -> Result<Option<KeptAccount>, ConnectorError>;

    /// Keeps the key of a new account. Gives the account that is kept then, which is another one when a replica was faster.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn begin_account(&self, directory: &str, key: &Secret<Vec<u8>>) -> Result<KeptAccount, ConnectorError>;

    /// Notes what the CA calls the account, and the contact that it was told.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn note_registration(&self, directory: &str, url: &str, contact: &str) -> Result<(), ConnectorError>;

    /// Keeps the key that is to take the place of the account's. Gives the one that is kept then.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn stage_key(&self, directory: &str, key: &Secret<Vec<u8>>) -> Result<Secret<Vec<u8>>, ConnectorError>;

    /// Puts the staged key in the place of the account's.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn promote_key(&self, directory: &str) -> Result<(), ConnectorError>;

    /// Forgets the staged key, where it is still this one: the account keeps the key that it has.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn discard_staged(&self, directory: &str, key: &Secret<Vec<u8>>) -> Result<(), ConnectorError>;

    /// Has every replica, and the agents that are named, answer a challenge over HTTP or TLS.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn publish(&self, answer: &ChallengeAnswer) -> Result<(), ConnectorError>;

    /// Ends that.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn withdraw(&self, token: &str) -> Result<(), ConnectorError>;

    /// How far the agents have got that were handed the answer to a token.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn standing(&self, token: &str) -> Result<Vec<Standing>, ConnectorError>;
}
