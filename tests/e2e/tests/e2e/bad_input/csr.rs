//! Signing requests that are refused, made by openssl and by hand.

use certctl_testkit::both_databases;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

use super::has_hint;
use crate::harness::{Openssl, World};

both_databases! {
    async fn each_is_refused_by_name_and_the_job_goes_on_waiting(world: World) {
        let openssl = Openssl::new(&world.home);
        for key in ["RSA-1024", "RSA-2048", "ECDSA-P256", "ECDSA-P521"] {
            openssl.key(key, key).await;
        }
        world.cli.run(&["certs", "request", "--name", "web", "--san", "web.example.test", "--key-algorithm", "ECDSA-P256"]).await.ok();
        let good = openssl.request("ECDSA-P256", "web.example.test", "DNS:web.example.test").await;
        let request = async |key: &str, names: &str| openssl.request(key, "web.example.test", names).await;
        let with = async |words: &[&str]| {
            let first =
                ["req", "-new", "-key", "ECDSA-P256", "-subj", "/CN=web.example.test", "-addext", "subjectAltName=DNS:web.example.test"];
            openssl.attempt_words(&[&first[..], words].concat()).await.ok()
        };
        let many: Vec<String> = (0..500).map(|number| format!("DNS:host-{number}.example.test")).collect();
        let cases = [
            ("hello".to_owned(), "csr_not_pem"),
            (String::new(), "csr_not_pem"),
            (format!("{good}{good}"), "csr_several_pem_blocks"),
            (openssl.get("ECDSA-P256"), "csr_wrong_pem_block"),
            (good.replace("CERTIFICATE REQUEST", "CERTIFICATE"), "csr_wrong_pem_block"),
            (good.lines().take(3).collect::<Vec<_>>().join("\n"), "csr_not_pem"),
            (with_another_signature(&openssl, &good).await, "csr_bad_signature"),
            (request("RSA-1024", "").await, "csr_key_too_small"),
            (request("ECDSA-P521", "").await, "csr_curve_not_allowed"),
            (with(&["-sha1"]).await, "csr_signature_algorithm"),
            (common_name_of(65), "csr_bad_common_name"),
            (request("ECDSA-P256", "DNS:10.0.0.1").await, "csr_ip_in_dns_name"),
            (request("ECDSA-P256", "DNS:w*.example.test").await, "csr_bad_wildcard"),
            (request("ECDSA-P256", "DNS:*.*.example.test").await, "csr_bad_wildcard"),
            (request("ECDSA-P256", "DNS:B\u{fc}cher.example.test").await, "csr_bad_name"),
            (request("ECDSA-P256", "DNS:-web.example.test").await, "csr_bad_name"),
            (request("ECDSA-P256", "otherName:1.2.3.4;UTF8:x").await, "csr_name_kind_not_supported"),
            (openssl.attempt_words(&["req", "-new", "-key", "ECDSA-P256", "-subj", "/"]).await.ok(), "csr_no_names"),
            (request("ECDSA-P256", &many.join(",")).await, "csr_too_many_names"),
            (format!("{}\n{good}", "x".repeat(900_000)), "csr_too_large"),
            (with(&["-addext", "1.2.3.4=critical,DER:0500"]).await, "csr_critical_extension"),
            (with(&["-addext", "basicConstraints=critical,CA:TRUE"]).await, "csr_asks_for_ca"),
        ];
        for (csr, code) in cases {
            has_hint(&world.api.post("/api/v1/certificates/web/csr", &json!({"csr_pem": csr})).await.fails_with(400, code));
        }
        has_hint(
            &world
                .api
                .post("/api/v1/certificates/web/csr", &json!({"csr_pem": "x".repeat(1 << 20)}))
                .await
                .fails_with(413, "body_too_large"),
        );
        // Sound, but not what the certificate's record says: another key, another name, a name too many.
        for csr in [
            request("RSA-2048", "").await,
            openssl.request("ECDSA-P256", "other.example.test", "").await,
            request("ECDSA-P256", "DNS:web.example.test,DNS:other.example.test").await,
        ] {
            let problem =
                world.api.post("/api/v1/certificates/web/csr", &json!({"csr_pem": csr})).await.fails_with(400, "csr_not_approved");
            assert!(problem["detail"].as_str().unwrap().starts_with("csr_pem: "), "{problem}");
            has_hint(&problem);
        }

        let jobs = world.cli.jobs("web").await;
        assert_eq!((jobs.len(), &jobs[0]["status"], &jobs[0]["last_error"]), (1, &json!("AwaitingCSR"), &json!(null)));
        assert_eq!(world.cli.json(&["certs", "versions", "web"]).await["total"], 0);
        world.api.post("/api/v1/certificates/web/csr", &json!({"csr_pem": good})).await.is(202);
        world.cli.run(&["certs", "wait", "web"]).await.ok();
        assert_eq!(world.cli.json(&["certs", "versions", "web"]).await["total"], 1);
    }
}

/// The same request with the last byte of its signature changed.
async fn with_another_signature(openssl: &Openssl, csr: &str) -> String {
    openssl.put("good.csr", csr);
    openssl.run("req -in good.csr -outform DER -out good.der").await;
    let mut der = std::fs::read(openssl.path("good.der")).unwrap();
    *der.last_mut().unwrap() ^= 1;
    openssl.put("bad.der", der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}-----END CERTIFICATE REQUEST-----\n", openssl.run("base64 -in bad.der").await)
}

/// A request with a common name that openssl refuses to write.
fn common_name_of(length: usize) -> String {
    let mut params = CertificateParams::new(["web.example.test".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "a".repeat(length));
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}
