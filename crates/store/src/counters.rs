//! Fleet counters: exact at any time, without a row that every writer must touch.
//!
//! Transactions append deltas; a task folds them into totals. A counter is its total and the deltas that are not folded yet.

use std::collections::BTreeMap;

use certctl_domain::time::Timestamp;

use crate::db::{Db, Value, sql};
use crate::error::StoreError;
use crate::store::{Store, Who};

/// The counter's value now, for use inside a statement. One statement sees one state: a fold that commits meanwhile is seen whole or not
/// at all.
pub(crate) fn expression(name: &'static str) -> String {
    format!(
        "CAST(COALESCE((SELECT value FROM counters WHERE name = '{name}'), 0)
            + COALESCE((SELECT SUM(delta) FROM counter_deltas WHERE name = '{name}'), 0) AS bigint)"
    )
}

/// The counter's value now.
///
/// # Errors
/// When the database fails.
pub async fn read(db: &Db, name: &'static str) -> Result<i64, StoreError> {
    db.fetch_optional(sql(format!("SELECT {} AS n", expression(name)))).await?.map_or(Ok(0), |row| row.int("n"))
}

/// All counters whose name begins with `prefix`.
///
/// # Errors
/// When the database fails.
pub async fn read_all(db: &Db, prefix: &str) -> Result<BTreeMap<String, i64>, StoreError> {
    let statement = sql("SELECT name, CAST(SUM(n) AS bigint) AS n
             FROM (SELECT name, value AS n FROM counters UNION ALL SELECT name, delta AS n FROM counter_deltas) AS everything
             WHERE substr(name, 1, length($1)) = $1 GROUP BY name")
    .bind(prefix);
    db.fetch_all(statement).await?.iter().map(|row| Ok((row.text("name")?, row.int("n")?))).collect()
}

/// Folds deltas into the totals, a batch at a time, until few are left; says how many. Safe beside writers and beside another folder.
///
/// # Errors
/// When the database fails.
pub async fn fold(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let mut folded = 0;
    loop {
        let n = fold_batch(store, now).await?;
        folded += n;
        if n < BATCH {
            return Ok(folded);
        }
    }
}

async fn fold_batch(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let mut tx = store.write(Who::task("counters", now)).await?;
    let statement = sql(format!(
        "DELETE FROM counter_deltas WHERE id IN (SELECT id FROM counter_deltas ORDER BY id LIMIT {BATCH}{}) RETURNING name, delta",
        tx.skip_locked()
    ));
    let rows = tx.fetch_all(statement).await?;
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for row in &rows {
        *sums.entry(row.text("name")?).or_default() += row.int("delta")?;
    }
    if sums.is_empty() {
        return Ok(0);
    }
    // In the order of the names, so that two folders wait for one another instead of blocking each other.
    for (name, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
        let statement = sql("INSERT INTO counters (name, value) VALUES ($1, $2)
                             ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value");
        tx.execute(statement.bind(Value::from(name)).bind(sum)).await?;
    }
    tx.commit_housekeeping("counters.fold").await?;
    Ok(rows.len() as u64)
}

const BATCH: u64 = 1_000;
