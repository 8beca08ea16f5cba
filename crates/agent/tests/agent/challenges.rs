//! Answers to CAs that look at this host: what the server has open is there, what it has no more is gone, and nothing else is ever written.

use std::net::SocketAddr;
use std::path::PathBuf;

use certctl_agent::agent::HostSettings;
use certctl_agent::challenges::{ChallengeSettings, OverHttp};
use certctl_domain::challenge::ChallengeKind;
use certctl_testkit::wait_until;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{FakeServer, Host, LONG, files_in, quick, read};

fn challenge(key_authorization: &str) -> Value {
    json!({"type": "http-01", "key_authorization": key_authorization, "server_name": null, "expires_at": "2090-01-01T00:00:00Z"})
}

/// A host whose web server shows a folder; and where answers are in it.
fn shown(host: &Host) -> (HostSettings, PathBuf) {
    let root = host.path("www");
    std::fs::create_dir(&root).unwrap();
    let answers = root.join(".well-known/acme-challenge");
    (settings(OverHttp::Webroot(root)), answers)
}

fn settings(http01: OverHttp) -> HostSettings {
    HostSettings { challenges: ChallengeSettings { http01: Some(http01), ..ChallengeSettings::default() }, ..HostSettings::default() }
}

async fn becomes(folder: &std::path::Path, files: &[&str]) {
    wait_until(&format!("{files:?} in {}", folder.display()), LONG, async || files_in(folder) == files).await;
}

#[tokio::test]
async fn what_is_open_is_there_and_told_and_the_rest_is_taken_back() {
    let mut server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let (settings, answers) = shown(&host);
    server.opens(vec![challenge("one.thumb"), challenge("two.thumb")]);
    let running = host.start_as(settings.clone(), quick()).await;
    let one = server.answer_for("one", 0).await;
    assert_eq!((one.error, read(&answers.join("one"))), (None, "one.thumb".to_owned()));
    server.answer_for("two", 0).await;
    server.opens(vec![challenge("two.thumb")]);
    becomes(&answers, &["two"]).await;

    // Killed and started again it takes back what was closed meanwhile; a server that is away changes nothing.
    running.kill().await;
    server.down().await;
    server.script().challenges = vec![challenge("three.thumb")];
    let running = host.start_as(settings, quick()).await;
    server.up().await;
    server.answer_for("three", 0).await;
    becomes(&answers, &["three"]).await;
    assert_eq!(files_in(&host.state.join("challenges")), ["three.json"]);

    // Retired, it leaves nothing behind.
    server.script().refuse = vec![("challenges", 410), ("heartbeat", 410), ("work", 410)];
    running.ended().await;
    assert_eq!((files_in(&answers), files_in(&host.state.join("challenges"))), (vec![], vec![]));
}

#[tokio::test]
async fn what_is_no_challenge_reaches_no_file_and_the_server_is_told() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let (settings, answers) = shown(&host);
    let running = host.start_as(settings, quick()).await;
    let hostile = ["../../escaped.thumb", "/etc/escaped.thumb", "a/b.thumb", "tok.<script>alert(1)</script>", "tok", ".htaccess", "x\n.y"];
    server.opens(hostile.iter().map(|text| challenge(text)).chain([challenge("fine.thumb")]).collect());
    server.answer_for("fine", 0).await;
    for token in ["", "/etc/escaped", "a/b", "tok", "x\n"] {
        let refused = server.answer_for(token, 0).await;
        assert!(refused.permanent && refused.error.as_ref().unwrap().contains("not a token and a thumbprint in base64url"), "{refused:?}");
    }
    assert_eq!(files_in(&answers), ["fine"]);
    assert_eq!(files_in(&host.path("www")), [".well-known"]);
    assert_eq!(files_in(&host.root), ["state", "www"]);
    running.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_tried_again_and_open_no_longer_than_needed() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    let running = host.start_as(settings(OverHttp::Listen(vec![address])), quick()).await;
    server.opens(vec![challenge("one.thumb")]);
    let failed = server.answer_for("one", 0).await;
    assert!(failed.error.as_ref().unwrap().contains(&format!("cannot listen on {address}")) && !failed.permanent, "{failed:?}");
    assert!(failed.hint.as_ref().unwrap().contains("acme_webroot"), "{failed:?}");
    drop(taken);
    assert_eq!(server.answer_for("one", 1).await.error, None);
    let ask = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    let found = ask("/.well-known/acme-challenge/one").await;
    assert!(found.starts_with("HTTP/1.1 200") && found.ends_with("\r\n\r\none.thumb"), "{found}");
    for path in ["/.well-known/acme-challenge/two", "/", "/etc/passwd"] {
        assert!(ask(path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    server.opens(Vec::new());
    wait_until("the port to be closed", LONG, async || TcpStream::connect(address).await.is_err()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_knows_nothing_of_it_still_hears_that_the_agent_lives() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    server.script().is_older = true;
    server.script().refuse = vec![("challenges", 404)];
    let (settings, _) = shown(&host);
    let running = host.start_as(settings, quick()).await;
    wait_until("heartbeats", LONG, async || server.script().heartbeats > 1).await;
    assert_eq!(server.script().can_answer, []);
    // Upgraded, it is told at once and the answers begin.
    server.script().is_older = false;
    server.script().refuse.clear();
    server.opens(vec![challenge("one.thumb")]);
    assert_eq!(server.answer_for("one", 0).await.error, None);
    wait_until("the agent to say what it can", LONG, async || server.script().can_answer == [ChallengeKind::Http01]).await;
    running.stop().await;
}
