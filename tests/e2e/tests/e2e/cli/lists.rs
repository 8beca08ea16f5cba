//! Lists as people ask for them: searched, filtered, sorted, page by page.

use certctl_testkit::both_databases;
use serde_json::{Value, json};

use crate::harness::World;

both_databases! {
    async fn lists_are_searched_filtered_sorted_and_paged(world: World) {
        let cli = &world.cli;
        cli.run(&["teams", "create", "--name", "edge"]).await.ok();
        cli.run(&["owners", "create", "--name", "web-ops", "--team", "edge"]).await.ok();
        for number in 0..23 {
            let (name, environment) = (format!("host-{number:02}"), if number % 2 == 0 { "production" } else { "staging" });
            let san = format!("{name}.example.test");
            let mut body = json!({"name": name, "sans": [san], "environment": environment, "tags": {"rack": number.to_string()}});
            if number < 3 {
                body["owner_id"] = cli.json(&["owners", "get", "web-ops"]).await["id"].clone();
            }
            world.api.post("/api/v1/certificates", &body).await.is(201);
        }
        let names = async |words: &[&str]| -> Vec<String> {
            let said = cli.run(&[&["certs", "list", "--output", "name"], words].concat()).await.ok();
            said.lines().map(str::to_owned).collect()
        };
        assert_eq!(names(&["--sort", "-name", "--limit", "3"]).await, ["host-22", "host-21", "host-20"]);
        assert_eq!(names(&["--search", "host-1", "--sort", "name", "--all"]).await.len(), 10);
        assert_eq!(names(&["-q", "host-07.example.test"]).await, ["host-07"]);
        assert_eq!(names(&["--san", "host-05.example.test"]).await, ["host-05"]);
        assert_eq!(names(&["--owner", "web-ops", "--sort", "name"]).await, ["host-00", "host-01", "host-02"]);
        assert_eq!(names(&["--environment", "staging", "--all"]).await.len(), 11);
        assert_eq!(names(&["--filter", "environment=staging", "--status", "pending", "--all"]).await.len(), 11);
        assert_eq!(names(&["--status", "Active"]).await, Vec::<String>::new());

        let table = cli.run(&["certs", "list", "--limit", "5"]).await.ends(0);
        assert_eq!(table.stdout.lines().count(), 6);
        assert!(table.stderr.contains("5 of 23 certificates; --all shows all"), "{}", table.stderr);
        let none = cli.run(&["certs", "list", "-q", "no such thing"]).await.ends(0);
        assert!(none.stderr.contains("no certificates match"), "{}", none.stderr);
        cli.run(&["certs", "list", "--sort", "colour"]).await.ends(1).says(&["sort", "colour"]);
        cli.run(&["certs", "list", "--filter", "colour=red"]).await.ends(1).says(&["colour"]);

        // Page by page, nothing is there twice and nothing is missed, though the list grows meanwhile.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = world.api.get(&format!("/api/v1/certificates?per_page=5&sort=name{cursor}")).await.is(200).json();
            assert!(page["data"].as_array().unwrap().len() <= 5);
            seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            let name = format!("aaa-{}", seen.len());
            world.api.post("/api/v1/certificates", &json!({"name": name, "sans": [format!("{name}.example.test")]})).await.is(201);
        }
        assert_eq!(seen, (0..23).map(|number| format!("host-{number:02}")).collect::<Vec<_>>());

        let trimmed = world.api.get("/api/v1/certificates?fields=name&per_page=1&sort=name").await.json();
        let fields: Vec<&String> = trimmed["data"][0].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["id", "name"]);
    }

    async fn a_request_that_is_sent_twice_is_done_once(world: World) {
        let body = json!({"name": "web", "sans": ["web.example.test"]}).to_string();
        let send = async |key: &str, body: &str| {
            world.api.send("POST", "/api/v1/certificates", &[("idempotency-key", key)], Some(body.to_owned())).await
        };
        let first = send("the-key", &body).await.is(201);
        let second = send("the-key", &body).await.is(201);
        assert_eq!((second.header("idempotency-replayed"), second.header("location")), ("true", first.header("location")));
        assert_eq!(first.text, second.text);
        assert_eq!(world.api.get("/api/v1/certificates").await.json()["total"], 1);
        send("the-key", &body.replace("web", "api")).await.fails_with(422, "idempotency_mismatch");
        send("another-key", &body).await.fails_with(409, "name_taken");
        send("bad key", &body).await.is(400).problem();
        // A server that was killed in between still knows.
        let mut world = world;
        world.server.kill().await;
        world.server.start_again().await;
        let third = world.api.send("POST", "/api/v1/certificates", &[("idempotency-key", "the-key")], Some(body)).await.is(201);
        assert_eq!(third.json()["id"], first.json()["id"]);
        let total: Value = world.api.get("/api/v1/certificates").await.json()["total"].clone();
        assert_eq!(total, 1);
    }
}
