//! What is open, what is put out for it, and what the server was told of that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use certctl_api::agents::ChallengeReport;
use certctl_connector_core::challenge::Answers;
use certctl_connector_core::{ConnectorError, Retry};
use certctl_domain::challenge::{ChallengeKind, OpenChallenge};
use certctl_domain::time::Timestamp;

use super::port::Port;
use super::webroot::Webroot;
use super::{ChallengeSettings, OverHttp};
use crate::clock;
use crate::state::StateDir;

/// The answers of this host.
#[derive(Debug)]
pub(super) struct Desk {
    open: Arc<OpenHere>,
    webroot: Webroot,
    http: Option<Port>,
    tls: Option<Port>,
    /// By token: how it stands, and what the server was told.
    reports: BTreeMap<String, (ChallengeReport, Told)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

/// What ports of this agent answer: the newest last.
#[derive(Debug, Default)]
struct OpenHere(Mutex<Vec<OpenChallenge>>);

impl Desk {
    /// With what was put out before, as far as it lasts.
    pub(super) fn open(state: &StateDir, settings: &ChallengeSettings) -> Result<Self, ConnectorError> {
        let (webroot, http) = match &settings.http01 {
            None => (None, None),
            Some(OverHttp::Webroot(path)) => (Some(path.clone()), None),
            Some(OverHttp::Listen(addresses)) => (None, Some(Port::http(addresses))),
        };
        let tls = Some(&settings.tls_alpn01).filter(|addresses| !addresses.is_empty()).map(|addresses| Port::tls(addresses));
        Ok(Self { open: Arc::default(), webroot: Webroot::open(state, webroot)?, http, tls, reports: BTreeMap::new() })
    }

    /// Puts out what is open and takes back the rest.
    pub(super) async fn settle(&mut self, mut open: Vec<OpenChallenge>) {
        let now = clock::now();
        open.retain(|challenge| challenge.expires_at > now);
        self.webroot.keep_only(|token| open.iter().any(|challenge| challenge.key_authorization.token() == token));
        self.reports.retain(|token, _| open.iter().any(|challenge| challenge.key_authorization.token() == token));
        self.open.set(open);
        let open = self.open.all().clone();
        for (port, kind) in [(&mut self.http, ChallengeKind::Http01), (&mut self.tls, ChallengeKind::TlsAlpn01)] {
            if let Some(port) = port
                && !open.iter().any(|challenge| challenge.kind == kind)
            {
                port.close().await;
            }
        }
        for challenge in open {
            let put_out = self.put_out(&challenge);
            self.note(&challenge, put_out);
        }
    }

    /// Takes back what has expired.
    pub(super) async fn expire(&mut self) {
        let open = self.open.all().clone();
        self.settle(open).await;
    }

    /// Closes the ports.
    pub(super) async fn close(&mut self) {
        for port in self.http.iter_mut().chain(self.tls.iter_mut()) {
            port.close().await;
        }
    }

    /// What the server was not told yet.
    pub(super) fn unsaid(&self) -> Vec<ChallengeReport> {
        self.reports.values().filter(|(_, told)| *told == Told::No).map(|(report, _)| report.clone()).collect()
    }

    /// The server was told.
    pub(super) fn said(&mut self, report: ChallengeReport) {
        self.reports.insert(report.token.clone(), (report, Told::Yes));
    }

    fn put_out(&mut self, challenge: &OpenChallenge) -> Result<(), ConnectorError> {
        let answers = Arc::clone(&self.open) as Arc<dyn Answers>;
        match (challenge.kind, &mut self.http, &mut self.tls) {
            (ChallengeKind::Http01, Some(port), _) | (ChallengeKind::TlsAlpn01, _, Some(port)) => port.open(answers),
            (ChallengeKind::Http01, None, _) => self.webroot.put_out(challenge),
            (ChallengeKind::TlsAlpn01, _, None) => Err(ConnectorError::permanent("this agent is not set up to answer tls-alpn-01")
                .hint("set acme_tls_alpn01_listen in its agent.toml")),
        }
    }

    fn note(&mut self, challenge: &OpenChallenge, put_out: Result<(), ConnectorError>) {
        let token = challenge.key_authorization.token();
        let mut report = ChallengeReport { token: token.to_owned(), ..ChallengeReport::default() };
        if let Err(error) = &put_out {
            report.error = Some(error.explain());
            report.hint = error.advice().map(str::to_owned);
            report.permanent = matches!(error.retry(), Retry::Permanent | Retry::Unsupported);
        }
        if self.reports.get(token).is_some_and(|(known, _)| *known == report) {
            return;
        }
        match &put_out {
            Ok(()) => tracing::info!(challenge.token = token, challenge.kind = challenge.kind.as_str(), "a challenge is answered"),
            Err(error) => {
                tracing::warn!(challenge.token = token, challenge.kind = challenge.kind.as_str(), error = %error.explain(), hint = error.advice(), "a challenge cannot be answered");
            }
        }
        self.reports.insert(token.to_owned(), (report, Told::No));
    }
}

impl OpenHere {
    /// Those that were open before keep their place, so that the newest are last.
    fn set(&self, mut open: Vec<OpenChallenge>) {
        let mut kept = self.all();
        kept.retain(|known| open.contains(known));
        open.retain(|new| !kept.contains(new));
        kept.append(&mut open);
    }

    fn all(&self) -> MutexGuard<'_, Vec<OpenChallenge>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, fits: impl Fn(&OpenChallenge) -> bool) -> Option<String> {
        let now = clock::now();
        let open = self.all();
        // Of two orders for one name the CA looks at the newer.
        let found = open.iter().rev().find(|challenge| challenge.expires_at > now && fits(challenge));
        found.map(|challenge| challenge.key_authorization.as_str().to_owned())
    }
}

#[async_trait]
impl Answers for OpenHere {
    async fn over_http(&self, token: &str) -> Result<Option<String>, ConnectorError> {
        Ok(self.find(|challenge| challenge.kind == ChallengeKind::Http01 && challenge.key_authorization.token() == token))
    }

    async fn over_tls(&self, server_name: &str) -> Result<Option<String>, ConnectorError> {
        Ok(self.find(|challenge| challenge.server_name.as_deref() == Some(server_name)))
    }

    fn now(&self) -> Timestamp {
        clock::now()
    }
}
