//! Numbers about the whole fleet: fast, and exact.

use serde_json::Value;
use sqlx::Row as _;

use crate::compare::row;
use crate::failure::{Context as _, Failure, Result};
use crate::figure::{Row, number};
use crate::world::World;

/// The summary for dashboards, and the scrape.
pub(crate) async fn run(world: &World) -> Result<Vec<Row>> {
    exact(world).await?;
    let summary = world.compare_paths(CONNECTIONS, "/api/v1/stats/summary", "/hello").await?;
    let scrape = world.compare_paths(CONNECTIONS, "/api/v1/metrics/prometheus", "/hello").await?;
    exact(world).await?;
    let all = format!("at {}", number(count(world.certificates)));
    Ok(vec![
        row(format!("statistics summary, {all}"), "hello", &summary, 0.2).note("counts are exact"),
        row(format!("metrics scrape, {all}"), "hello", &scrape, 0.2).note("counts are exact"),
    ])
}

/// Whether both say what the tables say.
async fn exact(world: &World) -> Result<()> {
    let statement = "SELECT status, count(*) AS n FROM certificates GROUP BY status";
    let rows = sqlx::query(statement).fetch_all(&mut world.sql().await?).await.context("cannot count certificates")?;
    let summary = world.large.get("/api/v1/stats/summary").await?;
    let by_status = world.large.get("/api/v1/stats/certificates-by-status").await?;
    let scrape = world.large.ask("GET", "/api/v1/metrics/prometheus", None).await?;
    let scrape = String::from_utf8_lossy(scrape.is(200)?).into_owned();
    let mut all = 0;
    for row in rows {
        let status: String = row.try_get("status").context("cannot count certificates")?;
        let n: i64 = row.try_get("n").context("cannot count certificates")?;
        all += n;
        let listed = by_status.get("status_counts").and_then(Value::as_array).into_iter().flatten();
        let listed = listed.filter(|entry| entry.get("status").and_then(Value::as_str) == Some(&status));
        let listed = listed.filter_map(|entry| entry.get("count")?.as_i64()).next();
        let scraped = scrape.lines().find_map(|line| line.strip_prefix(&format!("certctl_certificates{{status=\"{status}\"}} ")));
        if listed != Some(n) || scraped.and_then(|text| text.trim().parse().ok()) != Some(n) {
            return Err(Failure::new(format!("{n} certificates are {status}; the statistics say {listed:?}, the metrics {scraped:?}")));
        }
    }
    let total = summary.get("total_certificates").and_then(Value::as_i64);
    if total != Some(all) {
        return Err(Failure::new(format!("there are {all} certificates; the summary says {total:?}")));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for words only")]
const fn count(n: u64) -> f64 {
    n as f64
}

const CONNECTIONS: usize = 16;
