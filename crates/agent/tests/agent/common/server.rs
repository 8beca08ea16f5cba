//! A small HTTPS server with the calls that agents make. What it answers can be changed while it runs, and it can go away.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use certctl_api::agents::{ChallengeReport, CsrRequest, EnrollRequest, JobReport};
use certctl_domain::agent::AgentFacts;
use certctl_domain::challenge::ChallengeKind;
use certctl_domain::time::Timestamp;
use certctl_pki::certificate::Certificate;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;

pub(crate) struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: JoinSet<()>,
}

struct Shared {
    script: Mutex<Script>,
    work: Notify,
    authority: Authority,
    config: Arc<ServerConfig>,
}

/// Looks at a signing request as it comes in.
pub(crate) type Look = Box<dyn Fn(&CsrRequest) + Send>;

/// What the server knows and answers.
pub(crate) struct Script {
    /// Tokens that have not been used.
    pub(crate) tokens: Vec<String>,
    /// SHA-256 of the enrolled agent's secret.
    pub(crate) secret_sha256: Option<String>,
    /// What enrolled agents said.
    pub(crate) enrollments: Vec<EnrollRequest>,
    /// Handed out at the next question.
    pub(crate) work: Vec<Value>,
    /// What was handed in.
    pub(crate) requests: Vec<CsrRequest>,
    /// Issued certificates by managed certificate.
    pub(crate) issued: HashMap<String, Value>,
    /// What is to be answered for CAs.
    pub(crate) challenges: Vec<Value>,
    /// What the agent said of that, in order.
    pub(crate) answers: Vec<ChallengeReport>,
    /// Reports by job, in order.
    pub(crate) reports: Vec<(String, JobReport)>,
    pub(crate) heartbeats: usize,
    /// What the last one said that the agent can answer.
    pub(crate) can_answer: Vec<ChallengeKind>,
    /// Whether this is a server that knows nothing of that.
    pub(crate) is_older: bool,
    pub(crate) questions: usize,
    pub(crate) skew_ms: i64,
    /// Answers instead of the usual: the end of a path, and a status. The first that fits.
    pub(crate) refuse: Vec<(&'static str, u16)>,
    /// As `refuse`, by a proxy on the way.
    pub(crate) proxy: Vec<(&'static str, u16)>,
    /// Called with each request before it is answered.
    pub(crate) on_request: Option<Look>,
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        let authority = Authority::new("Test CA");
        let pair = authority.server();
        let chain = CertificateDer::pem_slice_iter(pair.chain_pem.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let script = Script {
            tokens: Vec::new(),
            secret_sha256: None,
            enrollments: Vec::new(),
            work: Vec::new(),
            requests: Vec::new(),
            issued: HashMap::new(),
            challenges: Vec::new(),
            answers: Vec::new(),
            reports: Vec::new(),
            heartbeats: 0,
            can_answer: Vec::new(),
            is_older: false,
            questions: 0,
            skew_ms: 0,
            refuse: Vec::new(),
            proxy: Vec::new(),
            on_request: None,
        };
        let shared = Arc::new(Shared { script: Mutex::new(script), work: Notify::new(), authority, config: Arc::new(config) });
        let mut server = Self { address: "127.0.0.1:0".parse().unwrap(), shared, running: JoinSet::new() };
        server.up().await;
        server
    }

    /// Comes (back) up, at the same address.
    pub(crate) async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.running.spawn(accept(listener, Arc::clone(&self.shared)));
    }

    /// Goes away in the middle of everything.
    pub(crate) async fn down(&mut self) {
        self.running.shutdown().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.shared.authority
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.shared.authority.pem().to_owned()
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }

    /// A new token.
    pub(crate) fn token(&self) -> String {
        let mut script = self.script();
        let token = format!("ce_{}_secret", script.enrollments.len() + script.tokens.len());
        script.tokens.push(token.clone());
        token
    }

    /// Work for the agent, at once.
    pub(crate) fn hand_out(&self, item: Value) {
        self.script().work.push(item);
        self.shared.work.notify_waiters();
    }

    /// From now on this is all that is to be answered for CAs.
    pub(crate) fn opens(&self, challenges: Vec<Value>) {
        self.script().challenges = challenges;
        self.shared.work.notify_waiters();
    }

    /// Waits until the agent has said something of a token for the n-th time; gives what it said then.
    pub(crate) async fn answer_for(&self, token: &str, number: usize) -> ChallengeReport {
        let find = async || self.script().answers.iter().filter(|report| report.token == token).nth(number).cloned();
        certctl_testkit::wait_for(&format!("an answer for {token}"), super::LONG, find).await
    }

    /// Issues for a request and keeps the result for the agent to fetch; returns the fingerprint.
    pub(crate) fn issue(&self, request: &CsrRequest, version: &str) -> String {
        let pem = self.shared.authority.issue(&request.csr_pem);
        let fingerprint = Certificate::parse_pem(&pem).unwrap().fingerprint().as_str().to_owned();
        let issued = json!({
            "certificate_pem": pem, "version_id": version, "fingerprint_sha256": fingerprint, "key_job_id": request.job_id,
        });
        self.script().issued.insert(request.certificate_id.to_string(), issued);
        fingerprint
    }

    /// Has the agent make the key of `mc-web` under `job-key`, and issues `ver-1` for it.
    pub(crate) async fn has_issued_one(&self) {
        self.hand_out(request_item("job-key", "mc-web"));
        let request = self.request(0).await;
        self.issue(&request, "ver-1");
    }

    /// The last report of a job that ended it.
    pub(crate) fn result(&self, job: &str) -> Option<JobReport> {
        let script = self.script();
        script.reports.iter().rev().find(|(id, report)| id == job && report.status != "Running").map(|(_, report)| report.clone())
    }

    /// Waits for a job to end.
    pub(crate) async fn result_of(&self, job: &str) -> JobReport {
        certctl_testkit::wait_for(&format!("the end of {job}"), super::LONG, async || self.result(job)).await
    }

    /// Waits for the n-th signing request.
    pub(crate) async fn request(&self, number: usize) -> CsrRequest {
        certctl_testkit::wait_for("a signing request", super::LONG, async || self.script().requests.get(number).cloned()).await
    }
}

/// Asks for a signing request.
pub(crate) fn request_item(job: &str, certificate: &str) -> Value {
    json!({
        "id": job, "type": "Issuance", "certificate_id": certificate, "certificate_name": "web", "common_name": "web.example.test",
        "sans": ["web.example.test", "10.0.0.7"], "key_algorithm": "ECDSA-P256", "status": "AwaitingCSR", "fence": 1,
        "lease_expires_at": "2030-01-01T00:00:00Z", "target_id": null, "target_type": null, "target_config": null,
        "version_id": null, "key_job_id": null,
    })
}

/// Asks for a deployment to plain files.
pub(crate) fn deployment_item(job: &str, certificate: &str, target: &str, config: Value) -> Value {
    json!({
        "id": job, "type": "Deployment", "certificate_id": certificate, "certificate_name": "web", "common_name": "web.example.test",
        "sans": ["web.example.test"], "key_algorithm": "ECDSA-P256", "status": "Running", "fence": 1,
        "lease_expires_at": "2030-01-01T00:00:00Z", "target_id": target, "target_type": "Files", "target_config": config,
        "version_id": "ver-1", "key_job_id": null,
    })
}

/// The same with something else in it.
pub(crate) fn with(mut item: Value, field: &str, value: Value) -> Value {
    item[field] = value;
    item
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let Ok(tls) = TlsAcceptor::from(Arc::clone(&shared.config)).accept(tcp).await else { return };
                    let service = service_fn(|request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
                    });
                    // A client that goes away is a part of the tests.
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let bearer = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let proxy = shared.script.lock().unwrap().proxy.iter().find(|(end, _)| path.ends_with(end)).map(|(_, status)| *status);
    if let Some(status) = proxy {
        let page = Bytes::from_static(b"<html><h1>Default backend</h1></html>");
        return Response::builder().status(status).header("content-type", "text/html").body(Full::new(page)).unwrap();
    }
    let (status, value) = match shared.refusal(&path) {
        Some(status) => problem(status, "refused by the test"),
        None => shared.route(&path, &query, &bearer, &body).await,
    };
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    Response::builder().status(status).header("content-type", kind).body(Full::new(Bytes::from(value.to_string()))).unwrap()
}

