//! A server without a network: its router, a database of its own, and callers that speak JSON.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use certctl_engine::auth::{first_admin, seed_roles};
use certctl_engine::clock::FakeClock;
use certctl_engine::shared::Shared;
use certctl_engine::{Engine, Options};
use certctl_server::config::TlsVersion;
use certctl_server::metrics::{RequestMetrics, Sources};
use certctl_server::rate_limit::RateLimiter;
use certctl_server::routes;
use certctl_server::state::{App, AppState, Limits, Readiness, ReadinessCheck, Version};
use certctl_server::tls::{PairFiles, ReloadingTls, TlsOptions};
use certctl_store::Store;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

certctl_testkit::test_store!();

/// A server.
#[derive(Debug)]
pub(crate) struct TestServer {
    pub(crate) store: TestStore,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) state: AppState,
    router: Router,
    admin: Secret<String>,
}

/// Somebody who calls a server.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    router: Router,
    token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
}

impl TestServer {
    /// A server as it is after its first start.
    pub(crate) async fn open(engine: certctl_testkit::Engine) -> Self {
        Self::with_limits(engine, Limits::default()).await
    }

    /// A server with other limits.
    pub(crate) async fn with_limits(engine: certctl_testkit::Engine, limits: Limits) -> Self {
        let mut server = Self::bare(engine, limits).await;
        server.admin = first_admin(&server.engine).await.unwrap().expect("there is no administrator yet");
        server
    }

    /// A server without an administrator.
    pub(crate) async fn bare(engine: certctl_testkit::Engine, limits: Limits) -> Self {
        let store = TestStore::open(engine).await;
        let clock = Arc::new(FakeClock::at(start()));
        let state = start_on(&store, &clock, Given { limits, ..Given::default() }, "test").await;
        let (engine, router) = (Arc::clone(&state.engine), routes::router(state.clone()));
        Self { store, engine, clock, state, router, admin: Secret::new(String::new()) }
    }

    /// Another replica on the same database.
    pub(crate) async fn replica(&self) -> Router {
        routes::router(self.replica_state().await)
    }

    /// What another replica on the same database works with.
    pub(crate) async fn replica_state(&self) -> AppState {
        self.replica_with(Given::default()).await
    }

    /// The same for a replica that is set up in another way.
    pub(crate) async fn replica_with(&self, given: Given) -> AppState {
        start_on(&self.store.replica().await, &self.clock, given, "replica").await
    }

    /// The first administrator.
    pub(crate) fn admin(&self) -> Caller {
        self.caller(self.admin.expose())
    }

    /// Somebody with a token.
    pub(crate) fn caller(&self, token: &str) -> Caller {
        Caller { router: self.router.clone(), token: Some(token.to_owned()) }
    }

    /// Somebody without a credential.
    pub(crate) fn nobody(&self) -> Caller {
        Caller { router: self.router.clone(), token: None }
    }

    /// Somebody who holds these permissions and nothing else.
    pub(crate) async fn holder_of(&self, name: &str, permissions: Value) -> Caller {
        let admin = self.admin();
        let role = format!("r-{name}");
        let body = json!({"id": role, "name": name, "permissions": permissions});
        admin.post("/api/v1/auth/roles", &body).await.is(201);
        self.actor_with(name, json!([role])).await
    }

    /// Somebody who holds these roles.
    pub(crate) async fn actor_with(&self, name: &str, roles: Value) -> Caller {
        let actor = format!("actor-{name}");
        self.admin().post("/api/v1/auth/actors", &json!({"id": actor, "name": name, "roles": roles})).await.is(201);
        let key = self.admin().post("/api/v1/auth/apikeys", &json!({"actor_id": actor, "name": name})).await.is(201).json();
        self.caller(key["key_value"].as_str().unwrap())
    }
}

impl Caller {
    /// The same caller at another router.
    pub(crate) fn at(&self, router: Router) -> Self {
        Self { router, token: self.token.clone() }
    }

    /// Its token.
    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send("PUT", path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send("PATCH", path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], None).await
    }

    /// Any request. A body is sent as JSON unless a header says otherwise.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if body.is_some() && !typed {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.map_or_else(Body::empty, Body::from)).unwrap();
        self.sent(request).await
    }

    async fn sent(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes: bytes.to_vec(),
        }
    }
}

impl Reply {
    /// Fails unless it has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Fails unless it is a problem with this status and code.
    #[track_caller]
    pub(crate) fn fails_with(self, status: u16, code: &str) -> Value {
        let problem = self.is(status).problem();
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// Fails unless it is a problem as all problems are.
    #[track_caller]
    pub(crate) fn problem(self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        for name in ["type", "title", "detail", "instance", "code", "error", "message"] {
            assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{name} is missing: {problem}");
        }
        problem
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The values of a field over the rows of a list.
    #[track_caller]
    pub(crate) fn column(&self, field: &str) -> Vec<String> {
        let json = self.json();
        let rows = json["data"].as_array().unwrap_or_else(|| panic!("not a list: {}", self.text));
        rows.iter().map(|row| row[field].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The instant at which tests begin.
pub(crate) fn start() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// The texts of a field's errors in a problem.
pub(crate) fn fields_of(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().map(|errors| errors.iter().filter_map(|error| error["field"].as_str()).collect()).unwrap_or_default()
}

/// How a server is set up.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) limits: Limits,
    pub(crate) rates: RateLimiter,
    /// How old a scrape may be; by default tests see what they did just now.
    pub(crate) age: Duration,
}

async fn start_on(store: &Store, clock: &Arc<FakeClock>, given: Given, name: &str) -> AppState {
    let engine = Engine::new(store.clone(), Arc::clone(clock) as _, Options::named(name));
    seed_roles(&engine).await.unwrap();
    let requests = Arc::new(RequestMetrics::default());
    AppState::new(App {
        rates: given.rates,
        invitation: certctl_server::state::Invitation { server: "https://certctl.example.test".to_owned(), ca_sha256: None },
        engine,
        readiness: Arc::new(AllWell),
        requests: Arc::clone(&requests) as _,
        metrics: Sources {
            requests,
            tls: own_certificate(),
            listener: Arc::default(),
            started_at: start(),
            installation: Shared::default(),
            age: given.age,
        },
        version: Version { version: "1.2.3".to_owned(), ..Version::default() },
        settings: [("server.listen".to_owned(), "0.0.0.0:8443".to_owned())].into(),
        limits: given.limits,
    })
}

#[derive(Debug)]
struct AllWell;

impl Readiness for AllWell {
    fn check(&self) -> BoxFuture<'_, Vec<ReadinessCheck>> {
        async { vec![ReadinessCheck { name: "database", problem: None }] }.boxed()
    }
}

/// What the server would show, if it had a listener.
fn own_certificate() -> Arc<ReloadingTls> {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let put = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    };
    let files = PairFiles { cert: put("tls.crt", pair.cert.pem()), key: put("tls.key", pair.signing_key.serialize_pem()) };
    let options = TlsOptions { min_version: TlsVersion::Tls13, client_certificates: None };
    Arc::new(ReloadingTls::load(files, options, start()).unwrap())
}
