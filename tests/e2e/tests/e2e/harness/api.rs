//! Raw HTTP to a server: nothing is checked or put right on the way.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Method};
use serde_json::Value;

/// Somebody who calls a server.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    base: String,
    token: Option<String>,
    client: Client,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Api {
    /// Somebody without a credential who trusts these CAs alone.
    pub(crate) fn new(base: &str, ca_pem: &str) -> Self {
        let client = Client::builder().tls_certs_only(Certificate::from_pem_bundle(ca_pem.as_bytes()).unwrap()).timeout(PATIENCE);
        Self { base: base.to_owned(), token: None, client: client.build().unwrap() }
    }

    /// The same with a credential.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send("PUT", path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send("PATCH", path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], None).await
    }

    /// Any request. A body is sent as JSON unless a header says otherwise.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Reply {
        self.try_send(method, path, headers, body).await.unwrap_or_else(|error| panic!("{method} {path}: {error}: {error:?}"))
    }

    /// As [`Api::send`]; an error when there was no answer.
    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> reqwest::Result<Reply> {
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if body.is_some() && !typed {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { what: format!("{method} {path}"), status, headers, text: response.text().await? })
    }
}

impl Reply {
    /// Fails unless it has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text);
        self
    }

    /// Fails unless it is a problem with this status and code, with everything that a problem has.
    #[track_caller]
    pub(crate) fn fails_with(self, status: u16, code: &str) -> Value {
        let problem = self.is(status).problem();
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// Fails unless it is a problem as all problems are.
    #[track_caller]
    pub(crate) fn problem(self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}: {}", self.what, self.text);
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["request_id"]), (&Value::from(self.status), &Value::from(self.header("x-request-id"))));
        for name in ["type", "title", "detail", "instance", "code", "error", "message"] {
            assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{name} is missing: {problem}");
        }
        problem
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text))
    }

    /// A header, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The fields of a problem that are not as they should be.
pub(crate) fn fields_of(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().map(|errors| errors.iter().filter_map(|error| error["field"].as_str()).collect()).unwrap_or_default()
}

/// Longer than the server may take for one request.
const PATIENCE: Duration = Duration::from_secs(90);
