//! Records at an acme-dns server: the zone's own `_acme-challenge` name is an alias to there, so its zone need not be writable.

use std::fmt;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_connector_core::egress::{Egress, Method};
use certctl_domain::time::Timestamp;
use serde_json::json;
use url::Url;

use super::{TxtRecord, Writer};
use crate::acme::config::{AcmeConfig, AcmeDnsAccount};

/// An acme-dns server.
pub(super) struct Server<'a> {
    egress: Egress,
    update: Url,
    config: &'a AcmeConfig,
}

impl<'a> Server<'a> {
    pub(super) fn new(config: &'a AcmeConfig) -> Result<Self, ConnectorError> {
        let wrong = || ConnectorError::permanent("acme_dns_url is no https URL").hint("write it as https://acme-dns.example.test");
        let url = config.acme_dns_url.as_deref().and_then(|url| Url::parse(url.trim()).ok()).filter(|url| url.scheme() == "https");
        let mut update = url.ok_or_else(wrong)?;
        update.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().push("update");
        if config.acme_dns_accounts.is_empty() {
            return Err(
                ConnectorError::permanent("acme_dns_accounts has no account").hint("register at the server and give what it answers")
            );
        }
        Ok(Self { egress: config.egress()?, update, config })
    }

    /// The account of the domain itself, of a domain above it, or of all.
    fn account(&self, domain: &str) -> Result<&AcmeDnsAccount, ConnectorError> {
        let above = std::iter::successors(Some(domain), |name| name.split_once('.').map(|(_, parent)| parent));
        above.chain(["*"]).find_map(|name| self.config.acme_dns_accounts.get(name)).ok_or_else(|| {
            ConnectorError::permanent(format!("there is no acme-dns account for {domain}"))
                .hint("register one, point the domain's _acme-challenge name to it, and add it to acme_dns_accounts")
        })
    }
}

impl fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("update", &self.update.as_str()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Writer for Server<'_> {
    async fn add(&self, record: &TxtRecord, _now: Timestamp) -> Result<(), ConnectorError> {
        let account = self.account(&record.domain)?;
        let request = self
            .egress
            .request(Method::POST, &self.update)?
            .header("x-api-user", account.username.as_str())
            .header("x-api-key", account.password.expose().as_str())
            .json(&json!({"subdomain": account.subdomain, "txt": record.value}));
        let answer = self.egress.send(request).await.map_err(|e| e.rephrase(|said| format!("acme-dns: {said}")))?;
        answer.into_success().map(drop).map_err(|e| e.rephrase(|said| format!("acme-dns: {said}")))
    }

    async fn remove(&self, _record: &TxtRecord, _now: Timestamp) -> Result<(), ConnectorError> {
        // The server keeps the two newest texts of an account and forgets by itself.
        Ok(())
    }

    fn narrow_place(&self, domain: &str) -> Result<Option<String>, ConnectorError> {
        self.account(domain).map(|account| Some(account.subdomain.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_account_is_taken_and_no_password_is_shown() {
        let account = |name: &str| json!({"username": name, "password": "hunter2", "subdomain": name});
        let config: AcmeConfig = serde_json::from_value(json!({
            "directory_url": "https://ca.test/dir", "dns": "acme-dns", "acme_dns_url": "https://acme-dns.test",
            "acme_dns_accounts": {"b.test": account("b"), "x.b.test": account("xb")},
        }))
        .unwrap();
        let server = Server::new(&config).unwrap();
        assert_eq!(server.update.as_str(), "https://acme-dns.test/update");
        for (domain, wanted) in [("b.test", "b"), ("y.b.test", "b"), ("z.x.b.test", "xb")] {
            assert_eq!(server.account(domain).unwrap().username, wanted, "{domain}");
        }
        assert!(server.account("c.test").is_err());
        assert!(!format!("{server:?} {config:?}").contains("hunter2"));
    }
}
