//! Enrolment: a one-time token is exchanged for an identity. The agent makes its own secret and sends only its hash.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certctl_api::agents::{EnrollRequest, EnrollResponse};
use certctl_api::client::ClientError;
use certctl_connector_core::ConnectorError;
use certctl_domain::agent::CLOCK_SKEW_LIMIT_MS;
use certctl_domain::secret::Secret;
use certctl_domain::x509::Fingerprint;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::challenges::ChallengeSettings;
use crate::identity::{CA_FILE, Identity, Trust};
use crate::server::{self, Address, CALL_TIMEOUT};
use crate::state::{Lock, StateDir, write_private};
use crate::{clock, commands, facts, trust};

/// What an agent needs to know to enroll.
#[derive(Debug, Clone)]
pub struct Enrollment {
    /// `https://host:port`
    pub server: String,
    /// The one-time token.
    pub token: Secret<String>,
    /// The name it would like; the host's name when absent. A name in the token wins.
    pub name: Option<String>,
    /// Whom it trusts to be the server.
    pub anchor: Anchor,
}

/// Whom to trust to be the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// The machine's CAs.
    System,
    /// The CAs in this PEM text alone.
    Pem(String),
    /// The certificate with this SHA-256 alone; the server shows it.
    Pin(Fingerprint),
}

/// Enrolls and keeps the identity. Nothing changes when the server refuses.
///
/// # Errors
/// When the server is not reached, is not whom to trust, or refuses; or when the disk does.
pub async fn enroll(state: &StateDir, _lock: &Lock, enrollment: Enrollment) -> Result<Identity, ConnectorError> {
    check_token(&enrollment.token)?;
    let url: Url = enrollment.server.parse().map_err(|e| {
        ConnectorError::permanent(format!("`{}` is not a URL", enrollment.server))
            .hint("e.g. https://certctl.example.test:8443")
            .caused_by(e)
    })?;
    if url.scheme() != "https" {
        return Err(ConnectorError::permanent(format!(
            "`{url}` must begin with https://: the agent's credential never travels in the clear"
        )));
    }
    let ca_pem = match &enrollment.anchor {
        Anchor::System => None,
        Anchor::Pem(pem) => Some(pem.clone()),
        Anchor::Pin(pin) => Some(trust::from_pin(&url, pin).await?),
    };
    let address = Address { server: enrollment.server.clone(), ca_pem };
    let client = server::client(&address, None, CALL_TIMEOUT).map_err(|e| ConnectorError::permanent(e.to_string()))?;
    // Kept before it is sent: when the answer is lost on its way, the same secret can be offered again.
    let secret = secret_for(state, &enrollment.token)?;
    let name = enrollment.name.clone().or_else(|| Some(facts::hostname()).filter(|name| !name.is_empty()));
    let request = EnrollRequest {
        token: enrollment.token.expose().clone(),
        name,
        secret_sha256: sha256(secret.expose().as_bytes()),
        facts: facts::now(&ChallengeSettings::default()),
    };
    let answer: EnrollResponse = client.post("/api/v1/agents/enroll", &request).await.map_err(|error| refused(error, &enrollment))?;
    let identity = keep(state, address, &answer, &secret)?;
    warn_of_clock(&answer);
    Ok(identity)
}

fn keep(state: &StateDir, address: Address, answer: &EnrollResponse, secret: &Secret<String>) -> Result<Identity, ConnectorError> {
    if !answer.credential_prefix.starts_with("ca_") {
        return Err(
            ConnectorError::permanent("the server's answer is not one that this agent understands").hint("are both of the same release?")
        );
    }
    let trust = if let Some(pem) = &address.ca_pem {
        write_private(&state.join(CA_FILE), pem.as_bytes())?;
        Trust::CaFile
    } else {
        state.remove(CA_FILE)?;
        Trust::System
    };
    commands::allow::create(&state.join(crate::agent::ALLOW_LIST))?;
    let identity = Identity {
        agent_id: answer.agent_id.clone(),
        name: answer.name.clone(),
        server: address.server,
        trust,
        credential: Secret::new(format!("{}{}", answer.credential_prefix, secret.expose())),
        enrolled_at: clock::now(),
    };
    // Last: from here on the agent is enrolled.
    identity.store(state)?;
    state.remove(PENDING)?;
    Ok(identity)
}

