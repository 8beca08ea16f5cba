//! What an issuer remembers, kept in the store: its account at a CA, and what it puts out for the CA to see.

use std::sync::Arc;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::IssuerId;
use certctl_domain::secret::Secret;
use certctl_issuers::{ChallengeAnswer, KeptAccount, Standing, Vault};
use certctl_store::acme_accounts::{self, AcmeAccount};
use certctl_store::acme_challenges::{self, AcmeChallenge};
use certctl_store::{Store, StoreError, Topic, Who, WriteTx, secrets};

use crate::clock::Clock;

/// The memory of one issuer.
#[derive(Debug)]
pub struct StoredVault {
    store: Store,
    clock: Arc<dyn Clock>,
    issuer: IssuerId,
}

impl StoredVault {
    /// For an issuer.
    #[must_use]
    pub const fn new(store: Store, clock: Arc<dyn Clock>, issuer: IssuerId) -> Self {
        Self { store, clock, issuer }
    }

    async fn write(&self) -> Result<WriteTx, ConnectorError> {
        self.store.write(Who::task("issuer", self.clock.now())).await.map_err(failed)
    }

    async fn open(&self, account: &AcmeAccount) -> Result<KeptAccount, ConnectorError> {
        let next_key = match &account.next_secret_id {
            Some(id) => Some(secrets::open(&self.store, id).await.map_err(failed)?),
            None => None,
        };
        Ok(KeptAccount {
            key: secrets::open(&self.store, &account.secret_id).await.map_err(failed)?,
            next_key,
            url: account.account_url.clone(),
            contact: account.contact.clone(),
        })
    }

    async fn begun(&self, directory: &str) -> Result<KeptAccount, ConnectorError> {
        self.account(directory).await?.ok_or_else(gone)
    }

    async fn change(&self, directory: &str) -> Result<(WriteTx, AcmeAccount), ConnectorError> {
        let mut tx = self.write().await?;
        let account = acme_accounts::get_for_update(&mut tx, &self.issuer, directory).await.map_err(failed)?;
        Ok((tx, account.ok_or_else(gone)?))
    }

    fn audit(&self, action: &'static str, directory: &str) -> Audit {
        Audit::new(AuditCategory::Config, action, "issuer", &self.issuer).with("directory", directory)
    }
}

#[async_trait]
impl Vault for StoredVault {
    async fn account(&self, directory: &str) -> Result<Option<KeptAccount>, ConnectorError> {
        match acme_accounts::get(self.store.db(), &self.issuer, directory).await.map_err(failed)? {
            Some(account) => self.open(&account).await.map(Some),
            None => Ok(None),
        }
    }

    async fn begin_account(&self, directory: &str, key: &Secret<Vec<u8>>) -> Result<KeptAccount, ConnectorError> {
        let mut tx = self.write().await?;
        let secret_id = secrets::seal(&mut tx, PURPOSE, key.expose()).await.map_err(failed)?;
        let account = AcmeAccount {
            issuer_id: self.issuer.clone(),
            directory_url: directory.to_owned(),
            secret_id,
            next_secret_id: None,
            account_url: None,
            contact: String::new(),
        };
        if acme_accounts::insert(&mut tx, &account).await.map_err(failed)? {
            tx.commit(self.audit("issuer.acme_key", directory)).await.map_err(failed)?;
        } else {
            // Another replica was faster: its account is the one.
            drop(tx);
        }
        self.begun(directory).await
    }

    async fn note_registration(&self, directory: &str, url: &str, contact: &str) -> Result<(), ConnectorError> {
        let (mut tx, mut account) = self.change(directory).await?;
        if account.account_url.as_deref() == Some(url) && account.contact == contact {
            return Ok(());
        }
        account.account_url = Some(url.to_owned());
        contact.clone_into(&mut account.contact);
        acme_accounts::update(&mut tx, &account).await.map_err(failed)?;
        tx.commit(self.audit("issuer.acme_account", directory).with("account", url).with("contact", contact)).await.map_err(failed)
    }

    async fn stage_key(&self, directory: &str, key: &Secret<Vec<u8>>) -> Result<Secret<Vec<u8>>, ConnectorError> {
        let (mut tx, mut account) = self.change(directory).await?;
        if let Some(id) = &account.next_secret_id {
            return secrets::open_in(&mut tx, id).await.map_err(failed);
        }
        account.next_secret_id = Some(secrets::seal(&mut tx, PURPOSE, key.expose()).await.map_err(failed)?);
        acme_accounts::update(&mut tx, &account).await.map_err(failed)?;
        tx.commit(self.audit("issuer.acme_key_staged", directory)).await.map_err(failed)?;
        Ok(key.clone())
    }

