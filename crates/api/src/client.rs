//! A typed client of the REST API: one way to call, one error that says what to do next.

use std::time::Duration;

use certctl_domain::secret::Secret;
use reqwest::{Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::problem::Problem;

/// Calls one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret<String>>,
    max_answer: usize,
}

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `https://host:port`
    pub server: String,
    /// API key or agent credential.
    pub token: Option<Secret<String>>,
    /// PEM of the CAs to trust instead of the system's.
    pub ca_pem: Option<String>,
    /// Trust anybody. For first looks only.
    pub insecure: bool,
    /// The longest that a call may take.
    pub timeout: Duration,
    /// Name and version of the program, for the server's log.
    pub user_agent: String,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's address cannot be used.
    #[error("{0}")]
    Config(String),
    /// The server was not reached, or the connection broke.
    #[error("cannot reach {server}: {why}")]
    Network {
        /// The server.
        server: String,
        /// Why, in words.
        why: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The server answered with an error.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The answer is not what it should be.
    #[error("{server} answered with something that is not of this API: {why}")]
    Answer {
        /// The server.
        server: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ClientError {
    /// The HTTP status, if the server answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => problem.hint.as_deref(),
            Self::Network { .. } => Some("check the address, and whether the server runs and its CA is trusted"),
            Self::Config(_) | Self::Answer { .. } => None,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Network { .. }) || matches!(self.status(), Some(429 | 502 | 503 | 504))
    }
}

impl Client {
    /// Makes a client. Nothing is sent.
    ///
    /// # Errors
    /// When the address is not an `https` URL or the CA is not PEM.
    #[expect(clippy::disallowed_methods, reason = "the API's own client, with its own time-outs and trust")]
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let base: Url = options.server.parse().map_err(|e| ClientError::Config(format!("`{}` is not a URL: {e}", options.server)))?;
        if base.scheme() != "https" {
            return Err(ClientError::Config(format!("`{}` must begin with https://", options.server)));
        }
        let mut http = reqwest::Client::builder()
            .timeout(options.timeout)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true)
            .user_agent(options.user_agent);
        if let Some(pem) = &options.ca_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                .ok()
                .filter(|roots| !roots.is_empty())
                .ok_or_else(|| ClientError::Config("the CA file holds no certificate in PEM".to_owned()))?;
            http = http.tls_certs_only(roots);
        }
        if options.insecure {
            http = http.tls_danger_accept_invalid_certs(true);
        }
        let http = http.build().map_err(|e| ClientError::Config(format!("no HTTP client can be made: {e}")))?;
        Ok(Self { http, base, token: options.token, max_answer: MAX_ANSWER })
    }

    /// Reads at most this much of an answer.
    #[must_use]
    pub const fn with_max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }

    /// The server's address.
    #[must_use]
    pub const fn server(&self) -> &Url {
        &self.base
    }

    /// GET.
    ///
    /// # Errors
    /// See [`ClientError`]; the same for every call here.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ClientError> {
        self.json(Method::GET, path, query, None::<&()>).await
    }

    /// POST.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.json(Method::POST, path, &[], Some(body)).await
    }

    /// PUT.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.json(Method::PUT, path, &[], Some(body)).await
    }

    /// PATCH with a merge patch.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.json(Method::PATCH, path, &[], Some(body)).await
    }

    /// DELETE.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<serde_json::Value, ClientError> {
        let bytes = self.bytes(Method::DELETE, path, query, None::<&()>).await?;
        if bytes.is_empty() { Ok(serde_json::Value::Null) } else { self.parse(&bytes) }
    }

    /// Any call whose answer is text.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn text(&self, path: &str, query: &[(&str, &str)]) -> Result<String, ClientError> {
        let bytes = self.bytes(Method::GET, path, query, None::<&()>).await?;
        String::from_utf8(bytes).map_err(|_| self.answer("it is not UTF-8"))
    }

    /// POST, whose answer is a file.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn file(&self, path: &str, body: &impl Serialize) -> Result<Vec<u8>, ClientError> {
        self.bytes(Method::POST, path, &[], Some(body)).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let bytes = self.bytes(method, path, query, body).await?;
        // An empty answer (204) reads as null.
        self.parse(if bytes.is_empty() { b"null" } else { &bytes })
    }

    async fn bytes(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, ClientError> {
        let mut url = self.base.join(path).map_err(|e| ClientError::Config(format!("`{path}` is not a path: {e}")))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).header(header::ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|e| self.network(e))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.network(e))? {
            if bytes.len() + chunk.len() > self.max_answer {
                return Err(self.answer(&format!("it is larger than {} bytes", self.max_answer)));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() { Ok(bytes) } else { Err(Self::problem(status, &bytes)) }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes).map_err(|e| self.answer(&e.to_string()))
    }

    fn answer(&self, why: &str) -> ClientError {
        ClientError::Answer { server: self.base.to_string(), why: why.to_owned() }
    }

    fn network(&self, source: reqwest::Error) -> ClientError {
        // reqwest says "error sending request" and leaves the reason to its sources.
        let mut why = String::new();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&source);
        while let Some(error) = cause {
            why = error.to_string();
            cause = error.source();
        }
        if source.is_timeout() {
            "it did not answer in time".clone_into(&mut why);
        }
        if why.is_empty() {
            why = source.to_string();
        }
        ClientError::Network { server: self.base.to_string(), why, source }
    }

    fn problem(status: StatusCode, bytes: &[u8]) -> ClientError {
        let mut problem: Problem = serde_json::from_slice(bytes).unwrap_or_default();
        problem.status = status.as_u16();
        if problem.detail.is_empty() {
            problem.detail = format!("the server answered {status}");
        }
        ClientError::Problem(Box::new(problem))
    }
}

const MAX_ANSWER: usize = 64 * 1024 * 1024;
