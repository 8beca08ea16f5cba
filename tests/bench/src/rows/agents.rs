//! What agents do all day: say that they live, ask for work, wait for it.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::compare::row;
use crate::failure::{Context as _, Failure, Result};
use crate::figure::{Goal, Row};
use crate::http::{Connection, Target, request};
use crate::load::Work;
use crate::process::resident;
use crate::seed::agent_token;
use crate::world::{AGENTS, World};

/// Signs of life, each of another agent.
pub(crate) async fn heartbeats(world: &World) -> Result<Vec<Row>> {
    let begun: String = scalar(world, "SELECT now()::text").await?;
    let product = (1..=AGENTS).map(|n| {
        let body = Some(("application/json", b"{}".as_slice()));
        request("POST", &format!("/api/v1/agents/ag-bench-{n}/heartbeat"), Some(&agent_token(n)), body)
    });
    let limit = (1..=AGENTS).map(|n| request("POST", &format!("/update/{n}"), None, None));
    let both = world
        .compare(CONNECTIONS, &world.product(Work::many(product.collect(), 200)), &world.limit(Work::many(limit.collect(), 200)))
        .await?;
    // Each round begins with the first agent; what was heard is written within a second or two.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let heard: i64 = scalar(world, &format!("SELECT count(*) FROM agents WHERE last_heartbeat_at >= '{begun}'")).await?;
        if heard.unsigned_abs() >= AGENTS.min(both[0].answers / (world.pace.rounds as u64 + 1)) {
            break;
        }
        if Instant::now() > end {
            return Err(Failure::new(format!("only {heard} agents are known to be heard of")));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(vec![row("heartbeats of 10 000 agents", "one update", &both, 2.0)])
}

/// Polls that find no work.
pub(crate) async fn polls(world: &World) -> Result<Vec<Row>> {
    let product = (1..=AGENTS).map(|n| request("GET", &work(n, 0), Some(&agent_token(n)), None));
    let product = world.product(Work::many(product.collect(), 200));
    let both = world.compare(CONNECTIONS, &product, &world.limit(Work::one(request("GET", "/hello", None, None), 200))).await?;
    Ok(vec![row("idle work polls of 10 000 agents", "hello", &both, 0.4)])
}

/// Agents that wait for work, all at one time.
#[expect(clippy::cast_precision_loss, reason = "memory in KiB is far below what a float holds exactly")]
pub(crate) async fn parked(world: &World) -> Result<Vec<Row>> {
    let server = world.replica().await?;
    let pid = server.process.pid();
    // What the first agent brings is not each one's share.
    let first = park(&server.target, 1).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = resident(pid)?;
    let begun = Instant::now();
    let waiting: Vec<Connection> = stream::iter(2..=AGENTS).map(|n| park(&server.target, n)).buffer_unordered(32).try_collect().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = resident(pid)?.saturating_sub(before);
    if begun.elapsed() > WAIT {
        return Err(Failure::new("the first agents were answered before the last one was parked"));
    }
    let parked = waiting.len();
    drop((first, waiting));
    server.process.stop()?;
    let each = grown as f64 / 1024.0 / parked.max(1) as f64;
    let mut row = Row::about("parked agents, 10 000 at one time").goal(Goal::at_most("each", each, 40.0, "KiB"));
    row.memory = Some(before + grown);
    Ok(vec![row.note(format!("all parked in {:.1} s, with a new TLS connection each", begun.elapsed().as_secs_f64()))])
}

async fn park(target: &Target, n: u64) -> Result<Connection> {
    let mut connection = Connection::open(target).await?;
    connection.send(&request("GET", &work(n, WAIT.as_secs()), Some(&agent_token(n)), None)).await?;
    Ok(connection)
}

fn work(agent: u64, wait: u64) -> String {
    format!("/api/v1/agents/ag-bench-{agent}/work?wait={wait}")
}

async fn scalar<T>(world: &World, statement: &str) -> Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(statement.to_owned()));
    query.fetch_one(&mut world.sql().await?).await.context("cannot look at the agents")
}

const CONNECTIONS: usize = 16;
/// As long as the server lets agents wait here.
const WAIT: Duration = Duration::from_secs(55);
