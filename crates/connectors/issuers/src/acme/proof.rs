//! Proving names (RFC 8555 section 7.5): which challenge for which name, what is put out for the CA to see, and taking it back.

use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::challenge::server_name_of;
use certctl_connector_core::egress::Answer;
use certctl_domain::challenge::is_token;
use certctl_domain::time::Timestamp;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::Acme;
use super::account::Account;
use super::config::{AcmeConfig, Challenge};
use super::dns::{self, TxtRecord};
use super::flow::pause;
use super::hosts;
use super::jws::sha256_text;
use super::order::{Authorization, ChallengeKind, ChallengeObject, Identifier, Posted, Status};
use super::problem::AcmeError;
use super::url::Url;
use crate::issuer::{Hosts, Issuer as _};
use crate::surroundings::ChallengeAnswer;

/// The proofs of one order.
#[derive(Debug)]
pub(super) struct Proofs<'a> {
    pub(super) acme: &'a Acme,
    pub(super) account: &'a Account,
    pub(super) now: Timestamp,
    /// What was ordered.
    pub(super) ordered: &'a [Identifier],
    /// The hosts that the names lead to, where agents there answer.
    pub(super) hosts: Option<&'a Hosts>,
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
        ("ip", _, Challenge::TlsAlpn01) | (_, false, Challenge::TlsAlpn01) => Ok(ChallengeKind::TlsAlpn01),
        ("ip", _, _) => Ok(ChallengeKind::Http01),
        (_, true, _) | (_, false, Challenge::Dns01) if config.dns.is_some() => Ok(ChallengeKind::Dns01),
        (_, true, _) => {
            Err(ConnectorError::permanent(format!("`{}` can only be proven over DNS, and nobody writes records", identifier.value))
                .hint("set dns to rfc2136, exec or acme-dns, with its settings"))
        }
        _ => Ok(ChallengeKind::Http01),
    }
}

/// Whether a proof could be put out.
enum Put {
    There,
    /// Not before others are done.
    Later,
}

