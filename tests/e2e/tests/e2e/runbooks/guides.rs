//! Short commands of several guides, in one installation.

use certctl_testkit::{Engine, free_port, wait_until};

use super::issues;
use crate::harness::{LONG, Openssl, Operator, World, blocks};
use crate::imported_ca::Imported;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_guides_say_in_passing_works() {
    let port = free_port();
    let place = format!("127.0.0.1:{port}");
    let with = |setup: crate::harness::Setup| {
        setup.with("CERTCTL_PKI_HTTP_LISTEN", &place).with("CERTCTL_PKI_PUBLIC_URL", &format!("http://{place}"))
    };
    let world = World::with(Engine::Sqlite, with).await;
    let operator = Operator::new(&world.home, &world.cli).reading("http://pki.example.com", &format!("http://{place}"));

    // Revocation lists and OCSP, as a relying party asks for them.
    issues(&world.api, "web").await;
    for (file, words) in [
        ("web.pem", &["certs", "export", "web", "--part", "cert"][..]),
        ("ca.pem", &["certs", "export", "web", "--part", "chain"]),
        ("root.pem", &["issuers", "ca", "local"]),
    ] {
        world.home.write(file, world.cli.run(words).await.ok());
    }
    let list = format!("curl -fsS http://{place}/.well-known/pki/crl/iss-local -o /dev/null");
    wait_until("the first revocation list", LONG, async || operator.runs(&list).await.code == Some(0)).await;
    let shown = operator.runs(&blocks("docs/operator/revocation.md", "sh").next_with("openssl ocsp")).await.ok();
    assert!(shown.contains("Certificate Revocation List (CRL)") && shown.contains("web.pem: good"), "{shown}");

    // The root for relying parties, and a new certificate of an imported CA.
    let mut page = blocks("docs/operator/ca-renewal.md", "sh");
    assert!(operator.runs(&page.next_with("issuers ca local")).await.ok().contains("BEGIN CERTIFICATE"));
    let openssl = Openssl::new(&world.home);
    let mut settings = Imported::make(&openssl, &world).await.settings();
    settings["name"] = "corporate".into();
    world.api.post("/api/v1/issuers", &settings).await.is(201);
    openssl.run("x509 -req -in sub.csr -CA root.pem -CAkey root.key -days 1500 -extfile sub.ext -out sub.pem").await;
    let chain = format!("{}{}", openssl.get("sub.pem"), openssl.get("root.pem"));
    world.home.write("chain.pem", &chain);
    operator.runs(&page.next_with("ca_certificate_pem=@chain.pem")).await.ok();
    let kept = world.cli.json(&["issuers", "get", "corporate"]).await["config"]["ca_certificate_pem"].clone();
    assert_eq!(kept.as_str().map(str::trim), Some(chain.trim()));

    // A target of HAProxy.
    let _agent = world.agent("lb-1").await;
    operator.runs(&blocks("docs/operator/haproxy.md", "sh").next_with("--type HAProxy")).await.ok();
    assert_eq!(world.cli.json(&["targets", "get", "lb-1"]).await["type"], "HAProxy");
}
