//! How much one caller may ask for, counted in this process by itself: a bucket of requests for each caller, and one of failed logins for
//! each address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use certctl_domain::time::Timestamp;
use certctl_engine::auth::token::Token;
use certctl_engine::{Error, ErrorKind};

use crate::problem::Problem;
use crate::state::AppState;

/// The limits in force.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Requests a second for one caller; `None` for no limit.
    pub requests_per_second: Option<u32>,
    /// Requests that may come at once before that limit bites.
    pub burst: u32,
    /// Failed logins a minute from one address; `None` for no limit.
    pub failed_logins_per_minute: Option<u32>,
}

/// Counts.
#[derive(Debug)]
pub struct RateLimiter {
    rates: Rates,
    callers: Mutex<HashMap<Caller, Bucket>>,
    failures: Mutex<HashMap<IpAddr, Bucket>>,
    rate_limited: AtomicU64,
    too_many_failures: AtomicU64,
}

/// Requests that were refused since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedCounts {
    /// Their caller asked too much at once.
    pub rate_limited: u64,
    /// Too many credentials from their address were wrong.
    pub too_many_failures: u64,
}

/// Who a request is counted for: the public part of its token, or its address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Caller {
    Token(String),
    Address(Option<IpAddr>),
}

/// Tokens that refill with time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at: Timestamp,
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self::new(Rates { requests_per_second: None, burst: 100, failed_logins_per_minute: None })
    }
}

impl RateLimiter {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            callers: Mutex::default(),
            failures: Mutex::default(),
            rate_limited: AtomicU64::new(0),
            too_many_failures: AtomicU64::new(0),
        }
    }

    /// What was refused, for metrics.
    #[must_use]
    pub fn refused(&self) -> RefusedCounts {
        RefusedCounts {
            rate_limited: self.rate_limited.load(Ordering::Relaxed),
            too_many_failures: self.too_many_failures.load(Ordering::Relaxed),
        }
    }

    /// Seconds to wait before this caller may go on, if it must.
    fn ask(&self, caller: Caller, now: Timestamp) -> Option<u64> {
        let rate = f64::from(self.rates.requests_per_second?);
        take(&self.callers, caller, rate, f64::from(self.rates.burst.max(1)), now)
    }

    /// Whether this address may try to log in; a try that fails is taken back from its bucket by [`RateLimiter::failed`].
    fn may_try(&self, address: IpAddr, now: Timestamp) -> Option<u64> {
        let a_minute = f64::from(self.rates.failed_logins_per_minute?);
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let level = failures.get(&address).map_or(a_minute, |bucket| bucket.filled(a_minute / 60.0, a_minute, now));
        (level < 1.0).then(|| seconds((1.0 - level) / (a_minute / 60.0)))
    }

    fn failed(&self, address: IpAddr, now: Timestamp) {
        if let Some(a_minute) = self.rates.failed_logins_per_minute.map(f64::from) {
            // How long to wait is asked at the next try.
            let _wait = take(&self.failures, address, a_minute / 60.0, a_minute, now);
        }
    }
}

impl Bucket {
    fn filled(self, rate: f64, most: f64, now: Timestamp) -> f64 {
        (self.level + now.since(self.at).as_secs_f64() * rate).min(most)
    }
}

/// Takes one from a bucket; gives the seconds until there would be one, if there is none.
fn take<K: Eq + Hash>(buckets: &Mutex<HashMap<K, Bucket>>, key: K, rate: f64, most: f64, now: Timestamp) -> Option<u64> {
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    if buckets.len() >= MOST_BUCKETS {
        // Full ones say nothing; when all are in use, the memory is worth more than the counts.
        buckets.retain(|_, bucket| bucket.filled(rate, most, now) < most);
        if buckets.len() >= MOST_BUCKETS {
            buckets.clear();
        }
    }
    let bucket = buckets.entry(key).or_insert(Bucket { level: most, at: now });
    let level = bucket.filled(rate, most, now);
    // What is refused takes nothing: whoever asks too often still gets as much as everybody.
    let refused = level < 1.0;
    *bucket = Bucket { level: if refused { level } else { level - 1.0 }, at: now };
    refused.then(|| seconds((1.0 - level) / rate))
}

fn seconds(of: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(of.ceil()).map_or(60, |wait| wait.as_secs().max(1))
}

