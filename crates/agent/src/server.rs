//! What an agent asks of its server, and what each kind of refusal means for what the agent does next.

use std::time::Duration;

use certctl_api::agents::{AgentCertificate, ChallengeReport, CsrRequest, HeartbeatResponse, JobReport};
use certctl_api::client::{Client, ClientError, ClientOptions};
use certctl_domain::agent::AgentFacts;
use certctl_domain::challenge::OpenChallenge;
use certctl_domain::ids::{AgentId, CertificateId, JobId, VersionId};
use certctl_domain::job::WorkItem;
use certctl_domain::secret::Secret;
use serde::Deserialize;
use serde_json::Value;

/// The server, as one agent sees it.
#[derive(Debug, Clone)]
pub struct Server {
    agent: AgentId,
    calls: Client,
    polls: Client,
}

/// Where a server is and how it is recognized.
#[derive(Debug, Clone)]
pub struct Address {
    /// `https://host:port`
    pub server: String,
    /// PEM of the CAs to trust instead of this machine's.
    pub ca_pem: Option<String>,
}

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This agent was retired: it stops for good.
    Retired,
    /// The credential is not accepted: somebody must act, meanwhile ask now and then.
    Refused,
    /// The work is no longer this agent's, or is no more.
    Superseded,
    /// What was sent is not acceptable and will not be.
    Rejected,
    /// Not now: the network, the server or its database has trouble.
    Later,
}

/// Work as it came.
#[derive(Debug, Default)]
pub struct Work {
    /// What can be done.
    pub items: Vec<WorkItem>,
    /// What this version of the agent does not understand.
    pub foreign: Vec<Foreign>,
}

/// What is to be answered for CAs, as it came.
#[derive(Debug, Default)]
pub struct Open {
    /// All of it.
    pub challenges: Vec<OpenChallenge>,
    /// What cannot be answered, because it is no challenge as this agent knows them.
    pub refused: Vec<ChallengeReport>,
    /// Another one for others.
    pub revision: String,
}

/// Work that this version of the agent does not understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The job.
    pub job: JobId,
    /// Its fence.
    pub fence: i64,
    /// What is not understood.
    pub why: String,
}

impl Server {
    /// Makes the connection's two sides: one for calls, one for the call that waits for work. Nothing is sent.
    ///
    /// # Errors
    /// When the address or the CA cannot be used.
    pub fn new(agent: AgentId, credential: &Secret<String>, address: &Address, longest_wait: Duration) -> Result<Self, ClientError> {
        let calls = client(address, Some(credential.clone()), CALL_TIMEOUT)?;
        let polls = client(address, Some(credential.clone()), longest_wait + CALL_TIMEOUT)?;
        Ok(Self { agent, calls, polls })
    }

    /// Says that this agent lives.
    ///
    /// # Errors
    /// See [`Verdict::of`]; the same for every call here.
    pub async fn heartbeat(&self, facts: &AgentFacts) -> Result<HeartbeatResponse, ClientError> {
        self.calls.post(&self.path("heartbeat"), facts).await
    }

    /// Asks for work; answered at once when there is some, else after `wait`.
    ///
    /// # Errors
    /// See [`Verdict::of`].
    pub async fn work(&self, wait: Duration) -> Result<Work, ClientError> {
        let answer: WorkForm = self.polls.get(&self.path("work"), &[("wait", &wait.as_secs().to_string())]).await?;
        let mut work = Work::default();
        for value in answer.jobs {
            // Each item by itself: one that a newer server made must not keep the others from being done.
            match serde_json::from_value::<WorkItem>(value.clone()) {
                Ok(item) => work.items.push(item),
                Err(error) => match serde_json::from_value::<ItemCore>(value) {
                    Ok(core) => work.foreign.push(Foreign { job: core.id, fence: core.fence, why: error.to_string() }),
                    Err(_) => tracing::warn!(%error, "the server sent work that has no job; is it much newer than this agent?"),
                },
            }
        }
        Ok(work)
    }

    /// Asks what is to be answered for CAs; answered at once when that is something else than what the agent has, else after `wait`.
    ///
    /// # Errors
    /// See [`Verdict::of`].
    pub async fn challenges(&self, has: &str, wait: Duration) -> Result<Open, ClientError> {
        let query = [("wait", &*wait.as_secs().to_string()), ("has", has)];
        let answer: OpenForm = self.polls.get(&self.path("challenges"), &query).await?;
        let mut open = Open { revision: answer.revision, ..Open::default() };
        for value in answer.challenges {
            let text = value.get("key_authorization").and_then(Value::as_str).unwrap_or_default();
            let token = text.split('.').next().unwrap_or_default().to_owned();
            match serde_json::from_value::<OpenChallenge>(value) {
                Ok(challenge) => open.challenges.push(challenge),
                Err(error) => open.refused.push(ChallengeReport {
                    token,
                    error: Some(format!("agent version {} does not take it for a challenge: {error}", env!("CARGO_PKG_VERSION"))),
                    hint: Some("upgrade certctl-agent on this machine".to_owned()),
                    permanent: true,
                }),
            }
        }
        Ok(open)
    }

