//! The first administrator: by a key at the first start, or by a token over the API, once.

use certctl_domain::secret::Secret;
use certctl_engine::auth::{bootstrap, first_admin, seed_roles};
use certctl_server::state::Limits;
use certctl_testkit::both_databases;
use serde_json::json;
use time::Duration;

use crate::support::{TestServer, fields_of};

/// A server that nobody has administered yet.
#[derive(Debug)]
struct Fresh(TestServer);

impl Fresh {
    async fn open(engine: certctl_testkit::Engine) -> Self {
        Self(TestServer::bare(engine, Limits::default()).await)
    }
}

const PATH: &str = "/api/v1/auth/bootstrap";
const TOKEN: &str = "a token that an operator made up";

both_databases! {
    async fn a_token_makes_one_administrator(fresh: Fresh) {
        let server = fresh.0;
        let anybody = server.nobody();
        let available = async || anybody.get(PATH).await.is(200).json()["available"].clone();
        let body = |token: &str, name: &str| json!({"token": token, "actor_name": name});
        assert_eq!(available().await, false);
        anybody.post(PATH, &body(TOKEN, "root")).await.fails_with(410, "bootstrap_unavailable");
        bootstrap::offer(&server.engine, &Secret::new(TOKEN.to_owned())).await.unwrap();
        assert_eq!(available().await, true);
        let refused = anybody.post(PATH, &body("wrong", "Root!")).await.fails_with(400, "invalid_field");
        assert_eq!(fields_of(&refused), ["actor_name"]);
        anybody.post(PATH, &body("wrong", "root")).await.fails_with(401, "bootstrap_refused");
        anybody.post(PATH, &body("", "root")).await.fails_with(401, "bootstrap_refused");
        let made = anybody.post(PATH, &body(TOKEN, "root")).await.is(201).json();
        assert_eq!(made["actor_id"], "actor-root");
        let admin = server.caller(made["key_value"].as_str().unwrap());
        assert_eq!(admin.get("/api/v1/auth/me").await.is(200).json()["admin"], true);
        assert_eq!(available().await, false);
        anybody.post(PATH, &body(TOKEN, "root")).await.fails_with(410, "bootstrap_unavailable");
        // A restart offers the same token again; it stays used.
        bootstrap::offer(&server.engine, &Secret::new(TOKEN.to_owned())).await.unwrap();
        assert_eq!(available().await, false);
        let events = admin.get("/api/v1/audit?action=bootstrap.consume").await.is(200);
        assert_eq!(events.json()["total"], 1);
        assert!(!events.text.contains(TOKEN));
    }

    async fn what_is_refused_does_not_burn_the_token(fresh: Fresh) {
        let server = fresh.0;
        bootstrap::offer(&server.engine, &Secret::new(TOKEN.to_owned())).await.unwrap();
        let huge = json!({"token": "x".repeat(2_000_000), "actor_name": "root"});
        server.nobody().post(PATH, &huge).await.fails_with(413, "body_too_large");
        server.nobody().post(PATH, &json!({"token": TOKEN})).await.fails_with(400, "invalid_field");
        server.nobody().post(PATH, &json!({"token": TOKEN, "actor_name": "root"})).await.is(201);
    }

    async fn two_at_once_make_one(fresh: Fresh) {
        let server = fresh.0;
        bootstrap::offer(&server.engine, &Secret::new(TOKEN.to_owned())).await.unwrap();
        let other = server.replica().await;
        let (one, two) = (server.nobody(), server.nobody().at(other));
        let (one, two) = tokio::join!(
            async { one.post(PATH, &json!({"token": TOKEN, "actor_name": "one"})).await.status },
            async { two.post(PATH, &json!({"token": TOKEN, "actor_name": "two"})).await.status },
        );
        let mut both = [one, two];
        both.sort_unstable();
        assert_eq!(both, [201, 410]);
    }

    async fn a_first_start_makes_a_key_and_a_second_one_none(fresh: Fresh) {
        let server = fresh.0;
        let key = first_admin(&server.engine).await.unwrap().unwrap();
        assert!(first_admin(&server.engine).await.unwrap().is_none());
        assert_eq!(seed_roles(&server.engine).await.unwrap(), 0, "the roles are as they were");
        let admin = server.caller(key.expose());
        assert_eq!(admin.get("/api/v1/auth/me").await.is(200).json()["roles"], json!(["r-admin"]));
        // Locked out by an expired key: the next start helps.
        let short = admin.post("/api/v1/auth/apikeys", &json!({"expires_in": "1h"})).await.is(201).json();
        let all = admin.get("/api/v1/auth/apikeys").await.is(200).column("id");
        let first = all.iter().find(|id| **id != short["id"].as_str().unwrap()).unwrap();
        admin.delete(&format!("/api/v1/auth/apikeys/{first}")).await.is(204);
        assert!(first_admin(&server.engine).await.unwrap().is_none());
        server.clock.advance(Duration::hours(2));
        let key = first_admin(&server.engine).await.unwrap().unwrap();
        server.caller(key.expose()).get("/api/v1/auth/me").await.is(200);
    }
}
