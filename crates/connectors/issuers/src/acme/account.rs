//! The account at a CA (RFC 8555 section 7.3): made once for an installation and kept, told of a changed contact, given a new key.
//!
//! The key is kept before the CA sees it, and a CA answers a key that it knows with the account that it has: so neither a crash nor a
//! second replica makes a second account.

use std::sync::Arc;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::egress::StatusCode;
use certctl_domain::secret::Secret;
use serde_json::{Map, Value, json};

use super::client::{Client, location};
use super::config::AcmeConfig;
use super::jws::{AccountKey, Signer, external_binding};
use super::problem::{AcmeError, Problem};
use super::url::Url;
use crate::surroundings::{KeptAccount, Vault};

/// An account that the CA knows.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) key: AccountKey,
    pub(super) url: String,
}

impl Account {
    pub(super) fn signer(&self) -> Signer<'_> {
        Signer::Account(&self.key, &self.url)
    }
}

/// Finds or makes the account of one issuer at its CA.
#[derive(Debug)]
pub(super) struct Accounts<'a> {
    pub(super) client: &'a Client,
    pub(super) config: &'a AcmeConfig,
    pub(super) vault: &'a Arc<dyn Vault>,
}

impl Accounts<'_> {
    /// The account as it is now. Read anew each time, since another replica may have changed it.
    pub(super) async fn current(&self) -> Result<Account, AcmeError> {
        let directory = self.client.directory_url().as_str();
        let kept = match self.vault.account(directory).await? {
            Some(kept) => kept,
            None => self.vault.begin_account(directory, &AccountKey::generate()?.to_pkcs8()?).await?,
        };
        let kept = self.after_roll_over(kept).await?;
        let contact = self.config.contact()?;
        let key = AccountKey::from_pkcs8(&kept.key)?;
        let Some(url) = kept.url else {
            return self.register(key, &contact).await;
        };
        let account = Account { key, url };
        if kept.contact != contact {
            self.tell(&account, &contact).await?;
            self.vault.note_registration(directory, &account.url, &contact).await?;
        }
        Ok(account)
    }

    /// Registers the key, or finds the account that the CA has for it.
    pub(super) async fn register(&self, key: AccountKey, contact: &str) -> Result<Account, AcmeError> {
        let directory = self.client.directory().await?;
        let mut payload = Map::from_iter([("contact".to_owned(), contacts(contact))]);
        if let Some(terms) = &directory.meta.terms_of_service {
            if !self.config.terms_of_service_agreed {
                return Err(ConnectorError::permanent(format!("the CA has terms of service that nobody agreed to yet: {terms}"))
                    .hint("read them, then set terms_of_service_agreed to true")
                    .into());
            }
            payload.insert("termsOfServiceAgreed".to_owned(), json!(true));
        }
        match self.config.binding()? {
            Some((kid, mac_key)) => {
                let binding = external_binding(&key, &kid, &mac_key, directory.new_account.as_str());
                payload.insert("externalAccountBinding".to_owned(), binding);
            }
            None if directory.meta.external_account_required => {
                return Err(ConnectorError::permanent("the CA opens accounts only for those that it knows from elsewhere")
                    .hint("set eab_kid and eab_hmac as the CA shows them")
                    .into());
            }
            None => {}
        }
        let answer = self.client.post(Signer::Key(&key), &directory.new_account, Some(&Value::Object(payload))).await?;
        let url = location(&answer, &directory.new_account)
            .ok_or_else(|| ConnectorError::transient("the CA does not say where the new account is"))?;
        let account = Account { key, url: url.into() };
        if answer.status != StatusCode::CREATED {
            // RFC 8555 section 7.3: a CA that knows the key answers with the account that it has, and does not look at the contact.
            self.tell(&account, contact).await?;
        }
        self.vault.note_registration(self.client.directory_url().as_str(), &account.url, contact).await?;
        Ok(account)
    }

    /// Tells the CA the contact (RFC 8555 section 7.3.2).
    async fn tell(&self, account: &Account, contact: &str) -> Result<(), AcmeError> {
        self.client.post(account.signer(), &parse_url(&account.url)?, Some(&json!({"contact": contacts(contact)}))).await.map(drop)
    }

    /// Registers the kept key again, at a CA that has lost the account.
    pub(super) async fn register_again(&self, account: Account) -> Result<Account, AcmeError> {
        tracing::warn!(account = account.url, "the CA does not know the account any more; the same key is registered again");
        self.register(account.key, &self.config.contact()?).await
    }

    /// Puts a new key in the place of the account's (RFC 8555 section 7.3.5).
    pub(super) async fn roll_over(&self) -> Result<(), AcmeError> {
        self.current().await?;
        let directory = self.client.directory_url().as_str();
        self.vault.stage_key(directory, &AccountKey::generate()?.to_pkcs8()?).await?;
        self.finish_roll_over(&self.kept().await?).await
    }

    async fn kept(&self) -> Result<KeptAccount, ConnectorError> {
        let kept = self.vault.account(self.client.directory_url().as_str()).await?;
        kept.ok_or_else(|| ConnectorError::transient("the account that was kept is gone"))
    }

    /// The account once a change of keys that was begun is over. A CA that refuses the change must not keep anybody from certificates:
    /// the account goes on with the key that it has.
    async fn after_roll_over(&self, kept: KeptAccount) -> Result<KeptAccount, AcmeError> {
        if kept.next_key.is_none() || kept.url.is_none() {
            return Ok(kept);
        }
        match self.finish_roll_over(&kept).await {
            Ok(()) => Ok(self.kept().await?),
            Err(AcmeError::Refused(problem)) => {
                tracing::warn!(problem = %problem, "the CA refused to change the account's key; the old one stays in use");
                Ok(kept)
            }
            Err(other) => Err(other),
        }
    }

    /// Goes on with a change of keys wherever it stopped: the CA is asked which of the two keys it knows.
    async fn finish_roll_over(&self, kept: &KeptAccount) -> Result<(), AcmeError> {
        let (Some(next), Some(account)) = (&kept.next_key, &kept.url) else {
            return Ok(());
        };
        let (old, new) = (AccountKey::from_pkcs8(&kept.key)?, AccountKey::from_pkcs8(next)?);
        if !self.knows(&new).await? {
            let key_change = &self.client.directory().await?.key_change;
            let change = json!({"account": account, "oldKey": old.jwk()});
            let inner = Signer::Key(&new).envelope(key_change.as_str(), None, Some(&change))?;
            match self.client.post_apart(Signer::Account(&old, account), key_change, Some(&inner)).await {
                Err(AcmeError::Refused(problem)) => self.give_up_unless_known(problem, next, &new).await?,
                answered => drop(answered?),
            }
        }
        Ok(self.vault.promote_key(self.client.directory_url().as_str()).await?)
    }

    /// Whether the CA has an account for a key (RFC 8555 section 7.3.1).
    async fn knows(&self, key: &AccountKey) -> Result<bool, AcmeError> {
        let directory = self.client.directory().await?;
        match self.client.post(Signer::Key(key), &directory.new_account, Some(&json!({"onlyReturnExisting": true}))).await {
            Ok(_) => Ok(true),
            Err(error) if error.is("accountDoesNotExist") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// After a refused change: `Ok` when the CA took the new key all the same, since another replica was faster. Otherwise the new key
    /// is forgotten, unless the refusal is a gateway's: the CA may yet act on what that passed on.
    async fn give_up_unless_known(&self, problem: Problem, next: &Secret<Vec<u8>>, new: &AccountKey) -> Result<(), AcmeError> {
        if self.knows(new).await? {
            return Ok(());
        }
        if !matches!(problem.status(), 408 | 502 | 504) {
            self.vault.discard_staged(self.client.directory_url().as_str(), next).await?;
        }
        Err(AcmeError::Refused(problem))
    }
}

fn contacts(contact: &str) -> Value {
    if contact.is_empty() { json!([]) } else { json!([contact]) }
}

fn parse_url(text: &str) -> Result<Url, ConnectorError> {
    Url::parse(text).map_err(|e| ConnectorError::permanent("the account's URL that is kept is not one").caused_by(e))
}
