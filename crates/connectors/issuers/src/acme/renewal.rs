//! When the CA suggests renewal (RFC 9773).

use certctl_connector_core::ConnectorError;
use certctl_domain::renewal::Window;
use certctl_domain::time::Timestamp;
use certctl_pki::ari;
use certctl_pki::certificate::Certificate;
use certctl_pki::chain::Chain;
use serde::Deserialize;

use super::client::Client;
use super::problem::AcmeError;
use crate::issuer::Suggestion;

/// What the CA suggests for a certificate; `None` when it makes no suggestions, or none for this one.
pub(super) async fn suggestion(client: &Client, certificate: &Certificate) -> Result<Option<Suggestion>, AcmeError> {
    let directory = client.directory().await?;
    let (Some(base), Some(id)) = (&directory.renewal_info, ari::certificate_id(certificate)) else {
        return Ok(None);
    };
    let mut url = base.parsed().clone();
    url.path_segments_mut()
        .map_err(|()| ConnectorError::permanent("the CA's renewalInfo is no URL to build upon"))?
        .pop_if_empty()
        .push(&id);
    let answer = match client.get(&url).await {
        Ok(answer) => answer,
        Err(AcmeError::Refused(problem)) if problem.status() == 404 => return Ok(None),
        Err(error) => return Err(error),
    };
    let info: RenewalInfo = client.parse(&answer, "renewal information")?;
    if let Some(explanation) = &info.explanation_url {
        tracing::info!(serial = %certificate.serial(), explanation, "the CA explains its renewal window");
    }
    let Suggested { start, end } = info.suggested_window;
    if start >= end {
        // RFC 9773 section 4.2: as if there had been no answer, so that what is known from an earlier one stays.
        return Err(ConnectorError::transient("the CA's renewal window ends before it begins").into());
    }
    Ok(Some(Suggestion { window: Window { start, end }, ask_after: answer.retry_after() }))
}

/// By which name the CA knows a certificate as a predecessor.
pub(super) fn identifier(chain_pem: &str) -> Option<String> {
    ari::certificate_id(Chain::parse_pem(chain_pem).ok()?.leaf())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfo {
    suggested_window: Suggested,
    #[serde(rename = "explanationURL")]
    explanation_url: Option<String>,
}

#[derive(Deserialize)]
struct Suggested {
    start: Timestamp,
    end: Timestamp,
}
