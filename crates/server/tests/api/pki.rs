//! What relying parties fetch, over the API's router and over plain HTTP.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certctl_engine::{Ctx, scheduler};
use certctl_server::listener::PlainListener;
use certctl_server::routes;
use certctl_testkit::both_databases;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::support::TestServer;

/// What came back, in bytes.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn send(router: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::from(body.to_vec())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Got { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
}

async fn run_task(server: &TestServer, name: &str) {
    let task = scheduler::TASKS.iter().find(|task| task.name == name).unwrap();
    scheduler::once(&Ctx::system(&server.engine, task.name), task).await.unwrap();
}

pub(crate) async fn published(server: &TestServer) {
    run_task(server, "revocation_lists").await;
    run_task(server, "revocation_refresh").await;
}

/// A certificate that was issued, and its serial number.
async fn issued(server: &TestServer, name: &str) -> (String, String) {
    let id = server.issue(name).await;
    let versions = server.admin().get(&format!("/api/v1/certificates/{id}/versions")).await.is(200).json();
    (id, versions["data"][0]["serial_number"].as_str().unwrap().to_owned())
}

async fn revoke(server: &TestServer, id: &str) {
    server.admin().post(&format!("/api/v1/certificates/{id}/revoke"), &json!({"reason": "keyCompromise"})).await;
    run_task(server, "revocation_refresh").await;
}

/// An OCSP request about a serial number of the built-in CA, with SHA-1, in DER.
async fn question(server: &TestServer, serial: &str) -> Vec<u8> {
    let pem = server.admin().get("/api/v1/issuers/iss-local/ca").await.is(200).text;
    let ca = certctl_pki::certificate::Certificate::parse_pem(&pem).unwrap();
    let hashes = certctl_pki::ocsp::IssuerHashes::of(&ca);
    let id = certctl_pki::ocsp::CertId::new(&hashes, &serial.parse::<SerialText>().unwrap().0).unwrap();
    let wrap = |content: &[u8]| [&[0x30, u8::try_from(content.len()).unwrap()][..], content].concat();
    wrap(&wrap(&wrap(&wrap(id.der()))))
}

struct SerialText(certctl_domain::x509::Serial);

impl std::str::FromStr for SerialText {
    type Err = certctl_domain::x509::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        certctl_domain::x509::Serial::parse(text).map(Self)
    }
}

/// `[0]` good, `[1]` revoked, `[2]` unknown: the tag behind the serial number that was asked about.
fn status(response: &[u8], serial: &str) -> u8 {
    let serial = certctl_domain::x509::Serial::parse(serial).unwrap().to_der_bytes();
    let at = response.windows(serial.len()).position(|window| window == serial).expect("the answer names the serial number");
    response[at + serial.len()] & 0x1f
}

