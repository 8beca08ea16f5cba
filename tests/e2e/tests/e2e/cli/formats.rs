//! The same answer as table, JSON, YAML, names, CSV and lines of JSON; data to standard output and everything else to standard error.

use certctl_testkit::Engine;
use serde_json::Value;

use crate::harness::World;

#[tokio::test]
async fn one_answer_in_every_format() {
    let world = World::open(Engine::Sqlite).await;
    let cli = &world.cli;
    for (name, email) in [("alpha", "alpha@example.test"), ("beta", "beta@example.test"), ("gamma", "gamma@example.test")] {
        cli.run(&["owners", "create", "--name", name, "--email", email]).await.ok();
    }
    let list = async |format: &str| cli.run(&["owners", "list", "--sort", "name", "--output", format]).await.ok();

    let table = list("table").await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("NAME") && lines[0].contains("EMAIL") && lines[1].starts_with("alpha"), "{table}");
    assert!(!table.contains('\u{1b}') && lines.iter().all(|line| !line.ends_with(' ')), "plain text where nobody looks: {table:?}");
    assert!(list("wide").await.lines().next().unwrap().contains("CREATED"));
    assert_eq!(list("name").await, "alpha\nbeta\ngamma\n");

    let json: Value = serde_json::from_str(&list("json").await).unwrap();
    let yaml: Value = serde_norway::from_str(&list("yaml").await).unwrap();
    assert_eq!((&json["total"], &json["data"][0]["email"]), (&3.into(), &"alpha@example.test".into()));
    assert_eq!(json, yaml);
    let lines: Vec<Value> = list("ndjson").await.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::Array(lines), json["data"]);
    let csv = list("csv").await;
    assert!(csv.starts_with("name,email,team_id,id,") && csv.lines().count() == 4 && csv.contains("gamma,gamma@example.test"), "{csv}");

    let one = cli.run(&["owners", "get", "beta"]).await.ends(0);
    assert!(one.stdout.contains("beta@example.test") && one.stderr.is_empty(), "{one:?}");
    let one: Value = serde_norway::from_str(&cli.run(&["owners", "get", "beta", "-o", "yaml"]).await.ok()).unwrap();
    assert_eq!(one, json["data"][1]);
    let made = cli.run(&["owners", "create", "--name", "delta", "-o", "json"]).await.ends(0);
    serde_json::from_str::<Value>(&made.stdout).unwrap();
    assert!(made.stderr.contains("owner made"), "{}", made.stderr);
    let quiet = cli.run(&["owners", "create", "--name", "epsilon", "--quiet", "-o", "name"]).await.ends(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("epsilon\n", ""));
}

#[tokio::test]
async fn what_one_command_prints_another_takes() {
    let world = World::open(Engine::Sqlite).await;
    let cli = &world.cli;
    cli.run(&["profiles", "create", "--name", "internal", "--key", "ECDSA", "--max-ttl", "30d", "--san-pattern", "*.example.test"])
        .await
        .ok();
    let shown = cli.run(&["profiles", "get", "internal", "-o", "yaml"]).await.ok();
    let copied: String = shown
        .lines()
        .filter(|line| !["id:", "revision:", "created_at:", "updated_at:"].iter().any(|field| line.starts_with(field)))
        .map(|line| line.replace("name: internal", "name: copied") + "\n")
        .collect();
    cli.run_with_input(&["profiles", "create", "--from-file", "-"], &copied).await.ok();
    let (first, second) = (cli.json(&["profiles", "get", "internal"]).await, cli.json(&["profiles", "get", "copied"]).await);
    for field in ["allowed_key_algorithms", "max_ttl_seconds", "required_san_patterns", "allowed_ekus"] {
        assert_eq!(first[field], second[field], "{field}");
    }
    cli.run(&["profiles", "edit", "copied", "--set", "description=for the mesh", "--max-ttl", "7d"]).await.ok();
    let edited = cli.json(&["profiles", "get", "copied"]).await;
    assert_eq!((&edited["description"], &edited["max_ttl_seconds"]), (&"for the mesh".into(), &604_800.into()));
    assert_eq!(edited["required_san_patterns"], first["required_san_patterns"], "what is not named stays");
}

#[tokio::test]
async fn shells_complete_and_help_has_examples() {
    let world = World::open(Engine::Sqlite).await;
    let nobody = crate::harness::Cli::new(&world.home, "nobody");
    for shell in ["bash", "zsh", "fish"] {
        let script = nobody.run(&["completions", shell]).await.ok();
        assert!(script.contains("certctl") && script.contains("certs") && script.contains("explain"), "{shell}");
    }
    let bash = world.home.write("completion.bash", nobody.run(&["completions", "bash"]).await.ok());
    let mut shell = crate::harness::command(&world.home, certctl_testkit::require_program("bash"));
    let ask = format!(
        "source '{}'; COMP_WORDS=(certctl certs re); COMP_CWORD=2; _certctl certctl re certs; echo \"${{COMPREPLY[@]}}\"",
        bash.display()
    );
    let completed = crate::harness::run(shell.args(["-c", &ask])).await.ok();
    for word in ["renew", "request", "revoke"] {
        assert!(completed.split_whitespace().any(|found| found == word), "{completed}");
    }
    let help = nobody.run(&["certs", "request", "--help"]).await.ok();
    assert!(help.contains("Examples:\n  certctl certs request --name web --san web.example.test --target nginx-1 --wait"), "{help}");
    assert!(nobody.run(&["--help"]).await.ok().contains("Exit codes:"));
    let version = world.cli.run(&["version"]).await.ok();
    assert!(version.matches(env!("CARGO_PKG_VERSION")).count() >= 2, "of the program and of the server: {version}");
}