/// Takes back all that was put out. What cannot be taken back harms nobody and is only told.
pub(super) async fn take_back(acme: &Acme, all: &mut Vec<Posted>, now: Timestamp) {
    // One that is broken off midway is still noted.
    while let Some(posted) = all.last() {
        let taken_back = match posted.kind {
            ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => match acme.vault() {
                Ok(vault) => vault.withdraw(&posted.token).await,
                Err(error) => Err(error),
            },
            ChallengeKind::Dns01 => match dns::writer(acme) {
                Ok(writer) => writer.remove(&record(posted), now).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = taken_back {
            tracing::warn!(domain = posted.domain, challenge = posted.kind.as_str(), error = %error.explain(), "a challenge could not be taken back");
        }
        all.pop();
    }
}

impl Proofs<'_> {
    /// Goes as far as can be gone without waiting. `None` when every name is proven.
    pub(super) async fn advance(&mut self, authorizations: &[Url]) -> Result<Option<Wait>, AcmeError> {
        let (mut open, mut unproven) = (Vec::new(), Vec::new());
        let mut wait: Option<Wait> = None;
        for url in authorizations {
            let (authorization, answer) = self.read(url).await?;
            match authorization.status {
                Status::Valid => {}
                Status::Pending => {
                    unproven.push(url.clone());
                    match self.challenge(&authorization)?.status {
                        Status::Pending => open.push((url.clone(), authorization)),
                        // The authorization follows its challenge (RFC 8555 section 7.1.6); some CAs take their time over that.
                        Status::Invalid => return Err(refused(&authorization).into()),
                        _ => wait = longer(wait, pause(&answer), format!("the CA looks at {}", authorization.identifier.value)),
                    }
                }
                _ => return Err(refused(&authorization).into()),
            }
        }
        let mut there = Vec::with_capacity(open.len());
        for (url, authorization) in &open {
            match self.post(url, authorization, &unproven).await? {
                Put::There => there.push((url, authorization)),
                Put::Later => {
                    let name = &authorization.identifier.value;
                    let reason = format!("the proof of {name} waits until others at the same acme-dns account are done");
                    wait = longer(wait, USUAL_PAUSE, reason);
                }
            }
        }
        let this = &*self;
        let mut looks = Vec::with_capacity(there.len());
        for (url, authorization) in there {
            looks.push(async move { (authorization, this.not_seen_yet(url).await) });
        }
        let mut seen = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
        while let Some((authorization, missing)) = seen.next().await {
            if let Some(missing) = missing? {
                wait = longer(wait, missing.pause, missing.reason);
                continue;
            }
            let challenge = this.challenge(authorization)?;
            let answer = this.acme.client.post(this.account.signer(), &challenge.url, Some(&json!({}))).await?;
            wait = longer(wait, pause(&answer), format!("the CA looks at {}", authorization.identifier.value));
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

    async fn read(&self, url: &Url) -> Result<(Authorization, Answer), AcmeError> {
        let answer = self.acme.client.post(self.account.signer(), url, None).await?;
        let authorization: Authorization = self.acme.client.parse(&answer, "an authorization")?;
        self.check_ordered(&authorization.identifier)?;
        Ok((authorization, answer))
    }

    /// A CA that asks for the proof of anything else must not get it: others may take the proof for theirs.
    fn check_ordered(&self, asked: &Identifier) -> Result<(), ConnectorError> {
        let is_it = |ordered: &Identifier| {
            let name = ordered.value.strip_prefix("*.").unwrap_or(&ordered.value);
            ordered.kind == asked.kind && (name.eq_ignore_ascii_case(&asked.value) || ordered.value.eq_ignore_ascii_case(&asked.value))
        };
        if self.ordered.iter().any(is_it) {
            return Ok(());
        }
        Err(ConnectorError::permanent(format!("the CA asks for a proof of {}, which was not ordered", asked.value)))
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
    async fn post(&mut self, url: &Url, authorization: &Authorization, unproven: &[Url]) -> Result<Put, AcmeError> {
        let known = self.posted.iter().find(|posted| posted.authorization == *url).cloned();
        let posted = match known {
            Some(posted) if posted.there => return Ok(Put::There),
            Some(posted) => Posted { at: self.now, ..posted },
            None => self.answer(url, authorization)?,
        };
        // Each of these would push out another: they are put out once more too, the newest last.
        let beside: Vec<Posted> = self.beside(&posted, unproven)?.into_iter().cloned().collect();
        let is_new = !self.posted.iter().any(|known| known.authorization == *url);
        if is_new && beside.len() >= dns::ROOM {
            return Ok(Put::Later);
        }
        if is_new {
            self.posted.push(posted.clone());
        }
        self.put_out(&posted).await?;
        for other in beside.iter().filter(|_| !is_new) {
            self.put_out(other).await?;
        }
        if let Some(known) = self.posted.iter_mut().find(|known| known.authorization == *url) {
            *known = Posted { there: true, ..posted };
        }
        Ok(Put::There)
    }

    /// What the CA must see for an authorization.
    fn answer(&self, url: &Url, authorization: &Authorization) -> Result<Posted, ConnectorError> {
        let challenge = self.challenge(authorization)?;
        // It goes into paths and commands: it must be what RFC 8555 section 8 says.
        let token = Some(challenge.token.as_str()).filter(|token| is_token(token));
        let token = token.ok_or_else(|| ConnectorError::permanent("the CA gave a challenge whose token is not base64url"))?;
        let key_authorization = self.account.key.key_authorization(token);
        let domain = authorization.identifier.value.clone();
        let kind = match challenge.kind.as_str() {
            "dns-01" => ChallengeKind::Dns01,
            "tls-alpn-01" => ChallengeKind::TlsAlpn01,
            _ => ChallengeKind::Http01,
        };
        let value = match kind {
            ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => key_authorization,
            ChallengeKind::Dns01 => sha256_text(key_authorization.as_bytes()),
        };
        let by_agents = self.acme.asks_hosts() && kind != ChallengeKind::Dns01;
        Ok(Posted { authorization: url.clone(), domain, token: token.to_owned(), kind, value, at: self.now, there: false, by_agents })
    }

    /// The other proofs that are still needed at the same narrow place.
    fn beside(&self, posted: &Posted, unproven: &[Url]) -> Result<Vec<&Posted>, ConnectorError> {
        if posted.kind != ChallengeKind::Dns01 {
            return Ok(Vec::new());
        }
        let writer = dns::writer(self.acme)?;
        let Some(place) = writer.narrow_place(&posted.domain)? else {
            return Ok(Vec::new());
        };
        let mut beside = Vec::new();
        for other in
            self.posted.iter().filter(|other| other.authorization != posted.authorization && unproven.contains(&other.authorization))
        {
            if other.kind == ChallengeKind::Dns01 && writer.narrow_place(&other.domain)?.as_ref() == Some(&place) {
                beside.push(other);
            }
        }
        Ok(beside)
    }

    async fn put_out(&self, posted: &Posted) -> Result<(), ConnectorError> {
        match posted.kind {
            ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => {
                let answer = ChallengeAnswer {
                    token: posted.token.clone(),
                    key_authorization: posted.value.clone(),
                    server_name: (posted.kind == ChallengeKind::TlsAlpn01).then(|| server_name_of(&posted.domain)),
                    expires_at: self.now.saturating_add(ANSWER_LIFE),
                    handover: self.hosts.filter(|_| posted.by_agents).map(|hosts| hosts::handover(hosts, posted.kind)),
                };
                self.acme.vault()?.publish(&answer).await
            }
            ChallengeKind::Dns01 => dns::writer(self.acme)?.add(&record(posted), self.now).await,
        }
    }

    /// What is still missing before the CA may look; `None` when it is there for all to see.
    async fn not_seen_yet(&self, url: &Url) -> Result<Option<Wait>, AcmeError> {
        let Some(posted) = self.posted.iter().find(|posted| posted.authorization == *url) else {
            return Ok(None);
        };
        let waited = Duration::try_from(posted.at.until(self.now)).unwrap_or_default();
        if posted.by_agents {
            let standing = self.acme.vault()?.standing(&posted.token).await?;
            return Ok(hosts::missing(&standing, (self.hosts, posted.kind), waited, self.acme.config.agent_timeout.duration())?);
        }
        if posted.kind != ChallengeKind::Dns01 {
            return Ok(None);
        }
        let record = record(posted);
        let missing = match dns::propagation::missing(&record, &self.acme.config.dns_check_servers).await {
            Ok(None) => return Ok(None),
            Ok(Some(missing)) => missing,
            Err(error) => error.explain(),
        };
        let patience = self.acme.config.dns_propagation_timeout.duration();
        if waited > patience {
            return Err(ConnectorError::transient(format!("the record {} did not appear within {patience:?}: {missing}", record.name))
                .hint("look whether the record reaches every name server of the zone, or set dns_check_servers to those that the CA can reach")
                .into());
        }
        Ok(Some(Wait { pause: USUAL_PAUSE, reason: format!("the record {} is not everywhere yet: {missing}", record.name) }))
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

/// Names that are looked for at the same time.
const LOOKS_AT_ONCE: usize = 8;
const USUAL_PAUSE: Duration = Duration::from_secs(3);
/// Longer than any CA keeps an authorization pending.
const ANSWER_LIFE: time::Duration = time::Duration::days(8);
