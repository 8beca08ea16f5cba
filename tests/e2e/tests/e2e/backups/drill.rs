//! The restore drill, as the runbook has it: made, listed, verified, put into nothing, and worked with.

use certctl_testkit::{Engine, wait_for};

use super::Kept;
use crate::faults::list;
use crate::harness::{LONG, Site, World, free_port};

const NAME: &str = "web.example.test";

async fn drill(engine: Engine) {
    let port = free_port();
    let mut kept = Kept::with(engine, |setup| {
        let url = format!("http://127.0.0.1:{port}");
        let setup = setup.with("CERTCTL_PKI_HTTP_LISTEN", &format!("127.0.0.1:{port}")).with("CERTCTL_PKI_PUBLIC_URL", &url);
        setup.with("CERTCTL_PKI_CRL_DELAY", "5s")
    })
    .await;
    let site = Site::open(&kept.world, NAME).await;
    kept.world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    let first = kept.world.cli.current_version("web").await;
    let made = kept.create().await;
    let name = made["archive"].as_str().unwrap().to_owned();
    assert_eq!(kept.names(), [name.clone(), format!("{name}.manifest.json")]);
    assert_eq!(made["tables"]["certificates"], 1, "{made}");
    assert!(made["encryption_keys"].as_object().unwrap().values().any(|n| n.as_i64() > Some(0)), "{made}");

    // What happens later is not in it.
    kept.world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
    let lost = kept.world.cli.current_version("web").await;
    let serial = first["serial_number"].as_str().unwrap().to_owned();
    let revoke = ["certs", "revoke", "web", "--serial", &serial, "--reason", "superseded", "--yes"];
    kept.world.cli.run(&revoke).await.ok();
    let number = listed_after(&kept.world, port, &serial, 0).await;
    let listed = kept.backup(&["list", "--json"]).await.json();
    assert_eq!(listed["backups"][0]["manifest"], made);
    assert!(kept.backup(&["list"]).await.ok().contains("whole"));
    assert!(kept.backup(&["verify"]).await.ok().contains("is good"));
    let verified = kept.backup(&["verify", &name, "--into-scratch"]).await.ok();
    assert!(verified.contains("audit chain") && verified.contains("holds"), "{verified}");
    assert_eq!(kept.names().len(), 2, "nothing is left behind");

    // Not over what is there.
    kept.backup(&["restore", "latest"]).await.ends(1).says(&["error: ", "empty", "hint: "]);
    let setup = kept.nothing("restored").await;
    // Not without the key.
    let other = "b3RoZXIga2V5IG9mIHRoaXJ0eS10d28gYnl0ZXMhISE=";
    let mut keyless = setup.clone().with("CERTCTL_ENCRYPTION_KEY", other);
    keyless.variables.remove("CERTCTL_ENCRYPTION_KEY_FILE");
    keyless.run(&kept.world.home, &["backup", "restore", "latest"]).await.ends(1).says(&["encryption key", "CERTCTL_ENCRYPTION_KEY_FILE"]);
    let restored = setup.run(&kept.world.home, &["backup", "restore", "latest"]).await.ok();
    assert!(restored.contains(&name), "{restored}");
    kept.go_on_with(setup).await;

    let world = &kept.world;
    assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
    assert_eq!(world.cli.current_version("web").await["id"], first["id"]);
    let jobs = world.cli.jobs("web").await;
    assert!(jobs.iter().all(|job| job["status"] == "Completed" && job["type"] != "Renewal"), "nothing is ordered: {jobs:#?}");
    world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
    let again = world.cli.current_version("web").await;
    assert!(again["serial_number"] != lost["serial_number"] && again["serial_number"] != first["serial_number"]);
    site.nginx.serves(NAME, again["fingerprint_sha256"].as_str().unwrap()).await;
    assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
    // Revoked once more, for that was forgotten: in a list with a higher number.
    world.cli.run(&revoke).await.ok();
    assert!(listed_after(world, port, &serial, number).await > number);
    let events = world.cli.json(&["audit", "list", "--all"]).await;
    let actions: Vec<&str> = events["data"].as_array().unwrap().iter().filter_map(|event| event["action"].as_str()).collect();
    assert!(actions.contains(&"backup.restore"), "{actions:?}");
}

/// Waits for a revocation list with a higher number that names a certificate; gives its number.
async fn listed_after(world: &World, port: u16, serial: &str, number: u64) -> u64 {
    wait_for("a newer list that names it", LONG, async || {
        let (newer, text) = list(world, port).await?;
        (newer > number && text.contains(&serial.to_uppercase())).then_some(newer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_server_goes_on_where_the_backup_was_made_on_sqlite() {
    drill(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_server_goes_on_where_the_backup_was_made_on_postgres() {
    drill(Engine::Postgres).await;
}
