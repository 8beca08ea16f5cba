//! Certificates from ACME CAs: pebble with all its moods, while the server is killed again and again, and step-ca.

use certctl_testkit::acme::{Pebble, PebbleSetup, StepCa};
use certctl_testkit::{Engine, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{LONG, Openssl, World, free_port};

/// Makes an issuer; its name is `acme`.
async fn issuer(world: &World, config: Value) {
    let file = world.home.write("issuer.json", json!({"name": "acme", "type": "ACME", "config": config}).to_string());
    world.cli.run(&["issuers", "create", "--from-file", file.to_str().unwrap()]).await.ok();
}

/// Asks for a certificate for a key that openssl holds.
async fn submit(world: &World, name: &str) {
    let openssl = Openssl::new(&world.home);
    let (host, key) = (format!("{name}.example.test"), format!("{name}.key"));
    world.cli.run(&["certs", "request", "--name", name, "--san", &host, "--issuer", "acme"]).await.ok();
    openssl.key(&key, "ECDSA-P256").await;
    again(world, name).await;
}

/// Submits the CSR for the open request or renewal.
async fn again(world: &World, name: &str) {
    let openssl = Openssl::new(&world.home);
    let host = format!("{name}.example.test");
    let csr = openssl.put(&format!("{name}.csr"), openssl.request(&format!("{name}.key"), &host, &format!("DNS:{host}")).await);
    world.cli.run(&["certs", "csr", name, csr.to_str().unwrap()]).await.ok();
}

/// Waits until the newest version is one more than before, and openssl finds that it is for this name and below this root.
async fn done(world: &World, name: &str, versions: u64) {
    wait_until(&format!("version {versions} of {name}"), LONG, async || {
        let failed = world.cli.jobs(name).await.into_iter().find(|job| job["status"] == "Failed" || job["last_error"].is_string());
        assert!(failed.is_none(), "{failed:#?}");
        world.cli.json(&["certs", "versions", name]).await["total"] == versions
    })
    .await;
    let openssl = Openssl::new(&world.home);
    let leaf = format!("{name}.pem");
    openssl.put(&leaf, world.cli.run(&["certs", "export", name, "--part", "cert"]).await.ok());
    let text = openssl.run(&format!("x509 -in {leaf} -noout -ext subjectAltName")).await;
    assert!(text.contains(&format!("DNS:{name}.example.test")), "{text}");
    let jobs = world.cli.jobs(name).await;
    assert!(jobs.iter().all(|job| job["status"] == "Completed"), "{jobs:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_of_orders_goes_on_with_them_and_places_none_twice() {
    let port = free_port();
    let mut world = World::with(Engine::Sqlite, |setup| setup.with("CERTCTL_ACME_HTTP01_LISTEN", &format!("127.0.0.1:{port}"))).await;
    let (up, is_up) = watch::channel(true);
    let seen = patient_way_to(port, is_up).await;
    let pebble = Pebble::start(PebbleSetup { http_port: seen, slow: true, ..PebbleSetup::default() }).await;
    let config = json!({"directory_url": pebble.directory_url(), "ca_bundle_pem": pebble.trust_pem(), "terms_of_service_agreed": true});
    issuer(&world, config).await;
    // How far a CA has come with an order when the server dies: it was told to look, it has looked, it has issued.
    let stages = [("asked", "Pulled a task"), ("proven", "set VALID"), ("issued", "Issued certificate serial")];
    for (number, (name, stage)) in stages.iter().enumerate() {
        let before = pebble.log().matches(stage).count();
        submit(&world, name).await;
        wait_until(stage, LONG, async || pebble.log().matches(stage).count() > before).await;
        // A look at a challenge while nobody answers it would end the order, and rightly so.
        let down = async {
            up.send_replace(false);
            world.server.kill().await;
            world.server.start_again().await;
            up.send_replace(true);
        };
        pebble.frozen(down).await;
        done(&world, name, 1).await;
        assert_eq!((pebble.orders(), pebble.certificates()), (number + 1, number + 1), "{}", pebble.log());
    }
    world.cli.run(&["certs", "renew", "asked"]).await.ok();
    again(&world, "asked").await;
    done(&world, "asked", 2).await;
    assert_eq!((pebble.orders(), pebble.certificates(), pebble.accounts()), (4, 4, 1), "{}", pebble.log());
    assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
}

/// A port whose connections reach the server when it is up: a look that the server dies over is made again afterwards.
async fn patient_way_to(port: u16, up: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(carry(near, port, up.clone()));
        }
    });
    open
}

