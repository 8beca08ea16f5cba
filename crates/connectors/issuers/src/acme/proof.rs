//! Proving names (RFC 8555 section 7.5): which challenge for which name, what is put out for the CA to see, and taking it back.

use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::egress::Answer;
use certctl_domain::time::Timestamp;
use serde_json::json;
use url::Url;

use super::Acme;
use super::account::Account;
use super::config::{AcmeConfig, Challenge};
use super::dns::{self, TxtRecord};
use super::flow::pause;
use super::jws::sha256_text;
use super::order::{Authorization, ChallengeKind, ChallengeObject, Identifier, Posted, Status};
use super::problem::AcmeError;
use crate::surroundings::HttpAnswer;

/// The proofs of one order.
#[derive(Debug)]
pub(super) struct Proofs<'a> {
    pub(super) acme: &'a Acme,
    pub(super) account: &'a Account,
    pub(super) now: Timestamp,
    pub(super) posted: &'a mut Vec<Posted>,
}

/// What must pass before the proofs can go on.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) pause: Duration,
    pub(super) reason: String,
}

/// How a name can be proven: a wildcard over DNS alone (RFC 8555 section 7.1.3), an address never over DNS (RFC 8738 section 7).
pub(super) fn kind_for(config: &AcmeConfig, identifier: &Identifier) -> Result<ChallengeKind, ConnectorError> {
    let wildcard = identifier.value.starts_with("*.");
    match (identifier.kind.as_str(), wildcard, config.challenge) {
        ("ip", _, _) => Ok(ChallengeKind::Http01),
        (_, true, _) | (_, false, Challenge::Dns01) if config.dns.is_some() => Ok(ChallengeKind::Dns01),
        (_, true, _) => {
            Err(ConnectorError::permanent(format!("`{}` can only be proven over DNS, and nobody writes records", identifier.value))
                .hint("set dns to rfc2136, exec or acme-dns, with its settings"))
        }
        _ => Ok(ChallengeKind::Http01),
    }
}

