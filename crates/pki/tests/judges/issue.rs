//! What the CA issues, before openssl and webpki.

use certctl_domain::x509::{ExtendedKeyUsage, KeyAlgorithm, San, SanSet};
use certctl_pki::authority::{IssueError, IssuingCa, LeafRequest, Publication, Validity, random_serial};
use certctl_pki::certificate::Certificate;
use certctl_pki::chain::Chain;
use certctl_pki::constraints::NameConstraints;
use certctl_pki::key::PrivateKey;
use certctl_pki::lint::{Expected, Role, Rule, check_issued, check_structure};
use certctl_pki::pem;
use certctl_pki::signer::SoftwareSigner;
use certctl_pki::verify::{Purpose, pair_matches, verify_chain, verify_name};
use time::Duration;

use crate::openssl::Openssl;
use crate::world::{KINDS, World, leaf, now, publication, sub_ca};

/// Each kind of CA key with each kind of leaf key.
#[tokio::test]
async fn every_judge_accepts_every_kind() {
    let openssl = Openssl::new();
    for ca_algorithm in KINDS {
        let world = World::new(ca_algorithm).await;
        openssl.put("root.pem", &world.root_certificate().to_pem());
        for leaf_algorithm in KINDS {
            let case = format!("{leaf_algorithm} under {ca_algorithm}");
            let key = PrivateKey::generate(leaf_algorithm).unwrap();
            let request = LeafRequest { publication: publication(), ..leaf(&key, &["web.test", "*.web.test", "10.0.0.1"]) };
            let chain = world.issue(&request).await.unwrap();

            openssl.put("leaf.pem", &chain.leaf().to_pem());
            openssl.put("sub.pem", &chain.intermediates_pem());
            let at = now().unix_seconds();
            for purpose in ["sslserver", "sslclient"] {
                openssl.run(&format!(
                    "verify -x509_strict -attime {at} -purpose {purpose} -verify_hostname a.web.test -CAfile root.pem -untrusted sub.pem leaf.pem"
                ));
            }
            let roots = [world.root_certificate().clone()];
            for purpose in [Purpose::Server, Purpose::Client] {
                verify_chain(&chain, &roots, now(), purpose).unwrap_or_else(|error| panic!("{case}: {error}"));
            }
            for name in ["web.test", "b.web.test", "10.0.0.1"] {
                verify_name(chain.leaf(), &San::parse(name).unwrap()).unwrap();
            }
            assert!(verify_name(chain.leaf(), &San::parse("other.test").unwrap()).is_err());
            pair_matches(&chain.to_pem(), key.to_pkcs8_pem().unwrap().expose()).unwrap();
            check_structure(chain.leaf().der(), Role::Leaf).unwrap();
            let expected = Expected {
                spki: key.spki(),
                sans: &request.sans,
                common_name: Some("web.test"),
                usages: &request.usages,
                not_after_max: Some(request.validity.not_after()),
                now: now(),
            };
            check_issued(&chain, &expected).unwrap();
        }
    }
}

