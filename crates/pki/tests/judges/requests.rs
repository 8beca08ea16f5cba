//! Requests: openssl's and rcgen's read by us, ours judged by openssl.

use certctl_domain::x509::{ExtendedKeyUsage, KeyAlgorithm, SanSet};
use certctl_pki::csr::Csr;
use certctl_pki::key::PrivateKey;

use crate::openssl::Openssl;
use crate::world::KINDS;

#[test]
fn openssl_verifies_ours() {
    let openssl = Openssl::new();
    let sans = SanSet::parse(["web.test", "*.web.test", "10.0.0.1", "2001:db8::1", "ops@web.test", "spiffe://td/web"]).unwrap();
    for algorithm in KeyAlgorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        openssl.put("csr.pem", &Csr::build(&key, Some("web.test"), &sans).unwrap());
        let text = openssl.run("req -in csr.pem -noout -verify -text");
        assert!(text.contains("verify OK") && text.contains("Subject: CN = web.test"), "{algorithm}: {text}");
        let names =
            "DNS:*.web.test, DNS:web.test, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1, email:ops@web.test, URI:spiffe://td/web";
        assert!(text.contains(names), "{algorithm}: {text}");
    }
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    openssl.put("csr.pem", &Csr::build(&key, None, &sans).unwrap());
    let text = openssl.run("req -in csr.pem -noout -verify -text");
    assert!(text.contains("Subject: \n") && text.contains("Subject Alternative Name: critical"), "{text}");
}

#[test]
fn openssls_are_read() {
    let openssl = Openssl::new();
    openssl.put(
        "req.conf",
        "[req]\nprompt = no\ndistinguished_name = dn\nreq_extensions = ext\nattributes = attr\n[dn]\nC = DE\nO = Example\nCN = Web.test\n\
         [attr]\nchallengePassword = hunter2\n\
         [ext]\nsubjectAltName = DNS:web.test, IP:10.0.0.1, email:ops@web.test, URI:spiffe://td/web\nkeyUsage = critical, digitalSignature\n\
         extendedKeyUsage = serverAuth, 1.2.3.4\nbasicConstraints = critical, CA:FALSE\ntlsfeature = status_request\n",
    );
    for (make, algorithm) in [
        ("-newkey rsa:2048 -sha256", KeyAlgorithm::Rsa2048),
        ("-newkey rsa:3072 -sha512", KeyAlgorithm::Rsa3072),
        ("-newkey rsa:4096 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1 -sha384", KeyAlgorithm::Rsa4096),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha256", KeyAlgorithm::EcdsaP256),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-384 -sha512", KeyAlgorithm::EcdsaP384),
        ("-newkey ed25519", KeyAlgorithm::Ed25519),
    ] {
        openssl.run(&format!("req -new -nodes -keyout key.pem -out csr.pem -text -config req.conf {make}"));
        let csr = Csr::parse_pem(&openssl.get("csr.pem")).unwrap_or_else(|error| panic!("{make}: {error:?}"));
        assert_eq!(csr.key_algorithm(), algorithm);
        assert_eq!(csr.common_name(), Some("Web.test"));
        assert_eq!(*csr.sans(), SanSet::parse(["web.test", "10.0.0.1", "ops@web.test", "spiffe://td/web"]).unwrap());
        assert_eq!(csr.names(), csr.sans());
        assert_eq!((csr.usages(), csr.wants_must_staple()), ([ExtendedKeyUsage::ServerAuth].as_slice(), true));
        let key = PrivateKey::from_pem(&openssl.get("key.pem")).unwrap();
        assert!(csr.matches_key(&key) && csr.spki() == key.spki());
        let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        assert!(!csr.matches_key(&other));
    }
}

#[test]
fn openssls_bad_ones_are_refused() {
    let openssl = Openssl::new();
    for (options, code) in [
        ("-newkey rsa:1024 -subj /CN=web.test", "csr_key_too_small"),
        ("-newkey rsa:2560 -subj /CN=web.test", "csr_key_not_supported"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-521 -subj /CN=web.test", "csr_curve_not_allowed"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -subj /CN=web.test", "csr_curve_not_allowed"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit -subj /CN=web.test", "csr_curve_not_allowed"),
        ("-newkey ed448 -subj /CN=web.test", "csr_key_not_supported"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha1 -subj /CN=web.test", "csr_signature_algorithm"),
        ("-newkey ed25519 -subj /", "csr_no_names"),
        ("-newkey ed25519 -subj / -addext subjectAltName=DNS:10.0.0.1", "csr_ip_in_dns_name"),
        ("-newkey ed25519 -subj / -addext subjectAltName=DNS:w*.web.test", "csr_bad_wildcard"),
        ("-newkey ed25519 -subj / -addext subjectAltName=otherName:1.3.6.1.4.1.311.20.2.3;UTF8:me@web.test", "csr_name_kind_not_supported"),
        ("-newkey ed25519 -subj /CN=web.test -addext basicConstraints=CA:TRUE", "csr_asks_for_ca"),
        ("-newkey ed25519 -subj /CN=web.test -addext 1.3.6.1.4.1.99999.1=critical,ASN1:NULL", "csr_critical_extension"),
    ] {
        openssl.run(&format!("req -new -nodes -keyout key.pem -out csr.pem {options}"));
        let error = Csr::parse_pem(&openssl.get("csr.pem")).unwrap_err();
        assert_eq!(error.code(), code, "{options}: {error:?}");
    }
}

#[test]
fn rcgens_are_read() {
    for algorithm in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(["web.test".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        let made = params.serialize_request(&key).unwrap();
        let csr = Csr::parse_der(made.der()).unwrap();
        assert_eq!(*csr.sans(), SanSet::parse(["web.test", "10.0.0.1"]).unwrap());
        assert!(csr.matches_key(&PrivateKey::from_pem(&key.serialize_pem()).unwrap()));
    }
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let made = rcgen::CertificateParams::new(["web.test".to_owned()]).unwrap().serialize_request(&key).unwrap();
    assert_eq!(Csr::parse_der(made.der()).unwrap_err().code(), "csr_curve_not_allowed");
}

#[test]
fn every_kind_reads_back() {
    for algorithm in KINDS {
        let key = PrivateKey::generate(algorithm).unwrap();
        let csr = Csr::parse_pem(&Csr::build(&key, Some("web.test"), &SanSet::default()).unwrap()).unwrap();
        assert_eq!((csr.key_algorithm(), csr.names().len(), csr.sans().len()), (algorithm, 1, 0));
    }
}
