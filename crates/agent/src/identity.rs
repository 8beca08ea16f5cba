//! Who this agent is to its server, as kept on disk.

use certctl_connector_core::ConnectorError;
use certctl_domain::ids::AgentId;
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, read_private};

/// An enrolled agent's identity.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name.
    pub name: String,
    /// The server, `https://host:port`.
    pub server: String,
    /// Whom it trusts to be that server.
    pub trust: Trust,
    /// What it shows to the server.
    pub credential: Secret<String>,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
}

/// Whom an agent trusts to be its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The CAs of this machine.
    System,
    /// Those in `ca.pem` of the state directory alone.
    CaFile,
}

impl Identity {
    /// The identity kept in a state directory; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(state: &StateDir) -> Result<Option<Self>, ConnectorError> {
        state.read(FILE)
    }

    /// Keeps it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn store(&self, state: &StateDir) -> Result<(), ConnectorError> {
        state.write(
            FILE,
            &Form {
                agent_id: &self.agent_id,
                name: &self.name,
                server: &self.server,
                trust: self.trust,
                credential: self.credential.expose(),
                enrolled_at: self.enrolled_at,
            },
        )
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn forget(state: &StateDir) -> Result<(), ConnectorError> {
        state.remove(FILE)
    }

    /// PEM of the CAs to trust instead of the machine's.
    ///
    /// # Errors
    /// When the file that it trusts is not there.
    pub fn ca_pem(&self, state: &StateDir) -> Result<Option<String>, ConnectorError> {
        match self.trust {
            Trust::System => Ok(None),
            Trust::CaFile => {
                let path = state.join(CA_FILE);
                let bytes = read_private(&path)?.ok_or_else(|| {
                    ConnectorError::permanent(format!("{} is not there, and it is what the server is recognized by", path.display()))
                        .hint("put the server's CA certificate back there")
                })?;
                let text = String::from_utf8(bytes.to_vec());
                text.map(Some).map_err(|e| ConnectorError::permanent(format!("{} is not PEM", path.display())).caused_by(e))
            }
        }
    }
}

/// The server's CA in the state directory.
pub const CA_FILE: &str = "ca.pem";

const FILE: &str = "identity.json";

/// What is written: the one place where the credential leaves its wrapping, into a file of mode 0600.
#[derive(Serialize)]
struct Form<'a> {
    agent_id: &'a AgentId,
    name: &'a str,
    server: &'a str,
    trust: Trust,
    credential: &'a str,
    enrolled_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use certctl_domain::ids::Id as _;

    use super::*;

    #[test]
    fn is_kept_privately_and_never_shown() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::create(temporary.path()).unwrap();
        assert!(Identity::load(&state).unwrap().is_none());
        let identity = Identity {
            agent_id: AgentId::parse("ag-1").unwrap(),
            name: "web1".into(),
            server: "https://certctl.example.test:8443".into(),
            trust: Trust::CaFile,
            credential: Secret::new("ca_1_hunter2".into()),
            enrolled_at: Timestamp::UNIX_EPOCH,
        };
        identity.store(&state).unwrap();
        let read = Identity::load(&state).unwrap().unwrap();
        assert_eq!(read.credential.expose(), "ca_1_hunter2");
        assert!(!format!("{read:?}").contains("hunter2"));
        assert_eq!(state.join(FILE).metadata().unwrap().mode() & 0o777, 0o600);
        assert!(read.ca_pem(&state).unwrap_err().to_string().contains("ca.pem"));
        Identity::forget(&state).unwrap();
        assert!(Identity::load(&state).unwrap().is_none());
    }
}
