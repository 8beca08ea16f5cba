//! What these tests share: a memory, an order, and calling an issuer until it is done.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_domain::noun::Noun as _;
use certctl_domain::profile::{Profile, RequestFacts};
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{KeyAlgorithm, SanSet};
use certctl_pki::authority::Publication;
use certctl_pki::csr::Csr;
use certctl_pki::key::PrivateKey;
use serde_json::{Value, json};

use crate::acme::Acme;
use crate::issuer::{Issued, Issuer as _, Order, Outcome, Ticket};
use crate::surroundings::{ChallengeAnswer, KeptAccount, Standing, Surroundings, Vault};
use certctl_connector_core::registry::build_from;

/// A memory that lasts as long as the test.
#[derive(Debug, Default, Clone)]
pub(super) struct Memory(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    account: Option<KeptAccount>,
    answers: HashMap<String, String>,
    standing: HashMap<String, Vec<Standing>>,
}

impl Memory {
    pub(super) fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix("/.well-known/acme-challenge/")?;
        self.0.lock().unwrap().answers.get(token).cloned()
    }

    pub(super) fn answers(&self) -> usize {
        self.0.lock().unwrap().answers.len()
    }

    pub(super) fn kept(&self) -> KeptAccount {
        self.0.lock().unwrap().account.clone().unwrap()
    }

    pub(super) fn set(&self, account: KeptAccount) {
        self.0.lock().unwrap().account = Some(account);
    }

    fn change<T>(&self, change: impl FnOnce(&mut KeptAccount) -> T) -> T {
        change(self.0.lock().unwrap().account.as_mut().unwrap())
    }
}

#[async_trait]
impl Vault for Memory {
    async fn account(&self, _directory: &str) -> Result<Option<KeptAccount>, ConnectorError> {
        Ok(self.0.lock().unwrap().account.clone())
    }
    async fn begin_account(&self, _directory: &str, key: &Secret<Vec<u8>>) -> Result<KeptAccount, ConnectorError> {
        let fresh = KeptAccount { key: key.clone(), next_key: None, url: None, contact: String::new() };
        Ok(self.0.lock().unwrap().account.get_or_insert(fresh).clone())
    }
    async fn note_registration(&self, _directory: &str, url: &str, contact: &str) -> Result<(), ConnectorError> {
        self.change(|account| {
            account.url = Some(url.to_owned());
            account.contact = contact.to_owned();
        });
        Ok(())
    }
    async fn stage_key(&self, _directory: &str, key: &Secret<Vec<u8>>) -> Result<Secret<Vec<u8>>, ConnectorError> {
        Ok(self.change(|account| account.next_key.get_or_insert(key.clone()).clone()))
    }
    async fn promote_key(&self, _directory: &str) -> Result<(), ConnectorError> {
        self.change(|account| {
            if let Some(next) = account.next_key.take() {
                account.key = next;
            }
        });
        Ok(())
    }
    async fn discard_staged(&self, _directory: &str, key: &Secret<Vec<u8>>) -> Result<(), ConnectorError> {
        self.change(|account| drop(account.next_key.take_if(|staged| staged.expose() == key.expose())));
        Ok(())
    }
    async fn publish(&self, answer: &ChallengeAnswer) -> Result<(), ConnectorError> {
        self.0.lock().unwrap().answers.insert(answer.token.clone(), answer.key_authorization.clone());
        Ok(())
    }
    async fn standing(&self, token: &str) -> Result<Vec<Standing>, ConnectorError> {
        Ok(self.0.lock().unwrap().standing.get(token).cloned().unwrap_or_default())
    }
    async fn withdraw(&self, token: &str) -> Result<(), ConnectorError> {
        self.0.lock().unwrap().answers.remove(token);
        Ok(())
    }
}

/// An issuer with this memory, as a replica that has just started has it.
pub(super) fn issuer(memory: &Memory, config: Value) -> Acme {
    let mut acme: Acme = build_from(config).unwrap();
    acme.settle_in(Surroundings { vault: Arc::new(memory.clone()), commands: PathBuf::from("/nonexistent") });
    acme
}

pub(super) fn order(names: &[&str]) -> Order {
    let sans = SanSet::parse(names).unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = Csr::parse_pem(&Csr::build(&key, None, &sans).unwrap()).unwrap();
    let profile = Profile::create("prof-x".parse().unwrap(), serde_json::from_value(json!({"name": "x"})).unwrap(), now()).unwrap();
    let facts = RequestFacts {
        common_name: "",
        sans: &sans,
        wanted_key: None,
        csr_common_name: None,
        csr_sans: csr.sans(),
        csr_key: csr.key_algorithm(),
    };
    Order { request: profile.approve(&facts).unwrap(), csr, publication: Publication::default(), predecessor: None, hosts: None }
}

#[expect(clippy::disallowed_methods, reason = "real name servers compare clocks")]
pub(super) fn now() -> Timestamp {
    Timestamp::new(time::OffsetDateTime::now_utc())
}

/// One call, as the engine makes it: the ticket goes through JSON.
pub(super) async fn step(acme: &Acme, order: &Order, ticket: Option<&Ticket>) -> Result<Outcome, ConnectorError> {
    acme.prepare(order, now())?;
    acme.issue(order, None, ticket.map(|ticket| &ticket.state), now()).await
}

/// Calls until it is done, each time when it is due, as the queue of jobs does; each call is made by a new issuer, as if the process had been killed after every one.
pub(super) async fn issued(memory: &Memory, config: &Value, order: &Order) -> Result<Issued, ConnectorError> {
    let mut ticket: Option<Ticket> = None;
    for _ in 0..200 {
        match step(&issuer(memory, config.clone()), order, ticket.as_ref()).await? {
            Outcome::Ready(issued) => return Ok(issued),
            Outcome::Pending(next) => {
                let pause = now().until(next.poll_at).min(time::Duration::seconds(2));
                tokio::time::sleep(pause.try_into().unwrap_or_default()).await;
                ticket = Some(next);
            }
        }
    }
    panic!("not done after 200 calls: {ticket:?}");
}