fn warn_of_clock(answer: &EnrollResponse) {
    let ahead = answer.server_time.until(clock::now()).whole_milliseconds();
    if ahead.unsigned_abs() > CLOCK_SKEW_LIMIT_MS.unsigned_abs().into() {
        tracing::warn!(clock_skew_ms = %ahead, hint = "set up time synchronization", "this machine's clock is wrong by more than 30 seconds");
    }
}

fn check_token(token: &Secret<String>) -> Result<(), ConnectorError> {
    let why = match token.expose().as_str() {
        "" => "it is empty",
        text if text.starts_with("ck_") => "it is an API key",
        text if text.starts_with("ca_") => "it is another agent's credential",
        text if !text.starts_with("ce_") => "it does not begin with `ce_`",
        text if text.len() > 512 || text.chars().any(|c| !c.is_ascii_graphic()) => "it has characters that a token has not",
        _ => return Ok(()),
    };
    Err(ConnectorError::permanent(format!("this is not an enrolment token: {why}")).hint("mint one with `certctl agents token create`"))
}

fn refused(error: ClientError, enrollment: &Enrollment) -> ConnectorError {
    let hint = match (&error, &enrollment.anchor) {
        (ClientError::Problem(_), _) => {
            error.hint().unwrap_or("a token works once and for a limited time: mint another with `certctl agents token create`").to_owned()
        }
        (ClientError::Network { .. }, Anchor::System) => "is the server's CA among this machine's? If not, give its file with --ca, \
            or the SHA-256 that the server prints at its start with --ca-sha256"
            .to_owned(),
        (ClientError::Network { .. }, Anchor::Pin(_)) => {
            "pin the server's CA, not the server's own certificate, and use a host name that is in its certificate".to_owned()
        }
        _ => error.hint().unwrap_or("is this the address of a certctl server?").to_owned(),
    };
    let text = error.to_string();
    let refusal = if error.is_transient() { ConnectorError::transient(text) } else { ConnectorError::authentication(text) };
    refusal.hint(hint)
}

/// A secret that is tied to a token until the enrolment has succeeded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    token_sha256: String,
    secret: Secret<String>,
}

#[derive(Serialize)]
struct PendingForm<'a> {
    token_sha256: &'a str,
    secret: &'a str,
}

fn secret_for(state: &StateDir, token: &Secret<String>) -> Result<Secret<String>, ConnectorError> {
    let token_sha256 = sha256(token.expose().as_bytes());
    if let Some(pending) = state.read::<Pending>(PENDING)?
        && pending.token_sha256 == token_sha256
    {
        return Ok(pending.secret);
    }
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut()).map_err(|_| ConnectorError::transient("the system gives no random bytes"))?;
    let secret = Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()));
    state.write(PENDING, &PendingForm { token_sha256: &token_sha256, secret: secret.expose() })?;
    Ok(secret)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// The file of a secret whose enrolment has not succeeded yet.
pub const PENDING: &str = "enrollment.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_told_apart_before_anything_is_sent() {
        for (text, why) in [("", "empty"), ("ck_abc_def", "API key"), ("ca_1_x", "another agent"), ("abc", "ce_"), ("ce_a b", "characters")]
        {
            let error = check_token(&Secret::new(text.to_owned())).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        assert!(check_token(&Secret::new("ce_1_secret".to_owned())).is_ok());
    }

    #[test]
    fn the_same_token_offers_the_same_secret_and_another_a_new_one() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::create(temporary.path()).unwrap();
        let secret = |token: &str| secret_for(&state, &Secret::new(token.to_owned())).unwrap().expose().clone();
        let first = secret("ce_1_a");
        assert_eq!(first.len(), 43, "32 bytes in base64url without padding");
        assert_eq!(secret("ce_1_a"), first);
        assert_ne!(secret("ce_2_b"), first);
    }
}
