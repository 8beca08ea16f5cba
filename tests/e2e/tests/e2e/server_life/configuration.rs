//! The configuration: everything that is wrong is told at once, with what to do about it, before anything is started or made.

use certctl_testkit::both_databases;
use serde_json::Value;

use crate::harness::{Home, Setup, World, read};

#[tokio::test]
async fn everything_that_is_wrong_is_told_together() {
    let home = Home::new();
    let file = home
        .write("server.toml", "[server]\nlisten = [\"127.0.0.1:1\"]\nrequest_timeout = \"forever\"\n\n[agents]\noffline_afer = \"1m\"\n");
    let setup = Setup::plain(&home, "server")
        .with("CERTCTL_CONFIG", file.to_str().unwrap())
        .with("CERTCTL_LOG_LEVL", "debug")
        .with("CERTCTL_SERVER_MAX_BODY", "1TiB")
        .with("CERTCTL_TLS_CERT_FILE", "/nowhere.pem")
        .with("CERTCTL_DATABASE_URL", "mysql://user:hunter2hunter2@host/name")
        .with("CERTCTL_ENCRYPTION_KEY_FILE", "/no/such/file");
    for words in [&["config", "check"][..], &[]] {
        let refused = setup.run(&home, words).await.ends(2);
        assert!(!refused.stderr.contains("hunter2"), "a password is not shown: {}", refused.stderr);
        let refused = refused.says(&[
            "CERTCTL_LOG_LEVL",
            "did you mean `CERTCTL_LOG_LEVEL`?",
            "server.toml:3",
            "offline_afer",
            "agents.offline_after",
        ]);
        refused.says(&["server.max_body", "CERTCTL_SERVER_MAX_BODY", "tls.key_file", "database.url", "/no/such/file", "hint: "]);
    }
    assert!(!setup.data.exists(), "nothing is made before the configuration is right");
    let fine = Setup::plain(&home, "server").with("CERTCTL_LOG_LEVEL", "debug").run(&home, &["config", "check"]).await.ends(0);
    assert!(fine.stdout.contains("fine"), "{}", fine.stdout);
    assert!(!fine.stderr.contains("error"), "{}", fine.stderr);
}

#[tokio::test]
async fn names_of_earlier_programs_and_slips_are_refused_with_the_right_name() {
    let home = Home::new();
    for (name, hint) in [
        ("CERTCTL_SERVER_PORT", "CERTCTL_SERVER_LISTEN"),
        ("CERTCTL_DATABASE_MAX_CONNS", "CERTCTL_DATABASE_MAX_CONNECTIONS"),
        ("CERTCTL_AUTH_SECRET", "CERTCTL_BOOTSTRAP_TOKEN"),
        ("CERTCTL_SERVER_LISTN", "CERTCTL_SERVER_LISTEN"),
        ("CERTCTL_QUUX", "config reference"),
    ] {
        let setup = Setup::plain(&home, "server").with(name, "8443");
        setup.run(&home, &["config", "check"]).await.ends(2).says(&[name, "hint: ", hint]);
    }
    // What belongs to the other programs may stand beside it.
    let beside = Setup::plain(&home, "server").with("CERTCTL_API_KEY", "ck_1_x").with("CERTCTL_AGENT_SERVER", "https://x");
    beside.run(&home, &["config", "check"]).await.ends(0);
}

#[tokio::test]
async fn what_takes_effect_can_be_shown_without_secrets() {
    let home = Home::new();
    let key = home.write("key", "QW5vdGhlciBrZXkgb2YgMzIgYnl0ZXMsIG5vdCBvdXI=\n");
    let setup = Setup::plain(&home, "server")
        .with("CERTCTL_ENCRYPTION_KEY_FILE", key.to_str().unwrap())
        .with("CERTCTL_DATABASE_URL", "postgres://certctl:hunter2hunter2@db.example.test/certctl");
    for words in [&["config", "show"][..], &["config", "show", "--output", "json", "--set", "scheduler.job_concurrency=7"]] {
        let shown = setup.run(&home, words).await.ok();
        assert!(shown.contains("db.example.test") && shown.contains("job_concurrency"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("QW5vdGhlci"), "{shown}");
    }
    let list: Value = setup.run(&home, &["config", "show", "--output", "json", "--set", "scheduler.job_concurrency=7"]).await.json();
    let set = list.as_array().unwrap().iter().find(|setting| setting["key"] == "scheduler.job_concurrency").unwrap();
    assert!(set.to_string().contains("--set") && set.to_string().contains('7'), "{set}");
    setup.run(&home, &["config", "show", "--set", "encryption.key=x"]).await.ends(2).says(&["encryption.key", "hint: "]);
}

#[tokio::test]
async fn postgresql_needs_a_key_that_all_replicas_share() {
    let home = Home::new();
    let setup = Setup::plain(&home, "server").with("CERTCTL_DATABASE_URL", "postgres://certctl@localhost/certctl");
    let refused = setup.run(&home, &[]).await.ends(2);
    refused.says(&["encryption.key", "PostgreSQL", "hint: ", "openssl rand -base64 32", "CERTCTL_ENCRYPTION_KEY_FILE"]);
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_told_without_its_password() {
    let home = Home::new();
    let setup = Setup::plain(&home, "server")
        .with("CERTCTL_DATABASE_URL", "postgres://certctl:hunter2hunter2@127.0.0.1:1/certctl")
        .with("CERTCTL_ENCRYPTION_KEY", "ZW5kLXRvLWVuZCB0ZXN0cyBvZiBjZXJ0Y3RsLCBrZXk=")
        .with("CERTCTL_DATABASE_START_TIMEOUT", "2s");
    let refused = setup.run(&home, &[]).await.ends(1).says(&["error: ", "database", "hint: ", "CERTCTL_DATABASE_URL"]);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}

both_databases! {
    async fn a_running_server_shows_its_settings_without_secrets(world: World) {
        let shown = world.api.get("/api/v1/auth/runtime-config").await.is(200).text;
        assert!(shown.contains("scheduler.job_concurrency") && shown.contains("encryption.key"), "{shown}");
        let key = world
            .server
            .setup
            .variables
            .get("CERTCTL_ENCRYPTION_KEY_FILE")
            .map_or_else(|| world.server.setup.data.join("encryption.key"), Into::into);
        assert!(!shown.contains(read(&key).trim()), "{shown}");
    }
}