impl Proofs<'_> {
    /// Goes as far as can be gone without waiting. `None` when every name is proven.
    pub(super) async fn advance(&mut self, authorizations: &[Url]) -> Result<Option<Wait>, AcmeError> {
        let mut open = Vec::new();
        let mut wait: Option<Wait> = None;
        for url in authorizations {
            let (authorization, answer) = self.read(url).await?;
            match authorization.status {
                Status::Valid => {}
                Status::Pending => {
                    let challenge = self.challenge(&authorization)?;
                    if challenge.status == Status::Pending {
                        open.push((url.clone(), authorization));
                    } else {
                        wait = longer(wait, pause(&answer), format!("the CA looks at {}", authorization.identifier.value));
                    }
                }
                _ => {
                    self.clean_up().await;
                    return Err(refused(&authorization).into());
                }
            }
        }
        for (url, authorization) in &open {
            self.post(url, authorization).await?;
        }
        for (url, authorization) in &open {
            let name = &authorization.identifier.value;
            if let Some(missing) = self.not_seen_yet(url).await? {
                wait = longer(wait, Duration::from_secs(3), missing);
                continue;
            }
            let challenge = self.challenge(authorization)?;
            let answer = self.acme.client.post(self.account.signer(), &challenge.url, Some(&json!({}))).await?;
            wait = longer(wait, pause(&answer), format!("the CA looks at {name}"));
        }
        Ok(wait)
    }

    /// Why the CA does not take a proof, if that is what ended the order.
    pub(super) async fn refused(&self, authorizations: &[Url]) -> Result<Option<ConnectorError>, AcmeError> {
        for url in authorizations {
            let (authorization, _) = self.read(url).await?;
            if !matches!(authorization.status, Status::Valid | Status::Pending) {
                return Ok(Some(refused(&authorization)));
            }
        }
        Ok(None)
    }

    /// Takes back all that was put out. What cannot be taken back harms nobody and is only told.
    pub(super) async fn clean_up(&mut self) {
        for posted in std::mem::take(self.posted) {
            let taken_back = match posted.kind {
                ChallengeKind::Http01 => match self.acme.vault() {
                    Ok(vault) => vault.withdraw(&posted.token).await,
                    Err(error) => Err(error),
                },
                ChallengeKind::Dns01 => match dns::writer(self.acme) {
                    Ok(writer) => writer.remove(&record(&posted), self.now).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = taken_back {
                tracing::warn!(domain = posted.domain, challenge = posted.kind.as_str(), error = %error.explain(), "a challenge could not be taken back");
            }
        }
    }

    async fn read(&self, url: &Url) -> Result<(Authorization, Answer), AcmeError> {
        let answer = self.acme.client.post(self.account.signer(), url, None).await?;
        Ok((self.acme.client.parse(&answer, "an authorization")?, answer))
    }

    /// The challenge by which this name is proven.
    fn challenge<'c>(&self, authorization: &'c Authorization) -> Result<&'c ChallengeObject, ConnectorError> {
        let mut identifier = authorization.identifier.clone();
        if authorization.wildcard {
            identifier.value = format!("*.{}", identifier.value);
        }
        let kind = kind_for(&self.acme.config, &identifier)?;
        authorization.challenges.iter().find(|challenge| challenge.kind == kind.as_str()).ok_or_else(|| {
            let offered: Vec<&str> = authorization.challenges.iter().map(|challenge| challenge.kind.as_str()).collect();
            ConnectorError::permanent(format!("the CA does not take {} as a proof for {}", kind.as_str(), identifier.value))
                .hint(format!("it takes: {}", offered.join(", ")))
        })
    }

    /// Puts out what the CA must see; once for each authorization, also over several calls.
    async fn post(&mut self, url: &Url, authorization: &Authorization) -> Result<(), AcmeError> {
        if self.posted.iter().any(|posted| posted.authorization == *url) {
            return Ok(());
        }
        let challenge = self.challenge(authorization)?;
        let token = checked_token(&challenge.token)?;
        let key_authorization = self.account.key.key_authorization(token);
        let domain = authorization.identifier.value.clone();
        let kind = if challenge.kind == "dns-01" { ChallengeKind::Dns01 } else { ChallengeKind::Http01 };
        let value = match kind {
            ChallengeKind::Http01 => key_authorization,
            ChallengeKind::Dns01 => sha256_text(key_authorization.as_bytes()),
        };
        let posted = Posted { authorization: url.clone(), domain, token: token.to_owned(), kind, value, at: self.now };
        match kind {
            ChallengeKind::Http01 => {
                let expires_at = self.now.saturating_add(ANSWER_LIFE);
                let answer = HttpAnswer { token: posted.token.clone(), key_authorization: posted.value.clone(), expires_at };
                self.acme.vault()?.publish(&answer).await?;
            }
            ChallengeKind::Dns01 => dns::writer(self.acme)?.add(&record(&posted), self.now).await?,
        }
        self.posted.push(posted);
        Ok(())
    }

    /// What is still missing before the CA may look; `None` when it is there for all to see.
    async fn not_seen_yet(&self, url: &Url) -> Result<Option<String>, AcmeError> {
        let Some(posted) = self.posted.iter().find(|posted| posted.authorization == *url && posted.kind == ChallengeKind::Dns01) else {
            return Ok(None);
        };
        let record = record(posted);
        let missing = match dns::propagation::missing(&record, &self.acme.config.dns_check_servers).await {
            Ok(None) => return Ok(None),
            Ok(Some(missing)) => missing,
            Err(error) => error.explain(),
        };
        let patience = self.acme.config.dns_propagation_timeout.duration();
        if Duration::try_from(posted.at.until(self.now)).is_ok_and(|waited| waited > patience) {
            return Err(ConnectorError::transient(format!("the record {} did not appear within {patience:?}: {missing}", record.name))
                .hint("look whether the record reaches every name server of the zone, or set dns_check_servers to those that the CA can reach")
                .into());
        }
        Ok(Some(format!("the record {} is not everywhere yet: {missing}", record.name)))
    }
}

fn record(posted: &Posted) -> TxtRecord {
    TxtRecord {
        name: format!("_acme-challenge.{}", posted.domain.trim_end_matches('.')),
        domain: posted.domain.clone(),
        value: posted.value.clone(),
        token: posted.token.clone(),
    }
}

/// A token goes into paths and commands: it must be what RFC 8555 section 8 says.
fn checked_token(token: &str) -> Result<&str, ConnectorError> {
    let fine = !token.is_empty() && token.len() <= 256 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    fine.then_some(token).ok_or_else(|| ConnectorError::permanent("the CA gave a challenge whose token is not base64url"))
}

fn refused(authorization: &Authorization) -> ConnectorError {
    let name = &authorization.identifier.value;
    match authorization.challenges.iter().find_map(|challenge| challenge.error.clone().map(|problem| (challenge, problem))) {
        Some((challenge, problem)) => problem.into_failed_proof(&format!("the proof of {name} by {}", challenge.kind)),
        None => ConnectorError::permanent(format!("the CA does not take the proof of {name} any more")),
    }
}

/// The longest wait decides, the first reason is told.
fn longer(wait: Option<Wait>, pause: Duration, reason: String) -> Option<Wait> {
    Some(match wait {
        None => Wait { pause, reason },
        Some(before) => Wait { pause: before.pause.max(pause), reason: before.reason },
    })
}

/// Longer than any CA keeps an authorization pending.
const ANSWER_LIFE: time::Duration = time::Duration::days(8);