#[tokio::test]
async fn openssl_shows_what_was_asked_for() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let openssl = Openssl::new();
    let key = PrivateKey::generate(KeyAlgorithm::Rsa2048).unwrap();
    let names = ["Web.Test", "z.test", "a.test", "::1", "192.0.2.7", "ops@web.test", "spiffe://td/web"];
    let request = LeafRequest {
        publication: publication(),
        must_staple: true,
        organization: Some("Example".to_owned()),
        policies: vec!["2.23.140.1.2.1".parse().unwrap()],
        ..leaf(&key, &names)
    };
    let chain = world.issue(&request).await.unwrap();
    openssl.put("leaf.pem", &chain.leaf().to_pem());
    let text: Vec<String> = openssl.run("x509 -in leaf.pem -noout -text").lines().map(|line| line.trim().to_owned()).collect();
    let after = |title: &str| -> &str {
        let at = text.iter().position(|line| line == title).unwrap_or_else(|| panic!("no `{title}` in {text:#?}"));
        &text[at + 1]
    };
    assert!(text.contains(&"Version: 3 (0x2)".to_owned()) && text.contains(&"Subject: O = Example, CN = web.test".to_owned()), "{text:#?}");
    assert!(
        text.contains(&"Not Before: Nov 25 11:55:00 2026 GMT".to_owned())
            && text.contains(&"Not After : Feb 23 12:00:00 2027 GMT".to_owned())
    );
    assert_eq!(after("X509v3 Key Usage: critical"), "Digital Signature, Key Encipherment");
    assert_eq!(after("X509v3 Extended Key Usage:"), "TLS Web Server Authentication, TLS Web Client Authentication");
    assert_eq!(after("X509v3 Basic Constraints: critical"), "CA:FALSE");
    assert_eq!(
        after("X509v3 Subject Alternative Name:"),
        "DNS:a.test, DNS:web.test, DNS:z.test, IP Address:192.0.2.7, IP Address:0:0:0:0:0:0:0:1, email:ops@web.test, URI:spiffe://td/web"
    );
    assert_eq!(after("Authority Information Access:"), "OCSP - URI:http://pki.test/ocsp");
    assert!(
        text.contains(&"CA Issuers - URI:http://pki.test/ca.cer".to_owned()) && text.contains(&"URI:http://pki.test/ca.crl".to_owned())
    );
    assert_eq!(after("X509v3 Certificate Policies:"), "Policy: 2.23.140.1.2.1");
    assert_eq!(after("TLS Feature:"), "status_request");
    let ca_key_id = hex_colons(&world.ca.certificate().subject_key_id().unwrap());
    assert!(after("X509v3 Authority Key Identifier:").ends_with(&ca_key_id));
    assert_eq!(after("X509v3 Subject Key Identifier:"), hex_colons(&key.public_key().key_id()));
    assert_eq!(openssl.run("x509 -in leaf.pem -noout -serial").trim().to_lowercase(), format!("serial={}", chain.leaf().serial()));
    let fingerprint = openssl.run("x509 -in leaf.pem -noout -fingerprint -sha256").trim().replace(':', "").to_lowercase();
    assert!(fingerprint.ends_with(chain.leaf().fingerprint().as_str()), "{fingerprint}");
    // RFC 7633: SEQUENCE of the INTEGER 5, not critical.
    assert!(chain.leaf().der().windows(17).any(|w| w == [6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 24, 4, 5, 0x30, 3, 2, 1, 5]));
}

#[tokio::test]
async fn key_usage_follows_key_and_purpose() {
    use ExtendedKeyUsage::{ClientAuth, CodeSigning, EmailProtection, ServerAuth, TimeStamping};
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let openssl = Openssl::new();
    for (algorithm, usages, wanted) in [
        (KeyAlgorithm::Rsa2048, vec![ServerAuth], "Digital Signature, Key Encipherment"),
        (KeyAlgorithm::Rsa2048, vec![ClientAuth, ServerAuth, ClientAuth], "Digital Signature, Key Encipherment"),
        (KeyAlgorithm::Rsa2048, vec![CodeSigning], "Digital Signature"),
        (KeyAlgorithm::Rsa2048, vec![EmailProtection], "Digital Signature, Non Repudiation"),
        (KeyAlgorithm::EcdsaP256, vec![ServerAuth, ClientAuth], "Digital Signature"),
        (KeyAlgorithm::EcdsaP384, vec![EmailProtection, ClientAuth], "Digital Signature, Non Repudiation"),
        (KeyAlgorithm::Ed25519, vec![ServerAuth], "Digital Signature"),
        (KeyAlgorithm::EcdsaP256, vec![TimeStamping], "Digital Signature"),
    ] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let request = LeafRequest { usages: usages.clone(), ..leaf(&key, &["web.test"]) };
        let chain = world.issue(&request).await.unwrap();
        openssl.put("leaf.pem", &chain.leaf().to_pem());
        let text = openssl.run("x509 -in leaf.pem -noout -ext keyUsage,extendedKeyUsage");
        assert!(text.contains(&format!("X509v3 Key Usage: critical\n    {wanted}\n")), "{usages:?}: {text}");
        assert_eq!(text.contains("Extended Key Usage: critical"), usages == [TimeStamping], "{text}");
    }
}

#[tokio::test]
async fn an_empty_subject_makes_the_names_critical() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let chain = world.issue(&LeafRequest { common_name: None, ..leaf(&key, &["spiffe://td/web"]) }).await.unwrap();
    assert_eq!((chain.leaf().subject(), chain.leaf().common_name()), ("", None));
    let openssl = Openssl::new();
    openssl.put("leaf.pem", &chain.leaf().to_pem());
    let text = openssl.run("x509 -in leaf.pem -noout -ext subjectAltName");
    assert!(text.contains("critical\n    URI:spiffe://td/web"), "{text}");
}

