//! One call's worth of progress on an order (RFC 8555 section 7.4).

use std::time::Duration;

use certctl_connector_core::egress::Answer;
use certctl_connector_core::{ConnectorError, Retry};
use certctl_domain::time::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::Acme;
use super::account::Account;
use super::client::location;
use super::order::{Identifier, OrderObject, Progress, Status, identifiers, new_order};
use super::problem::AcmeError;
use super::proof::{Proofs, take_back};
use super::url::Url;
use super::{chain, renewal};
use crate::issuer::{ASK_RENEWAL_INFO_AT, Issued, Order, Outcome, Ticket};

/// An order on its way.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    acme: &'a Acme,
    order: &'a Order,
    now: Timestamp,
    progress: Progress,
    /// Where it stood when this call began.
    before: Progress,
    ordered: Vec<Identifier>,
}

impl<'a> Flow<'a> {
    /// Takes an order up where its ticket says.
    pub(super) fn new(acme: &'a Acme, order: &'a Order, now: Timestamp, ticket: Option<&Value>) -> Result<Self, ConnectorError> {
        let progress = ticket.map(|ticket| serde_json::from_value(ticket.clone())).transpose();
        let progress = progress.map_err(|e| ConnectorError::permanent("where the order stands cannot be read").caused_by(e))?;
        let progress: Progress = progress.unwrap_or_default();
        Ok(Self { acme, order, now, before: progress.clone(), progress, ordered: identifiers(&order.request)? })
    }

    /// Goes as far as can be gone without waiting.
    pub(super) async fn advance(&mut self) -> Result<Outcome, AcmeError> {
        let account = self.acme.accounts()?.current().await?;
        let Some(url) = self.progress.order.clone() else {
            self.progress.order = Some(self.place(account).await?);
            // The URL is stored before anything else is done: a crash from here on makes no second order.
            return self.later(Duration::ZERO, "the order was placed");
        };
        let (mut order, mut answer) = self.read(&account, &url).await?;
        for _ in 0..STEPS {
            match order.status {
                Status::Pending => {
                    if let Some(wait) = self.proofs(&account).advance(&order.authorizations).await? {
                        return self.later(wait.pause, wait.reason);
                    }
                    (order, answer) = self.read(&account, &url).await?;
                    if order.status == Status::Pending {
                        return self.later(pause(&answer), "all names are proven, the CA has not noted it yet");
                    }
                }
                Status::Ready => {
                    self.clean_up().await;
                    match self.finalize(&account, &order).await {
                        Ok(next) => (order, answer) = next,
                        // Sent by a call before this one, which did not live to see the answer.
                        Err(error) if error.is("orderNotReady") => (order, answer) = self.read(&account, &url).await?,
                        Err(error) => return Err(error),
                    }
                }
                Status::Processing => {
                    self.clean_up().await;
                    return self.later(pause(&answer), "the CA makes the certificate");
                }
                Status::Valid => {
                    self.clean_up().await;
                    return self.fetch(&account, &url, &order).await;
                }
                _ => {
                    self.clean_up().await;
                    if let Some(refused) = self.proofs(&account).refused(&order.authorizations).await? {
                        return Err(refused.into());
                    }
                    let why = order.error.as_ref().map_or_else(|| "the order is not valid any more".to_owned(), ToString::to_string);
                    return Err(ConnectorError::permanent(format!("the CA ended the order: {why}"))
                        .hint("the next attempt makes a new order")
                        .into());
                }
            }
        }
        self.later(pause(&answer), "the CA works on the order")
    }

    fn proofs<'b>(&'b mut self, account: &'b Account) -> Proofs<'b> {
        Proofs {
            acme: self.acme,
            account,
            now: self.now,
            ordered: &self.ordered,
            hosts: self.order.hosts.as_ref(),
            posted: &mut self.progress.posted,
        }
    }

    async fn clean_up(&mut self) {
        take_back(self.acme, &mut self.progress.posted, self.now).await;
    }

    /// What a call that failed means. Whatever it changed outside is stored, so that it is gone on with or taken back: the call then
    /// counts as waiting. It fails when it changed nothing, and an order has no more changes than names; so no failure hides behind that.
    pub(super) async fn failed(&mut self, error: ConnectorError) -> Result<Outcome, ConnectorError> {
        let pause = match error.retry() {
            Retry::Transient => USUAL_PAUSE,
            Retry::Throttled { retry_after_seconds } => retry_after_seconds.map_or(USUAL_PAUSE, Duration::from_secs),
            Retry::Permanent | Retry::Authentication | Retry::Unsupported => {
                // Nobody comes back to this order. What cannot be taken back in time is taken back by one more call.
                if timeout(LONGEST_CLEAN_UP, self.clean_up()).await.is_ok() {
                    return Err(error);
                }
                USUAL_PAUSE
            }
        };
        if self.progress == self.before {
            return Err(error);
        }
        tracing::warn!(error = %error.explain(), "an order got on, and then no further");
        Ok(Outcome::Pending(self.ticket(pause, error.explain())?))
    }

    /// How it stands when it is to be asked about again.
    pub(super) fn ticket(&self, pause: Duration, reason: impl Into<String>) -> Result<Ticket, ConnectorError> {
        let poll_at = self.now.saturating_add(time::Duration::try_from(pause).unwrap_or(time::Duration::MINUTE));
        let state = serde_json::to_value(&self.progress);
        let state = state.map_err(|e| ConnectorError::permanent("where the order stands cannot be written").caused_by(e))?;
        Ok(Ticket { state, poll_at, reason: reason.into() })
    }

