//! The audit log: writing and sealing many events, and reading all of them out.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use futures_util::stream::{self, StreamExt as _};
use sqlx::postgres::PgPoolCopyExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::failure::{Context as _, Failure, Result};
use crate::figure::{Goal, Row, number};
use crate::http::{Connection, request};
use crate::process::{cpu, forget_peak, peak, resident};
use crate::world::{FLEET, World};

/// Appends, lets the product seal, exports.
pub(crate) async fn run(world: &World) -> Result<Vec<Row>> {
    // With a small fleet, as in a quick run, a tenth.
    let events = if world.certificates > FLEET { 1_000_000 } else { 100_000 };
    let sealing = seal(world, events).await?;
    Ok(vec![sealing, export(world, events).await?])
}

/// Events in commits of 200 on four connections; the product's sealer numbers and chains them meanwhile.
#[expect(clippy::cast_precision_loss, reason = "counts are far below what a float holds exactly")]
async fn seal(world: &World, events: u64) -> Result<Row> {
    let mut sql = world.sql().await?;
    let copies = "DROP TABLE IF EXISTS bench.audit_events, bench.audit_unsealed;
                  CREATE TABLE bench.audit_events (LIKE audit_events INCLUDING ALL);
                  CREATE TABLE bench.audit_unsealed (LIKE audit_unsealed INCLUDING ALL)";
    sql.execute(copies).await.context("cannot copy the tables of the audit log")?;
    let some = events / 5;
    let bare = Instant::now();
    append(world, "bench", some).await?;
    let limit = some as f64 / bare.elapsed().as_secs_f64();

    let pid = world.large.process.pid();
    forget_peak(pid)?;
    let used = (cpu(pid)?, world.cluster.cpu()?);
    let begun = Instant::now();
    append(world, "public", events).await?;
    let appended = begun.elapsed();
    let (sealed, took) = loop {
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM audit_unsealed").fetch_one(&mut sql).await.context("cannot count events")?;
        let took = begun.elapsed();
        if left == 0 || took > PATIENCE {
            break (events.saturating_sub(left.unsigned_abs()), took);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let spent = (cpu(pid)?.saturating_sub(used.0), world.cluster.cpu()?.saturating_sub(used.1));
    let rate = sealed as f64 / took.as_secs_f64();
    let mut row = Row::about("audit: append and seal").limited("append in commits of 200", limit);
    row.rate = Some(rate);
    row.unit = "events";
    row.server_cpu = Some(spent.0.as_secs_f64() * 1e3 / sealed.max(1) as f64);
    row.postgres_cpu = Some(spent.1.as_secs_f64() * 1e3 / sealed.max(1) as f64);
    row.memory = Some(peak(pid)?);
    let words = format!(
        "{} appended in {:.0} s, {} sealed in {:.0} s",
        number(events as f64),
        appended.as_secs_f64(),
        number(sealed as f64),
        took.as_secs_f64()
    );
    Ok(row.goal(Goal::at_least("rate", rate, 20_000.0, "events/s")).note(words))
}

async fn append(world: &World, schema: &str, events: u64) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..WRITERS {
        open.push(world.sql().await?);
    }
    let each = events / WRITERS;
    let writers = (0..WRITERS).zip(open).map(|(writer, sql)| write(sql, schema.to_owned(), (writer * each, each)));
    stream::iter(writers).buffer_unordered(usize::try_from(WRITERS).unwrap_or(1)).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn write(mut sql: PgConnection, schema: String, (from, many): (u64, u64)) -> Result<()> {
    let statement = format!(
        "WITH new AS (
             INSERT INTO {schema}.audit_events (id, actor, actor_type, action, resource_type, resource_id, details, timestamp,
                 event_category, request_id)
             SELECT 'audit-bench-' || to_char(n, 'FM0000000000'), 'actor-admin', 'User', 'certificate.update', 'certificate',
                 'mc-bench-' || n, jsonb_build_object('name', 'service-' || n, 'revision', 2),
                 date_trunc('day', now()) - interval '2 days' + n * interval '50 milliseconds', 'cert_lifecycle', 'request-' || n
             FROM generate_series($1::bigint + 1, $1 + $2) n RETURNING id)
         INSERT INTO {schema}.audit_unsealed SELECT id FROM new"
    );
    let mut done = 0;
    while done < many {
        let some = COMMIT.min(many - done);
        let (begin, some) = (i64::try_from(from + done).unwrap_or(i64::MAX), i64::try_from(some).unwrap_or(i64::MAX));
        let insert = sqlx::query(AssertSqlSafe(statement.clone())).bind(begin).bind(some);
        insert.execute(&mut sql).await.context("cannot append events")?;
        done += COMMIT;
    }
    sql.close().await.context("cannot append events")
}

/// All of these events as lines, over TLS, in one answer.
#[expect(clippy::cast_precision_loss, reason = "counts and bytes are far below what a float holds exactly")]
async fn export(world: &World, events: u64) -> Result<Row> {
    crate::seed::vacuum(&mut world.sql().await?, "audit_events, audit_seals, audit_unsealed").await?;
    let statement = "SELECT to_char((date_trunc('day', now()) - interval '2 days') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                            to_char((date_trunc('day', now()) - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let (from, to): (String, String) = sqlx::query_as(statement).fetch_one(&mut world.sql().await?).await.context("cannot read the day")?;
    let limit = copy(world, &from, &to, events).await?;
    let server = world.replica().await?;
    let path = format!("/api/v1/audit/export?from={from}&to={to}");
    let mut connection = Connection::open(&server.target).await?;
    // Once in small, so that what any first request brings is not counted.
    connection.ask(&request("GET", &format!("{path}&limit=5000"), Some(&server.token), None)).await?.is(200)?;
    let pid = server.process.pid();
    let before = resident(pid)?;
    forget_peak(pid)?;
    let used = (cpu(pid)?, world.cluster.cpu()?);
    let (mut lines, mut bytes) = (0_u64, 0_u64);
    let begun = Instant::now();
    let status = connection
        .stream(&request("GET", &path, Some(&server.token), None), |part| {
            bytes += part.len() as u64;
            lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        })
        .await?;
    let took = begun.elapsed();
    if status != 200 || lines != events {
        return Err(Failure::new(format!("the export has status {status} and {lines} lines instead of {events}")));
    }
    let grown = peak(pid)?.saturating_sub(before) as f64 / 1e6;
    let rate = lines as f64 / took.as_secs_f64();
    let mut row = Row::about(format!("audit: export of {} events", number(events as f64))).limited("the same by COPY", limit);
    row.rate = Some(rate);
    row.unit = "events";
    row.server_cpu = Some(cpu(pid)?.saturating_sub(used.0).as_secs_f64() * 1e3 / lines as f64);
    row.postgres_cpu = Some(world.cluster.cpu()?.saturating_sub(used.1).as_secs_f64() * 1e3 / lines as f64);
    row.memory = Some(peak(pid)?);
    server.process.stop()?;
    let row = row.goal(Goal::at_least("rate", rate, 50_000.0, "events/s")).goal(Goal::at_most("memory", grown, 16.0, "MB more"));
    Ok(row.note(format!("complete, {} MB", number(bytes as f64 / 1e6))))
}

/// How many of these events a second the database itself writes out as JSON.
#[expect(clippy::cast_precision_loss, reason = "a count of events")]
async fn copy(world: &World, from: &str, to: &str, events: u64) -> Result<f64> {
    let pool = sqlx::PgPool::connect(&world.cluster.url("bare", &world.large.database)).await.context("cannot reach PostgreSQL")?;
    let begun = Instant::now();
    let statement = format!(
        "COPY (SELECT row_to_json(line) FROM (
             SELECT e.*, s.sequence, s.row_hash FROM audit_events e LEFT JOIN audit_seals s ON s.event_id = e.id
             WHERE timestamp >= '{from}' AND timestamp < '{to}' ORDER BY timestamp, id) line) TO STDOUT"
    );
    let parts = pool.copy_out_raw(&statement).await.context("cannot copy out")?;
    let lines = parts.try_fold(0_usize, async |n, part| Ok(n + part.iter().filter(|byte| **byte == b'\n').count())).await;
    let lines = lines.context("cannot copy out")? as u64;
    if lines != events {
        return Err(Failure::new(format!("there are {lines} events of that day instead of {events}")));
    }
    Ok(lines as f64 / begun.elapsed().as_secs_f64())
}

const WRITERS: u64 = 4;
/// Events in one commit.
const COMMIT: u64 = 200;
/// The sealing that is not over by then goes on, unmeasured.
const PATIENCE: Duration = Duration::from_secs(90);
