//! The first start, with nothing configured, and the second.

use std::sync::Arc;

use certctl_testkit::{Engine, both_databases};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Cli, Home, LONG, Server, Setup, World, mode_of, names_in, read};

both_databases! {
    async fn what_the_first_start_makes_is_closed_to_others_and_stays(world: World) {
        let World { mut server, cli, home, database, .. } = world;
        let data = server.setup.data.clone();
        assert_eq!(mode_of(&data), 0o700);
        assert_eq!(mode_of(&data.join("tls")), 0o700);
        for name in names_in(&data).iter().filter(|name| *name != "tls") {
            assert_eq!(mode_of(&data.join(name)), 0o600, "{name}");
        }
        for name in names_in(&data.join("tls")) {
            assert_eq!(mode_of(&data.join("tls").join(&name)), 0o600, "{name}");
        }
        assert!(server.log().contains("first-admin-token"), "the log says where the key is: {}", server.log());
        let key = read(&server.first_key_file());
        let before = (cli.run(&["issuers", "ca", "iss-local"]).await.ok(), read(&server.ca_file()), actors(&cli).await);

        assert!(server.stop(LONG).await.success());
        server.start_again().await;
        assert_eq!(read(&server.first_key_file()), key);
        assert_eq!((cli.run(&["issuers", "ca", "iss-local"]).await.ok(), read(&server.ca_file()), actors(&cli).await), before);
        assert!(!server.log().contains("first administrator"), "there is no second one: {}", server.log());

        // Whoever has put the key away deletes the file; it does not come back.
        std::fs::remove_file(server.first_key_file()).unwrap();
        assert!(server.stop(LONG).await.success());
        server.start_again().await;
        assert!(!server.first_key_file().exists());
        assert_eq!(actors(&cli).await, before.2);
        drop((server, database, home));
    }
}

async fn actors(cli: &Cli) -> Vec<String> {
    let actors = cli.json(&["actors", "list"]).await;
    actors["data"].as_array().unwrap().iter().map(|actor| actor["id"].to_string()).collect()
}

#[tokio::test]
async fn a_token_of_the_operators_own_makes_the_first_administrator_once() {
    const TOKEN: &str = "a-token-that-an-operator-made-up-0123456789";
    let home = Arc::new(Home::new());
    home.plant(TOKEN);
    let file = home.write("bootstrap-token", TOKEN);
    let setup = Setup::plain(&home, "server").with("CERTCTL_BOOTSTRAP_TOKEN_FILE", file.to_str().unwrap());
    let server = Server::start(&home, setup).await;
    assert!(!server.first_key_file().exists());
    let anybody = server.api();
    let ask = json!({"token": TOKEN, "actor_name": "root"});
    anybody.post("/api/v1/auth/bootstrap", &json!({"token": "another", "actor_name": "root"})).await.fails_with(401, "bootstrap_refused");
    let made = anybody.post("/api/v1/auth/bootstrap", &ask).await.is(201).json();
    let key = made["key_value"].as_str().unwrap();
    home.plant_key(key);
    assert_eq!(anybody.with_token(key).get("/api/v1/auth/me").await.is(200).json()["admin"], true);
    anybody.post("/api/v1/auth/bootstrap", &ask).await.fails_with(410, "bootstrap_unavailable");
}

#[tokio::test]
async fn a_port_that_is_taken_and_a_place_that_cannot_be_written_are_told() {
    let world = World::open(Engine::Sqlite).await;
    let mut second = Setup::plain(&world.home, "second");
    second.port = world.server.setup.port;
    let taken = second.run(&world.home, &[]).await.ends(1);
    taken.says(&["error: ", &format!("127.0.0.1:{}", second.port), "hint: "]);

    // Not even root can make a directory in these.
    for (place, words) in [("/sys/certctl-data", "--data-dir"), ("/proc/certctl-data", "")] {
        let mut nowhere = Setup::plain(&world.home, "nowhere");
        nowhere.data = place.into();
        nowhere.run(&world.home, &[]).await.ends(1).says(&["error: ", place, "cannot be made", words]);
    }
    let file = world.home.write("a-file", "in the way");
    let mut inside = Setup::plain(&world.home, "inside");
    inside.data = file.join("data");
    inside.run(&world.home, &[]).await.ends(1).says(&["error: ", "a-file/data", "cannot be made"]);
}

#[tokio::test]
async fn without_its_encryption_key_a_server_does_not_start_and_changes_nothing() {
    let World { mut server, cli, home, .. } = World::open(Engine::Sqlite).await;
    let ca = cli.run(&["issuers", "ca", "iss-local"]).await.ok();
    server.signal(Signal::SIGTERM);
    assert!(server.ended(LONG).await.success());
    let key_file = server.setup.data.join("encryption.key");
    let key = read(&key_file);
    home.plant(&key);
    home.write("server/encryption.key", "QW5vdGhlciBrZXkgb2YgMzIgYnl0ZXMsIG5vdCBvdXI=\n");
    server.setup.run(&home, &[]).await.ends(1).says(&["error: ", "key"]);
    home.write("server/encryption.key", key);
    server.start_again().await;
    assert_eq!(cli.run(&["issuers", "ca", "iss-local"]).await.ok(), ca);
}
