//! An ACME CA (RFC 8555): an account that is kept, orders that survive a crash, names proven over HTTP or DNS.
//!
//! Nothing here waits. Each call goes as far as it can and says when to come again; the order's URL is in the ticket before anything
//! else is done with it, so what was begun is gone on with, also by another replica, and never ordered anew.

mod account;
mod chain;
mod client;
mod config;
mod dns;
mod flow;
mod gate;
mod hosts;
mod jws;
mod order;
mod problem;
mod proof;
mod renewal;
mod url;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certctl_connector_core::ConnectorError;
use certctl_connector_core::registry::Connector;
use certctl_domain::time::Timestamp;
use certctl_pki::chain::Chain;
use serde_json::{Value, json};

pub use self::config::{AcmeConfig, AcmeDnsAccount, AnsweredBy, Challenge, DnsKind};

use self::account::Accounts;
use self::client::Client;
use self::flow::Flow;
use self::problem::AcmeError;
use crate::issuer::{Issuer, Order, Outcome, Prepared, Revocation, Suggestion};
use crate::surroundings::{Surroundings, Vault};

/// An ACME CA.
#[derive(Debug)]
pub struct Acme {
    config: AcmeConfig,
    client: Client,
    surroundings: Option<Surroundings>,
}

impl Connector for Acme {
    const KIND: &'static str = "ACME";
    const SUMMARY: &'static str = "a public or private CA that speaks ACME (RFC 8555)";
    type Config = AcmeConfig;

    fn build(config: AcmeConfig) -> Result<Self, ConnectorError> {
        config.contact()?;
        config.binding()?;
        if !(10..=60_000).contains(&config.requests_per_minute) {
            return Err(ConnectorError::permanent("requests_per_minute is from 10 to 60000"));
        }
        dns::check(&config)?;
        let client = Client::new(config.egress()?, config.directory()?, config.requests_per_minute);
        Ok(Self { config, client, surroundings: None })
    }
}

#[async_trait]
impl Issuer for Acme {
    fn left_alone(&self) -> Option<std::time::Duration> {
        self.client.left_alone()
    }

    fn asks_hosts(&self) -> bool {
        self.config.answered_by == AnsweredBy::Agent
    }

    fn settle_in(&mut self, surroundings: Surroundings) {
        self.surroundings = Some(surroundings);
    }

    fn prepare(&self, order: &Order, _now: Timestamp) -> Result<Option<Prepared>, ConnectorError> {
        // What can be known to fail is refused before the CA's limits are spent on it.
        for identifier in order::identifiers(&order.request)? {
            let kind = proof::kind_for(&self.config, &identifier)?;
            if self.asks_hosts() {
                hosts::check(order.hosts.as_ref(), kind)?;
            }
        }
        order::check_csr(&order.request, &order.csr)?;
        Ok(None)
    }

    async fn issue(
        &self,
        order: &Order,
        _prepared: Option<&[u8]>,
        ticket: Option<&Value>,
        now: Timestamp,
    ) -> Result<Outcome, ConnectorError> {
        let mut flow = Flow::new(self, order, now, ticket)?;
        let advanced = tokio::time::timeout(LONGEST_CALL, flow.advance()).await;
        match advanced.unwrap_or_else(|_| Err(ConnectorError::transient("the CA or the name servers took too long").into())) {
            Ok(outcome) => Ok(outcome),
            // Waiting for our own budget is no failure.
            Err(AcmeError::Budget(wait)) => {
                Ok(Outcome::Pending(flow.ticket(wait, "the budget of requests to this CA is used up for the moment")?))
            }
            Err(error) => flow.failed(error.into_error("the order")).await,
        }
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), ConnectorError> {
        let chain = Chain::parse_pem(&revocation.chain_pem)
            .map_err(|e| ConnectorError::permanent("the certificate to be revoked cannot be read").caused_by(e))?;
        let payload = json!({"certificate": URL_SAFE_NO_PAD.encode(chain.leaf().der()), "reason": revocation.reason.code()});
        let sent = async {
            let account = self.accounts()?.current().await?;
            let directory = self.client.directory().await?;
            self.client.post(account.signer(), &directory.revoke_cert, Some(&payload)).await
        };
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) if error.is("alreadyRevoked") => Ok(()),
            Err(error) => Err(error.into_error("the revocation")),
        }
    }

    async fn roll_account_key(&self, _now: Timestamp) -> Result<(), ConnectorError> {
        self.accounts()?.roll_over().await.map_err(|e| e.into_error("the change of the account's key"))
    }

    async fn renewal_info(&self, chain_pem: &str, _now: Timestamp) -> Result<Option<Suggestion>, ConnectorError> {
        if !self.config.ari {
            return Ok(None);
        }
        let chain = Chain::parse_pem(chain_pem).map_err(|e| ConnectorError::permanent("the certificate cannot be read").caused_by(e))?;
        renewal::suggestion(&self.client, chain.leaf()).await.map_err(|e| e.into_error("to say when to renew"))
    }

    async fn test(&self, _now: Timestamp) -> Result<String, ConnectorError> {
        let directory = self.client.read_directory().await.map_err(|e| e.into_error("to show its directory"))?;
        self.check_profile(&directory)?;
        if directory.meta.external_account_required && self.config.eab_kid.is_none() {
            return Err(ConnectorError::permanent("the CA opens accounts only for those that it knows from elsewhere")
                .hint("set eab_kid and eab_hmac as the CA shows them"));
        }
        if let Some(terms) = &directory.meta.terms_of_service
            && !self.config.terms_of_service_agreed
        {
            return Err(ConnectorError::permanent(format!("the CA has terms of service that nobody agreed to yet: {terms}"))
                .hint("read them, then set terms_of_service_agreed to true"));
        }
        let ari = if directory.renewal_info.is_some() { "suggests" } else { "does not suggest" };
        Ok(format!("the ACME CA at {} answers; it {ari} when to renew", self.client.directory_url()))
    }
}

impl Acme {
    fn accounts(&self) -> Result<Accounts<'_>, ConnectorError> {
        Ok(Accounts { client: &self.client, config: &self.config, vault: self.vault()? })
    }

    fn vault(&self) -> Result<&Arc<dyn Vault>, ConnectorError> {
        Ok(&self.surroundings()?.vault)
    }

    fn surroundings(&self) -> Result<&Surroundings, ConnectorError> {
        self.surroundings.as_ref().ok_or_else(|| ConnectorError::permanent("the issuer has no place to remember its account"))
    }

    fn check_profile(&self, directory: &client::Directory) -> Result<(), ConnectorError> {
        let Some(profile) = self.config.profile.as_deref().filter(|profile| !directory.meta.profiles.contains_key(*profile)) else {
            return Ok(());
        };
        let known: Vec<&str> = directory.meta.profiles.keys().map(String::as_str).collect();
        let hint =
            if known.is_empty() { "the CA has no profiles: leave it out".to_owned() } else { format!("the CA has: {}", known.join(", ")) };
        Err(ConnectorError::permanent(format!("the CA has no profile `{profile}`")).hint(hint))
    }
}

/// Shorter than the usual lease of a job, so that no two replicas work on one order.
const LONGEST_CALL: std::time::Duration = std::time::Duration::from_secs(45);

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own tasks")]
mod tests;
