//! The built-in CA: founded once and kept, or an imported sub-CA. Keys are signed through a [`Signer`], so that an HSM fits behind it.

use std::sync::Arc;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_connector_core::registry::Connector;
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{KeyAlgorithm, Serial, UriName};
use certctl_pki::authority::{IssueError, IssuingCa, LeafRequest, Publication, RootSpec, SubCaSpec, Validity, random_serial};
use certctl_pki::certificate::Certificate;
use certctl_pki::chain::Chain;
use certctl_pki::dn::{Attribute, Subject};
use certctl_pki::key::PrivateKey;
use certctl_pki::public_key::PublicKey;
use certctl_pki::signer::{SignError, Signer, SoftwareSigner};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::issuer::{Founded, Held, Issued, Issuer, Order, Outcome, Prepared, Renewed, Revocation};

/// Settings of the built-in CA.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// Common name of the CA that issues; the root's has ` Root` behind it.
    #[serde(default = "common_name")]
    pub ca_common_name: String,
    /// Organization in the CAs' subjects.
    #[serde(default)]
    pub organization: Option<String>,
    /// Key of the CAs: ECDSA-P256, ECDSA-P384, Ed25519, RSA-2048, RSA-3072 or RSA-4096.
    #[serde(default = "key_algorithm")]
    #[schemars(with = "String")]
    pub key_algorithm: KeyAlgorithm,
    /// Life of a certificate in days, unless its profile allows less.
    #[serde(default = "validity_days")]
    #[schemars(range(min = 1, max = 3650))]
    pub validity_days: i64,
    /// How far the start of validity lies in the past, in seconds, for clients whose clocks run late.
    #[serde(default = "backdate_seconds")]
    #[schemars(range(min = 0, max = 86400))]
    pub backdate_seconds: i64,
    /// Life of the CA that issues, in days.
    #[serde(default = "ca_validity_days")]
    #[schemars(range(min = 1, max = 36500))]
    pub ca_validity_days: i64,
    /// Life of the root, in days.
    #[serde(default = "root_validity_days")]
    #[schemars(range(min = 1, max = 36500))]
    pub root_validity_days: i64,
    /// An imported CA: its certificate and those above it, in PEM. Given together with its key.
    #[serde(default)]
    pub ca_certificate_pem: Option<String>,
    /// The key of an imported CA, in PEM.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub ca_key_pem: Option<Secret<String>>,
    /// CRL distribution points written into certificates, beside the installation's own.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub crl_distribution_point_urls: Vec<String>,
    /// OCSP responders written into certificates, beside the installation's own.
    #[serde(default)]
    pub ocsp_urls: Vec<String>,
    /// Where the CA certificate can be fetched, written into certificates, beside the installation's own.
    #[serde(default)]
    pub ca_issuers_urls: Vec<String>,
}

/// The built-in CA.
#[derive(Debug)]
pub struct LocalCa {
    config: LocalConfig,
    publication: Publication,
    held: Option<(IssuingCa, Arc<SoftwareSigner>)>,
}

impl Connector for LocalCa {
    const KIND: &'static str = "GenericCA";
    const SUMMARY: &'static str = "the built-in CA: founded once and kept, or an imported sub-CA";
    type Config = LocalConfig;

    fn build(config: LocalConfig) -> Result<Self, ConnectorError> {
        let fine = |name: &str, value: i64, low: i64, high: i64| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(ConnectorError::permanent(format!("{name} is from {low} to {high}"))) }
        };
        fine("validity_days", config.validity_days, 1, 3_650)?;
        fine("backdate_seconds", config.backdate_seconds, 0, 86_400)?;
        fine("ca_validity_days", config.ca_validity_days, 1, 36_500)?;
        fine("root_validity_days", config.root_validity_days, 1, 36_500)?;
        if config.ca_certificate_pem.is_some() != config.ca_key_pem.is_some() {
            return Err(ConnectorError::permanent("ca_certificate_pem and ca_key_pem are given together, or neither"));
        }
        subject(&config, "")?;
        let urls = |name: &str, urls: &[String]| {
            urls.iter()
                .map(|url| UriName::parse(url).map_err(|e| ConnectorError::permanent(format!("{name}: {e}"))))
                .collect::<Result<Vec<_>, _>>()
        };
        let publication = Publication {
            ocsp: urls("ocsp_urls", &config.ocsp_urls)?,
            ca_issuers: urls("ca_issuers_urls", &config.ca_issuers_urls)?,
            crl: urls("crl_distribution_point_urls", &config.crl_distribution_point_urls)?,
        };
        Ok(Self { config, publication, held: None })
    }
}