/// Stands before every operation.
pub async fn limit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    // Whoever watches over the process must always see how it is.
    if WATCHED.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let now = state.engine.now();
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    if let Some(wait) = state.rates.ask(caller(&request, address), now) {
        state.rates.rate_limited.fetch_add(1, Ordering::Relaxed);
        return too_many("rate_limited", "this caller asks too much at once", wait);
    }
    // Many share an address behind a proxy: whose credential is right goes on, whatever the others try.
    let wait = address.and_then(|address| state.rates.may_try(address, now));
    let response = next.run(request).await;
    match (wait, address) {
        _ if response.status() != StatusCode::UNAUTHORIZED => response,
        (Some(wait), _) => {
            state.rates.too_many_failures.fetch_add(1, Ordering::Relaxed);
            too_many("too_many_failures", "too many credentials from this address were wrong", wait)
        }
        (None, Some(address)) => {
            state.rates.failed(address, now);
            response
        }
        (None, None) => response,
    }
}

fn caller(request: &Request, address: Option<IpAddr>) -> Caller {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '));
    // Only the part that may be shown is kept: `ck_<id>`. What is no token of ours is counted by where it comes from.
    token.and_then(|(_, token)| Token::parse(token.trim())).map_or(Caller::Address(address), |token| Caller::Token(token.public_part()))
}

fn too_many(code: &'static str, what: &str, wait: u64) -> Response {
    let error = Error::new(ErrorKind::Throttled(wait), code, format!("{what}; try again in {wait} s"));
    Problem::from(error.hint("wait as the header Retry-After says")).into_response()
}

const WATCHED: [&str; 2] = ["/health", "/ready"];
const MOST_BUCKETS: usize = 100_000;

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_burst_is_served_and_then_the_rate_holds() {
        let limiter = RateLimiter::new(Rates { requests_per_second: Some(2), burst: 3, failed_logins_per_minute: None });
        let ask = |seconds| limiter.ask(Caller::Token("ck_1".to_owned()), at(seconds));
        assert_eq!([ask(0), ask(0), ask(0)], [None; 3]);
        assert_eq!(ask(0), Some(1));
        assert_eq!([ask(1), ask(1)], [None; 2]);
        assert!(ask(1).is_some());
        // Asking on and on while refused does not make it worse.
        let tenths = |tenths: i64| Timestamp::from_unix_micros(1_000_001_000_000 + tenths * 100_000).unwrap();
        let asked: Vec<bool> = (0..10).map(|n| limiter.ask(Caller::Token("ck_1".to_owned()), tenths(n)).is_none()).collect();
        assert_eq!(asked.iter().filter(|served| **served).count(), 1, "{asked:?}");
        assert_eq!(limiter.ask(Caller::Token("ck_2".to_owned()), at(1)), None, "others are not concerned");
    }

    #[test]
    fn wrong_credentials_close_an_address_for_a_while() {
        let limiter = RateLimiter::new(Rates { requests_per_second: None, burst: 1, failed_logins_per_minute: Some(2) });
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(limiter.may_try(address, at(0)), None);
        limiter.failed(address, at(0));
        limiter.failed(address, at(0));
        assert_eq!(limiter.may_try(address, at(0)), Some(30));
        assert_eq!(limiter.may_try(address, at(31)), None);
        assert_eq!(limiter.may_try("192.0.2.2".parse().unwrap(), at(0)), None);
    }

    #[test]
    fn of_a_token_only_the_part_that_may_be_shown_is_kept() {
        let with = |authorization: &str| {
            caller(&Request::get("/").header(header::AUTHORIZATION, authorization).body(Body::empty()).unwrap(), None)
        };
        // The secret is base64url, in which `_` is a letter like any other.
        let token = format!("ck_1_{}_{}", "a".repeat(20), "b".repeat(22));
        assert_eq!(with(&format!("Bearer {token}")), Caller::Token("ck_1".to_owned()));
        for other in ["Bearer", "Bearer x_y", "Basic dXNlcjpwYXNzd29yZA=="] {
            assert_eq!(with(other), Caller::Address(None), "{other}");
        }
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let limiter = RateLimiter::default();
        for _ in 0..1_000 {
            assert_eq!(limiter.ask(Caller::Address(None), at(0)), None);
        }
        assert!(limiter.callers.lock().unwrap().is_empty());
    }
}