#[tokio::test]
async fn the_common_name_becomes_a_name() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let of = |common_name: &str, sans: &[&str]| LeafRequest {
        common_name: Some(common_name.to_owned()),
        sans: SanSet::parse(sans).unwrap(),
        ..leaf(&key, &[])
    };
    let chain = world.issue(&of("B\u{fc}cher.Example", &["a.test"])).await.unwrap();
    assert_eq!(chain.leaf().common_name(), Some("xn--bcher-kva.example"));
    assert_eq!(chain.leaf().sans(), SanSet::parse(["a.test", "xn--bcher-kva.example"]).unwrap().iter().cloned().collect::<Vec<_>>());

    assert!(matches!(world.issue(&of("Alice Smith", &["a.test"])).await, Err(IssueError::CommonName(_))));
    let long = format!("{0}.{0}.test", "a".repeat(40));
    assert!(matches!(world.issue(&of(&long, &[])).await, Err(IssueError::Subject(_))));
}

#[tokio::test]
async fn unsound_requests_are_refused() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let good = || leaf(&key, &["web.test"]);
    macro_rules! refused {
        ($request:expr, $pattern:pat) => {{
            let error = world.issue(&$request).await.unwrap_err();
            assert!(matches!(error, $pattern), "{error:?}");
            assert!(error.to_string().len() > 10);
        }};
    }
    refused!(LeafRequest { common_name: None, sans: SanSet::default(), ..good() }, IssueError::NoNames);
    refused!(LeafRequest { usages: vec![], ..good() }, IssueError::NoUsages);
    refused!(LeafRequest { must_staple: true, ..good() }, IssueError::MustStapleWithoutOcsp);
    refused!(LeafRequest { organization: Some(String::new()), ..good() }, IssueError::Subject(_));
    let mixed = vec![ExtendedKeyUsage::TimeStamping, ExtendedKeyUsage::ServerAuth];
    refused!(LeafRequest { usages: mixed, ..good() }, IssueError::TimeStampingNotAlone);
    let past = Validity::new("2020-01-01T00:00:00Z".parse().unwrap(), "2021-01-01T00:00:00Z".parse().unwrap()).unwrap();
    refused!(LeafRequest { validity: past, ..good() }, IssueError::Validity(_));
    let spiffe = certctl_domain::x509::UriName::parse("spiffe://td/x").unwrap();
    refused!(LeafRequest { publication: Publication { crl: vec![spiffe], ..Default::default() }, ..good() }, IssueError::PublicationUri(_));
}

#[tokio::test]
async fn no_leaf_outlives_its_ca() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::starting(now(), Duration::days(4000), Duration::days(4000)).unwrap();
    let prepared = world.ca.prepare_leaf(&LeafRequest { validity, ..leaf(&key, &["web.test"]) }, now()).unwrap();
    let ca = world.ca.certificate();
    assert_eq!((prepared.validity().not_before(), prepared.validity().not_after()), (ca.not_before(), ca.not_after()));

    for (at, wanted) in [(ca.not_after(), "expired"), (ca.not_before().saturating_sub(Duration::SECOND), "valid only from")] {
        let error = world.ca.prepare_leaf(&leaf(&key, &["web.test"]), at).unwrap_err();
        assert!(error.to_string().contains(wanted) && error.hint().is_some(), "{error}");
    }
}