    async fn promote_key(&self, directory: &str) -> Result<(), ConnectorError> {
        let (mut tx, mut account) = self.change(directory).await?;
        let Some(next) = account.next_secret_id.take() else {
            return Ok(());
        };
        let old = std::mem::replace(&mut account.secret_id, next);
        acme_accounts::update(&mut tx, &account).await.map_err(failed)?;
        secrets::delete(&mut tx, &old).await.map_err(failed)?;
        tx.commit(self.audit("issuer.acme_key_changed", directory)).await.map_err(failed)
    }

    async fn discard_staged(&self, directory: &str, key: &Secret<Vec<u8>>) -> Result<(), ConnectorError> {
        let (mut tx, mut account) = self.change(directory).await?;
        let Some(staged) = account.next_secret_id.take() else {
            return Ok(());
        };
        // Another replica may have begun another change of keys meanwhile.
        if secrets::open_in(&mut tx, &staged).await.map_err(failed)?.expose() != key.expose() {
            return Ok(());
        }
        acme_accounts::update(&mut tx, &account).await.map_err(failed)?;
        secrets::delete(&mut tx, &staged).await.map_err(failed)?;
        tx.commit(self.audit("issuer.acme_key_discarded", directory)).await.map_err(failed)
    }

    async fn publish(&self, answer: &ChallengeAnswer) -> Result<(), ConnectorError> {
        let mut tx = self.write().await?;
        let challenge = AcmeChallenge {
            token: answer.token.clone(),
            issuer_id: self.issuer.clone(),
            key_authorization: answer.key_authorization.clone(),
            server_name: answer.server_name.clone(),
            expires_at: answer.expires_at,
        };
        acme_challenges::put(&mut tx, &challenge).await.map_err(failed)?;
        if let Some(handover) = &answer.handover {
            acme_challenges::hand_over(&mut tx, &answer.token, &handover.job, &handover.agents).await.map_err(failed)?;
            handover.agents.iter().for_each(|agent| tx.wake(Topic::Agent(agent.clone())));
        }
        tx.commit_housekeeping("acme.publish").await.map_err(failed)
    }

    async fn withdraw(&self, token: &str) -> Result<(), ConnectorError> {
        let mut tx = self.write().await?;
        for agent in acme_challenges::agents_of(&mut tx, &self.issuer, token).await.map_err(failed)? {
            tx.wake(Topic::Agent(agent));
        }
        acme_challenges::delete(&mut tx, &self.issuer, token).await.map_err(failed)?;
        tx.commit_housekeeping("acme.withdraw").await.map_err(failed)
    }

    async fn standing(&self, token: &str) -> Result<Vec<Standing>, ConnectorError> {
        let answerers = acme_challenges::answerers(self.store.db(), token).await.map_err(failed)?;
        Ok(answerers.into_iter().map(|one| Standing { agent: one.agent_id, name: one.name, state: one.state }).collect())
    }
}

fn failed(error: StoreError) -> ConnectorError {
    ConnectorError::transient("what the issuer remembers cannot be read or written").caused_by(error)
}

fn gone() -> ConnectorError {
    ConnectorError::transient("the account that was kept is gone")
}

const PURPOSE: &str = "acme_account";

#[cfg(test)]
mod tests {
    use certctl_domain::ids::Id as _;

    use super::*;
    use crate::clock::FakeClock;

    certctl_testkit::test_store!();

    certctl_testkit::both_databases! {
        async fn a_staged_key_is_forgotten_where_it_is_still_the_one(store: TestStore) {
            let clock: Arc<dyn Clock> = Arc::new(FakeClock::at("2027-03-01T12:00:00Z".parse().unwrap()));
            let engine = crate::Engine::new(store.clone(), Arc::clone(&clock), crate::Options::named("one"));
            crate::seed::seed(&engine).await.unwrap();
            let vault = StoredVault::new(store.clone(), clock, IssuerId::parse("iss-local").unwrap());
            let key = |text: &str| Secret::new(text.as_bytes().to_vec());
            let directory = "https://ca.test/dir";
            vault.begin_account(directory, &key("old")).await.unwrap();
            vault.stage_key(directory, &key("new")).await.unwrap();
            let secrets_now = || async { secrets::count_by_key(store.db()).await.unwrap().values().sum::<i64>() };
            let before = secrets_now().await;
            // Another replica has staged another one meanwhile.
            vault.discard_staged(directory, &key("other")).await.unwrap();
            let kept = vault.account(directory).await.unwrap().unwrap();
            assert!(kept.next_key.is_some_and(|next| next.expose() == key("new").expose()));
            vault.discard_staged(directory, &key("new")).await.unwrap();
            vault.discard_staged(directory, &key("new")).await.unwrap();
            let kept = vault.account(directory).await.unwrap().unwrap();
            assert!(kept.next_key.is_none() && kept.key.expose() == key("old").expose());
            assert_eq!(secrets_now().await, before - 1);
        }
    }
}