#[async_trait]
impl Issuer for LocalCa {
    fn keeps_authority(&self) -> bool {
        true
    }

    fn check(&self, held: Option<&str>, now: Timestamp) -> Result<(), ConnectorError> {
        let (Some(chain_pem), Some(key_pem)) = (&self.config.ca_certificate_pem, &self.config.ca_key_pem) else {
            return Ok(());
        };
        match held {
            None => import(chain_pem, key_pem, now).map(drop),
            Some(held) if held == chain_pem => Ok(()),
            // What it signed is revoked and renewed under the CA that is held; exchanging that would leave it without one.
            Some(held) if !is_same_ca(held, chain_pem) => Err(ConnectorError::permanent("the CA of an issuer cannot be exchanged")
                .hint("a new certificate of the same CA, with its name and key, is taken; for another CA, make another issuer")),
            Some(_) => import(chain_pem, key_pem, now).map(drop),
        }
    }

    fn imports(&self) -> Option<&str> {
        self.config.ca_certificate_pem.as_deref()
    }

    async fn found(&self, now: Timestamp) -> Result<Founded, ConnectorError> {
        if let (Some(chain_pem), Some(key_pem)) = (&self.config.ca_certificate_pem, &self.config.ca_key_pem) {
            return import(chain_pem, key_pem, now);
        }
        let generate =
            || PrivateKey::generate(self.config.key_algorithm).map(SoftwareSigner::new).map_err(|e| failed("a CA key cannot be made", e));
        let root_signer = generate()?;
        let issuing_signer = generate()?;
        let validity = |days: i64| life_of_ca(days, now);
        let root = RootSpec {
            subject: subject(&self.config, " Root")?,
            validity: validity(self.config.root_validity_days)?,
            serial: new_serial()?,
            path_len: None,
        }
        .self_sign(&root_signer)
        .await
        .map_err(|e| refused(&e))?;
        let root_ca = root_ca(&root, &root_signer)?;
        let spec = SubCaSpec {
            subject: subject(&self.config, "")?,
            key: PublicKey::from_spki(issuing_signer.public_key_spki()).map_err(|e| failed("the new CA's key cannot be read", e))?,
            validity: validity(self.config.ca_validity_days)?,
            serial: new_serial()?,
            path_len: 0,
            name_constraints: None,
            publication: Publication::default(),
            policies: Vec::new(),
        };
        let prepared = root_ca.prepare_ca(&spec, now).map_err(|e| refused(&e))?;
        let issuing = root_ca.sign_ca(prepared.body(), &root_signer).await.map_err(|e| refused(&e))?;
        let held = |chain: &Chain, signer: &SoftwareSigner| -> Result<Held, ConnectorError> {
            let key_pem = signer.key().to_pkcs8_pem().map_err(|e| failed("the CA key cannot be written", e))?;
            Ok(Held { chain_pem: chain.to_pem(), key_pem })
        };
        Ok(Founded {
            root: Some(held(&Chain::new(root.clone(), Vec::new()), &root_signer)?),
            issuing: held(&Chain::new(issuing, vec![root]), &issuing_signer)?,
        })
    }

    async fn renew_authority(&self, root: Option<&Held>, now: Timestamp) -> Result<Option<Renewed>, ConnectorError> {
        let own = self.held()?.0.certificate();
        let wanted = life_of_ca(self.config.ca_validity_days, now)?;
        let Some(root) = root.filter(|_| self.is_renewal_due(own, now) && wanted.not_after() > own.not_after()) else {
            return Ok(None);
        };
        let signer = signer_of(root)?;
        let old = Certificate::parse_pem(&root.chain_pem).map_err(|e| failed("the root that is kept cannot be read", e))?;
        let mut above = root_ca(&old, &signer)?;
        // A root that would cut the new CA short is renewed with it: relying parties have the old one's last years to take up the new one.
        let life_of_root = life_of_ca(self.config.root_validity_days, now)?;
        let root_too = old.not_after() < wanted.not_after() && old.not_after() < life_of_root.not_after();
        if root_too {
            let renewed = above.recertify(&old, (life_of_root, &new_serial()?), now, &signer).await.map_err(|e| refused(&e))?;
            above = root_ca(&renewed, &signer)?;
        }
        let issuing = above.recertify(own, (wanted, &new_serial()?), now, &signer).await.map_err(|e| refused(&e))?;
        if issuing.not_after() <= own.not_after() {
            return Ok(None);
        }
        let root = above.certificate();
        Ok(Some(Renewed { root: root_too.then(|| root.to_pem()), issuing: Chain::new(issuing, vec![root.clone()]).to_pem() }))
    }