#[tokio::test]
async fn times_from_2050_are_written_with_four_digits() {
    let openssl = Openssl::new();
    let world = World::with(KeyAlgorithm::EcdsaP256, |spec| {
        spec.validity = Validity::starting(now(), Duration::days(36_500), Duration::ZERO).unwrap();
    })
    .await;
    // The root of the world ends before 2050 and cuts what is below it; take one that does not.
    let signer = SoftwareSigner::new(PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let validity = Validity::starting(now(), Duration::days(36_500), Duration::ZERO).unwrap();
    let subject = certctl_pki::dn::Subject::with_common_name("Long Root").unwrap();
    let root = certctl_pki::authority::RootSpec { subject, validity, serial: random_serial().unwrap(), path_len: Some(1) };
    let root = root.self_sign(&signer).await.unwrap();
    let ca = IssuingCa::load(Chain::new(root.clone(), vec![]), &signer).unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let prepared = ca.prepare_leaf(&LeafRequest { validity, ..leaf(&key, &["web.test"]) }, now()).unwrap();
    let long = ca.sign_leaf(prepared.body(), &signer).await.unwrap();

    openssl.put("long.pem", &long.to_pem());
    openssl.put("short.pem", &world.ca.certificate().to_pem());
    let kinds = |file: &str| -> Vec<&str> {
        let parsed = openssl.run(&format!("asn1parse -in {file}"));
        parsed.lines().filter_map(|line| ["UTCTIME", "GENERALIZEDTIME"].into_iter().find(|kind| line.contains(kind))).collect()
    };
    assert_eq!(kinds("long.pem"), ["UTCTIME", "GENERALIZEDTIME"]);
    assert_eq!(kinds("short.pem"), ["UTCTIME", "UTCTIME"]);
    assert_eq!(ca.root(), Some(&root));
    assert_eq!(ca.chain_for(long).intermediates(), []);
}

#[tokio::test]
async fn the_same_request_gives_the_same_bytes_and_stored_bytes_can_be_signed_later() {
    let world = World::new(KeyAlgorithm::Rsa2048).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let request = leaf(&key, &["web.test", "a.test"]);
    let stored = world.ca.prepare_leaf(&request, now()).unwrap();
    let again = world.ca.prepare_leaf(&request, now().saturating_add(Duration::HOUR)).unwrap();
    assert_eq!(stored, again);

    let reloaded = IssuingCa::load(world.ca.chain().clone(), &world.signer).unwrap();
    let one = world.ca.sign_leaf(stored.body(), &world.signer).await.unwrap();
    let two = reloaded.sign_leaf(stored.body(), &world.signer).await.unwrap();
    assert_eq!(one, two, "PKCS #1 v1.5 signatures are deterministic");
    assert_eq!(one.serial(), stored.serial());
}

#[tokio::test]
async fn stored_bytes_that_were_changed_are_not_signed() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let other = World::new(KeyAlgorithm::EcdsaP256).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let prepared = world.ca.prepare_leaf(&leaf(&key, &["web.test"]), now()).unwrap();

    let error = world.ca.sign_leaf(b"junk", &world.signer).await.unwrap_err();
    assert!(matches!(error, IssueError::NotOurs(_)), "{error:?}");
    let error = world.root.sign_leaf(prepared.body(), &world.root_signer).await.unwrap_err();
    assert!(matches!(error, IssueError::NotOurs(_)), "{error:?}");
    let error = world.ca.sign_leaf(prepared.body(), &other.signer).await.unwrap_err();
    assert!(matches!(error, IssueError::OtherSigner(_)), "{error:?}");

    // A CA certificate is never signed as a leaf, nor a leaf as a CA certificate.
    let below = SoftwareSigner::new(PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let sub = world.root.prepare_ca(&sub_ca(&below), now()).unwrap();
    let error = world.root.sign_leaf(sub.body(), &world.root_signer).await.unwrap_err();
    assert!(matches!(&error, IssueError::Lint(findings) if findings.iter().any(|f| f.rule() == Rule::LeafIsCa)), "{error:?}");
    let error = world.ca.sign_ca(prepared.body(), &world.signer).await.unwrap_err();
    assert!(matches!(&error, IssueError::Lint(_)), "{error:?}");

    // keyUsage digitalSignature, turned into keyCertSign and cRLSign by one byte.
    let mut changed = prepared.body().to_vec();
    let at = changed.windows(9).position(|w| w == [0x55, 0x1d, 0x0f, 1, 1, 0xff, 4, 4, 3]).unwrap() + 11;
    assert_eq!(changed[at], 0x80);
    changed[at - 1] = 1;
    changed[at] = 6;
    let error = world.ca.sign_leaf(&changed, &world.signer).await.unwrap_err();
    assert!(matches!(&error, IssueError::Lint(findings) if findings.iter().all(|f| f.rule() == Rule::KeyUsage)), "{error:?}");
}

#[tokio::test]
async fn no_bit_of_a_certificate_can_be_changed() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let chain = world.issue(&leaf(&key, &["web.test"])).await.unwrap();
    let good = chain.leaf().der();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut changed = good.to_vec();
            changed[at] ^= 1 << bit;
            let believed = Certificate::parse_der(&changed).is_ok_and(|read| read.verify_signed_by(world.ca.certificate()).is_ok());
            assert!(!believed, "byte {at}, bit {bit} of {}", hex::encode(good));
        }
    }
}

