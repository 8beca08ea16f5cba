//! HTTP challenges of ACME CAs, over a real socket.

use certctl_connector_core::challenge::serve_http;
use certctl_domain::issuer::Issuer;
use certctl_server::challenges::Open;
use certctl_server::listener::SmallListener;
use certctl_store::Who;
use certctl_store::acme_challenges::{self, AcmeChallenge};
use certctl_testkit::both_databases;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::support::{TestServer, start};

both_databases! {
    async fn a_challenge_is_answered_in_plain_http_and_nothing_else_is(server: TestServer) {
        let draft = json!({"id": "iss-le", "name": "le", "type": "ACME", "config": {"directory_url": "https://ca.test/dir"}});
        let ctx = certctl_engine::Ctx::system(&server.engine, "test");
        let issuer = certctl_engine::crud::create::<Issuer>(&ctx, serde_json::from_value(draft).unwrap()).await.unwrap();
        let mut tx = server.store.write(Who::task("test", start())).await.unwrap();
        let expires_at = start().saturating_add(time::Duration::HOUR);
        let challenge = AcmeChallenge { token: "t-1".to_owned(), issuer_id: issuer.id, key_authorization: "t-1.thumb".to_owned(), server_name: None, expires_at };
        acme_challenges::put(&mut tx, &challenge).await.unwrap();
        tx.commit_housekeeping("test").await.unwrap();

        let listener = SmallListener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listener.addresses()[0];
        let stop = CancellationToken::new();
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(serve_http(listener, Open::of(&server.engine), stop.clone()));
        let ask = async |line: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("{line} HTTP/1.1\r\nhost: a.test\r\n\r\n").as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let found = ask("GET /.well-known/acme-challenge/t-1").await;
        assert!(found.starts_with("HTTP/1.1 200") && found.ends_with("\r\n\r\nt-1.thumb"), "{found}");
        for (line, status) in [
            ("GET /.well-known/acme-challenge/t-2", "404"),
            ("GET /.well-known/acme-challenge/", "404"),
            ("GET /.well-known/acme-challenge/../../api/v1/version", "404"),
            ("GET /api/v1/version", "404"),
            ("POST /.well-known/acme-challenge/t-1", "405"),
        ] {
            let text = ask(line).await;
            assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {text}");
        }
        server.clock.advance(time::Duration::HOUR);
        assert!(ask("GET /.well-known/acme-challenge/t-1").await.starts_with("HTTP/1.1 404"));
        stop.cancel();
        serving.join_all().await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}
