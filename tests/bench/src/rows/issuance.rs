//! Issuing: from a CSR at the API over the local CA to a stored version, every step audited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::compare::row;
use crate::failure::{Context as _, Failure, Result};
use crate::figure::{Goal, Row};
use crate::http::{Connection, Target, request};
use crate::load::{Work, micros};
use crate::process::cpu;
use crate::seed::vacuum;
use crate::world::{AGENTS, World, csr};

/// Certificates that are to be issued anew, each once.
pub(crate) struct Orders {
    token: String,
    /// The bodies with the requests; the keys are taken in turn.
    bodies: Vec<Vec<u8>>,
    next: AtomicU64,
}

impl Orders {
    /// Issues certificates until `end`; gives how long each took.
    pub(crate) async fn fulfil(&self, mut connection: Connection, end: Instant) -> Result<Vec<u64>> {
        let mut latencies = Vec::new();
        while Instant::now() < end {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if n > AGENTS + MOST {
                return Err(Failure::new("there are too few certificates to issue anew"));
            }
            let begun = Instant::now();
            self.one(&mut connection, n).await.context(format_args!("certificate mc-bench-{n}"))?;
            latencies.push(micros(begun.elapsed()));
        }
        Ok(latencies)
    }

    /// Sends CSRs and does not wait for what comes of them.
    async fn submit(&self, target: &Target, many: u64) -> Result<()> {
        let mut connection = Connection::open(target).await?;
        for _ in 0..many {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            self.order(&mut connection, n).await.context(format_args!("certificate mc-bench-{n}"))?;
        }
        Ok(())
    }

    /// Sends a CSR; gives the job.
    async fn order(&self, connection: &mut Connection, n: u64) -> Result<Value> {
        let at = usize::try_from(n).unwrap_or_default() % self.bodies.len().max(1);
        let body = self.bodies.get(at).context("there is no CSR")?;
        let path = format!("/api/v1/certificates/mc-bench-{n}/csr");
        let accepted = connection.ask(&request("POST", &path, Some(&self.token), Some(("application/json", body)))).await?.json(202)?;
        Ok(accepted.get("jobs").and_then(|jobs| jobs.get(0)).context("no job was made")?.clone())
    }

    async fn one(&self, connection: &mut Connection, n: u64) -> Result<()> {
        let mut job = self.order(connection, n).await?;
        loop {
            let field = |name: &str| job.get(name).and_then(Value::as_str).context(format_args!("a job without {name}"));
            match field("status")? {
                "Completed" => return Ok(()),
                "Pending" | "Running" => {}
                other => return Err(Failure::new(format!("the job is {other}: {}", field("reason")?))),
            }
            let path = format!("/api/v1/jobs/{}?wait=20&since={}", field("id")?, field("updated_at")?);
            job = connection.ask(&request("GET", &path, Some(&self.token), None)).await?.json(200)?;
        }
    }
}

/// Certificates whose key no agent holds: the requester sends a CSR and waits for the version.
pub(crate) async fn run(world: &World) -> Result<Vec<Row>> {
    let bodies: Result<Vec<Vec<u8>>> = (0..16).map(|_| Ok(json!({"csr_pem": csr(&world.setup, NAME)?}).to_string().into_bytes())).collect();
    rename(world).await?;
    let orders = Orders { token: world.large.token.clone(), bodies: bodies?, next: AtomicU64::new(AGENTS + 1) };
    let orders = Arc::new(orders);
    let before = stored(world).await?;
    let limit = world.limit(Work::one(request("POST", "/commit/one-row-as-long-as-an-entry-of-an-audit-log-might-be", None, None), 200));
    let both = world.compare(CONNECTIONS, &world.product(Work::Issue(Arc::clone(&orders))), &limit).await?;
    let many = batch(world, &orders).await?;
    let issued = orders.next.load(Ordering::Relaxed) - AGENTS - 1;
    let after = stored(world).await?;
    if [after.0 - before.0, after.1 - before.1] != [i64::try_from(issued).unwrap_or(i64::MAX); 2] {
        return Err(Failure::new(format!(
            "{issued} certificates were issued; versions and audit events went from {before:?} to {after:?}"
        )));
    }
    let [_, limit] = &both;
    let many = many.beside("one commit", limit);
    let ratio = many.ratio().unwrap_or_default();
    let many = many.goal(Goal::at_least("ratio", ratio, 0.5, "")).note(format!("all {issued} versions are stored and audited"));
    let mut waiting = row("issuance by the local CA (P-256), 16 callers who wait for their job", "one commit", &both, 0.5);
    waiting.unit = "certificates";
    Ok(vec![many, waiting])
}

