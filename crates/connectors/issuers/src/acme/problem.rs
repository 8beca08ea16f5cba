//! What a CA says when it refuses (RFC 8555 section 6.7, RFC 7807), and what that means for us.

use std::fmt;
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::egress::Answer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A refusal. A member that is not of its type is as if it were absent; the others still say why (RFC 9457 section 3.1).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    detail: String,
    #[serde(rename = "status", deserialize_with = "lenient")]
    said_status: u16,
    #[serde(deserialize_with = "lenient")]
    subproblems: Vec<Part>,
    #[serde(skip)]
    status: u16,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// The part of a refusal that is about one name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Part {
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    detail: String,
    #[serde(deserialize_with = "lenient")]
    identifier: Option<Name>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Name {
    value: String,
}

/// Why a request did not bring what was wanted.
#[derive(Debug)]
pub(super) enum AcmeError {
    /// The CA refused.
    Refused(Problem),
    /// Our own budget for this CA is used up for the moment; nothing was sent.
    Budget(Duration),
    /// Everything else.
    Other(ConnectorError),
}

impl Problem {
    /// Reads the refusal out of an answer; one that is no problem document is described by its status.
    pub(super) fn of(answer: &Answer) -> Self {
        let mut problem: Self = serde_json::from_slice(&answer.body).unwrap_or_default();
        problem.status = answer.status.as_u16();
        problem.retry_after = answer.retry_after();
        problem
    }

    /// Whether it is of this type, such as `badNonce`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name() == name
    }

    /// The status of the answer.
    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// Whether the CA as a whole, not this request alone, wants to be left alone.
    pub(super) fn is_of_the_whole_ca(&self) -> bool {
        self.status >= 500 || (self.status == 429 && self.kind.is_empty())
    }

    /// How long the CA asks to be left alone.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The error that it is for people.
    pub(super) fn into_error(self, doing: &str) -> ConnectorError {
        let message = format!("the CA refused {doing}: {self}");
        match self.name() {
            "rateLimited" => ConnectorError::throttled(message, self.retry_after)
                .hint("the CA's own limit is reached; it is asked again when the CA said"),
            "accountDoesNotExist" | "unauthorized" => ConnectorError::authentication(message),
            "externalAccountRequired" => ConnectorError::permanent(message).hint("set eab_kid and eab_hmac as the CA shows them"),
            "userActionRequired" => ConnectorError::permanent(message).hint("agree to the CA's changed terms at the address that it names"),
            "caa" => ConnectorError::permanent(message).hint("allow this CA in the CAA records of the domain"),
            "dns" => ConnectorError::permanent(message).hint("look whether the name resolves from outside"),
            "connection" => ConnectorError::permanent(message).hint("look whether the CA can reach this name on the port of the challenge"),
            // A later attempt has other nonces (RFC 8555 section 6.5).
            "serverInternal" | "badNonce" => ConnectorError::transient(message),
            _ if self.status == 501 => ConnectorError::permanent(message).hint("the CA does not offer this"),
            _ if self.status == 429 => ConnectorError::throttled(message, self.retry_after),
            _ if self.status == 503 && self.retry_after.is_some() => ConnectorError::throttled(message, self.retry_after),
            _ if self.status >= 500 || self.status == 408 => ConnectorError::transient(message),
            _ => ConnectorError::permanent(message),
        }
    }

    /// The error that it is for people, where a proof failed: nothing but a new order can heal that.
    pub(super) fn into_failed_proof(self, doing: &str) -> ConnectorError {
        let hint = self.clone().into_error(doing).advice().map(str::to_owned);
        let error = ConnectorError::permanent(format!("the CA refused {doing}: {self}"));
        let usual = "look whether the CA sees the answer that this installation gives; the next attempt makes a new order";
        error.hint(hint.unwrap_or_else(|| usual.to_owned()))
    }

    fn name(&self) -> &str {
        self.kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(&self.kind)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = if self.status == 0 { self.said_status } else { self.status };
        match (self.name(), self.detail.as_str()) {
            ("", "") => write!(f, "status {status}")?,
            ("", detail) => write!(f, "{detail} (status {status})")?,
            (name, "") => write!(f, "{name} (status {status})")?,
            (name, detail) => write!(f, "{detail} ({name})")?,
        }
        for part in &self.subproblems {
            let name = part.identifier.as_ref().map_or("", |name| name.value.as_str());
            let kind = part.kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(&part.kind);
            write!(f, "; {name}: {} ({kind})", part.detail)?;
        }
        Ok(())
    }
}

/// A member that is as it should be, or its default.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

impl From<ConnectorError> for AcmeError {
    fn from(error: ConnectorError) -> Self {
        Self::Other(error)
    }
}

impl AcmeError {
    /// The error that it is for people. `doing` completes "the CA refused ...".
    pub(super) fn into_error(self, doing: &str) -> ConnectorError {
        match self {
            Self::Refused(problem) => problem.into_error(doing),
            Self::Budget(wait) => ConnectorError::throttled("this installation's own budget of requests to the CA is used up", Some(wait)),
            Self::Other(error) => error,
        }
    }

    /// Whether it is a refusal of this type.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Refused(problem) if problem.is(name))
    }
}

#[cfg(test)]
mod tests {
    use certctl_connector_core::Retry;

    use super::*;

    fn problem(status: u16, json: serde_json::Value) -> Problem {
        Problem { status, ..serde_json::from_value(json).unwrap() }
    }

    #[test]
    fn a_refusal_says_what_why_and_what_to_do() {
        let detailed = problem(
            403,
            serde_json::json!({"type": "urn:ietf:params:acme:error:caa", "detail": "no", "subproblems": [
            {"type": "urn:ietf:params:acme:error:caa", "detail": "issue \";\"", "identifier": {"type": "dns", "value": "a.test"}}]}),
        );
        let error = detailed.into_error("the order");
        assert_eq!(error.to_string(), "the CA refused the order: no (caa); a.test: issue \";\" (caa)");
        assert_eq!(error.retry(), Retry::Permanent);
        assert!(error.advice().unwrap().contains("CAA"));
        for (status, kind, retry) in [
            (429, "urn:ietf:params:acme:error:rateLimited", Retry::Throttled { retry_after_seconds: None }),
            (401, "urn:ietf:params:acme:error:accountDoesNotExist", Retry::Authentication),
            (500, "", Retry::Transient),
            (400, "urn:ietf:params:acme:error:badNonce", Retry::Transient),
            (400, "urn:ietf:params:acme:error:malformed", Retry::Permanent),
        ] {
            assert_eq!(problem(status, serde_json::json!({"type": kind})).into_error("x").retry(), retry, "{status} {kind}");
        }
    }
    #[test]
    fn a_member_of_another_type_hides_no_other() {
        for (member, wrong) in
            [("status", serde_json::json!("403")), ("detail", serde_json::json!(["no"])), ("subproblems", serde_json::json!("x"))]
        {
            let mut document = serde_json::json!({"type": "urn:ietf:params:acme:error:badNonce", "detail": "no", "subproblems": []});
            document[member] = wrong;
            assert!(problem(400, document).is("badNonce"), "{member}");
        }
        let parts = serde_json::json!({"type": 1, "detail": "no", "subproblems": [{"type": {}, "detail": "why", "identifier": 5}]});
        assert_eq!(problem(400, parts).to_string(), "no (status 400); : why ()");
    }
}
