//! The certificate that the server itself shows: its TLS versions, and how it is exchanged while the server runs.

use std::path::Path;
use std::sync::Arc;

use certctl_testkit::{Engine, require_program, wait_until};
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, KeyPair};

use crate::harness::{Home, LONG, Ran, Server, Setup, World, command, fingerprint_of, run, served, served_at, write};

#[tokio::test]
async fn tls_1_3_is_spoken_and_1_2_only_where_asked_for() {
    let world = World::open(Engine::Sqlite).await;
    handshake(&world.home, world.server.setup.port, "-tls1_3").await.ends(0);
    let refused = handshake(&world.home, world.server.setup.port, "-tls1_2").await.ends(1);
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("protocol version"), "{}", refused.stderr);
    let older = Setup::plain(&world.home, "older").with("CERTCTL_TLS_MIN_VERSION", "1.2");
    let older = Server::start(&world.home, older).await;
    for version in ["-tls1_2", "-tls1_3"] {
        handshake(&world.home, older.setup.port, version).await.ends(0);
    }
    handshake(&world.home, older.setup.port, "-tls1_1").await.ends(1);
}

#[tokio::test]
async fn a_pair_of_the_operators_own_is_exchanged_while_the_server_runs_and_a_bad_one_is_not() {
    let home = Arc::new(Home::new());
    // The files are links into a folder that nobody watches, so that the signal alone can be what brings the change.
    let behind = home.join("behind");
    let first = Pair::new();
    first.put(&behind);
    std::fs::create_dir(home.join("front")).unwrap();
    for name in ["tls.pem", "tls.key"] {
        std::os::unix::fs::symlink(behind.join(name), home.join("front").join(name)).unwrap();
    }
    let file = |name: &str| home.join("front").join(name).to_str().unwrap().to_owned();
    let setup = Setup::plain(&home, "server")
        .with("CERTCTL_TLS_CERT_FILE", &file("tls.pem"))
        .with("CERTCTL_TLS_KEY_FILE", &file("tls.key"))
        .with("CERTCTL_TLS_POLL_INTERVAL", "1d")
        .trusting(&home.write("first.pem", &first.certificate));
    let server = Server::start(&home, setup).await;
    let port = server.setup.port;
    let shows = async |pair: &Pair| served(&home, port, "localhost", &fingerprint_of(&home, &pair.certificate).await).await;
    shows(&first).await;

    let second = Pair::new();
    second.put(&behind);
    server.signal(Signal::SIGHUP);
    shows(&second).await;

    // The certificate of one and the key of another: the pair in use stays, and the log says why.
    let third = Pair::new();
    write(&behind.join("tls.pem"), &third.certificate);
    server.signal(Signal::SIGHUP);
    wait_until("a word about the bad pair", LONG, async || server.log().contains("the old pair stays in use")).await;
    shows(&second).await;
    write(&behind.join("tls.pem"), "no certificate");
    let told = server.log().matches("the old pair stays in use").count();
    server.signal(Signal::SIGHUP);
    wait_until("a word about the file", LONG, async || server.log().matches("the old pair stays in use").count() > told).await;
    shows(&second).await;

    // Where the folder is watched, no signal is needed: the links are exchanged, as certbot does.
    let elsewhere = home.join("elsewhere");
    third.put(&elsewhere);
    for name in ["tls.key", "tls.pem"] {
        let beside = home.join("front").join("new");
        std::os::unix::fs::symlink(elsewhere.join(name), &beside).unwrap();
        std::fs::rename(&beside, home.join("front").join(name)).unwrap();
    }
    shows(&third).await;
    assert!(served_at(&home, port, "localhost").await.is_some());
}

/// A handshake with one version of TLS alone.
async fn handshake(home: &Home, port: u16, version: &str) -> Ran {
    let address = format!("127.0.0.1:{port}");
    // Debian's openssl refuses to speak the oldest versions unless told otherwise.
    let words = ["s_client", "-connect", &address, version, "-cipher", "DEFAULT@SECLEVEL=0"];
    run(command(home, require_program("openssl")).args(words)).await
}

struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        Self { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    fn put(&self, folder: &Path) {
        write(&folder.join("tls.key"), &self.key);
        write(&folder.join("tls.pem"), &self.certificate);
    }
}
