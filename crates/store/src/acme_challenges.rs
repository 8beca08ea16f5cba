//! HTTP and TLS challenges of ACME CAs, kept here so that whichever replica the CA asks knows the answer.

use certctl_domain::challenge::{AnswerState, CannotAnswer, ChallengeKind, KeyAuthorization, OpenChallenge};
use certctl_domain::ids::{AgentId, IssuerId, JobId};
use certctl_domain::time::Timestamp;

use crate::db::{Db, Row, sql};
use crate::error::StoreError;
use crate::store::WriteTx;

/// A challenge and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeChallenge {
    /// What the CA asks for.
    pub token: String,
    /// For which issuer.
    pub issuer_id: IssuerId,
    /// What it is answered.
    pub key_authorization: String,
    /// For a TLS challenge the name that the CA asks for in the handshake (RFC 8737 section 3), in lower case.
    pub server_name: Option<String>,
    /// From when on it is not answered any more.
    pub expires_at: Timestamp,
}

/// The answer to a token; what has expired is not answered.
///
/// # Errors
/// When the database fails.
pub async fn answer(db: &Db, token: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let statement = sql("SELECT key_authorization FROM acme_challenges WHERE token = $1 AND server_name IS NULL AND expires_at > $2")
        .bind(token)
        .bind(now);
    db.fetch_optional(statement).await?.map(|row| row.text("key_authorization")).transpose()
}

/// What a handshake for a name must show, the newest challenge first: of two orders for one name the CA looks at the newer.
///
/// # Errors
/// When the database fails.
pub async fn of_server_name(db: &Db, name: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let statement = sql("SELECT key_authorization FROM acme_challenges WHERE server_name = $1 AND expires_at > $2
             ORDER BY created_at DESC, token LIMIT 1")
    .bind(name)
    .bind(now);
    db.fetch_optional(statement).await?.map(|row| row.text("key_authorization")).transpose()
}

/// Writes a challenge, and forgets those that have expired.
///
/// # Errors
/// [`StoreError::Reference`] when the issuer is absent.
pub async fn put(tx: &mut WriteTx, challenge: &AcmeChallenge) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute(sql("DELETE FROM acme_challenges WHERE expires_at <= $1").bind(now)).await?;
    tx.execute(
        sql("INSERT INTO acme_challenges (token, issuer_id, key_authorization, server_name, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (token) DO UPDATE SET issuer_id = excluded.issuer_id, key_authorization = excluded.key_authorization,
                 server_name = excluded.server_name, expires_at = excluded.expires_at")
        .bind(challenge.token.as_str())
        .bind(&challenge.issuer_id)
        .bind(challenge.key_authorization.as_str())
        .bind(challenge.server_name.as_deref())
        .bind(challenge.expires_at)
        .bind(now),
    )
    .await?;
    Ok(())
}

/// Forgets a challenge of an issuer.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, issuer: &IssuerId, token: &str) -> Result<(), StoreError> {
    tx.execute(sql("DELETE FROM acme_challenges WHERE token = $1 AND issuer_id = $2").bind(token).bind(issuer)).await?;
    Ok(())
}

/// An agent that is to answer a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answerer {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name.
    pub name: String,
    /// How far it has got.
    pub state: AnswerState,
}

/// Has agents answer a challenge, for a job. What one of them has said already stays.
///
/// # Errors
/// [`StoreError::Reference`] when challenge, job or an agent is absent.
pub async fn hand_over(tx: &mut WriteTx, token: &str, job: &JobId, agents: &[AgentId]) -> Result<(), StoreError> {
    if agents.is_empty() {
        return Ok(());
    }
    let mut statement = sql("INSERT INTO acme_challenge_agents (token, agent_id, job_id) VALUES ");
    statement.push_rows(agents.iter().map(|agent| vec![token.into(), agent.into(), job.into()]));
    statement.push(" ON CONFLICT (token, agent_id) DO UPDATE SET job_id = excluded.job_id");
    tx.execute(statement).await?;
    Ok(())
}