both_databases! {
    async fn a_list_is_served_to_anybody_with_the_headers_of_a_cache(server: TestServer) {
        server.seed().await;
        let (id, _) = issued(&server, "web").await;
        let router = routes::router(server.state.clone());
        let path = "/.well-known/pki/crl/iss-local";
        let early = send(&router, "GET", path, &[], b"").await;
        assert_eq!((early.status, early.header("retry-after")), (503, "5"));
        published(&server).await;
        let list = send(&router, "GET", path, &[], b"").await;
        assert_eq!((list.status, list.header("content-type")), (200, "application/pkix-crl"));
        assert_eq!(list.header("cache-control"), "max-age=60, public, no-transform, must-revalidate");
        assert_eq!(list.header("last-modified"), "Mon, 01 Jun 2026 00:00:00 GMT");
        let tag = list.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() == 66, "{tag}");
        let known = send(&router, "GET", path, &[("if-none-match", &tag)], b"").await;
        assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, tag.as_str()));
        let head = send(&router, "HEAD", path, &[], b"").await;
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, tag.as_str()));
        let numbered = send(&router, "GET", "/.well-known/pki/crl/iss-local/0", &[], b"").await;
        assert_eq!(numbered.body, list.body);
        revoke(&server, &id).await;
        server.clock.advance(time::Duration::seconds(15));
        published(&server).await;
        let newer = send(&router, "GET", path, &[("if-none-match", &tag)], b"").await;
        assert_eq!(newer.status, 200);
        assert!(newer.body.len() > list.body.len());

        for (path, status) in [("crl/iss-nobody", 404), ("crl/iss-local/99", 404), ("crl/iss-local/x", 404), ("keys/iss-local", 404)] {
            assert_eq!(send(&router, "GET", &format!("/.well-known/pki/{path}"), &[], b"").await.status, status, "{path}");
        }
        assert_eq!(send(&router, "DELETE", path, &[], b"").await.status, 405);
    }

    async fn status_is_told_by_post_by_get_and_by_serial_number(server: TestServer) {
        server.seed().await;
        let (id, serial) = issued(&server, "web").await;
        published(&server).await;
        let router = routes::router(server.state.clone());
        let question = question(&server, &serial).await;
        let base = "/.well-known/pki/ocsp/iss-local";
        let text = STANDARD.encode(&question);
        let escaped = text.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        for wanted in [0, 1] {
            let post = send(&router, "POST", base, &[("content-type", "application/ocsp-request")], &question).await;
            assert_eq!((post.status, post.header("content-type")), (200, "application/ocsp-response"));
            assert_eq!(status(&post.body, &serial), wanted);
            assert_eq!(post.header("cache-control"), "max-age=3600, public, no-transform, must-revalidate");
            for path in [format!("{base}/{escaped}"), format!("{base}/{text}"), format!("{base}//{text}"), format!("{base}/{}", serial.to_uppercase())] {
                let get = send(&router, "GET", &path, &[], b"").await;
                assert_eq!((get.status, status(&get.body, &serial)), (200, wanted), "{path}");
                assert_eq!(get.header("etag"), post.header("etag"), "one answer for all");
                let known = send(&router, "GET", &path, &[("if-none-match", post.header("etag"))], b"").await;
                assert_eq!(known.status, 304, "{path}");
            }
            if wanted == 0 {
                revoke(&server, &id).await;
            }
        }
        let unknown = send(&router, "GET", &format!("{base}/0badc0de"), &[], b"").await;
        assert_eq!((status(&unknown.body, "0badc0de"), unknown.header("cache-control")), (2, "private, max-age=0, must-revalidate"));
    }

    async fn what_is_no_request_is_answered_in_ocsp_with_a_refusal(server: TestServer) {
        server.seed().await;
        let (_, serial) = issued(&server, "web").await;
        published(&server).await;
        let router = routes::router(server.state.clone());
        let ocsp = "application/ocsp-request";
        let base = "/.well-known/pki/ocsp/iss-local";
        let refusal = |got: &Got| got.body.last().copied().filter(|_| got.body.len() == 5);
        let garbage = send(&router, "POST", base, &[("content-type", ocsp)], b"garbage").await;
        assert_eq!((garbage.status, refusal(&garbage), garbage.header("cache-control")), (200, Some(1), "no-store"));
        let garbage = send(&router, "GET", &format!("{base}/M*"), &[], b"").await;
        assert_eq!((garbage.status, refusal(&garbage)), (200, Some(1)));
        let question = question(&server, &serial).await;
        let nobody = send(&router, "POST", "/.well-known/pki/ocsp/iss-nobody", &[("content-type", ocsp)], &question).await;
        assert_eq!((nobody.status, refusal(&nobody)), (200, Some(6)));
        assert_eq!(send(&router, "POST", base, &[("content-type", "application/json")], b"{}").await.status, 415);
        assert_eq!(send(&router, "POST", base, &[], &question).await.status, 200, "some clients say nothing");
        assert_eq!(send(&router, "POST", base, &[("content-type", ocsp)], &vec![0x30; 100_000]).await.status, 413);
    }

    async fn the_ca_certificate_is_served_in_der(server: TestServer) {
        server.seed().await;
        issued(&server, "web").await;
        published(&server).await;
        let router = routes::router(server.state.clone());
        let got = send(&router, "GET", "/.well-known/pki/ca/iss-local", &[], b"").await;
        assert_eq!((got.status, got.header("content-type")), (200, "application/pkix-cert"));
        assert!(certctl_pki::certificate::Certificate::parse_der(&got.body).unwrap().is_ca());
    }

    async fn administrators_see_how_the_lists_stand(server: TestServer) {
        server.seed().await;
        issued(&server, "web").await;
        published(&server).await;
        let cache = server.admin().get("/api/v1/admin/crl/cache").await.is(200).json();
        assert_eq!(cache["row_count"], 2);
        let row = &cache["cache_rows"][0];
        assert_eq!((row["issuer_id"].as_str(), row["list"].as_i64(), row["revoked_count"].as_i64()), (Some("iss-local"), Some(0), Some(0)));
        assert_eq!(row["next_update"], "2026-06-02T00:00:00Z");
        server.holder_of("reader", json!(["cert.read"])).await.get("/api/v1/admin/crl/cache").await.is(403);
    }

    async fn plain_http_serves_what_is_published_and_nothing_else(server: TestServer) {
        server.seed().await;
        let (_, serial) = issued(&server, "web").await;
        published(&server).await;
        let listener = PlainListener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listener.addresses()[0];
        let stop = CancellationToken::new();
        let question = question(&server, &serial).await;
        let client = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let asking = async {
                let mut ask = async |method: &str, path: &str, body: &[u8]| {
                    let request = Request::builder().method(method).uri(path).header("host", "pki.example.test");
                    let response = sender.send_request(request.body(Full::new(axum::body::Bytes::copy_from_slice(body))).unwrap()).await.unwrap();
                    let (parts, body) = response.into_parts();
                    Got { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
                };
                let list = ask("GET", "/.well-known/pki/crl/iss-local/0", b"").await;
                assert_eq!((list.status, list.header("content-type")), (200, "application/pkix-crl"));
                let head = ask("HEAD", "/.well-known/pki/crl/iss-local/0", b"").await;
                assert_eq!((head.status, head.header("content-length")), (200, list.body.len().to_string().as_str()));
                let answer = ask("POST", "/.well-known/pki/ocsp/iss-local", &question).await;
                assert_eq!((answer.status, status(&answer.body, &serial)), (200, 0));
                for path in ["/", "/health", "/api/v1/version", "/api/v1/certificates", "/.well-known/acme-challenge/x", "/.well-known/pki/"] {
                    assert_eq!(ask("GET", path, b"").await.status, 404, "{path}");
                }
                assert_eq!(ask("POST", "/.well-known/pki/ocsp/iss-local", &vec![0x30; 100_000]).await.status, 413);
            };
            let asked = tokio::select! {
                () = asking => true,
                ended = connection => panic!("the connection ended: {ended:?}"),
            };
            stop.cancel();
            asked
        };
        let ((), asked) = tokio::join!(listener.serve(server.state.revocation().clone(), stop.clone()), client);
        assert!(asked);
    }
}