    fn hold(&mut self, held: &Held) -> Result<(), ConnectorError> {
        let signer = signer_of(held)?;
        let chain = Chain::parse_pem(&held.chain_pem).map_err(|e| failed("the CA certificate that is kept cannot be read", e))?;
        let ca = IssuingCa::load(chain, &signer).map_err(|e| failed("the CA that is kept cannot sign", e))?;
        self.held = Some((ca, Arc::new(signer)));
        Ok(())
    }

    fn prepare(&self, order: &Order, now: Timestamp) -> Result<Option<Prepared>, ConnectorError> {
        let (ca, _) = self.held()?;
        let life = order.request.max_ttl().unwrap_or(time::Duration::MAX).min(time::Duration::days(self.config.validity_days));
        // A backdate as long as the life itself would make a short-lived certificate start with half of it gone.
        let backdate = time::Duration::seconds(self.config.backdate_seconds).min(life / 4);
        let validity = Validity::starting(now, life, backdate).map_err(|e| failed("the certificate's life is not possible", e))?;
        let mut publication = order.publication.clone();
        publication.ocsp.extend(self.publication.ocsp.iter().cloned());
        publication.ca_issuers.extend(self.publication.ca_issuers.iter().cloned());
        publication.crl.extend(self.publication.crl.iter().cloned());
        let request = LeafRequest {
            key: PublicKey::from_spki(order.csr.spki()).map_err(|e| failed("the CSR's key cannot be read", e))?,
            common_name: order.request.common_name().map(str::to_owned),
            organization: None,
            sans: order.request.sans().clone(),
            validity,
            usages: order.request.ekus().to_vec(),
            must_staple: order.request.must_staple(),
            publication,
            policies: Vec::new(),
            serial: new_serial()?,
        };
        let prepared = ca.prepare_leaf(&request, now).map_err(|e| refused(&e))?;
        Ok(Some(Prepared { serial: prepared.serial().clone(), tbs: prepared.body().to_vec() }))
    }

    async fn issue(
        &self,
        _order: &Order,
        prepared: Option<&[u8]>,
        _ticket: Option<&Value>,
        _now: Timestamp,
    ) -> Result<Outcome, ConnectorError> {
        let (ca, signer) = self.held()?;
        let body = prepared.ok_or_else(|| ConnectorError::permanent("nothing was prepared to be signed"))?;
        let leaf = ca.sign_leaf(body, signer.as_ref()).await.map_err(|e| refused(&e))?;
        Ok(Outcome::Ready(Issued { chain_pem: ca.chain_for(leaf).to_pem(), issuer_ref: Map::new(), ari: None }))
    }

    async fn revoke(&self, _revocation: &Revocation) -> Result<(), ConnectorError> {
        // The truth about this CA's certificates is the table of revocations; there is nobody else to tell.
        Ok(())
    }

    async fn authorities(&self) -> Result<String, ConnectorError> {
        Ok(self.held()?.0.chain().to_pem())
    }

    async fn test(&self, now: Timestamp) -> Result<String, ConnectorError> {
        let (ca, signer) = self.held()?;
        let own: &Certificate = ca.certificate();
        if !own.is_valid_at(now) {
            return Err(ConnectorError::permanent(format!(
                "the CA certificate {} is not valid now: {} to {}",
                own.subject(),
                own.not_before(),
                own.not_after()
            ))
            .hint("renew the CA"));
        }
        signer.sign(b"certctl issuer test").await.map_err(|e| sign_failed(&e))?;
        Ok(format!("{} can sign until {}", own.subject(), own.not_after()))
    }
}

