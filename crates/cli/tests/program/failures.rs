//! Exit codes and words for everything that goes wrong between this program and a server.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::json;

use crate::support::{Server, program, put, run};

#[test]
fn problems_are_told_with_fields_hint_and_request_id() {
    let server = Server::start();
    let problem = json!({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "the owner is not as it should be", "code": "invalid",
        "hint": "correct the fields", "request_id": "req-7", "errors": [{"field": "email", "message": "has no @"}], "error": "x", "message": "y"});
    server.on("POST /api/v1/owners", 400, problem);
    let err = server.run(&["owners", "create", "--name", "a", "--email", "b"]).fails(1);
    assert_eq!(err, "error: the owner is not as it should be\n  field: email: has no @\nhint: correct the fields\nrequest id: req-7\n");
}

#[test]
fn each_kind_of_problem_has_its_exit_code() {
    let server = Server::start();
    for (status, code) in [(400, 1), (401, 3), (403, 3), (404, 4), (409, 5), (412, 5), (429, 6), (500, 1), (503, 1)] {
        server.on(&format!("GET /api/v1/teams/{status}"), status, json!({"status": status, "detail": "no"}));
        let err = server.run(&["teams", "get", &status.to_string()]).fails(code);
        assert!(err.starts_with("error: no\n"), "{err}");
    }
    server.on("GET /api/v1/teams/html", 502, "<html>Bad Gateway</html>");
    assert!(server.run(&["teams", "get", "html"]).fails(1).contains("502"));
    server.on("GET /api/v1/teams/text", 200, "hello");
    assert!(server.run(&["teams", "get", "text"]).fails(1).contains("not of this API"));
}

#[test]
fn only_https_is_spoken() {
    let home = tempfile::tempdir().unwrap();
    for server in ["http://localhost:8443", "localhost:8443", "ftp://x", "nonsense"] {
        let ran = run(home.path(), &["certs", "list", "--server", server], &[("CERTCTL_API_KEY", "ck_1_planted")], "");
        let err = ran.fails(2);
        assert!(err.contains(server) && !err.contains("planted"), "{err}");
    }
}

#[test]
fn an_unreachable_or_untrusted_server_is_a_network_failure() {
    let server = Server::start();
    let key = ("CERTCTL_API_KEY", "k");
    let nobody = run(server.home.path(), &["teams", "list", "--server", "https://localhost:1"], &[key], "");
    assert!(nobody.fails(7).contains("cannot reach https://localhost:1"));
    let untrusted = server.run_with(&["teams", "list", "--server", &server.url], &[key], "").fails(7);
    assert!(untrusted.contains("hint: ") && untrusted.contains("--ca"), "{untrusted}");
    assert!(server.lines().is_empty(), "nobody untrusted gets a request");
}

#[test]
fn trust_comes_from_the_ca_file_or_from_carelessness() {
    let server = Server::start();
    server.on("GET /api/v1/teams?per_page=50", 200, json!({"data": [{"name": "a"}], "total": 1}));
    let key = ("CERTCTL_API_KEY", "k");
    let list = ["teams", "list", "-o", "name", "--server", &server.url];
    assert_eq!(server.run_with(&[&list[..], &["--ca", &server.ca()]].concat(), &[key], "").ok(), "a\n");
    assert_eq!(server.run_with(&list, &[key, ("CERTCTL_SERVER_CA_BUNDLE_PATH", &server.ca())], "").ok(), "a\n");
    let careless = server.run_with(&[&list[..], &["--insecure"]].concat(), &[key], "");
    assert!(careless.err.contains("warning: --insecure"), "{careless:?}");
    assert_eq!(careless.ok(), "a\n");
    let empty = server.home.path().join("empty.pem");
    put(&empty, "");
    assert!(server.run_with(&list, &[key, ("CERTCTL_CA_FILE", &empty.display().to_string())], "").fails(2).contains("no certificate"));
    assert!(server.run_with(&list, &[key, ("CERTCTL_CA_FILE", "/does/not/exist.pem")], "").fails(2).contains("cannot read the CA file"));
}

#[test]
fn nobody_logged_in_is_told_how_to() {
    let home = tempfile::tempdir().unwrap();
    assert!(run(home.path(), &["certs", "list"], &[], "").fails(2).contains("hint: certctl login"));
    let err = run(home.path(), &["certs", "list", "--server", "https://localhost:1"], &[], "").fails(3);
    assert!(err.contains("no API key") && err.contains("certctl login --server https://localhost:1"), "{err}");
}

#[test]
fn usage_errors_end_with_two() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["bla"][..], &["certs"], &["certs", "bla"], &["certs", "get"], &[], &["certs", "list", "--nothing"]] {
        run(home.path(), arguments, &[], "").fails(2);
    }
    assert!(run(home.path(), &["--help"], &[], "").ok().contains("Exit codes"));
    assert!(run(home.path(), &["--version"], &[], "").ok().starts_with("certctl "));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let server = Server::start();
    let rows: Vec<_> = (0..500).map(|n| json!({"id": format!("t-{n}"), "name": "x".repeat(2_000)})).collect();
    server.on("GET /api/v1/teams?per_page=500", 200, json!({"data": rows, "total": 1_000, "next_cursor": "c"}));
    server.on("GET /api/v1/teams?cursor=c&per_page=500", 200, json!({"data": rows, "total": 1_000}));
    let variables = [("CERTCTL_SERVER_URL", server.url.as_str()), ("CERTCTL_API_KEY", "k"), ("CERTCTL_CA_FILE", &server.ca())];
    let mut child = program(server.home.path(), &variables)
        .args(["teams", "list", "--all", "-o", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn completions_and_reference_need_no_server() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(home.path(), &["completions", shell], &[], "").ok().contains("certctl"));
    }
    assert!(run(home.path(), &["reference"], &[], "").ok().starts_with("# The command line\n"));
    assert!(run(home.path(), &["version"], &[], "").ok().starts_with("certctl  "));
}
