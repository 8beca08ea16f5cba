//! The only HTTP client: time-outs, few redirects, a cap on the body, and a guard over the addresses it may reach.

mod guard;

use std::error::Error;
use std::time::Duration;

use certctl_domain::secret::Secret;
use ipnet::IpNet;
use reqwest::header::{DATE, RETRY_AFTER};
use reqwest::{Certificate, Client, Proxy, RequestBuilder, redirect};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::Url;

pub use reqwest::header::HeaderMap;
pub use reqwest::{Method, StatusCode};

pub use self::guard::{Guard, Reach, Refused};
use crate::ConnectorError;

/// How the client behaves. The defaults suit a public API.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For TCP and TLS.
    pub connect_timeout: Duration,
    /// For the whole exchange.
    pub timeout: Duration,
    /// The largest body that is read.
    pub max_body: usize,
    /// How many redirects are followed. Never from https to http.
    pub max_redirects: usize,
    /// Which addresses may be reached.
    pub reach: Reach,
    /// Networks that may be reached whatever `reach` says.
    pub allow: Vec<IpNet>,
    /// Whether a URL may begin with `http:`.
    pub schemes: Schemes,
    /// A proxy for all requests, perhaps with user and password in it. It then resolves names, so the guard sees the proxy's address alone.
    pub proxy: Option<Secret<String>>,
    /// CA certificates in DER that are trusted beside the system's.
    pub extra_roots: Vec<Vec<u8>>,
}

/// Which URL schemes may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schemes {
    /// `https:` alone.
    Https,
    /// `http:` too, for protocols that demand it.
    HttpToo,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            max_body: 1024 * 1024,
            max_redirects: 5,
            reach: Reach::Public,
            allow: Vec::new(),
            schemes: Schemes::Https,
            proxy: None,
            extra_roots: Vec::new(),
        }
    }
}

/// The client.
#[derive(Debug, Clone)]
pub struct Egress {
    client: Client,
    guard: Guard,
    max_body: usize,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body, within the cap.
    pub body: Vec<u8>,
}

impl Egress {
    /// Builds the client; opens no connection.
    ///
    /// # Errors
    /// When the proxy's URL or a root certificate is not valid.
    pub fn new(settings: &Settings) -> Result<Self, ConnectorError> {
        let guard = Guard::new(settings.reach, settings.allow.clone(), settings.schemes);
        #[expect(clippy::disallowed_methods, reason = "this is the one place that the ban leads to")]
        let mut builder = Client::builder()
            .user_agent(concat!("certctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .referer(false)
            .dns_resolver(guard.clone())
            .redirect(follow_few(settings.max_redirects, guard.clone()))
            // The environment of the process is not configuration: only the proxy that was asked for.
            .no_proxy();
        if let Some(proxy) = &settings.proxy {
            // The parser's own error would repeat the URL with its password.
            let proxy = Proxy::all(proxy.expose().as_str()).map_err(|_| {
                ConnectorError::permanent("the proxy is not a URL that can be used").hint("write it as http://proxy.example.test:3128")
            })?;
            builder = builder.proxy(proxy);
        }
        let roots: Result<Vec<_>, _> = settings.extra_roots.iter().map(|der| Certificate::from_der(der)).collect();
        let roots = roots.map_err(|e| ConnectorError::permanent("a CA certificate to be trusted cannot be read").caused_by(e))?;
        let client = builder
            .tls_certs_merge(roots)
            .build()
            .map_err(|e| ConnectorError::permanent("the HTTP client cannot be built").caused_by(e))?;
        Ok(Self { client, guard, max_body: settings.max_body })
    }

    /// Begins a request.
    ///
    /// # Errors
    /// When the URL is not one that may be asked for.
    pub fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, ConnectorError> {
        self.guard.check(url).map_err(|refused| refusal(&refused))?;
        Ok(self.client.request(method, url.clone()))
    }

    /// Sends it and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// When there is no answer, or its body is over the cap.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, ConnectorError> {
        let mut response = request.send().await.map_err(failure)?;
        let too_large = || ConnectorError::permanent(format!("the answer is larger than {} bytes", self.max_body));
        if response.content_length().is_some_and(|length| length > self.max_body as u64) {
            return Err(too_large());
        }
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        // Counted after decompression, so a small bomb does not grow large here.
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len() + chunk.len() > self.max_body {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }
}

impl Answer {
    /// This answer when its status is 2xx, else the error it stands for, with its retry class.
    ///
    /// # Errors
    /// When the status is not 2xx.
    pub fn into_success(self) -> Result<Self, ConnectorError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let said: String = String::from_utf8_lossy(&self.body).chars().take(EXCERPT).collect();
        let message = format!("the server answered {}: {said}", self.status);
        Err(match self.status {
            StatusCode::TOO_MANY_REQUESTS => ConnectorError::throttled(message, self.retry_after()),
            StatusCode::SERVICE_UNAVAILABLE if self.retry_after().is_some() => ConnectorError::throttled(message, self.retry_after()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                ConnectorError::authentication(message)
            }
            StatusCode::REQUEST_TIMEOUT => ConnectorError::transient(message),
            status if status.is_server_error() => ConnectorError::transient(message),
            _ => ConnectorError::permanent(message),
        })
    }

    /// How long the server asks to be left alone (RFC 9110 section 10.2.3). A date is measured against the server's own
    /// `Date`, so that our clock does not matter.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let value = text(RETRY_AFTER)?;
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        // RFC 9110 dates end in "GMT", which RFC 2822 writes as an obsolete zone; the parser reads both.
        let date = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
        Some(Duration::try_from(date(value)? - date(text(DATE)?)?).unwrap_or(Duration::ZERO))
    }
}

const EXCERPT: usize = 300;

fn follow_few(max: usize, guard: Guard) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > max {
            return attempt.error(format!("more than {max} redirects"));
        }
        if attempt.url().scheme() == "http" && attempt.previous().last().is_some_and(|from| from.scheme() == "https") {
            return attempt.error("a redirect from https to http");
        }
        match guard.check(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    })
}

/// The URL is left out: its query may carry a secret.
fn failure(error: reqwest::Error) -> ConnectorError {
    let error = error.without_url();
    let mut below = error.source();
    while let Some(layer) = below {
        if let Some(refused) = layer.downcast_ref::<Refused>() {
            return refusal(refused);
        }
        below = layer.source();
    }
    if error.is_redirect() {
        return ConnectorError::permanent("the server redirects where we do not follow").caused_by(error);
    }
    if error.is_builder() {
        return ConnectorError::permanent("the request cannot be made").caused_by(error);
    }
    let what = match (error.is_timeout(), error.is_connect()) {
        (true, _) => "the server did not answer in time",
        (false, true) => "cannot connect to the server",
        (false, false) => "the exchange with the server broke off",
    };
    ConnectorError::transient(what).caused_by(error)
}

fn refusal(refused: &Refused) -> ConnectorError {
    ConnectorError::permanent(refused.to_string()).hint(refused.advice())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files, tasks and processes")]
mod tests;
