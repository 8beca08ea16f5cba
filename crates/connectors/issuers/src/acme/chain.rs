//! Fetching the certificate (RFC 8555 section 7.4.2), and choosing among the chains that the CA offers.

use certctl_connector_core::ConnectorError;
use certctl_connector_core::egress::Answer;
use certctl_pki::chain::Chain;

use super::account::Account;
use super::client::Client;
use super::problem::AcmeError;
use super::url::Url;

/// The chain that leads to the wanted root, else the one that the CA gives first.
pub(super) async fn fetch(client: &Client, account: &Account, url: &Url, wanted_root: Option<&str>) -> Result<Chain, AcmeError> {
    let answer = client.post(account.signer(), url, None).await?;
    let first = parse(&answer)?;
    let Some(root) = wanted_root.filter(|root| !leads_to(&first, root)) else {
        return Ok(first);
    };
    for url in alternates(&answer, url) {
        let other = parse(&client.post(account.signer(), &url, None).await?)?;
        // Another chain for the same certificate, or it is no alternative.
        if leads_to(&other, root) && other.leaf().der() == first.leaf().der() {
            return Ok(other);
        }
    }
    tracing::warn!(root, "the CA offers no chain to the preferred root; its first one is taken");
    Ok(first)
}

fn parse(answer: &Answer) -> Result<Chain, ConnectorError> {
    let text = std::str::from_utf8(&answer.body).unwrap_or_default();
    // RFC 8555 section 11.4: a chain with anything but certificates is refused as a whole, lest a key that somebody else knows be taken in.
    if text.lines().any(|line| line.contains("-----BEGIN") && line.trim() != "-----BEGIN CERTIFICATE-----") {
        return Err(ConnectorError::transient("the CA's certificate chain has something in it that is no certificate"));
    }
    Chain::parse_pem(text).map_err(|e| ConnectorError::transient("the CA's answer is no certificate chain").caused_by(e))
}

/// A chain leads to a root when the root is in it, or is the issuer of its last certificate.
fn leads_to(chain: &Chain, root: &str) -> bool {
    chain.iter().last().is_some_and(|last| last.issuer_common_name().as_deref() == Some(root) || last.common_name() == Some(root))
}

/// The `Link` fields of relation `alternate` (RFC 8288).
fn alternates(answer: &Answer, base: &Url) -> Vec<Url> {
    let fields = answer.headers.get_all("link").iter().filter_map(|value| value.to_str().ok());
    let links = fields.flat_map(|field| field.split(',')).filter_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let alternate = parameters.split(';').any(|p| p.trim().trim_start_matches("rel=").trim_matches('"') == "alternate");
        alternate.then(|| base.join(target).ok()).flatten()
    });
    links.collect()
}

#[cfg(test)]
mod tests {
    use certctl_connector_core::egress::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn a_chain_with_anything_but_certificates_is_refused() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let read = |text: String| parse(&Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: text.into_bytes() });
        assert_eq!(read(certificate.repeat(2)).unwrap().iter().count(), 2);
        assert!(read(certificate.replace('\n', "\r\n")).is_ok());
        let lower = key.to_lowercase().replace("begin", "BEGIN");
        for text in [format!("{certificate}{key}"), format!("{key}{certificate}"), format!("{certificate}{lower}")] {
            assert!(read(text).unwrap_err().to_string().contains("no certificate"));
        }
    }

    #[test]
    fn a_root_is_found_by_its_whole_name() {
        let name = "Example, Inc. + \"Root\" CN=x";
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let root = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a.test");
        let leaf = params.signed_by(&rcgen::KeyPair::generate().unwrap(), &root).unwrap();
        let chain = Chain::parse_pem(&leaf.pem()).unwrap();
        assert!(leads_to(&chain, name) && leads_to(&chain, "a.test"));
        for other in ["Example", "x", "Inc.", ""] {
            assert!(!leads_to(&chain, other), "{other}");
        }
    }

    #[test]
    fn alternate_links_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append("link", r#"<https://ca.test/dir>;rel="index", </cert/1/1>; rel="alternate""#.parse().unwrap());
        headers.append("link", r#"<https://ca.test/cert/1/2>;rel=alternate"#.parse().unwrap());
        let answer = Answer { status: StatusCode::OK, headers, body: Vec::new() };
        let found: Vec<String> =
            alternates(&answer, &Url::parse("https://ca.test/cert/1").unwrap()).into_iter().map(String::from).collect();
        assert_eq!(found, ["https://ca.test/cert/1/1", "https://ca.test/cert/1/2"]);
    }
}
