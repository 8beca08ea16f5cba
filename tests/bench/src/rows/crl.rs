//! Making a revocation list with a hundred thousand entries.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::compare::median;
use crate::failure::{Context as _, Failure, Result};
use crate::figure::{Goal, Row};
use crate::process::{forget_peak, peak, resident};
use crate::world::World;

/// Revokes, waits for the list, and does so again with one revocation more.
#[expect(clippy::cast_precision_loss, reason = "bytes and milliseconds for people")]
pub(crate) async fn run(world: &World) -> Result<Vec<Row>> {
    let pid = world.large.process.pid();
    let mut sql = world.sql().await?;
    let before = resident(pid)?;
    forget_peak(pid)?;
    let (mut product, mut limit) = (Vec::new(), Vec::new());
    let mut whole = Vec::new();
    let mut revoked = 0;
    for more in [REVOKED, 1, 1] {
        let begun = Instant::now();
        let statement = format!(
            "INSERT INTO revocations (id, issuer_id, serial_number, certificate_id, version_id, reason, revoked_by, revoked_at, not_after,
                 issuer_notified_at)
             SELECT 'rev-bench-' || n, 'iss-local', '6b' || md5('revoked ' || n), 'mc-gone-' || n, 'ver-gone-' || n, 'superseded', 'bench',
                 now(), now() + interval '40 days', now()
             FROM generate_series({revoked} + 1, {revoked} + {more}) n"
        );
        sql.execute(AssertSqlSafe(statement)).await.context("cannot revoke")?;
        revoked += more;
        let (ms, bytes) = published(world, revoked).await?;
        product.push(ms);
        whole.push(begun.elapsed().as_secs_f64());
        served(world, bytes).await?;
        limit.push(bare(world).await?);
    }
    let peak = peak(pid)?;
    let grown = peak.saturating_sub(before) as f64 / 1e6;
    let ms = median(&mut product).context("no list was made")?;
    let bare = median(&mut limit).context("no list was made")?;
    let first = whole.first().copied().unwrap_or_default();
    let mut row = Row::about("revocation list with 100 000 entries").limited("read, encode, sign", 1.0 / bare);
    row.rate = Some(1e3 / ms.max(1.0));
    row.unit = "lists";
    row.memory = Some(peak);
    let row = row.goal(Goal::at_most("time", ms / 1e3, 0.5, "s")).goal(Goal::at_most("memory", grown, 30.0, "MB more"));
    Ok(vec![row.note(format!("from the revocation of all to the first list {first:.1} s, of which up to 5 s are spent gathering"))])
}

/// Waits for the list that has them all: how long it took to make in milliseconds, and its bytes.
async fn published(world: &World, revoked: u64) -> Result<(f64, u64)> {
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        let cache = world.large.get("/api/v1/admin/crl/cache").await?;
        let rows = cache.get("cache_rows").and_then(Value::as_array).into_iter().flatten();
        for row in rows.filter(|row| row.get("issuer_id").and_then(Value::as_str) == Some("iss-local")) {
            let number = |name: &str| row.get(name).and_then(Value::as_u64);
            if number("revoked_count") == Some(revoked)
                && let (Some(ms), Some(bytes)) = (row.get("generation_duration_ms").and_then(Value::as_f64), number("size_bytes"))
            {
                return Ok((ms, bytes));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::new(format!("no list with {revoked} entries was published within two minutes")))
}

/// Waits until the list is served: a replica looks for news twice a second.
async fn served(world: &World, bytes: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let list = world.large.ask("GET", "/.well-known/pki/crl/iss-local", None).await?;
        if u64::try_from(list.is(200)?.len()).ok() == Some(bytes) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Failure::new(format!("a list of {bytes} bytes is published and one of {} is served", list.body.len())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The same by the shortest way, in seconds: one statement, the bytes of every entry, one signature.
async fn bare(world: &World) -> Result<f64> {
    let mut sql = world.sql().await?;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).context("no key")?;
    let begun = Instant::now();
    let statement = "SELECT decode(serial_number, 'hex') AS serial, to_char(revoked_at, 'YYMMDDHH24MISS\"Z\"') AS at FROM revocations
                     WHERE issuer_id = 'iss-local' ORDER BY serial_number";
    let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(statement).fetch_all(&mut sql).await.context("cannot read revocations")?;
    let mut list = Vec::with_capacity(rows.len() * 48);
    for (serial, at) in &rows {
        let mut entry = vec![0x02, u8::try_from(serial.len()).unwrap_or_default()];
        entry.extend_from_slice(serial);
        entry.extend_from_slice(&[0x17, 13]);
        entry.extend_from_slice(at.as_bytes());
        list.extend_from_slice(&[0x30, u8::try_from(entry.len()).unwrap_or_default()]);
        list.extend_from_slice(&entry);
    }
    let signature = key.sign(&SystemRandom::new(), &list).context("cannot sign")?;
    std::hint::black_box(signature.as_ref());
    Ok(begun.elapsed().as_secs_f64())
}

const REVOKED: u64 = 100_000;
