//! What the built-in CA issues, with each kind of CA key for each kind of key, before judges that share no code with it: openssl, zlint and
//! webpki.

use certctl_testkit::Engine;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::harness::{Openssl, World, lint};

#[tokio::test]
async fn an_rsa_2048_ca_issues_for_every_key() {
    issue_for_every_key("RSA-2048").await;
}

#[tokio::test]
async fn a_p256_ca_issues_for_every_key() {
    issue_for_every_key("ECDSA-P256").await;
}

#[tokio::test]
async fn a_p384_ca_issues_for_every_key() {
    issue_for_every_key("ECDSA-P384").await;
}

#[tokio::test]
async fn an_ed25519_ca_issues_for_every_key() {
    issue_for_every_key("Ed25519").await;
}

async fn issue_for_every_key(ca: &str) {
    let world = World::open(Engine::Sqlite).await;
    let openssl = Openssl::new(&world.home);
    let settings = format!("key_algorithm={ca}");
    world.cli.run(&["issuers", "create", "--name", "the-ca", "--type", "GenericCA", "--config", &settings]).await.ok();
    let authorities = world.cli.run(&["issuers", "ca", "the-ca"]).await.ok();
    let above = blocks(&authorities);
    assert_eq!(above.len(), 2, "an issuing CA and its root: {authorities}");
    openssl.put("root.pem", above[1]);
    let shown = openssl.run("x509 -in root.pem -noout -text").await;
    assert!(shown.contains("CA:TRUE") && shown.contains(public_key_as_openssl_has_it(ca)), "{shown}");
    for (number, pem) in above.iter().enumerate() {
        assert!(lint(&world.home, &format!("ca-{number}.pem"), pem).await > 20);
    }

    for leaf in KEYS {
        let name = leaf.to_lowercase();
        let host = format!("{name}.example.test");
        let names = [host.as_str(), "*.wild.example.test", "10.0.0.7", "2001:db8::7", "xn--bcher-kva.example.test"];
        let mut request = vec!["certs", "request", "--name", &name, "--common-name", &host, "--issuer", "the-ca"];
        request.extend(names.iter().flat_map(|name| ["--san", *name]));
        world.cli.run(&request).await.ok();
        openssl.key(&format!("{name}.key"), leaf).await;
        let wanted = names.map(|name| format!("{}:{name}", if name.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" })).join(",");
        let csr = openssl.put(&format!("{name}.csr"), openssl.request(&format!("{name}.key"), &host, &wanted).await);
        world.cli.run(&["certs", "csr", &name, csr.to_str().unwrap(), "--wait"]).await.ok();
        let full = world.cli.run(&["certs", "export", &name]).await.ok();
        let chain = blocks(&full);
        assert_eq!(chain.len(), 2, "the root is not sent along: {full}");
        assert_eq!(chain[1], above[0]);
        openssl.put("leaf.pem", chain[0]);
        openssl.put("issuing.pem", chain[1]);

        openssl
            .run(&format!(
                "verify -x509_strict -purpose sslserver -verify_hostname {host} -CAfile root.pem -untrusted issuing.pem leaf.pem"
            ))
            .await;
        openssl
            .attempt("verify -x509_strict -verify_hostname other.example.test -CAfile root.pem -untrusted issuing.pem leaf.pem")
            .await
            .ends(2);
        let text = openssl.run("x509 -in leaf.pem -noout -text").await;
        assert!(text.contains(&format!("Subject: CN = {host}")) && text.contains(public_key_as_openssl_has_it(leaf)), "{text}");
        assert_eq!(sans_of(&text), expected_sans(&names), "{text}");
        assert!(text.contains("TLS Web Server Authentication") && text.contains("CA:FALSE"), "{text}");
        let (kept, asked) =
            (openssl.run("x509 -in leaf.pem -noout -pubkey").await, openssl.run(&format!("pkey -in {name}.key -pubout")).await);
        assert_eq!(kept, asked, "the key is the requester's");

        assert!(lint(&world.home, "leaf.pem", chain[0]).await > 20);
        accepted_by_webpki(&chain, above[1], &[&host, "any.wild.example.test", "10.0.0.7", "2001:db8::7"]);
    }
}

/// The PEM blocks of a text, each with its line end.
fn blocks(pem: &str) -> Vec<&str> {
    pem.split_inclusive("-----END CERTIFICATE-----\n").map(str::trim_start).filter(|block| !block.is_empty()).collect()
}

/// The names as `openssl x509 -text` prints them, sorted.
fn sans_of(text: &str) -> Vec<String> {
    let line = text.lines().skip_while(|line| !line.contains("Subject Alternative Name")).nth(1).unwrap();
    let mut names: Vec<String> = line.trim().split(", ").map(str::to_owned).collect();
    names.sort();
    names
}

fn expected_sans(names: &[&str]) -> Vec<String> {
    let mut expected: Vec<String> = names
        .iter()
        .map(|name| match *name {
            "2001:db8::7" => "IP Address:2001:DB8:0:0:0:0:0:7".to_owned(),
            name if name.parse::<std::net::IpAddr>().is_ok() => format!("IP Address:{name}"),
            name => format!("DNS:{name}"),
        })
        .collect();
    expected.sort();
    expected
}

fn public_key_as_openssl_has_it(algorithm: &str) -> &'static str {
    match algorithm {
        "RSA-2048" => "Public-Key: (2048 bit)",
        "ECDSA-P256" => "NIST CURVE: P-256",
        "ECDSA-P384" => "NIST CURVE: P-384",
        "Ed25519" => "ED25519 Public-Key:",
        other => panic!("no such key: {other}"),
    }
}

/// As a rustls client checks it, with the root alone as anchor.
fn accepted_by_webpki(chain: &[&str], root: &str, names: &[&str]) {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (leaf, root, intermediates) = (der(chain[0]), der(root), chain[1..].iter().map(|pem| der(pem)).collect::<Vec<_>>());
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let leaf = EndEntityCert::try_from(&leaf).unwrap();
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &intermediates, UnixTime::now(), KeyUsage::server_auth(), None, None)
        .unwrap();
    for name in names {
        leaf.verify_is_valid_for_subject_name(&ServerName::try_from(*name).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    leaf.verify_is_valid_for_subject_name(&ServerName::try_from("other.example.test").unwrap()).unwrap_err();
}

const KEYS: [&str; 4] = ["RSA-2048", "ECDSA-P256", "ECDSA-P384", "Ed25519"];
