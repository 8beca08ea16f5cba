//! Logging in, contexts, and which server and key are used.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::Server;

fn me(server: &Server) {
    server.on(
        "GET /api/v1/auth/me",
        200,
        json!({"actor_id": "actor-admin", "actor_type": "APIKey", "admin": true, "roles": ["r-admin"], "effective_permissions": []}),
    );
    server.on("GET /api/v1/teams?per_page=50", 200, json!({"data": [{"name": "a"}], "total": 1}));
}

#[test]
fn a_login_is_checked_kept_private_and_used() {
    let server = Server::start();
    me(&server);
    let ran = server.run_with(&["login", "--server", &server.url, "--ca", &server.ca(), "--token-file", "-"], &[], "ck_1_planted\n");
    assert!(ran.err.contains("as actor-admin (r-admin); context `localhost`"), "{ran:?}");
    ran.ok();
    assert_eq!(server.requests()[0].headers["authorization"], "Bearer ck_1_planted");
    let file = server.home.path().join(".config/certctl/config.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // The CA file may go away: its content was kept.
    std::fs::remove_file(server.ca()).unwrap();
    assert_eq!(server.run_with(&["teams", "list", "-o", "name"], &[], "").ok(), "a\n");
    let contexts = server.run_with(&["context", "list"], &[], "").ok();
    assert!(contexts.contains("ck_1_…") && !contexts.contains("planted"), "{contexts}");

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(server.run_with(&["context", "show"], &[], "").err.contains("chmod 600"));

    server.run_with(&["logout"], &[], "").ok();
    assert!(!std::fs::read_to_string(&file).unwrap().contains("planted"));
    server.run_with(&["teams", "list"], &[], "").fails(3);
}

#[test]
fn a_refused_key_is_not_kept() {
    let server = Server::start();
    server.on("GET /api/v1/auth/me", 401, json!({"status": 401, "detail": "the key is not known"}));
    let variables = [("CERTCTL_API_KEY", "ck_1_x")];
    let err = server.run_with(&["login", "--server", &server.url, "--ca", &server.ca()], &variables, "").fails(3);
    assert!(err.contains("the key is not known"), "{err}");
    assert!(!server.home.path().join(".config/certctl/config.toml").exists());
    assert!(server.run_with(&["login", "--server", &server.url], &[], "").fails(2).contains("--token-file"));
}

#[test]
fn several_servers_are_kept_apart() {
    let (lab, prod) = (Server::start(), Server::start());
    me(&lab);
    me(&prod);
    for (name, server) in [("lab", &lab), ("prod", &prod)] {
        let arguments = ["login", "--server", &server.url, "--ca", &server.ca(), "--context", name, "--token-file", "-"];
        lab.run_with(&arguments, &[], &format!("ck_{name}_x")).ok();
    }
    lab.requests();
    prod.requests();
    let asked = |arguments: &[&str], variables: &[(&str, &str)]| {
        lab.run_with(arguments, variables, "").ok();
        let key = |server: &Server| server.requests().first().map(|one| one.headers["authorization"].clone());
        (key(&lab), key(&prod))
    };
    let (to_lab, to_prod) = (Some("Bearer ck_lab_x".to_owned()), Some("Bearer ck_prod_x".to_owned()));
    assert_eq!(asked(&["teams", "list"], &[]), (None, to_prod.clone()), "the last login is meant");
    assert_eq!(asked(&["teams", "list", "--context", "lab"], &[]), (to_lab.clone(), None));
    assert_eq!(asked(&["teams", "list"], &[("CERTCTL_CONTEXT", "lab")]), (to_lab.clone(), None));
    lab.run_with(&["context", "use", "lab"], &[], "").ok();
    assert_eq!(asked(&["teams", "list"], &[]), (to_lab, None));
    // The key of one server is not sent to another.
    assert!(lab.run_with(&["teams", "list", "--server", "https://localhost:1"], &[], "").fails(3).contains("no API key"));
    lab.run_with(&["context", "delete", "lab"], &[], "").ok();
    assert!(lab.run_with(&["teams", "list", "--context", "lab"], &[], "").fails(2).contains("known are prod"));
}
