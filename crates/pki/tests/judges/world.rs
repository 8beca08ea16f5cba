//! A root, an issuing CA and leaves, made with our own code.

use certctl_domain::time::Timestamp;
use certctl_domain::x509::{ExtendedKeyUsage, KeyAlgorithm, SanSet, UriName};
use certctl_pki::authority::{IssueError, IssuingCa, LeafRequest, Publication, RootSpec, SubCaSpec, Validity, random_serial};
use certctl_pki::certificate::Certificate;
use certctl_pki::chain::Chain;
use certctl_pki::dn::{Attribute, Subject};
use certctl_pki::key::PrivateKey;
use certctl_pki::signer::{Signer as _, SoftwareSigner};
use time::Duration;

pub(crate) struct World {
    pub(crate) root_signer: SoftwareSigner,
    pub(crate) root: IssuingCa,
    pub(crate) signer: SoftwareSigner,
    pub(crate) ca: IssuingCa,
}

impl World {
    /// Root and issuing CA with keys of the kind.
    pub(crate) async fn new(algorithm: KeyAlgorithm) -> Self {
        Self::with(algorithm, |_| {}).await
    }

    /// The same with something changed in the issuing CA.
    pub(crate) async fn with(algorithm: KeyAlgorithm, change: impl FnOnce(&mut SubCaSpec)) -> Self {
        let root_signer = SoftwareSigner::new(PrivateKey::generate(algorithm).unwrap());
        let subject = Subject::with_common_name("Test Root").and_then(|s| s.with(Attribute::Organization, "Example")).unwrap();
        let validity = Validity::starting(now(), Duration::days(3650), Validity::DEFAULT_BACKDATE).unwrap();
        let root = RootSpec { subject, validity, serial: random_serial().unwrap(), path_len: None };
        let root = root.self_sign(&root_signer).await.unwrap();
        let root = IssuingCa::load(Chain::new(root, vec![]), &root_signer).unwrap();

        let signer = SoftwareSigner::new(PrivateKey::generate(algorithm).unwrap());
        let mut spec = sub_ca(&signer);
        change(&mut spec);
        let prepared = root.prepare_ca(&spec, now()).unwrap();
        let certificate = root.sign_ca(prepared.body(), &root_signer).await.unwrap();
        let chain = Chain::new(certificate, vec![root.certificate().clone()]);
        let ca = IssuingCa::load(chain, &signer).unwrap();
        Self { root_signer, root, signer, ca }
    }

    pub(crate) fn root_certificate(&self) -> &Certificate {
        self.root.certificate()
    }

    pub(crate) async fn issue(&self, request: &LeafRequest) -> Result<Chain, IssueError> {
        let prepared = self.ca.prepare_leaf(request, now())?;
        let leaf = self.ca.sign_leaf(prepared.body(), &self.signer).await?;
        Ok(self.ca.chain_for(leaf))
    }
}

pub(crate) fn sub_ca(signer: &SoftwareSigner) -> SubCaSpec {
    SubCaSpec {
        subject: Subject::with_common_name("Test Issuing CA").unwrap(),
        key: certctl_pki::public_key::PublicKey::from_spki(signer.public_key_spki()).unwrap(),
        validity: Validity::starting(now(), Duration::days(1825), Validity::DEFAULT_BACKDATE).unwrap(),
        serial: random_serial().unwrap(),
        path_len: 0,
        name_constraints: None,
        publication: Publication::default(),
        policies: vec![],
    }
}

/// A TLS server for these names, the first of which is the common name.
pub(crate) fn leaf(key: &PrivateKey, names: &[&str]) -> LeafRequest {
    LeafRequest {
        key: key.public_key().clone(),
        common_name: names.first().map(|name| (*name).to_owned()),
        organization: None,
        sans: SanSet::parse(names).unwrap(),
        validity: Validity::starting(now(), Duration::days(90), Validity::DEFAULT_BACKDATE).unwrap(),
        usages: vec![ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth],
        must_staple: false,
        publication: Publication::default(),
        policies: vec![],
        serial: random_serial().unwrap(),
    }
}

pub(crate) fn publication() -> Publication {
    let uri = |text| vec![UriName::parse(text).unwrap()];
    Publication { ocsp: uri("http://pki.test/ocsp"), ca_issuers: uri("http://pki.test/ca.cer"), crl: uri("http://pki.test/ca.crl") }
}

/// The one instant at which all of this happens.
pub(crate) fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

/// One algorithm for each kind of signature.
pub(crate) const KINDS: [KeyAlgorithm; 4] =
    [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519];