    async fn place(&self, account: Account) -> Result<Url, AcmeError> {
        let directory = self.acme.client.directory().await?;
        self.acme.check_profile(&directory)?;
        let request = &self.order.request;
        let not_after = request.max_ttl().filter(|_| self.acme.config.request_validity).map(|ttl| self.now.saturating_add(ttl));
        let payload = new_order(&self.ordered, self.acme.config.profile.as_deref(), not_after);
        let replaces = if self.acme.config.ari && directory.renewal_info.is_some() { self.replaces() } else { None };
        let mut first = payload.clone();
        if let Some(id) = &replaces {
            first.insert("replaces".to_owned(), json!(id));
        }
        let (first, payload) = (Value::Object(first), Value::Object(payload));
        let mut placed = self.acme.client.post(account.signer(), &directory.new_order, Some(&first)).await;
        if placed.as_ref().is_err_and(|error| error.is("accountDoesNotExist")) {
            let account = self.acme.accounts()?.register_again(account).await?;
            placed = self.acme.client.post(account.signer(), &directory.new_order, Some(&payload)).await;
        } else if let (Some(id), Err(AcmeError::Refused(problem))) = (&replaces, &placed)
            && may_be_about_the_predecessor(problem)
        {
            // RFC 9773 section 5 lets a CA refuse what it does not want to see replaced; the certificate is needed all the same.
            tracing::info!(predecessor = id, problem = %problem, "the CA refused an order with a predecessor; it is placed without");
            placed = self.acme.client.post(account.signer(), &directory.new_order, Some(&payload)).await;
        }
        let answer = placed?;
        location(&answer, &directory.new_order)
            .ok_or_else(|| ConnectorError::transient("the CA does not say where the new order is").into())
    }

    fn replaces(&self) -> Option<String> {
        let predecessor = self.order.predecessor.as_ref()?;
        // Another CA's certificate is nothing to this one.
        let here = predecessor.issuer_ref.get("directory").and_then(Value::as_str) == Some(self.acme.client.directory_url().as_str());
        here.then(|| renewal::identifier(&predecessor.chain_pem)).flatten()
    }

    async fn read(&self, account: &Account, url: &Url) -> Result<(OrderObject, Answer), AcmeError> {
        let answer = self.acme.client.post(account.signer(), url, None).await.map_err(|error| match error {
            AcmeError::Refused(problem) if matches!(problem.status(), 404 | 410) => {
                ConnectorError::permanent("the CA does not know the order any more").hint("the next attempt makes a new order").into()
            }
            other => other,
        })?;
        Ok((self.acme.client.parse(&answer, "an order")?, answer))
    }

    async fn finalize(&self, account: &Account, order: &OrderObject) -> Result<(OrderObject, Answer), AcmeError> {
        use base64::Engine as _;
        let url = order.finalize.as_ref().ok_or_else(|| ConnectorError::transient("the CA does not say where the CSR goes"))?;
        let csr = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.order.csr.der());
        let answer = self.acme.client.post(account.signer(), url, Some(&json!({"csr": csr}))).await?;
        Ok((self.acme.client.parse(&answer, "an order")?, answer))
    }

    async fn fetch(&self, account: &Account, order_url: &Url, order: &OrderObject) -> Result<Outcome, AcmeError> {
        let url = order.certificate.as_ref().ok_or_else(|| ConnectorError::transient("the CA does not say where the certificate is"))?;
        let chain = chain::fetch(&self.acme.client, account, url, self.acme.config.preferred_root.as_deref()).await?;
        let ari = if self.acme.config.ari { renewal::suggestion(&self.acme.client, chain.leaf()).await } else { Ok(None) };
        let ari = ari.unwrap_or_else(|error| {
            // The policy of the installation decides then.
            tracing::warn!(error = %error.into_error("to say when to renew"), "no renewal window");
            None
        });
        let mut issuer_ref = Map::from_iter([
            ("directory".to_owned(), json!(self.acme.client.directory_url())),
            ("account".to_owned(), json!(account.url)),
            ("order".to_owned(), json!(order_url)),
            ("certificate".to_owned(), json!(url)),
        ]);
        // RFC 9773 section 4.3.2: the next fetch is when this one's Retry-After says.
        if let Some(pause) = ari.and_then(|suggestion| suggestion.ask_after).and_then(|pause| time::Duration::try_from(pause).ok()) {
            issuer_ref.insert(ASK_RENEWAL_INFO_AT.to_owned(), json!(self.now.saturating_add(pause).whole_seconds()));
        }
        Ok(Outcome::Ready(Issued { chain_pem: chain.to_pem(), issuer_ref, ari: ari.map(|suggestion| suggestion.window) }))
    }

    fn later(&self, pause: Duration, reason: impl Into<String>) -> Result<Outcome, AcmeError> {
        Ok(Outcome::Pending(self.ticket(pause, reason)?))
    }
}

/// How long to wait before the same is asked again: what the CA says, within reason.
pub(super) fn pause(answer: &Answer) -> Duration {
    answer.retry_after().unwrap_or(USUAL_PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

fn may_be_about_the_predecessor(problem: &super::problem::Problem) -> bool {
    problem.is("alreadyReplaced") || problem.is("malformed") || matches!(problem.status(), 404 | 409)
}

/// Together with the longest call still shorter than the lease of a job.
const LONGEST_CLEAN_UP: Duration = Duration::from_secs(10);
/// More than an order that moves has.
const STEPS: usize = 4;
const USUAL_PAUSE: Duration = Duration::from_secs(3);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