#[tokio::test]
async fn name_constraints_bind_the_ca_and_everything_below() {
    let openssl = Openssl::new();
    let constraints = NameConstraints::new(
        vec!["dns:corp.test".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
        vec!["dns:secret.corp.test".parse().unwrap()],
    )
    .unwrap();
    let world = World::with(KeyAlgorithm::EcdsaP256, |spec| spec.name_constraints = Some(constraints)).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();

    let chain = world.issue(&leaf(&key, &["web.corp.test", "10.1.2.3"])).await.unwrap();
    verify_chain(&chain, &[world.root_certificate().clone()], now(), Purpose::Server).unwrap();
    openssl.put("root.pem", &world.root_certificate().to_pem());
    openssl.put("leaf.pem", &chain.leaf().to_pem());
    openssl.put("sub.pem", &chain.intermediates_pem());
    openssl.run(&format!("verify -x509_strict -attime {} -CAfile root.pem -untrusted sub.pem leaf.pem", now().unix_seconds()));

    for names in
        [["web.other.test", "10.1.2.3"], ["a.secret.corp.test", "10.1.2.3"], ["web.corp.test", "192.0.2.1"], ["*.corp.test", "10.1.2.3"]]
    {
        let error = world.issue(&leaf(&key, &names)).await.unwrap_err();
        assert!(matches!(error, IssueError::NotPermitted(_)), "{names:?}: {error:?}");
    }
}

#[tokio::test]
async fn path_length_is_kept() {
    let world = World::with(KeyAlgorithm::EcdsaP256, |spec| spec.path_len = 1).await;
    let below = SoftwareSigner::new(PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let mut spec = sub_ca(&below);
    spec.subject = certctl_pki::dn::Subject::with_common_name("Below").unwrap();
    spec.path_len = 1;
    let error = world.ca.prepare_ca(&spec, now()).unwrap_err();
    assert!(matches!(error, IssueError::PathLength { allowed: 1, wanted: 2 }), "{error:?}");

    spec.path_len = 0;
    let prepared = world.ca.prepare_ca(&spec, now()).unwrap();
    let certificate = world.ca.sign_ca(prepared.body(), &world.signer).await.unwrap();
    assert_eq!((certificate.is_ca(), certificate.path_len()), (true, Some(0)));
    let chain = Chain::new(certificate, world.ca.chain().iter().cloned().collect());
    let lowest = IssuingCa::load(chain, &below).unwrap();
    let error = lowest.prepare_ca(&spec, now()).unwrap_err();
    assert!(matches!(error, IssueError::PathLength { allowed: 0, wanted: 1 }), "{error:?}");

    // Four certificates: leaf, two issuing CAs, root.
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let prepared = lowest.prepare_leaf(&leaf(&key, &["web.test"]), now()).unwrap();
    let chain = lowest.chain_for(lowest.sign_leaf(prepared.body(), &below).await.unwrap());
    assert_eq!(chain.intermediates().len(), 2);
    verify_chain(&chain, &[world.root_certificate().clone()], now(), Purpose::Server).unwrap();
}

#[tokio::test]
async fn a_signer_that_signs_badly_is_found_out() {
    struct Broken(SoftwareSigner);
    #[async_trait::async_trait]
    impl certctl_pki::signer::Signer for Broken {
        fn public_key_spki(&self) -> &[u8] {
            self.0.public_key_spki()
        }
        fn algorithm(&self) -> certctl_pki::algorithm::SignatureAlgorithm {
            self.0.algorithm()
        }
        async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, certctl_pki::signer::SignError> {
            self.0.sign(&[message, b"!"].concat()).await
        }
    }
    let world = World::new(KeyAlgorithm::Ed25519).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let prepared = world.ca.prepare_leaf(&leaf(&key, &["web.test"]), now()).unwrap();
    let error = world.ca.sign_leaf(prepared.body(), &Broken(world.signer)).await.unwrap_err();
    assert!(matches!(error, IssueError::SignatureOfSigner(_)), "{error:?}");
}

#[tokio::test]
async fn cas_are_what_they_should_be() {
    let openssl = Openssl::new();
    for algorithm in KeyAlgorithm::ALL {
        let world = World::new(algorithm).await;
        for (name, certificate, constraints) in
            [("root.pem", world.root_certificate(), "CA:TRUE"), ("sub.pem", world.ca.certificate(), "CA:TRUE, pathlen:0")]
        {
            openssl.put(name, &certificate.to_pem());
            let text = openssl.run(&format!("x509 -in {name} -noout -text"));
            assert!(text.contains(&format!("X509v3 Basic Constraints: critical\n                {constraints}\n")), "{text}");
            assert!(text.contains("X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n"), "{text}");
            check_structure(certificate.der(), Role::Ca).unwrap();
            assert_eq!(certificate.serial().to_der_bytes().len(), 20);
        }
        openssl.run(&format!("verify -x509_strict -check_ss_sig -attime {} -CAfile root.pem sub.pem", now().unix_seconds()));
        assert_eq!(Certificate::parse_pem(&pem::encode(pem::CERTIFICATE, world.ca.certificate().der())).unwrap(), *world.ca.certificate());
    }
}

fn hex_colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