impl Shared {
    fn refusal(&self, path: &str) -> Option<u16> {
        let script = self.script.lock().unwrap();
        script.refuse.iter().find(|(end, _)| path.ends_with(end)).map(|(_, status)| *status)
    }

    async fn route(&self, path: &str, query: &str, bearer: &str, body: &[u8]) -> (StatusCode, Value) {
        let parts: Vec<_> = path.trim_start_matches("/api/v1/agents/").split('/').collect();
        if parts == ["enroll"] {
            return self.enroll(&serde_json::from_slice(body).unwrap());
        }
        if !self.knows(bearer) || parts[0] != "ag-1" {
            return problem(401, "the credential is not known");
        }
        match parts[1..] {
            ["heartbeat"] => {
                let mut script = self.script.lock().unwrap();
                let facts: AgentFacts = serde_json::from_slice(body).unwrap();
                if script.is_older && !facts.challenges.is_empty() {
                    return problem(422, "unknown field `challenges`");
                }
                script.can_answer = facts.challenges;
                script.heartbeats += 1;
                let answer = json!({"status": "ok", "server_time": now(), "clock_skew_ms": script.skew_ms, "next_in_seconds": 30});
                (StatusCode::OK, answer)
            }
            ["work"] => self.work(query).await,
            ["challenges"] if !body.is_empty() => {
                self.script.lock().unwrap().answers.push(serde_json::from_slice(body).unwrap());
                (StatusCode::OK, Value::Null)
            }
            ["challenges"] => self.challenges(query).await,
            ["csr"] => {
                let request: CsrRequest = serde_json::from_slice(body).unwrap();
                let mut script = self.script.lock().unwrap();
                if let Some(look) = &script.on_request {
                    look(&request);
                }
                script.requests.push(request);
                (StatusCode::ACCEPTED, json!({"status": "accepted"}))
            }
            ["certificates", certificate] => match self.script.lock().unwrap().issued.get(certificate) {
                Some(issued) => (StatusCode::OK, issued.clone()),
                None => problem(404, "nothing was issued"),
            },
            ["jobs", job, "status"] => {
                let report: JobReport = serde_json::from_slice(body).unwrap();
                self.script.lock().unwrap().reports.push((job.to_owned(), report));
                (StatusCode::OK, json!({"status": "ok"}))
            }
            _ => problem(404, "no such path"),
        }
    }

