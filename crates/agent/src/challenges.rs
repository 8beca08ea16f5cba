//! Answers ACME CAs that look at this host: what the server has open is put out, told to the server, and taken back when it is open no more.
//!
//! The server says each time all that is open, so nothing depends on what was said before: after a crash of either side the next answer
//! puts right what is there. Where and on which ports answers are given is decided by settings of this host alone.

mod desk;
mod port;
mod webroot;

use std::net::SocketAddr;
use std::path::PathBuf;

use certctl_connector_core::fault;
use certctl_domain::challenge::ChallengeKind;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
use crate::agent::Agent;
use crate::backoff::{Backoff, jittered};
use crate::server::Verdict;

pub(crate) use self::webroot::{DIRECTORY, take_back_all};

/// Where answers are given on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChallengeSettings {
    /// Over HTTP.
    pub http01: Option<OverHttp>,
    /// In TLS handshakes: addresses to listen on while there is something to answer.
    pub tls_alpn01: Vec<SocketAddr>,
}

/// Where answers over HTTP are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverHttp {
    /// As files, below the root of what a web server shows.
    Webroot(PathBuf),
    /// On ports of the agent's own, while there is something to answer.
    Listen(Vec<SocketAddr>),
}

impl ChallengeSettings {
    /// What can be answered.
    #[must_use]
    pub fn kinds(&self) -> Vec<ChallengeKind> {
        let able = |kind: &ChallengeKind| match kind {
            ChallengeKind::Http01 => self.http01.is_some(),
            ChallengeKind::TlsAlpn01 => !self.tls_alpn01.is_empty(),
        };
        ChallengeKind::ALL.into_iter().filter(able).collect()
    }
}

/// Answers until told to stop. What is put out then stays for the next start; a port is closed.
pub(crate) async fn run(agent: &Agent, stop: &CancellationToken) {
    let mut desk = match Desk::open(&agent.state, &agent.challenges) {
        Ok(desk) => desk,
        Err(error) => {
            tracing::error!(error = %error.explain(), hint = error.advice(), "no challenge can be answered: what was put out cannot be read");
            return stop.cancelled().await;
        }
    };
    if agent.challenges.kinds().is_empty() {
        // Whatever is there is from a time with other settings.
        desk.settle(Vec::new()).await;
        return stop.cancelled().await;
    }
    if stop.run_until_cancelled(answer(agent, &mut desk)).await.is_some() {
        desk.settle(Vec::new()).await;
        stop.cancelled().await;
    }
    desk.close().await;
}

/// Ends when the server has retired the agent.
async fn answer(agent: &Agent, desk: &mut Desk) {
    let mut backoff = Backoff::new(agent.timing.shortest_wait, agent.timing.longest_wait);
    let mut has = String::new();
    loop {
        let asked_at = Instant::now();
        let wait = match round(agent, desk, &mut has).await {
            Ok(round) => {
                backoff.reset();
                // A server that does not hold the question must not be asked without end.
                let idle = round == Round::Nothing && asked_at.elapsed() < agent.timing.idle_pace;
                idle.then(|| jittered(agent.timing.idle_pace))
            }
            Err(error) if Verdict::of(&error) == Verdict::Retired => return,
            Err(error) => {
                tracing::debug!(%error, "the server cannot say which challenges are open, or take what became of them");
                desk.expire().await;
                Some(backoff.after_failure())
            }
        };
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
    }
}

/// What a question brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Something else than before.
    News,
    /// The same.
    Nothing,
}

async fn round(agent: &Agent, desk: &mut Desk, has: &mut String) -> Result<Round, certctl_api::client::ClientError> {
    let open = agent.server.challenges(has, agent.timing.poll_wait).await?;
    let round = if open.revision == *has { Round::Nothing } else { Round::News };
    if !open.challenges.is_empty() {
        fault::point("challenge.heard");
    }
    desk.settle(open.challenges).await;
    for refused in &open.refused {
        tracing::error!(
            challenge.token = refused.token,
            error = refused.error,
            "the server asks for an answer that this agent does not give"
        );
        agent.server.report_challenge(refused).await?;
    }
    for report in desk.unsaid() {
        fault::point("challenge.put_out");
        agent.server.report_challenge(&report).await?;
        desk.said(report);
        fault::point("challenge.told");
    }
    *has = open.revision;
    Ok(round)
}
