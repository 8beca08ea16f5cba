//! Access as the page gives it and takes it away.

use certctl_testkit::both_databases;

use crate::harness::{Operator, World, blocks, mode_of, read};

both_databases! {
    async fn people_and_programs_get_what_they_need_and_no_more(world: World) {
        let mut page = blocks("docs/operator/rbac.md", "sh");
        let operator = Operator::new(&world.home, &world.cli);
        let shown = operator.runs(&page.next_with("roles list")).await.ok();
        assert!(shown.contains("metrics-read") && shown.contains("cert.issue"), "{shown}");
        operator.runs(&page.next_with("keys create")).await.ok();
        let first = read(&world.home.join("dashboard.key"));
        assert_eq!(mode_of(&world.home.join("dashboard.key")), 0o600);
        world.home.plant_key(&first);
        let said = operator.runs(&page.next_with("--token-file dashboard.key")).await;
        assert!(said.stderr.contains("owner.edit"), "the refusal names the permission: {}", said.stderr);
        said.ok();
        operator.runs(&page.next_with("r-pipeline")).await.ok();

        // Who holds a role for one profile sees nothing of another.
        world.home.write("scoped.json", blocks("docs/operator/rbac.md", "json").next_with("scope_type"));
        operator.runs(&page.next_with("scoped.json")).await.ok();
        world.cli.run(&["profiles", "create", "--name", "other", "--id", "prof-other"]).await.ok();
        for (name, profile) in [("inside", "prof-default"), ("outside", "prof-other")] {
            let host = format!("{name}.example.test");
            world.cli.run(&["certs", "request", "--name", name, "--san", &host, "--profile", profile]).await.ok();
        }
        let key = world.cli.json(&["keys", "create", "--actor", "actor-team-a"]).await;
        let key = key["key_value"].as_str().unwrap();
        world.home.plant_key(key);
        let seen = world.server.api().with_token(key).get("/api/v1/certificates").await.is(200).text;
        assert!(seen.contains("inside") && !seen.contains("outside"), "{seen}");

        operator.runs(&page.next_with("keys rotate")).await.ok();
        let next = read(&world.home.join("dashboard.key"));
        world.home.plant_key(&next);
        assert_ne!(first, next);
        operator.runs(&page.next_with("keys delete")).await.ok();
        for key in [&first, &next] {
            world.server.api().with_token(key).get("/api/v1/certificates").await.is(401);
        }
        operator.runs(&page.next_with("actors delete")).await.ok();
        assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
    }
}