    fn enroll(&self, request: &EnrollRequest) -> (StatusCode, Value) {
        let mut script = self.script.lock().unwrap();
        let Some(at) = script.tokens.iter().position(|token| *token == request.token) else {
            return problem(401, "the token was used before, or has expired");
        };
        script.tokens.remove(at);
        script.secret_sha256 = Some(request.secret_sha256.clone());
        script.enrollments.push(request.clone());
        let name = request.name.clone().unwrap_or_default();
        (StatusCode::CREATED, json!({"agent_id": "ag-1", "name": name, "credential_prefix": "ca_1_", "server_time": now()}))
    }

    async fn work(&self, query: &str) -> (StatusCode, Value) {
        assert!(query.starts_with("wait="), "{query}");
        self.script.lock().unwrap().questions += 1;
        let woken = self.work.notified();
        let mut jobs = std::mem::take(&mut self.script.lock().unwrap().work);
        if jobs.is_empty() && tokio::time::timeout(Duration::from_millis(500), woken).await.is_ok() {
            jobs = std::mem::take(&mut self.script.lock().unwrap().work);
        }
        (StatusCode::OK, json!({"count": jobs.len(), "jobs": jobs}))
    }

    async fn challenges(&self, query: &str) -> (StatusCode, Value) {
        let has = query.split_once("has=").map(|(_, has)| has.to_owned()).unwrap_or_default();
        let revision =
            |open: &[Value]| if open.is_empty() { String::new() } else { hex::encode(digest(&SHA256, json!(open).to_string().as_bytes())) };
        let woken = self.work.notified();
        let mut open = self.script.lock().unwrap().challenges.clone();
        if revision(&open) == has && tokio::time::timeout(Duration::from_millis(500), woken).await.is_ok() {
            open = self.script.lock().unwrap().challenges.clone();
        }
        (StatusCode::OK, json!({"challenges": open, "revision": revision(&open)}))
    }

    fn knows(&self, bearer: &str) -> bool {
        let Some(secret) = bearer.strip_prefix("Bearer ca_1_") else { return false };
        self.script.lock().unwrap().secret_sha256 == Some(hex::encode(digest(&SHA256, secret.as_bytes())))
    }
}

fn problem(status: u16, detail: &str) -> (StatusCode, Value) {
    let code = if status == 410 { "agent_retired" } else { "some_code" };
    (
        StatusCode::from_u16(status).unwrap(),
        json!({"type": "about:blank", "status": status, "code": code, "detail": detail, "hint": format!("hint for {status}")}),
    )
}

fn now() -> Timestamp {
    certctl_agent::clock::now()
}
