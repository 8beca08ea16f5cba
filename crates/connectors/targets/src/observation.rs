//! Where and how to see what is served.

use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::setting::Span;
use certctl_domain::x509::DnsName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings: where TLS handshakes show what is served.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObserveConfig {
    /// `false` opens no connection: the deployment then ends unproven.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Host and port to connect to, e.g. `127.0.0.1:443`; every address that the host resolves to is asked.
    #[serde(default)]
    pub address: Option<String>,
    /// Names to ask for by SNI; each must show the new certificate.
    #[serde(default)]
    pub server_names: Vec<String>,
    /// For one handshake.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// How often to look before giving up; the waits between double up to 5 s.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 60))]
    pub attempts: u32,
}

/// One thing to ask.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Host and port.
    pub address: String,
    /// The name to ask for.
    pub server_name: Option<String>,
}

/// Everything to ask, and how patiently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// What to ask.
    pub endpoints: Vec<Endpoint>,
    /// For one handshake.
    pub timeout: Duration,
    /// How often to look before giving up.
    pub attempts: u32,
    /// How much of the chain must be as deployed.
    pub chain: ChainRule,
}

/// How much of the served chain must be as deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainRule {
    /// Leaf and intermediates.
    Whole,
    /// The leaf; other intermediates are a warning.
    Leaf,
}

/// Whether somebody looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// Look here.
    Watch(Watch),
    /// Do not look, and why.
    None {
        /// Why not.
        reason: String,
    },
}

impl ObserveConfig {
    /// The watch that the settings ask for; `Ok(None)` when they leave the addresses to be found.
    ///
    /// # Errors
    /// When a name is not one that can be asked for, or a number is out of range.
    pub fn watch(&self, chain: ChainRule) -> Result<Option<Watch>, ConnectorError> {
        if !(1..=60).contains(&self.attempts) {
            return Err(ConnectorError::permanent("observe.attempts must be from 1 to 60"));
        }
        if self.timeout > Span::seconds(60) {
            return Err(ConnectorError::permanent("observe.timeout must be at most 60s"));
        }
        if self.server_names.len() > 100 {
            return Err(ConnectorError::permanent("observe.server_names has more than 100 names"));
        }
        for name in &self.server_names {
            let parsed = DnsName::parse(name).map_err(|e| ConnectorError::permanent("observe.server_names has a bad name").caused_by(e))?;
            if parsed.is_wildcard() {
                return Err(ConnectorError::permanent(format!("observe.server_names has the wildcard {name}"))
                    .hint("name one host that the wildcard covers"));
            }
        }
        let Some(address) = &self.address else {
            return if self.server_names.is_empty() {
                Ok(None)
            } else {
                Err(ConnectorError::permanent("observe.server_names is set but observe.address is not")
                    .hint("e.g. \"address\": \"127.0.0.1:443\""))
            };
        };
        if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            return Err(
                ConnectorError::permanent(format!("observe.address `{address}` is not host:port")).hint("e.g. 127.0.0.1:443 or [::1]:443")
            );
        }
        let names: Vec<_> = if self.server_names.is_empty() { vec![None] } else { self.server_names.iter().cloned().map(Some).collect() };
        let endpoints = names.into_iter().map(|server_name| Endpoint { address: address.clone(), server_name }).collect();
        Ok(Some(self.watch_of(endpoints, chain)))
    }

    /// A watch over endpoints that were found otherwise, as patient as the settings say.
    #[must_use]
    pub fn watch_of(&self, endpoints: Vec<Endpoint>, chain: ChainRule) -> Watch {
        Watch { endpoints, timeout: self.timeout.duration(), attempts: self.attempts, chain }
    }
}

impl Default for ObserveConfig {
    fn default() -> Self {
        Self { enabled: true, address: None, server_names: Vec::new(), timeout: ten_seconds(), attempts: ten() }
    }
}

const fn yes() -> bool {
    true
}

const fn ten() -> u32 {
    10
}

const fn ten_seconds() -> Span {
    Span::seconds(10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(json: serde_json::Value) -> ObserveConfig {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_absent_timeout_is_ten_seconds() {
        let watch = config(json!({"address": "127.0.0.1:443"})).watch(ChainRule::Leaf).unwrap().unwrap();
        assert_eq!((watch.timeout, watch.attempts), (Duration::from_secs(10), 10));
        assert_eq!(watch.endpoints, [Endpoint { address: "127.0.0.1:443".into(), server_name: None }]);
    }

    #[test]
    fn bad_settings_are_refused() {
        for (json, why) in [
            (json!({"address": "127.0.0.1"}), "host:port"),
            (json!({"address": ":443"}), "host:port"),
            (json!({"address": "h:99999"}), "host:port"),
            (json!({"server_names": ["web.example.test"]}), "address is not"),
            (json!({"address": "h:1", "server_names": ["*.example.test"]}), "wildcard"),
            (json!({"address": "h:1", "server_names": ["10.0.0.1"]}), "bad name"),
            (json!({"attempts": 0}), "1 to 60"),
            (json!({"timeout": "2m"}), "60s"),
        ] {
            let error = config(json).watch(ChainRule::Leaf).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(config(json!({})).watch(ChainRule::Leaf).unwrap().is_none());
    }
}
