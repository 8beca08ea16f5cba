//! Answers: status, headers, bytes that are shared with everybody who gets the same.

use std::sync::Arc;

use certctl_domain::time::Timestamp;
use certctl_pki::ocsp::Refusal;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Of HTTP.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body. The server leaves it out for HEAD.
    pub body: Body,
}

/// The bytes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The same bytes for many.
    Shared(Arc<[u8]>),
    /// Bytes that never change.
    Fixed(&'static [u8]),
    /// A text.
    Text(String),
}

/// For how long an answer is good, and how it is told from the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caching<'a> {
    pub(super) tag: &'a str,
    pub(super) modified: Timestamp,
    pub(super) fresh_until: Timestamp,
    pub(super) now: Timestamp,
}

impl Body {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Fixed(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

impl Reply {
    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn bytes(media: &'static str, bytes: Arc<[u8]>) -> Self {
        Self { status: 200, headers: vec![("content-type", media.to_owned())], body: Body::Shared(bytes) }
    }

    pub(super) fn text(status: u16, text: &str) -> Self {
        let headers = vec![("content-type", "text/plain; charset=utf-8".to_owned()), ("cache-control", "no-store".to_owned())];
        Self { status, headers, body: Body::Text(format!("{text}\n")) }
    }

    /// A refusal is an OCSP answer with its own status; for HTTP nothing went wrong (RFC 6960 appendix A.2).
    pub(super) fn refusal(refusal: Refusal) -> Self {
        let mut headers = vec![("content-type", OCSP_RESPONSE.to_owned()), ("cache-control", "no-store".to_owned())];
        if refusal == Refusal::TryLater {
            headers.push(("retry-after", "5".to_owned()));
        }
        Self { status: 200, headers, body: Body::Fixed(refusal.to_der()) }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }

    /// The headers of RFC 5019 section 6.2, which fit lists as well; 304 for who has this one already.
    pub(super) fn cached(self, caching: &Caching<'_>, if_none_match: Option<&str>) -> Self {
        let tag = format!("\"{}\"", caching.tag);
        let seconds = caching.now.until(caching.fresh_until).whole_seconds().max(0);
        let reply = self
            .with("etag", tag.as_str())
            .with("last-modified", http_date(caching.modified))
            .with("expires", http_date(caching.fresh_until))
            .with("cache-control", format!("max-age={seconds}, public, no-transform, must-revalidate"));
        if has(if_none_match, &tag) { Self { status: 304, body: Body::Fixed(&[]), ..reply } } else { reply }
    }

    /// For what hardly ever changes.
    pub(super) fn lasting(self, now: Timestamp, until: Timestamp, if_none_match: Option<&str>) -> Self {
        let tag = format!("{:08x}-{:x}", crc(self.body.as_bytes()), self.body.as_bytes().len());
        let mut reply = self.cached(&Caching { tag: &tag, modified: now, fresh_until: until, now }, if_none_match);
        reply.headers.retain(|(name, _)| *name != "last-modified");
        reply
    }
}

/// RFC 9110 section 13.1.2: weak comparison.
fn has(if_none_match: Option<&str>, tag: &str) -> bool {
    if_none_match.is_some_and(|tags| tags.trim() == "*" || tags.split(',').any(|other| other.trim().trim_start_matches("W/") == tag))
}

/// RFC 9110 section 5.6.7.
fn http_date(at: Timestamp) -> String {
    let at = at.to_offset();
    let weekday = at.weekday().to_string();
    let month = at.month().to_string();
    let short = |word: &str| word.chars().take(3).collect::<String>();
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        short(&weekday),
        at.day(),
        short(&month),
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// Tells one CA certificate from another at the same address (FNV-1a).
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

pub(super) const OCSP_RESPONSE: &str = "application/ocsp-response";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(http_date(at("1994-11-06T08:49:37.9Z")), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(at("2028-02-29T23:59:59Z")), "Tue, 29 Feb 2028 23:59:59 GMT");
    }

    #[test]
    fn who_has_it_already_gets_no_bytes() {
        let caching = Caching {
            tag: "abc",
            modified: at("2026-01-01T00:00:00Z"),
            fresh_until: at("2026-01-01T01:00:00Z"),
            now: at("2026-01-01T00:20:00Z"),
        };
        let reply = |tags| Reply::bytes("x/y", Arc::from([1_u8])).cached(&caching, tags);
        for tags in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            let reply = reply(Some(tags));
            assert_eq!((reply.status, reply.body.as_bytes().len(), reply.header("etag")), (304, 0, Some("\"abc\"")), "{tags}");
        }
        for tags in [None, Some("\"ab\""), Some("abc")] {
            let reply = reply(tags);
            assert_eq!((reply.status, reply.body.as_bytes().len()), (200, 1));
            assert_eq!(reply.header("cache-control"), Some("max-age=2400, public, no-transform, must-revalidate"));
            assert_eq!(reply.header("expires"), Some("Thu, 01 Jan 2026 01:00:00 GMT"));
        }
    }

    #[test]
    fn an_answer_that_has_ended_is_fresh_for_no_second() {
        let caching = Caching {
            tag: "abc",
            modified: at("2026-01-01T00:00:00Z"),
            fresh_until: at("2026-01-01T00:00:00Z"),
            now: at("2026-01-01T00:20:00Z"),
        };
        let reply = Reply::bytes("x/y", Arc::from([1_u8])).cached(&caching, None);
        assert!(reply.header("cache-control").unwrap().starts_with("max-age=0,"));
    }
}
