//! Requests to an ACME CA (RFC 8555 section 6): directory, nonces, signed requests, and one more try when a nonce is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certctl_connector_core::egress::{Answer, Egress, Method};
use certctl_connector_core::{ConnectorError, Retry};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::gate::Gate;
use super::jws::Signer;
use super::problem::{AcmeError, Problem};

/// Speaks to one CA.
#[derive(Debug)]
pub(super) struct Client {
    egress: Egress,
    directory_url: Url,
    directory: Mutex<Option<(Arc<Directory>, Instant)>>,
    nonces: Mutex<Vec<String>>,
    gate: Gate,
}

/// Where the CA takes what (RFC 8555 section 7.1.1, RFC 9773 section 3).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    new_nonce: Url,
    pub(super) new_account: Url,
    pub(super) new_order: Url,
    pub(super) revoke_cert: Url,
    pub(super) key_change: Url,
    #[serde(default)]
    pub(super) renewal_info: Option<Url>,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// What the CA says about itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) terms_of_service: Option<String>,
    pub(super) external_account_required: bool,
    pub(super) profiles: Map<String, Value>,
}

impl Client {
    /// A client that has asked for nothing yet.
    pub(super) fn new(egress: Egress, directory_url: Url, requests_per_minute: u32) -> Self {
        Self {
            egress,
            directory_url,
            directory: Mutex::default(),
            nonces: Mutex::default(),
            gate: Gate::new(requests_per_minute, Instant::now()),
        }
    }

    /// The CA's name for itself.
    pub(super) const fn directory_url(&self) -> &Url {
        &self.directory_url
    }

    /// The directory, read again every hour.
    pub(super) async fn directory(&self) -> Result<Arc<Directory>, AcmeError> {
        let known = self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((directory, read_at)) = known
            && read_at.elapsed() < DIRECTORY_LIFE
        {
            return Ok(directory);
        }
        self.read_directory().await
    }

    /// The directory as it is now.
    pub(super) async fn read_directory(&self) -> Result<Arc<Directory>, AcmeError> {
        let answer = self.get(&self.directory_url).await?;
        let directory: Arc<Directory> = Arc::new(self.parse(&answer, "the directory")?);
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(&directory), Instant::now()));
        Ok(directory)
    }

    /// Reads what needs no account.
    pub(super) async fn get(&self, url: &Url) -> Result<Answer, AcmeError> {
        self.judged(self.send(Method::GET, url, None).await?)
    }

    /// Sends a signed request; without a payload it only reads. A nonce that the CA refuses is replaced by the one it gives with the
    /// refusal (RFC 8555 section 6.5).
    pub(super) async fn post(&self, signer: Signer<'_>, url: &Url, payload: Option<&Value>) -> Result<Answer, AcmeError> {
        self.post_judged(signer, url, payload, |answer| self.judged(answer)).await
    }

    /// As [`Client::post`], for what a CA may lack: a failure of it says nothing about the rest of the CA and shuts no gate.
    pub(super) async fn post_apart(&self, signer: Signer<'_>, url: &Url, payload: Option<&Value>) -> Result<Answer, AcmeError> {
        self.post_judged(signer, url, payload, |answer| {
            if answer.status.is_success() { Ok(answer) } else { Err(AcmeError::Refused(Problem::of(&answer))) }
        })
        .await
    }

    async fn post_judged(
        &self,
        signer: Signer<'_>,
        url: &Url,
        payload: Option<&Value>,
        judged: impl Fn(Answer) -> Result<Answer, AcmeError>,
    ) -> Result<Answer, AcmeError> {
        let mut refused = Problem::default();
        for _ in 0..NONCE_TRIES {
            let nonce = self.nonce().await?;
            let body = signer.envelope(url.as_str(), Some(&nonce), payload)?;
            match judged(self.send(Method::POST, url, Some(body.to_string())).await?) {
                Err(AcmeError::Refused(problem)) if problem.is("badNonce") => refused = problem,
                other => return other,
            }
        }
        Err(AcmeError::Refused(refused))
    }

    /// Reads an answer's JSON.
    pub(super) fn parse<T: DeserializeOwned>(&self, answer: &Answer, what: &str) -> Result<T, AcmeError> {
        serde_json::from_slice(&answer.body).map_err(|e| {
            let why = format!("the CA's answer is not {what} that can be read");
            self.gate.failed(&why, Instant::now());
            ConnectorError::transient(why)
                .caused_by(e)
                .hint("look whether directory_url leads to an ACME CA and not to a proxy's page")
                .into()
        })
    }

    async fn nonce(&self) -> Result<String, AcmeError> {
        if let Some(nonce) = self.nonces.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(nonce);
        }
        let url = self.directory().await?.new_nonce.clone();
        self.judged(self.send(Method::HEAD, &url, None).await?)?;
        // Sending kept the nonce, unless there was none.
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or_else(|| {
            let why = "the CA gives no nonce";
            self.gate.failed(why, Instant::now());
            ConnectorError::transient(why).into()
        })
    }

    async fn send(&self, method: Method, url: &Url, body: Option<String>) -> Result<Answer, AcmeError> {
        self.gate.enter(Instant::now())?;
        let mut request = self.egress.request(method, url)?;
        if let Some(body) = body {
            request = request.header("content-type", "application/jose+json").body(body);
        }
        let answer = self.egress.send(request).await.inspect_err(|error| {
            if matches!(error.retry(), Retry::Transient) {
                self.gate.failed(&error.explain(), Instant::now());
            }
        })?;
        if let Some(nonce) = answer.headers.get("replay-nonce").and_then(|nonce| nonce.to_str().ok()) {
            let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
            // The newest is used first: old ones go stale.
            if nonces.len() >= NONCES_KEPT {
                nonces.remove(0);
            }
            nonces.push(nonce.to_owned());
        }
        Ok(answer)
    }

    fn judged(&self, answer: Answer) -> Result<Answer, AcmeError> {
        if answer.status.is_success() {
            self.gate.answered();
            return Ok(answer);
        }
        let problem = Problem::of(&answer);
        match (problem.is_of_the_whole_ca(), problem.retry_after()) {
            (true, Some(wait)) => self.gate.asked_to_wait(wait, &problem.to_string(), Instant::now()),
            (true, None) => self.gate.failed(&problem.to_string(), Instant::now()),
            (false, _) => self.gate.answered(),
        }
        Err(AcmeError::Refused(problem))
    }
}

/// Where the CA says that something is; a relative reference starts from the URL that was asked (RFC 9110 section 10.2.2).
pub(super) fn location(answer: &Answer, asked: &Url) -> Option<Url> {
    answer.headers.get("location").and_then(|value| value.to_str().ok()).and_then(|text| asked.join(text).ok())
}

const DIRECTORY_LIFE: Duration = Duration::from_secs(3_600);
const NONCE_TRIES: usize = 6;
const NONCES_KEPT: usize = 32;