/// Many CSRs at once, and nobody who waits: from the first CSR to the last version.
#[expect(clippy::cast_precision_loss, reason = "a count of certificates")]
async fn batch(world: &World, orders: &Orders) -> Result<Row> {
    let before = stored(world).await?;
    let pid = world.large.process.pid();
    let used = (cpu(pid)?, world.cluster.cpu()?);
    let statements = world.cluster.statements("certctl", &world.large.database).await?;
    let begun = Instant::now();
    let callers = (0..CONNECTIONS).map(|_| orders.submit(&world.large.target, BATCH / CONNECTIONS as u64));
    stream::iter(callers).buffer_unordered(CONNECTIONS).try_collect::<Vec<()>>().await?;
    let many = BATCH / CONNECTIONS as u64 * CONNECTIONS as u64;
    loop {
        if (stored(world).await?.0 - before.0).unsigned_abs() >= many {
            break;
        }
        if begun.elapsed() > Duration::from_secs(120) {
            return Err(Failure::new(format!("{many} certificates were not issued within two minutes")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let rate = many as f64 / begun.elapsed().as_secs_f64();
    let mut row = Row::about(format!("issuance by the local CA (P-256), {many} CSRs at once"));
    (row.rate, row.unit) = (Some(rate), "certificates");
    row.server_cpu = Some(cpu(pid)?.saturating_sub(used.0).as_secs_f64() * 1e3 / many as f64);
    row.postgres_cpu = Some(world.cluster.cpu()?.saturating_sub(used.1).as_secs_f64() * 1e3 / many as f64);
    if let (Some(before), Some(after)) = (statements, world.cluster.statements("certctl", &world.large.database).await?) {
        row.statements = Some((after - before) / many as f64);
    }
    Ok(row)
}

/// Gives the certificates that are issued anew one name, so that each key needs one CSR only.
async fn rename(world: &World) -> Result<()> {
    let statement = format!(
        "UPDATE certificates SET common_name = '{NAME}', sans = '[\"{NAME}\"]' WHERE id IN (SELECT 'mc-bench-' || n FROM {SOME});
         UPDATE certificate_names SET name = '{NAME}' WHERE certificate_id IN (SELECT 'mc-bench-' || n FROM {SOME})",
        SOME = format_args!("generate_series({}, {}) n", AGENTS + 1, AGENTS + MOST)
    );
    let mut sql = world.sql().await?;
    sql.execute(AssertSqlSafe(statement)).await.context("cannot name certificates")?;
    vacuum(&mut sql, "certificates, certificate_names").await
}

/// How many versions there are, and how many CSRs are in the audit log.
async fn stored(world: &World) -> Result<(i64, i64)> {
    let statement = "SELECT (SELECT count(*) FROM certificate_versions),
                            (SELECT count(*) FROM audit_events WHERE action = 'certificate.submit_csr')";
    sqlx::query_as(statement).fetch_one(&mut world.sql().await?).await.context("cannot count versions")
}

const CONNECTIONS: usize = 16;
const NAME: &str = "issued.example.test";
/// CSRs that are sent without waiting.
const BATCH: u64 = 1_024;
/// More than are issued in the time that there is.
const MOST: u64 = 20_000;