/// What an agent is to answer now, in the order of the tokens: challenges that have not expired, of jobs that have not ended.
///
/// # Errors
/// When the database fails.
pub async fn of_agent(db: &Db, agent: &AgentId, now: Timestamp) -> Result<Vec<OpenChallenge>, StoreError> {
    let statement = sql("SELECT c.key_authorization AS key_authorization, c.server_name AS server_name, c.expires_at AS expires_at
             FROM acme_challenge_agents a JOIN acme_challenges c ON c.token = a.token JOIN jobs j ON j.id = a.job_id
             WHERE a.agent_id = $1 AND c.expires_at > $2 AND j.completed_at IS NULL ORDER BY a.token")
    .bind(agent)
    .bind(now);
    db.fetch_all(statement).await?.iter().map(open).collect()
}

/// The agents that are to answer a challenge, in the order of their names.
///
/// # Errors
/// When the database fails.
pub async fn answerers(db: &Db, token: &str) -> Result<Vec<Answerer>, StoreError> {
    let statement = sql("SELECT c.agent_id AS agent_id, a.name AS name, c.ready_at AS ready_at, c.error AS error, c.hint AS hint,
                c.permanent AS permanent
             FROM acme_challenge_agents c JOIN agents a ON a.id = c.agent_id WHERE c.token = $1 ORDER BY a.name, a.id")
    .bind(token);
    db.fetch_all(statement).await?.iter().map(answerer).collect()
}

/// Notes what an agent says of a challenge: that it cannot answer, or that the CA may look. Gives the job, or `None` when the agent is not to
/// answer that.
///
/// # Errors
/// When the database fails.
pub async fn note(tx: &mut WriteTx, agent: &AgentId, token: &str, failed: Option<&CannotAnswer>) -> Result<Option<JobId>, StoreError> {
    let ready_at = failed.is_none().then(|| tx.now());
    let statement = sql("UPDATE acme_challenge_agents SET ready_at = $3, error = $4, hint = $5, permanent = $6
             WHERE token = $1 AND agent_id = $2 RETURNING job_id")
    .bind(token)
    .bind(agent)
    .bind(ready_at)
    .bind(failed.map(|failed| failed.error.as_str()))
    .bind(failed.and_then(|failed| failed.hint.as_deref()))
    .bind(failed.is_some_and(|failed| failed.permanent));
    tx.fetch_optional(statement).await?.map(|row| row.id("job_id")).transpose()
}

/// The agents that are to answer a challenge of an issuer.
///
/// # Errors
/// When the database fails.
pub async fn agents_of(tx: &mut WriteTx, issuer: &IssuerId, token: &str) -> Result<Vec<AgentId>, StoreError> {
    let statement = sql("SELECT a.agent_id AS agent_id FROM acme_challenge_agents a JOIN acme_challenges c ON c.token = a.token
             WHERE a.token = $1 AND c.issuer_id = $2")
    .bind(token)
    .bind(issuer);
    tx.fetch_all(statement).await?.iter().map(|row| row.id("agent_id")).collect()
}

fn open(row: &Row) -> Result<OpenChallenge, StoreError> {
    let server_name = row.opt_text("server_name")?;
    let text = row.text("key_authorization")?;
    Ok(OpenChallenge {
        kind: if server_name.is_some() { ChallengeKind::TlsAlpn01 } else { ChallengeKind::Http01 },
        key_authorization: KeyAuthorization::parse(&text).map_err(|e| StoreError::corrupt(e.to_string()))?,
        server_name,
        expires_at: row.time("expires_at")?,
    })
}

fn answerer(row: &Row) -> Result<Answerer, StoreError> {
    let state = match (row.opt_text("error")?, row.opt_time("ready_at")?) {
        (Some(error), _) => AnswerState::Failed(CannotAnswer { error, hint: row.opt_text("hint")?, permanent: row.bool("permanent")? }),
        (None, Some(_)) => AnswerState::Ready,
        (None, None) => AnswerState::Awaited,
    };
    Ok(Answerer { agent_id: row.id("agent_id")?, name: row.text("name")?, state })
}
