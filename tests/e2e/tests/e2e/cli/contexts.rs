//! Several servers in one configuration file, which is for its owner alone.

use certctl_testkit::Engine;

use crate::harness::{Server, Setup, World, mode_of, read};

#[tokio::test]
async fn one_file_knows_several_servers() {
    let world = World::open(Engine::Sqlite).await;
    let lab = Server::start(&world.home, Setup::plain(&world.home, "lab")).await;
    let key = read(&lab.first_key_file());
    world.home.plant_key(&key);
    let cli = &world.cli;
    let ca = lab.ca_file();
    // The key from standard input, so that it stands on no command line.
    let words = ["login", "--server", &lab.url(), "--ca", ca.to_str().unwrap(), "--token-file", "-", "--context", "lab"];
    let login = cli.run_with_input(&words, &key).await.ends(0);
    assert!(login.stderr.contains("logged in") && login.stderr.contains("`lab`"), "{}", login.stderr);
    assert_eq!((mode_of(&cli.config_file()), mode_of(cli.config_file().parent().unwrap())), (0o600, 0o700));

    cli.run(&["owners", "create", "--name", "in-the-lab"]).await.ok();
    assert_eq!(cli.json(&["owners", "list"]).await["total"], 1);
    assert_eq!(cli.json(&["owners", "list", "--context", "127.0.0.1"]).await["total"], 0);
    assert_eq!(cli.clone().with("CERTCTL_CONTEXT", "127.0.0.1").json(&["owners", "list"]).await["total"], 0);
    let contexts = cli.run(&["context", "list"]).await.ok();
    assert!(contexts.contains("lab") && contexts.contains("127.0.0.1") && !contexts.contains(key.trim()), "{contexts}");
    cli.run(&["context", "use", "127.0.0.1"]).await.ok();
    assert_eq!(cli.json(&["owners", "list"]).await["total"], 0);
    let me = cli.run(&["actors", "me"]).await.ok();
    assert!(me.contains("actor-admin"), "{me}");

    cli.run(&["logout", "--context", "lab"]).await.ok();
    cli.run(&["owners", "list", "--context", "lab"]).await.ends(3);
    assert!(!read(&cli.config_file()).contains(key.trim()));
    cli.run(&["context", "delete", "lab"]).await.ok();
    cli.run(&["owners", "list", "--context", "lab"]).await.ends(2);
    // A login that fails changes nothing.
    let before = read(&cli.config_file());
    cli.run_with_input(&words, &format!("ck_0123456789ab_{}", "A".repeat(43))).await.ends(3);
    assert_eq!(read(&cli.config_file()), before);
}
