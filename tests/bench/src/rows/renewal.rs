//! The renewal scan: from "due" to a job for every certificate.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor as _};

use crate::failure::{Context as _, Failure, Result};
use crate::figure::{Goal, Row, number};
use crate::process::{cpu, forget_peak, peak};
use crate::world::{FLEET, World};

/// Everything is due.
pub(crate) async fn all(world: &World) -> Result<Vec<Row>> {
    scan(world, FLEET, Duration::from_secs(10)).await
}

/// Little is due among much that is not.
pub(crate) async fn some(world: &World) -> Result<Vec<Row>> {
    scan(world, 1_000, Duration::from_secs(1)).await
}

#[expect(clippy::cast_precision_loss, reason = "counts and microseconds are far below what a float holds exactly")]
async fn scan(world: &World, due: u64, goal: Duration) -> Result<Vec<Row>> {
    let limit = insert(world, due).await?;
    let mut sql = world.sql().await?;
    let before: i64 = sqlx::query_scalar(JOBS).fetch_one(&mut sql).await.context("cannot count jobs")?;
    let pid = world.large.process.pid();
    forget_peak(pid)?;
    let used = (cpu(pid)?, world.cluster.cpu()?);
    let from = world.certificates - due;
    let statement = format!(
        "UPDATE certificate_versions v SET not_before = now() - interval '70 days', not_after = now() + interval '20 days'
             FROM (SELECT 'mc-bench-' || n AS id FROM generate_series({from} + 1, {from} + {due}) n) part
             WHERE v.certificate_id = part.id AND v.state = 'current';
         UPDATE certificates c SET next_try_at = now(), expires_at = now() + interval '20 days', failures = 0, last_failure_at = NULL
             FROM (SELECT 'mc-bench-' || n AS id FROM generate_series({from} + 1, {from} + {due}) n) part WHERE c.id = part.id"
    );
    // One that failed lately would wait for its time. Both statements are one transaction; the scan sees nothing before its end.
    sql.execute(AssertSqlSafe(statement)).await.context("cannot make certificates due")?;
    let begun = Instant::now();
    let (done, took) = loop {
        let jobs: i64 = sqlx::query_scalar(JOBS).fetch_one(&mut sql).await.context("cannot count jobs")?;
        let (done, took) = ((jobs - before).unsigned_abs(), begun.elapsed());
        if done >= due || took > PATIENCE {
            break (done, took);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let spent = (cpu(pid)?.saturating_sub(used.0), world.cluster.cpu()?.saturating_sub(used.1));
    // What is left is not measured any more.
    let rest = "UPDATE certificates SET next_try_at = now() + interval '12 hours' WHERE next_try_at < now() + interval '3 hours'";
    sql.execute(rest).await.context("cannot end the scan")?;
    crate::seed::vacuum(&mut sql, "certificates, certificate_versions, jobs").await?;
    if done == 0 || done > due {
        return Err(Failure::new(format!("{due} certificates are due and {done} renewals were started within {} s", took.as_secs())));
    }
    let rate = done as f64 / took.as_secs_f64();
    let seconds = due as f64 / rate;
    let all = if world.certificates == due { String::new() } else { format!(" of {}", number(world.certificates as f64)) };
    let mut row = Row::about(format!("renewal scan, {} due{all}", number(due as f64))).limited("set-based insert", limit);
    row.rate = Some(rate);
    row.unit = "certificates";
    row.server_cpu = Some(spent.0.as_secs_f64() * 1e3 / done as f64);
    row.postgres_cpu = Some(spent.1.as_secs_f64() * 1e3 / done as f64);
    row.memory = Some(peak(pid)?);
    if done < due {
        row.note = format!("stopped after {} s with {} done; the time is extrapolated", took.as_secs(), number(done as f64));
    }
    Ok(vec![row.goal(Goal::at_most("time", seconds, goal.as_secs_f64(), "s"))])
}

/// How many job rows a second one statement writes.
#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
async fn insert(world: &World, rows: u64) -> Result<f64> {
    let mut sql = world.sql().await?;
    let table = "DROP TABLE IF EXISTS bench.jobs; CREATE TABLE bench.jobs (LIKE jobs INCLUDING ALL)";
    sql.execute(table).await.context("cannot copy the table of jobs")?;
    let begun = Instant::now();
    let statement = format!(
        "INSERT INTO bench.jobs (id, type, certificate_id, status, reason, scheduled_at, attempts, max_attempts, progress, requested_by,
             fence, created_at, updated_at, worker, dedup_key)
         SELECT 'job-' || id, 'Renewal', id, 'AwaitingCSR', 'renewal is due', now(), 0, 3, '[]', 'renewal_due', 0, now(), now(), '', id
         FROM certificates ORDER BY created_at DESC LIMIT {rows}"
    );
    let done = sql.execute(AssertSqlSafe(statement)).await.context("cannot insert jobs")?.rows_affected();
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

const JOBS: &str = "SELECT count(*) FROM jobs WHERE type = 'Renewal' AND requested_by = 'renewal_due'";
/// A scan that takes longer is extrapolated.
const PATIENCE: Duration = Duration::from_secs(30);
