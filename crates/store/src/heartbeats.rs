//! Signs of life of agents and uses of API keys: gathered in memory, written once a second in one statement for all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use certctl_domain::agent::{AgentStatus, CLOCK_SKEW_LIMIT_MS};
use certctl_domain::challenge::ChallengeKind;
use certctl_domain::ids::{AgentId, ApiKeyId};
use certctl_domain::time::Timestamp;

use crate::agents::status_counter;
use crate::db::{Value, sql};
use crate::error::StoreError;
use crate::store::{Store, Who};

/// What one replica has heard since the last flush.
#[derive(Debug, Default)]
pub struct Heartbeats {
    heard: Mutex<Heard>,
}

/// What an agent said of itself. An empty text leaves what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// When it was heard of.
    pub at: Timestamp,
    /// The host's name.
    pub hostname: String,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub architecture: String,
    /// Version of the agent's program.
    pub version: String,
    /// Address it called from.
    pub ip_address: String,
    /// How far its clock is ahead, if it told its time.
    pub clock_skew_ms: Option<i64>,
    /// Challenges of ACME CAs that it can answer; none where it named none.
    pub challenges: Vec<ChallengeKind>,
}

/// What a flush did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Agents that were heard of.
    pub agents: u64,
    /// API keys whose last use was written.
    pub keys: u64,
    /// Agents whose status is another one now, such as those that came back.
    pub changed: Vec<(AgentId, AgentStatus)>,
}

#[derive(Debug, Default)]
struct Heard {
    agents: HashMap<AgentId, Beat>,
    keys: HashMap<ApiKeyId, Timestamp>,
    /// Last uses that this replica wrote less than [`COARSE`] ago.
    written: HashMap<ApiKeyId, Timestamp>,
}

impl Heartbeats {
    /// Notes that an agent was heard of.
    pub fn beat(&self, agent: AgentId, beat: Beat) {
        self.heard().agents.insert(agent, beat);
    }

    /// Notes that an API key was used; kept to about a minute.
    pub fn used(&self, key: ApiKeyId, at: Timestamp) {
        let mut heard = self.heard();
        if heard.written.get(&key).is_none_or(|written| written.saturating_add(COARSE) <= at) {
            heard.keys.insert(key, at);
        }
    }

