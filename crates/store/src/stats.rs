//! How much of what happened in which span of time, counted through indexes: exact however many rows there are.

use certctl_domain::certificate::CertificateStatus;
use certctl_domain::job::JobStatus;
use certctl_domain::time::Timestamp;

use crate::db::{Db, Sql, Value, sql};
use crate::error::StoreError;

/// A span of time, such as a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub begins: Timestamp,
    /// The first instant after it.
    pub ends: Timestamp,
}

/// What became of the jobs that ended in a span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Done.
    pub completed: i64,
    /// Given up.
    pub failed: i64,
}

/// Certificates whose version in use ends in each span; not those that were revoked or archived, which nobody waits for.
///
/// # Errors
/// When the database fails.
pub async fn expiring(db: &Db, spans: &[Span]) -> Result<Vec<i64>, StoreError> {
    counts(db, spans, expiring_in(spans)).await
}

/// Versions of certificates that were issued in each span.
///
/// # Errors
/// When the database fails.
pub async fn issued(db: &Db, spans: &[Span]) -> Result<Vec<i64>, StoreError> {
    counts(db, spans, issued_in(spans)).await
}

/// Jobs that ended in each span, of those that are kept.
///
/// # Errors
/// When the database fails.
pub async fn ended(db: &Db, spans: &[Span]) -> Result<Vec<Ended>, StoreError> {
    if spans.is_empty() {
        return Ok(Vec::new());
    }
    let mut ended = vec![Ended::default(); spans.len()];
    for row in db.fetch_all(ended_in(spans)).await? {
        let at = usize::try_from(row.int("n")?).ok().and_then(|n| ended.get_mut(n));
        let Some(ended) = at else {
            return Err(StoreError::corrupt("a count belongs to no span"));
        };
        let (status, many) = (row.text("status")?, row.int("many")?);
        if status == JobStatus::Completed.as_str() {
            ended.completed = many;
        } else if status == JobStatus::Failed.as_str() {
            ended.failed = many;
        }
    }
    Ok(ended)
}

fn expiring_in(spans: &[Span]) -> Sql {
    let mut statement = over(spans);
    statement.push(
        "SELECT s.n AS n, (SELECT count(*) FROM certificates c
                           WHERE c.expires_at >= s.begins AND c.expires_at < s.ends AND c.status NOT IN ",
    );
    statement.push_list([CertificateStatus::Revoked, CertificateStatus::Archived].map(|status| Value::from(status.as_str())));
    statement.push(") AS many FROM spans s ORDER BY s.n");
    statement
}

fn issued_in(spans: &[Span]) -> Sql {
    let mut statement = over(spans);
    statement.push(
        "SELECT s.n AS n, (SELECT count(*) FROM certificate_versions v
                           WHERE v.created_at >= s.begins AND v.created_at < s.ends) AS many
         FROM spans s ORDER BY s.n",
    );
    statement
}

/// CROSS JOIN makes SQLite begin with the spans, and so look each of them up in the index.
fn ended_in(spans: &[Span]) -> Sql {
    let mut statement = over(spans);
    statement.push(
        "SELECT s.n AS n, j.status AS status, count(*) AS many
         FROM spans s CROSS JOIN jobs j WHERE j.completed_at >= s.begins AND j.completed_at < s.ends
         GROUP BY s.n, j.status",
    );
    statement
}

/// The beginning of a statement: the spans as a table, numbered from 0. Their limits are ours, so that no database's time zone matters.
fn over(spans: &[Span]) -> Sql {
    let mut statement = sql("WITH spans (n, begins, ends) AS (VALUES ").varying();
    statement.push_rows((0..).zip(spans).map(|(n, span): (i64, _)| vec![n.into(), span.begins.into(), span.ends.into()]));
    statement.push(") ");
    statement
}

async fn counts(db: &Db, spans: &[Span], statement: Sql) -> Result<Vec<i64>, StoreError> {
    if spans.is_empty() {
        return Ok(Vec::new());
    }
    db.fetch_all(statement).await?.iter().map(|row| row.int("many")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::OpenOptions;

    async fn database(folder: &tempfile::TempDir) -> Db {
        let url = format!("sqlite://{}", folder.path().join("certctl.db").display());
        let acquire_timeout = std::time::Duration::from_secs(10);
        let db = Db::open(&OpenOptions { url: url.into(), max_connections: 2, acquire_timeout, durable: false }).await.unwrap();
        crate::migrate::migrate(&db, crate::migrate::Patience::default()).await.unwrap();
        db
    }

    #[tokio::test]
    async fn counts_are_read_from_indexes_alone() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(&folder).await;
        let begins: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let spans = [Span { begins, ends: begins.saturating_add(time::Duration::DAY) }];
        for (statement, index) in [
            (expiring_in(&spans), "USING COVERING INDEX certificates_expires (expires_at>? AND expires_at<?)"),
            (issued_in(&spans), "USING COVERING INDEX certificate_versions_created (created_at>? AND created_at<?)"),
            (ended_in(&spans), "USING COVERING INDEX jobs_over (completed_at>? AND completed_at<?)"),
        ] {
            let mut explained = statement.clone();
            explained.replace_text(format!("EXPLAIN QUERY PLAN {}", statement.text()));
            let rows = db.fetch_all(explained).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{plan:#?}");
        }
    }

    #[tokio::test]
    async fn no_span_has_no_count() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(&folder).await;
        assert!(expiring(&db, &[]).await.unwrap().is_empty());
        assert!(issued(&db, &[]).await.unwrap().is_empty());
        assert!(ended(&db, &[]).await.unwrap().is_empty());
    }
}
