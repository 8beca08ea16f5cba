//! Who may call what: one row for every operation of the document, held against what the server does.
//!
//! An operation without a row fails the test, and so does a row without an operation: whoever adds or opens an operation says so here.

mod table;

use std::collections::BTreeMap;

use certctl_domain::auth::Permission;
use certctl_server::routes;
use certctl_testkit::Engine;
use serde_json::{Value, json};

use self::Who::{Anybody, Holds, Known, OwnAgent};
use self::table::{OUTSIDE_OF_SCOPES, TABLE};
use crate::contract::operations;
use crate::support::{Caller, Reply, TestServer};

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Everybody.
    Anybody,
    /// Everybody with a credential.
    Known,
    /// Who holds the permission.
    Holds(&'static str),
    /// The agent of the path, as itself.
    OwnAgent(&'static str),
}

#[test]
fn every_operation_has_a_row_and_every_row_an_operation() {
    let rows: BTreeMap<&str, Who> = TABLE.iter().copied().collect();
    assert_eq!(rows.len(), TABLE.len(), "a row is there twice");
    let document: BTreeMap<String, Value> = operations(&routes::openapi()).into_iter().collect();
    let missing: Vec<_> = document.keys().filter(|place| !rows.contains_key(place.as_str())).collect();
    assert!(missing.is_empty(), "these operations have no row: {missing:#?}");
    for (place, who) in rows {
        let operation = document.get(place).unwrap_or_else(|| panic!("there is no operation {place}"));
        let secured = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
        let permission = operation["x-permission"].as_str();
        let own_agent = operation["x-own-agent"].as_bool().unwrap_or(false);
        let documented = match (secured, permission, own_agent) {
            (false, None, false) => Anybody,
            (true, None, false) => Known,
            (true, Some(permission), false) => Holds(Permission::parse(permission).unwrap().as_str()),
            (true, Some(permission), true) => OwnAgent(Permission::parse(permission).unwrap().as_str()),
            other => panic!("{place}: {other:?}"),
        };
        assert_eq!(documented, who, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_without_a_credential_gets_in() {
    let server = TestServer::open(Engine::Sqlite).await;
    let stranger = server.caller(&format!("ck_0123456789ab_{}", "A".repeat(43)));
    for (place, who) in TABLE {
        let (no, unknown) = (call(&server.nobody(), place).await, call(&stranger, place).await);
        if *who == Anybody {
            assert!(!matches!(no.status, 401 | 403), "{place}: {}", no.text);
        } else {
            assert!(no.header("www-authenticate").starts_with("Bearer"), "{place}");
            no.fails_with(401, "credential_missing");
            unknown.fails_with(401, "credential_unknown");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_permission_opens_its_operations_and_no_other_does() {
    let server = TestServer::open(Engine::Sqlite).await;
    let mut callers = BTreeMap::new();
    for permission in Permission::ALL {
        let rows = TABLE.iter().any(|(_, who)| matches!(who, Holds(held) if *held == permission.as_str()));
        if rows {
            let name = format!("only-{}", permission.as_str().replace('.', "-"));
            let others: Vec<_> = Permission::ALL.iter().filter(|other| *other != permission).collect();
            let right = server.holder_of(&name, json!([permission])).await;
            let wrong = server.holder_of(&format!("not-{name}"), json!(others)).await;
            let scoped = json!([{"permission": permission, "scope_type": "profile", "scope_id": "prof-none"}]);
            let elsewhere = server.holder_of(&format!("elsewhere-{name}"), scoped).await;
            callers.insert(permission.as_str(), (right, wrong, elsewhere));
        }
    }
    let mut leaks = Vec::new();
    for (place, who) in TABLE {
        match who {
            Anybody => {}
            Known => {
                let (_, wrong, _) = callers.values().next().unwrap();
                assert!(!matches!(call(wrong, place).await.status, 401 | 403), "{place}");
            }
            Holds(permission) => {
                let (right, wrong, elsewhere) = &callers[permission];
                let open = call(right, place).await;
                assert!(!is_refusal(&open), "{place} with {permission}: {}", open.text);
                let refused = call(wrong, place).await.fails_with(403, "forbidden");
                assert!(refused["detail"].as_str().unwrap().contains(permission), "{place}: {refused}");
                leaks.extend(leak(place, &call(elsewhere, place).await));
            }
            OwnAgent(_) => {
                call(&server.admin(), place).await.fails_with(403, "forbidden");
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// In a scope in which nothing is, nothing is seen: refused, not found, not even looked at, or an empty list.
fn leak(place: &str, reply: &Reply) -> Option<String> {
    let json: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    let fine = match reply.status {
        400 | 403 | 404 | 409 | 415 => true,
        200 if OUTSIDE_OF_SCOPES.contains(&place) => true,
        200 => json["data"].as_array().is_some_and(Vec::is_empty) && json["total"] == 0,
        _ => false,
    };
    (!fine).then(|| format!("{place} answers {} to a grant for another scope: {}", reply.status, reply.text))
}

/// A refusal for lack of a permission. A ceiling or a last administrator is another matter.
fn is_refusal(reply: &Reply) -> bool {
    match reply.status {
        401 => true,
        403 => serde_json::from_str::<Value>(&reply.text).is_ok_and(|problem| problem["code"] == "forbidden"),
        _ => false,
    }
}

/// Calls an operation as well as one can without anything there.
async fn call(caller: &Caller, place: &str) -> Reply {
    let (method, path) = place.split_once(' ').unwrap();
    let path: Vec<String> = path.split('/').map(|part| if part.starts_with('{') { value_for(part) } else { part.to_owned() }).collect();
    let body = matches!(method, "POST" | "PUT" | "PATCH").then(|| "{}".to_owned());
    caller.send(method, &path.join("/"), &[], body).await
}

fn value_for(parameter: &str) -> String {
    match parameter {
        "{perm}" => "cert.read".to_owned(),
        "{role_id}" => "r-none".to_owned(),
        "{cert_id}" => "mc-none".to_owned(),
        "{job_id}" => "job-none".to_owned(),
        _ => "x-none".to_owned(),
    }
}
