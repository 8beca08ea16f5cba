//! What relying parties fetch: revocation lists, OCSP (RFC 6960 appendix A, RFC 5019 section 6), CA certificates.

mod reply;
mod route;

use std::sync::Arc;

use certctl_domain::ids::IssuerId;
use certctl_domain::x509::Serial;
use certctl_engine::crl::{self, Served};
use certctl_engine::ocsp::{self, Answer};
use certctl_engine::publication::{NOT_KEPT_HERE, certificate};
use certctl_engine::{Ctx, Engine, Error, ErrorKind};

pub use reply::{Body, Reply};
pub use route::{BadPath, Target, target};

/// The parts of a request that matter here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// `GET`, `HEAD` or `POST`.
    pub method: &'a str,
    /// The path as it came, with its percent signs.
    pub path: &'a str,
    /// `Content-Type`
    pub content_type: Option<&'a str>,
    /// `If-None-Match`
    pub if_none_match: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// Answers what relying parties ask. One for a process.
#[derive(Debug, Clone)]
pub struct Revocation {
    ctx: Ctx,
}

impl Revocation {
    /// Over the engine. Nobody's permission is asked: everything here is meant for everybody.
    #[must_use]
    pub fn new(engine: &Arc<Engine>) -> Self {
        Self { ctx: Ctx::system(engine, "publication") }
    }

    /// Answers a request; `None` when the path is none of ours.
    pub async fn answer(&self, request: Request<'_>) -> Option<Reply> {
        let target = match target(request.path)? {
            Ok(target) => target,
            // An OCSP client reads OCSP, whatever it sent.
            Err(BadPath::Ocsp) => return Some(Reply::refusal(certctl_pki::ocsp::Refusal::Malformed)),
            Err(BadPath::Other) => return Some(Reply::text(404, "there is nothing here")),
        };
        Some(match (request.method, target) {
            ("GET" | "HEAD", Target::Crl { issuer, shard }) => self.crl(&request, &issuer, shard).await,
            ("GET" | "HEAD", Target::Ca { issuer, shard }) => self.ca(&request, &issuer, shard).await,
            ("GET" | "HEAD", Target::OcspAbout { issuer, request: der }) => self.ocsp(&request, &issuer, &der).await,
            ("GET" | "HEAD", Target::OcspSerial { issuer, serial }) => self.ocsp_about(&request, &issuer, &serial).await,
            ("POST", Target::Ocsp { issuer }) if is_ocsp(request.content_type) => self.ocsp(&request, &issuer, request.body).await,
            ("POST", Target::Ocsp { .. }) => Reply::text(415, "send the request as application/ocsp-request"),
            (_, Target::Ocsp { .. }) => {
                Reply::text(405, "send a POST, or put the request in base64 behind the address").with("allow", "POST")
            }
            (_, Target::Crl { .. } | Target::Ca { .. } | Target::OcspAbout { .. } | Target::OcspSerial { .. }) => {
                Reply::text(405, "this can be read only").with("allow", "GET, HEAD")
            }
        })
    }

    /// An OCSP request in a body.
    pub async fn ocsp_post(&self, issuer: &IssuerId, body: &[u8]) -> Reply {
        self.ocsp(&Request::default(), issuer, body).await
    }

    async fn crl(&self, request: &Request<'_>, issuer: &IssuerId, shard: Option<i64>) -> Reply {
        match crl::fetch(&self.ctx, issuer, shard).await {
            Ok(served) => self.list(request, &served),
            Err(error) => failed(&error),
        }
    }

    fn list(&self, request: &Request<'_>, served: &Served) -> Reply {
        let edition = &served.edition;
        let caching = reply::Caching {
            tag: &edition.sha256,
            modified: edition.generated_at,
            // A list that is asked for again soon shows a revocation soon; the whole of its life would hide it as long.
            fresh_until: edition.next_update.min(self.ctx.now().saturating_add(LIST_FRESH)),
            now: self.ctx.now(),
        };
        Reply::bytes("application/pkix-crl", Arc::clone(&served.der)).cached(&caching, request.if_none_match)
    }

    async fn ca(&self, request: &Request<'_>, issuer: &IssuerId, shard: Option<i64>) -> Reply {
        match certificate(&self.ctx, issuer, shard).await {
            Ok(der) => {
                let now = self.ctx.now();
                Reply::bytes("application/pkix-cert", der).lasting(now, now.saturating_add(CA_FRESH), request.if_none_match)
            }
            Err(error) => failed(&error),
        }
    }

    async fn ocsp(&self, request: &Request<'_>, issuer: &IssuerId, der: &[u8]) -> Reply {
        self.status(request, ocsp::answer(&self.ctx, issuer, der).await)
    }

    async fn ocsp_about(&self, request: &Request<'_>, issuer: &IssuerId, serial: &Serial) -> Reply {
        self.status(request, ocsp::answer_about(&self.ctx, issuer, serial).await)
    }

    fn status(&self, request: &Request<'_>, answer: Answer) -> Reply {
        match answer {
            Answer::Refused(refusal) => Reply::refusal(refusal),
            // RFC 5019 section 6.2 allows no-store and no-cache with no signed answer. This one is kept by nobody but who asked, and asked
            // for anew each time.
            Answer::Single(der) => Reply::bytes(reply::OCSP_RESPONSE, der).with("cache-control", "private, max-age=0, must-revalidate"),
            Answer::Shared(kept) => {
                let caching =
                    reply::Caching { tag: &kept.tag, modified: kept.this_update, fresh_until: kept.next_update, now: self.ctx.now() };
                Reply::bytes(reply::OCSP_RESPONSE, Arc::clone(&kept.der)).cached(&caching, request.if_none_match)
            }
        }
    }
}

/// Some clients send none at all.
fn is_ocsp(content_type: Option<&str>) -> bool {
    let media = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    media.is_empty() || media.eq_ignore_ascii_case("application/ocsp-request")
}

fn failed(error: &Error) -> Reply {
    match error.kind {
        ErrorKind::NotFound if error.code == NOT_KEPT_HERE => Reply::text(501, "the CA of this issuer publishes for itself"),
        ErrorKind::NotFound => Reply::text(404, &error.detail),
        ErrorKind::Unavailable => Reply::text(503, "not now; ask again").with("retry-after", "5"),
        _ => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(error = %error, cause, "something that is published cannot be served");
            Reply::text(500, "a fault of the server, which is in its log")
        }
    }
}

const LIST_FRESH: time::Duration = time::Duration::minutes(1);
const CA_FRESH: time::Duration = time::Duration::DAY;