    /// Tells that a CA may look, or cannot be answered. That it is not wanted any more is fine.
    ///
    /// # Errors
    /// See [`Verdict::of`].
    pub async fn report_challenge(&self, report: &ChallengeReport) -> Result<(), ClientError> {
        match self.calls.post::<Value>(&self.path("challenges"), report).await.map(drop) {
            Err(error) if matches!(Verdict::of(&error), Verdict::Superseded | Verdict::Rejected) => Ok(()),
            other => other,
        }
    }

    /// Hands in a signing request.
    ///
    /// # Errors
    /// See [`Verdict::of`].
    pub async fn submit(&self, request: &CsrRequest) -> Result<(), ClientError> {
        self.calls.post::<Value>(&self.path("csr"), request).await.map(drop)
    }

    /// Fetches what was issued.
    ///
    /// # Errors
    /// See [`Verdict::of`].
    pub async fn certificate(&self, id: &CertificateId, version: Option<&VersionId>) -> Result<AgentCertificate, ClientError> {
        let query: Vec<_> = version.iter().map(|version| ("version", version.to_string())).collect();
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.calls.get(&self.path(&format!("certificates/{id}")), &query).await
    }

    /// Tells how a job stands.
    ///
    /// # Errors
    /// See [`Verdict::of`].
    pub async fn report(&self, job: &JobId, report: &JobReport) -> Result<(), ClientError> {
        self.calls.post::<Value>(&self.path(&format!("jobs/{job}/status")), report).await.map(drop)
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/agents/{}/{rest}", self.agent)
    }
}

impl Verdict {
    /// What a failed call means. That a job or the agent itself is not wanted any more is believed from the server alone, whose
    /// problems have a code: a proxy on the way says 404 and 410 too, while the server behind it is replaced.
    #[must_use]
    pub fn of(error: &ClientError) -> Self {
        let code = if let ClientError::Problem(problem) = error { problem.code.as_str() } else { "" };
        match error.status() {
            Some(410) if code == RETIRED => Self::Retired,
            Some(401 | 403) => Self::Refused,
            Some(404 | 409) if !code.is_empty() => Self::Superseded,
            Some(404 | 409 | 410) => Self::Later,
            Some(408 | 425 | 429) | None => Self::Later,
            Some(400..=499) => Self::Rejected,
            Some(_) => Self::Later,
        }
    }
}

/// A client for one server.
///
/// # Errors
/// When the address or the CA cannot be used.
pub fn client(address: &Address, token: Option<Secret<String>>, timeout: Duration) -> Result<Client, ClientError> {
    let options = ClientOptions {
        server: address.server.clone(),
        token,
        ca_pem: address.ca_pem.clone(),
        insecure: false,
        timeout,
        user_agent: concat!("certctl-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    Ok(Client::new(options)?.with_max_answer(MAX_ANSWER))
}

/// The code with which the server tells an agent that it was retired.
const RETIRED: &str = "agent_retired";

/// For a call that is answered at once.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Work and certificates are small; what is larger is not meant for an agent.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct WorkForm {
    #[serde(default)]
    jobs: Vec<Value>,
}

#[derive(Deserialize)]
struct OpenForm {
    #[serde(default)]
    challenges: Vec<Value>,
    #[serde(default)]
    revision: String,
}

#[derive(Deserialize)]
struct ItemCore {
    id: JobId,
    #[serde(default)]
    fence: i64,
}

#[cfg(test)]
mod tests {
    use certctl_api::problem::Problem;

    use super::*;

    #[test]
    fn each_refusal_has_its_meaning() {
        let answered =
            |status: u16, code: &str| ClientError::Problem(Box::new(Problem { status, code: code.into(), ..Problem::default() }));
        for (status, verdict) in [
            (400, Verdict::Rejected),
            (401, Verdict::Refused),
            (403, Verdict::Refused),
            (404, Verdict::Superseded),
            (408, Verdict::Later),
            (409, Verdict::Superseded),
            (410, Verdict::Retired),
            (422, Verdict::Rejected),
            (429, Verdict::Later),
            (500, Verdict::Later),
            (503, Verdict::Later),
        ] {
            let code = if status == 410 { "agent_retired" } else { "some_code" };
            assert_eq!(Verdict::of(&answered(status, code)), verdict, "{status}");
        }
        // What a proxy says.
        for status in [404, 409, 410] {
            assert_eq!(Verdict::of(&answered(status, "")), Verdict::Later, "{status}");
        }
    }

    #[test]
    fn plain_http_is_refused() {
        let address = Address { server: "http://certctl.example.test".into(), ca_pem: None };
        assert!(client(&address, None, CALL_TIMEOUT).unwrap_err().to_string().contains("https"));
    }
}