/// Carries one request, which asks for an end of the connection, and its answer.
async fn carry(mut near: TcpStream, port: u16, mut up: watch::Receiver<bool>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(near.read_u8().await?);
    }
    request.truncate(request.len() - 2);
    request.extend_from_slice(b"Connection: close\r\n\r\n");
    let mut answer = Vec::new();
    while answer.is_empty() && up.wait_for(|up| *up).await.is_ok() {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(mut far) => drop((far.write_all(&request).await, far.read_to_end(&mut answer).await)),
            Err(error) => assert!(!*up.borrow(), "{error}"),
        }
    }
    near.write_all(&answer).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_addresses_are_proven_in_a_handshake() {
    let port = free_port();
    let world = World::with(Engine::Sqlite, |setup| setup.with("CERTCTL_ACME_TLS_ALPN01_LISTEN", &format!("127.0.0.1:{port}"))).await;
    let pebble = Pebble::start(PebbleSetup { tls_port: port, ..PebbleSetup::default() }).await;
    let config = json!({"directory_url": pebble.directory_url(), "ca_bundle_pem": pebble.trust_pem(), "terms_of_service_agreed": true,
        "challenge": "tls-alpn-01"});
    issuer(&world, config).await;
    let openssl = Openssl::new(&world.home);
    world.cli.run(&["certs", "request", "--name", "web", "--san", "web.example.test", "--san", "127.0.0.1", "--issuer", "acme"]).await.ok();
    openssl.key("web.key", "ECDSA-P256").await;
    let csr = openssl.request("web.key", "web.example.test", "DNS:web.example.test,IP:127.0.0.1").await;
    let csr = openssl.put("web.csr", csr);
    world.cli.run(&["certs", "csr", "web", csr.to_str().unwrap()]).await.ok();
    done(&world, "web", 1).await;
    // Who asks for nothing of the kind is shown nothing.
    let address = format!("127.0.0.1:{port}");
    for words in
        [&["-servername", "web.example.test"][..], &["-servername", "web.example.test", "-alpn", "acme-tls/1"], &["-alpn", "acme-tls/1"]]
    {
        let asked = openssl.attempt_words(&[&["s_client", "-connect", &address], words].concat()).await;
        assert!(!asked.stdout.contains("BEGIN CERTIFICATE"), "{}", asked.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_ca_issues_and_renews() {
    let port = free_port();
    let world = World::with(Engine::Sqlite, |setup| setup.with("CERTCTL_ACME_HTTP01_LISTEN", &format!("127.0.0.1:{port}"))).await;
    let step_ca = StepCa::start(port).await;
    issuer(&world, json!({"directory_url": step_ca.directory_url(), "ca_bundle_pem": step_ca.trust_pem()})).await;
    submit(&world, "web").await;
    done(&world, "web", 1).await;
    world.cli.run(&["certs", "renew", "web"]).await.ok();
    again(&world, "web").await;
    done(&world, "web", 2).await;
    let openssl = Openssl::new(&world.home);
    openssl.put("root.pem", step_ca.trust_pem());
    openssl.put("chain.pem", world.cli.run(&["certs", "export", "web", "--part", "chain"]).await.ok());
    openssl
        .run("verify -x509_strict -purpose sslserver -verify_hostname web.example.test -CAfile root.pem -untrusted chain.pem web.pem")
        .await;
}
