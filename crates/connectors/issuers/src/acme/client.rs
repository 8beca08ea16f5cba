//! Requests to an ACME CA (RFC 8555 section 6): directory, nonces, signed requests, and one more try when a nonce is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certctl_connector_core::egress::{Answer, Egress, Method};
use certctl_connector_core::{ConnectorError, Retry};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::gate::Gate;
use super::jws::Signer;
use super::problem::{AcmeError, Problem};
use super::url::Url;

/// Speaks to one CA.
#[derive(Debug)]
pub(super) struct Client {
    egress: Egress,
    directory_url: ::url::Url,
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
    /// For how long the CA is left alone.
    pub(super) fn left_alone(&self) -> Option<Duration> {
        self.gate.shut_for(Instant::now())
    }

    /// A client that has asked for nothing yet.
    pub(super) fn new(egress: Egress, directory_url: ::url::Url, requests_per_minute: u32) -> Self {
        Self {
            egress,
            directory_url,
            directory: Mutex::default(),
            nonces: Mutex::default(),
            gate: Gate::new(requests_per_minute, Instant::now()),
        }
    }

    /// The CA's name for itself.
    pub(super) const fn directory_url(&self) -> &::url::Url {
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
    pub(super) async fn get(&self, url: &::url::Url) -> Result<Answer, AcmeError> {
        let answer = self.send(Method::GET, url, None).await?;
        self.keep(nonce_of(&answer));
        self.judged(answer)
    }

    /// Sends a signed request, for the URL as the CA wrote it; without a payload it only reads. A nonce that the CA refuses is replaced by the one it gives with that
    /// very refusal (RFC 8555 section 6.5), whatever other requests have brought meanwhile.
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
        let mut nonce = self.nonce().await?;
        let mut refused = Problem::default();
        for _ in 0..NONCE_TRIES {
            let body = signer.envelope(url.as_str(), Some(&nonce), payload)?;
            let answer = self.send(Method::POST, url.parsed(), Some(body.to_string())).await?;
            let given = nonce_of(&answer);
            match judged(answer) {
                Err(AcmeError::Refused(problem)) if problem.is("badNonce") => refused = problem,
                other => {
                    self.keep(given);
                    return other;
                }
            }
            nonce = match given {
                Some(given) => given,
                None => self.fresh_nonce().await?,
            };
        }
        self.keep(Some(nonce));
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
        let kept = self.nonces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            Some(nonce) => Ok(nonce),
            None => self.fresh_nonce().await,
        }
    }

    async fn fresh_nonce(&self) -> Result<String, AcmeError> {
        let directory = self.directory().await?;
        let answer = self.judged(self.send(Method::HEAD, directory.new_nonce.parsed(), None).await?)?;
        nonce_of(&answer).ok_or_else(|| {
            let why = "the CA gives no nonce";
            self.gate.failed(why, Instant::now());
            ConnectorError::transient(why).into()
        })
    }

    /// Keeps a nonce for a later request. The newest is used first: old ones go stale.
    fn keep(&self, nonce: Option<String>) {
        let Some(nonce) = nonce else {
            return;
        };
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() >= NONCES_KEPT {
            nonces.remove(0);
        }
        nonces.push(nonce);
    }

    async fn send(&self, method: Method, url: &::url::Url, body: Option<String>) -> Result<Answer, AcmeError> {
        self.gate.enter(Instant::now())?;
        let mut request = self.egress.request(method, url)?;
        if let Some(body) = body {
            request = request.header("content-type", "application/jose+json").body(body);
        }
        let sent = self.egress.send(request).await.inspect_err(|error| {
            if matches!(error.retry(), Retry::Transient) {
                self.gate.failed(&error.explain(), Instant::now());
            }
        });
        Ok(sent?)
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

/// The nonce of an answer; one that is not base64url is none (RFC 8555 section 6.5.1).
fn nonce_of(answer: &Answer) -> Option<String> {
    let nonce = answer.headers.get("replay-nonce")?.to_str().ok()?;
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (!nonce.is_empty() && nonce.bytes().all(base64url)).then(|| nonce.to_owned())
}

/// Where the CA says that something is; a relative reference starts from the URL that was asked (RFC 9110 section 10.2.2).
pub(super) fn location(answer: &Answer, asked: &Url) -> Option<Url> {
    answer.headers.get("location").and_then(|value| value.to_str().ok()).and_then(|text| asked.join(text).ok())
}

const DIRECTORY_LIFE: Duration = Duration::from_secs(3_600);
const NONCE_TRIES: usize = 6;
const NONCES_KEPT: usize = 32;