impl LocalCa {
    fn held(&self) -> Result<(&IssuingCa, &Arc<SoftwareSigner>), ConnectorError> {
        self.held.as_ref().map(|(ca, signer)| (ca, signer)).ok_or_else(|| ConnectorError::transient("the CA is not founded yet"))
    }

    /// Whether a fifth of the CA's life is left, or no more than what a certificate of it lives; not in the first half of its life.
    fn is_renewal_due(&self, ca: &Certificate, now: Timestamp) -> bool {
        let life = ca.not_before().until(ca.not_after());
        let lead = time::Duration::days(self.config.validity_days).max(life / 5).min(life / 2);
        now >= ca.not_after().saturating_sub(lead)
    }
}

/// Whether two chains begin with certificates of the same CA: of one name and one key.
fn is_same_ca(one: &str, other: &str) -> bool {
    let read = |pem| Certificate::parse_pem(pem).ok().map(|ca| (ca.subject_der().to_vec(), ca.spki().to_vec()));
    read(one).is_some_and(|one| Some(one) == read(other))
}

fn life_of_ca(days: i64, now: Timestamp) -> Result<Validity, ConnectorError> {
    Validity::starting(now, time::Duration::days(days), Validity::DEFAULT_BACKDATE).map_err(|e| failed("the CA's life is not possible", e))
}

fn new_serial() -> Result<Serial, ConnectorError> {
    random_serial().map_err(|e| failed("no serial number can be made", e))
}

fn signer_of(held: &Held) -> Result<SoftwareSigner, ConnectorError> {
    let key = PrivateKey::from_pem(held.key_pem.expose()).map_err(|e| failed("the CA key that is kept cannot be read", e))?;
    Ok(SoftwareSigner::new(key))
}

fn root_ca(root: &Certificate, signer: &SoftwareSigner) -> Result<IssuingCa, ConnectorError> {
    IssuingCa::load(Chain::new(root.clone(), Vec::new()), signer).map_err(|e| failed("the root cannot sign", e))
}

fn import(chain_pem: &str, key_pem: &Secret<String>, now: Timestamp) -> Result<Founded, ConnectorError> {
    let key = PrivateKey::from_pem(key_pem.expose()).map_err(|e| failed("ca_key_pem cannot be read", e))?;
    IssuingCa::import(chain_pem, &key, now).map_err(|e| {
        ConnectorError::permanent(format!("the CA cannot be imported: {}", with_causes(&e)))
            .hint("give the CA certificate first, then those above it, and the key that belongs to it")
    })?;
    let key_pem = key.to_pkcs8_pem().map_err(|e| failed("the CA key cannot be written", e))?;
    Ok(Founded { root: None, issuing: Held { chain_pem: chain_pem.to_owned(), key_pem } })
}

fn subject(config: &LocalConfig, suffix: &str) -> Result<Subject, ConnectorError> {
    let wrong = |e: certctl_pki::dn::InvalidSubject| ConnectorError::permanent(format!("the CA's subject is not possible: {e}"));
    let subject = Subject::with_common_name(&format!("{}{suffix}", config.ca_common_name)).map_err(wrong)?;
    match &config.organization {
        Some(organization) => subject.with(Attribute::Organization, organization).map_err(wrong),
        None => Ok(subject),
    }
}

fn failed(what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> ConnectorError {
    ConnectorError::permanent(format!("{what}: {}", with_causes(&cause)))
}

/// An error with what led to it: none of these holds a secret, and people need the last one.
fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn sign_failed(error: &SignError) -> ConnectorError {
    match error {
        SignError::Unavailable(_) => ConnectorError::transient(error.to_string()),
        SignError::Refused(_) => ConnectorError::permanent(error.to_string()),
    }
}

fn refused(error: &IssueError) -> ConnectorError {
    match error {
        IssueError::Sign(sign) => sign_failed(sign),
        other => ConnectorError::permanent(with_causes(other)),
    }
}

fn common_name() -> String {
    "certctl Local CA".to_owned()
}
const fn key_algorithm() -> KeyAlgorithm {
    KeyAlgorithm::EcdsaP256
}
const fn validity_days() -> i64 {
    90
}
const fn backdate_seconds() -> i64 {
    300
}
const fn ca_validity_days() -> i64 {
    1_825
}
const fn root_validity_days() -> i64 {
    3_650
}