    /// Writes what was heard. When that fails, it is kept for the next time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn flush(&self, store: &Store, now: Timestamp) -> Result<Flushed, StoreError> {
        let (agents, keys) = {
            let mut heard = self.heard();
            (std::mem::take(&mut heard.agents), std::mem::take(&mut heard.keys))
        };
        let mut flushed = Flushed::default();
        let mut agents: Vec<_> = agents.into_iter().collect();
        // In the order of the ids, so that two replicas that heard of the same agents wait for one another instead of blocking each other.
        agents.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort();
        let result = write(store, &agents, &keys, now, &mut flushed).await;
        let mut heard = self.heard();
        if result.is_ok() {
            heard.written.retain(|_, written| written.saturating_add(COARSE) > now);
            heard.written.extend(keys);
        } else {
            for (agent, beat) in agents {
                heard.agents.entry(agent).or_insert(beat);
            }
            for (key, at) in keys {
                heard.keys.entry(key).or_insert(at);
            }
        }
        result.map(|()| flushed)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(
    store: &Store,
    agents: &[(AgentId, Beat)],
    keys: &[(ApiKeyId, Timestamp)],
    now: Timestamp,
    flushed: &mut Flushed,
) -> Result<(), StoreError> {
    for chunk in agents.chunks(CHUNK) {
        write_agents(store, chunk, now, flushed).await?;
    }
    for chunk in keys.chunks(CHUNK) {
        flushed.keys += write_keys(store, chunk, now).await?;
    }
    Ok(())
}

async fn write_agents(store: &Store, beats: &[(AgentId, Beat)], now: Timestamp, flushed: &mut Flushed) -> Result<(), StoreError> {
    let mut tx = store.write(Who::task("heartbeats", now)).await?;
    let mut before = sql("SELECT id, status FROM agents WHERE retired_at IS NULL AND id IN ").varying();
    before.push_list(beats.iter().map(|(id, _)| Value::from(id))).push(" ORDER BY id").push(tx.for_update());
    let before: HashMap<AgentId, String> =
        tx.fetch_all(before).await?.iter().map(|row| Ok((row.id("id")?, row.text("status")?))).collect::<Result<_, StoreError>>()?;

    let mut update =
        sql("WITH heard (id, at, hostname, os, architecture, version, ip_address, clock_skew_ms, challenges, status) AS (VALUES ")
            .varying();
    update.push_rows(beats.iter().map(|(id, beat)| row_of(id, beat)));
    update.push(UPDATE);
    let mut changed = HashMap::new();
    for row in tx.fetch_all(update).await? {
        let (id, status): (AgentId, String) = (row.id("id")?, row.text("status")?);
        if let Some(old) = before.get(&id).filter(|old| **old != status) {
            *changed.entry(status_counter(old)).or_insert(0) -= 1;
            *changed.entry(status_counter(&status)).or_insert(0) += 1;
            let status = if status == AgentStatus::Online.as_str() { AgentStatus::Online } else { AgentStatus::Degraded };
            flushed.changed.push((id, status));
        }
        flushed.agents += 1;
    }
    for (counter, delta) in changed.into_iter().filter(|(_, delta)| *delta != 0) {
        tx.count(&counter, delta);
    }
    tx.commit_housekeeping("heartbeats.flush").await
}

fn row_of(id: &AgentId, beat: &Beat) -> Vec<Value> {
    let degraded = beat.clock_skew_ms.is_some_and(|skew| skew.saturating_abs() > CLOCK_SKEW_LIMIT_MS);
    let status = if degraded { AgentStatus::Degraded } else { AgentStatus::Online };
    vec![
        id.into(),
        beat.at.into(),
        beat.hostname.as_str().into(),
        beat.os.as_str().into(),
        beat.architecture.as_str().into(),
        beat.version.as_str().into(),
        beat.ip_address.as_str().into(),
        beat.clock_skew_ms.into(),
        serde_json::json!(beat.challenges).into(),
        status.as_str().into(),
    ]
}

async fn write_keys(store: &Store, used: &[(ApiKeyId, Timestamp)], now: Timestamp) -> Result<u64, StoreError> {
    let mut tx = store.write(Who::task("heartbeats", now)).await?;
    let mut update = sql("WITH used (id, at, coarse) AS (VALUES ").varying();
    update.push_rows(used.iter().map(|(id, at)| vec![id.into(), (*at).into(), at.saturating_sub(COARSE).into()]));
    update.push(
        ") UPDATE api_keys SET last_used_at = used.at FROM used
           WHERE api_keys.id = used.id AND (api_keys.last_used_at IS NULL OR api_keys.last_used_at <= used.coarse)",
    );
    let touched = tx.execute(update).await?;
    tx.commit_housekeeping("heartbeats.keys").await?;
    Ok(touched)
}

/// Facts that did not change leave the revision alone, so a heartbeat does not make an edit that somebody is about to save stale.
const UPDATE: &str = ") UPDATE agents SET
        last_heartbeat_at = heard.at,
        hostname = CASE WHEN heard.hostname = '' THEN agents.hostname ELSE heard.hostname END,
        os = CASE WHEN heard.os = '' THEN agents.os ELSE heard.os END,
        architecture = CASE WHEN heard.architecture = '' THEN agents.architecture ELSE heard.architecture END,
        version = CASE WHEN heard.version = '' THEN agents.version ELSE heard.version END,
        ip_address = CASE WHEN heard.ip_address = '' THEN agents.ip_address ELSE heard.ip_address END,
        clock_skew_ms = heard.clock_skew_ms,
        challenges = heard.challenges,
        status = heard.status,
        revision = CASE WHEN heard.hostname IN ('', agents.hostname) AND heard.os IN ('', agents.os)
                         AND heard.architecture IN ('', agents.architecture) AND heard.version IN ('', agents.version)
                         AND heard.ip_address IN ('', agents.ip_address) AND heard.status = agents.status AND heard.challenges = agents.challenges
                        THEN agents.revision ELSE agents.revision + 1 END,
        updated_at = CASE WHEN heard.hostname IN ('', agents.hostname) AND heard.os IN ('', agents.os)
                           AND heard.architecture IN ('', agents.architecture) AND heard.version IN ('', agents.version)
                           AND heard.ip_address IN ('', agents.ip_address) AND heard.status = agents.status AND heard.challenges = agents.challenges
                          THEN agents.updated_at ELSE heard.at END
    FROM heard
    WHERE agents.id = heard.id AND agents.retired_at IS NULL AND (agents.last_heartbeat_at IS NULL OR agents.last_heartbeat_at < heard.at)
    RETURNING agents.id AS id, agents.status AS status";

/// Rows per statement: both databases limit the number of values.
const CHUNK: usize = 1_000;

/// How exactly the last use of a key is known.
const COARSE: time::Duration = time::Duration::seconds(60);
