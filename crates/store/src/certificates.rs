//! Certificates, their names, targets, versions and revocations.

use std::collections::BTreeSet;

use certctl_domain::certificate::{Certificate, CertificateStatus, Revocation, Version, VersionState};
use certctl_domain::ids::{AgentId, CertificateId, Id as _, IssuerId, JobId, TargetId, VersionId};
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{RevocationReason, Serial};

use crate::db::{Db, Sql, Value, sql};
use crate::error::StoreError;
use crate::store::WriteTx;
use crate::table::{self, Kind, Scoped, Stored, Table, equals, one_of};

impl Stored for Certificate {
    const TABLE: Table = Table {
        name: "certificates",
        columns: &[
            ("id", Kind::Text),
            ("name", Kind::Text),
            ("common_name", Kind::Text),
            ("sans", Kind::Json),
            ("environment", Kind::Text),
            ("owner_id", Kind::Text),
            ("team_id", Kind::Text),
            ("issuer_id", Kind::Text),
            ("target_ids", Kind::Json),
            ("renewal_policy_id", Kind::Text),
            ("certificate_profile_id", Kind::Text),
            ("key_algorithm", Kind::Text),
            ("status", Kind::Text),
            ("reason", Kind::Text),
            ("hint", Kind::Text),
            ("next_try_at", Kind::Time),
            ("expires_at", Kind::Time),
            ("tags", Kind::Json),
            ("failures", Kind::Int),
            ("last_failure_at", Kind::Time),
            ("last_renewal_at", Kind::Time),
            ("last_deployment_at", Kind::Time),
            ("revoked_at", Kind::Time),
            ("revocation_reason", Kind::Text),
            ("source", Kind::Text),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &[
            "name",
            "EXISTS (SELECT 1 FROM certificate_names n WHERE n.certificate_id = certificates.id AND n.name LIKE $q ESCAPE '\\')",
            "EXISTS (SELECT 1 FROM certificate_versions v WHERE v.certificate_id = certificates.id AND v.serial_number LIKE $q ESCAPE '\\')",
            "EXISTS (SELECT 1 FROM certificate_versions v WHERE v.certificate_id = certificates.id AND v.fingerprint_sha256 LIKE $q ESCAPE '\\')",
            "lower(CAST(tags AS text)) LIKE $q ESCAPE '\\'",
        ],
        filters: &[
            one_of!("status", CertificateStatus, "status = $?"),
            equals("environment", Kind::Text, "environment = $?"),
            equals("owner_id", Kind::Text, "owner_id = $?"),
            equals("team_id", Kind::Text, "team_id = $?"),
            equals("issuer_id", Kind::Text, "issuer_id = $?"),
            equals("profile_id", Kind::Text, "certificate_profile_id = $?"),
            equals("certificate_profile_id", Kind::Text, "certificate_profile_id = $?"),
            equals("renewal_policy_id", Kind::Text, "renewal_policy_id = $?"),
            equals("name", Kind::Text, "name = $?"),
            equals(
                "san",
                Kind::Text,
                "EXISTS (SELECT 1 FROM certificate_names n WHERE n.certificate_id = certificates.id AND n.name = $?)",
            ),
            equals(
                "target_id",
                Kind::Text,
                "EXISTS (SELECT 1 FROM certificate_targets t WHERE t.certificate_id = certificates.id AND t.target_id = $?)",
            ),
            equals(
                "agent_id",
                Kind::Text,
                "EXISTS (SELECT 1 FROM certificate_targets t JOIN targets g ON g.id = t.target_id WHERE t.certificate_id = certificates.id AND g.agent_id = $?)",
            ),
            equals("expires_before", Kind::Time, "expires_at < $?"),
            equals("expires_after", Kind::Time, "expires_at > $?"),
            equals("created_after", Kind::Time, "created_at > $?"),
            equals("created_before", Kind::Time, "created_at < $?"),
            equals("updated_after", Kind::Time, "updated_at > $?"),
        ],
        sorts: &["created_at", "updated_at", "name", "common_name", "status", "environment", "expires_at?"],
        scope: Scoped { profile: Some("certificate_profile_id"), issuer: Some("issuer_id") },
        counter: Some("certificates"),
    };
}

/// The table of versions.
pub const VERSIONS: Table = Table {
    name: "certificate_versions",
    columns: &[
        ("id", Kind::Text),
        ("certificate_id", Kind::Text),
        ("agent_id", Kind::Text),
        ("issuer_id", Kind::Text),
        ("serial_number", Kind::Text),
        ("fingerprint_sha256", Kind::Text),
        ("not_before", Kind::Time),
        ("not_after", Kind::Time),
        ("pem_chain", Kind::Text),
        ("csr_pem", Kind::Text),
        ("key_algorithm", Kind::Text),
        ("key_size", Kind::Int),
        ("state", Kind::Text),
        ("issuer_ref", Kind::Json),
        ("ari", Kind::Json),
        ("revoked_at", Kind::Time),
        ("revocation_reason", Kind::Text),
        ("created_at", Kind::Time),
    ],
    search: &["serial_number", "fingerprint_sha256"],
    filters: &[
        equals("certificate_id", Kind::Text, "certificate_id = $?"),
        one_of!("state", VersionState, "state = $?"),
        equals("serial_number", Kind::Text, "serial_number = $?"),
    ],
    sorts: &["created_at", "not_after"],
    scope: Scoped { profile: None, issuer: Some("issuer_id") },
    counter: None,
};

/// The counter of certificates in a status.
#[must_use]
pub fn status_counter(status: CertificateStatus) -> String {
    format!("certificates.status.{}", status.as_str())
}

/// Writes the names and targets of a new or changed certificate, and counts its status.
///
/// # Errors
/// When a target does not exist, or the database fails.
pub async fn write_relations(tx: &mut WriteTx, old: Option<&Certificate>, new: &Certificate) -> Result<(), StoreError> {
    let names = certctl_domain::profile::all_names(&new.common_name, &new.sans).map_err(|e| StoreError::corrupt(e.to_string()))?;
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    // A common name that is no SAN is found too.
    names.push(new.common_name.to_lowercase());
    names.sort();
    names.dedup();
    if old.is_some() {
        tx.execute(sql("DELETE FROM certificate_names WHERE certificate_id = $1").bind(&new.id)).await?;
        tx.execute(sql("DELETE FROM certificate_targets WHERE certificate_id = $1").bind(&new.id)).await?;
    }
    let mut statement = sql("INSERT INTO certificate_names (certificate_id, name) VALUES ");
    statement.push_rows(names.into_iter().map(|name| vec![Value::from(&new.id), Value::from(name)]));
    tx.execute(statement).await?;
    if !new.target_ids.is_empty() {
        let mut statement = sql("INSERT INTO certificate_targets (certificate_id, target_id) VALUES ");
        statement.push_rows(new.target_ids.iter().map(|target| vec![Value::from(&new.id), Value::from(target)]));
        tx.execute(statement).await?;
    }
    count_status(tx, old.map(|old| old.status), Some(new.status));
    Ok(())
}

/// Writes a changed state of a certificate: its revision grows, its status is counted.
///
/// # Errors
/// [`StoreError::Stale`] when somebody else changed it since it was read.
pub async fn write_state(tx: &mut WriteTx, old: &Certificate, mut new: Certificate) -> Result<Certificate, StoreError> {
    new.revision = old.revision + 1;
    new.updated_at = tx.now();
    table::update(tx, &new).await?;
    count_status(tx, Some(old.status), Some(new.status));
    Ok(new)
}

/// As [`write_state`], of several at once: where they stand, why, and when to look again; nothing else of `new` is written. They must have
/// been read in this transaction by [`lock_due`].
///
/// # Errors
/// [`StoreError::Stale`] when one of them was changed or deleted by somebody else.
pub async fn write_states(tx: &mut WriteTx, changes: &[(Certificate, Certificate)]) -> Result<(), StoreError> {
    let mut statement =
        sql("UPDATE certificates AS c SET status = v.column3, reason = v.column4, hint = v.column5, next_try_at = v.column6,
             revision = c.revision + 1, updated_at = ");
    statement.push_bind(tx.now()).push(" FROM (VALUES ");
    statement.push_rows(changes.iter().map(|(old, new)| {
        vec![
            Value::from(&old.id),
            Value::from(old.revision),
            Value::from(new.status.as_str()),
            Value::from(new.reason.as_str()),
            Value::from(new.hint.clone()),
            Value::from(new.next_try_at),
        ]
    }));
    statement.push(") AS v WHERE c.id = v.column1 AND c.revision = v.column2");
    if tx.execute(statement.varying()).await? != changes.len() as u64 {
        return Err(StoreError::Stale);
    }
    for (old, new) in changes {
        count_status(tx, Some(old.status), Some(new.status));
    }
    Ok(())
}

/// Moves one certificate from one status counter to another.
fn count_status(tx: &mut WriteTx, from: Option<CertificateStatus>, to: Option<CertificateStatus>) {
    if from == to {
        return;
    }
    if let Some(from) = from {
        tx.count(&status_counter(from), -1);
    }
    if let Some(to) = to {
        tx.count(&status_counter(to), 1);
    }
}

/// The ids of certificates about which something is to be decided at `now`, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn due(
    db: &Db,
    now: Timestamp,
    after: Option<(Timestamp, CertificateId)>,
    limit: i64,
) -> Result<Vec<(Timestamp, CertificateId)>, StoreError> {
    let mut statement = sql("SELECT id, next_try_at FROM certificates WHERE next_try_at IS NOT NULL AND next_try_at <= ");
    statement.push_bind(now);
    if let Some((at, id)) = after {
        statement.push(" AND (next_try_at, id) > (").push_bind(at).push(", ").push_bind(&id).push(")");
    }
    statement.push(" ORDER BY next_try_at, id LIMIT ").push_bind(limit);
    db.fetch_all(statement).await?.iter().map(|row| Ok((row.time("next_try_at")?, row.id("id")?))).collect()
}

/// Of these certificates, those about which something is still to be decided at `now`; others cannot change them until the commit. What
/// somebody else works on is left to the next time.
///
/// # Errors
/// When the database fails.
pub async fn lock_due(tx: &mut WriteTx, ids: &[CertificateId], now: Timestamp) -> Result<Vec<Certificate>, StoreError> {
    let mut statement = sql(format!("SELECT {} FROM certificates WHERE id IN ", table::column_names(&Certificate::TABLE)));
    statement.push_list(ids.iter().map(Value::from)).push(" AND next_try_at <= ").push_bind(now).push(" ORDER BY id");
    statement.push(tx.skip_locked());
    tx.fetch_all(statement).await?.iter().map(|row| table::from_row(&Certificate::TABLE, row)).collect()
}

/// As [`live_targets`], the agents of several certificates.
///
/// # Errors
/// When the database fails.
pub async fn live_agents_of(tx: &mut WriteTx, ids: &[CertificateId]) -> Result<Vec<(CertificateId, AgentId)>, StoreError> {
    let mut statement = sql("SELECT DISTINCT c.certificate_id AS certificate_id, t.agent_id AS agent_id FROM certificate_targets c
         JOIN targets t ON t.id = c.target_id JOIN agents a ON a.id = t.agent_id
         WHERE t.enabled AND a.retired_at IS NULL AND c.certificate_id IN ");
    statement.push_list(ids.iter().map(Value::from));
    tx.fetch_all(statement).await?.iter().map(|row| Ok((row.id("certificate_id")?, row.id("agent_id")?))).collect()
}

/// As [`current_versions`], of several certificates.
///
/// # Errors
/// When the database fails.
pub async fn current_versions_of(tx: &mut WriteTx, ids: &[CertificateId]) -> Result<Vec<Version>, StoreError> {
    let mut statement = select_versions("state = 'current' AND certificate_id IN ");
    statement.push_list(ids.iter().map(Value::from)).push(" ORDER BY not_after, id");
    let rows = tx.fetch_all(statement).await?;
    rows.iter().map(|row| table::from_row(&VERSIONS, row)).collect()
}

/// The targets of a certificate with the agents beside them; only enabled ones of agents that are not retired.
///
/// # Errors
/// When the database fails.
pub async fn live_targets(tx: &mut WriteTx, id: &CertificateId) -> Result<Vec<(TargetId, AgentId)>, StoreError> {
    tx.fetch_all(sql(LIVE_TARGETS).bind(id)).await?.iter().map(|row| Ok((row.id("target_id")?, row.id("agent_id")?))).collect()
}

/// The agents of [`live_targets`], outside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn read_live_agents(db: &Db, id: &CertificateId) -> Result<BTreeSet<AgentId>, StoreError> {
    db.fetch_all(sql(LIVE_TARGETS).bind(id)).await?.iter().map(|row| row.id("agent_id")).collect()
}

/// The agents beside a certificate's targets, enabled or not, that are not retired.
///
/// # Errors
/// When the database fails.
pub async fn linked_agents(tx: &mut WriteTx, id: &CertificateId) -> Result<BTreeSet<AgentId>, StoreError> {
    let statement = sql("SELECT DISTINCT t.agent_id AS agent_id FROM certificate_targets c
             JOIN targets t ON t.id = c.target_id JOIN agents a ON a.id = t.agent_id
             WHERE c.certificate_id = $1 AND a.retired_at IS NULL")
    .bind(id);
    tx.fetch_all(statement).await?.iter().map(|row| row.id("agent_id")).collect()
}

/// The certificates of a target, in the order in which they are to be locked.
///
/// # Errors
/// When the database fails.
pub async fn on_target(tx: &mut WriteTx, target: &TargetId) -> Result<Vec<CertificateId>, StoreError> {
    let statement = sql("SELECT certificate_id FROM certificate_targets WHERE target_id = $1 ORDER BY certificate_id").bind(target);
    tx.fetch_all(statement).await?.iter().map(|row| row.id("certificate_id")).collect()
}

/// The certificates that an agent has to do with, by a target or an open job, in the order in which they are to be locked.
///
/// # Errors
/// When the database fails.
pub async fn of_agent(tx: &mut WriteTx, agent: &AgentId) -> Result<Vec<CertificateId>, StoreError> {
    let statement = sql("SELECT c.certificate_id AS certificate_id FROM certificate_targets c JOIN targets t ON t.id = c.target_id
             WHERE t.agent_id = $1
             UNION SELECT certificate_id FROM jobs WHERE agent_id = $1 AND completed_at IS NULL ORDER BY certificate_id")
    .bind(agent);
    tx.fetch_all(statement).await?.iter().map(|row| row.id("certificate_id")).collect()
}

/// Supersedes the versions in use of everybody but these; says how many there were. An empty text stands for whoever brings a CSR.
///
/// # Errors
/// When the database fails.
pub async fn supersede_others(tx: &mut WriteTx, id: &CertificateId, keep: &[&str]) -> Result<u64, StoreError> {
    let mut statement = sql("UPDATE certificate_versions SET state = 'superseded' WHERE state = 'current' AND certificate_id = ");
    statement.push_bind(id);
    for holder in keep {
        statement.push(" AND COALESCE(agent_id, '') <> ").push_bind(*holder);
    }
    tx.execute(statement).await
}

/// Writes a new version as the one in use of its agent; the one before is superseded.
///
/// # Errors
/// [`StoreError::Duplicate`] when the job has a version already, or the CA gave a serial twice.
pub async fn insert_version(tx: &mut WriteTx, version: &Version, job: &JobId) -> Result<(), StoreError> {
    tx.execute(
        sql("UPDATE certificate_versions SET state = 'superseded' WHERE certificate_id = $1 AND COALESCE(agent_id, '') = $2 AND state = 'current'")
            .bind(&version.certificate_id)
            .bind(version.agent_id.as_ref().map_or("", |agent| agent.as_str())),
    )
    .await?;
    let fields = table::fields_of(version)?;
    let mut statement = sql(format!("INSERT INTO certificate_versions ({}, job_id) VALUES ", table::column_names(&VERSIONS)));
    let mut values = table::values_of(&VERSIONS, &fields)?;
    values.push(Value::from(job));
    statement.push_rows([values]);
    tx.execute(statement).await?;
    Ok(())
}

/// The versions in use of a certificate, one for each agent that holds a key.
///
/// # Errors
/// When the database fails.
pub async fn current_versions(tx: &mut WriteTx, id: &CertificateId) -> Result<Vec<Version>, StoreError> {
    let rows = tx.fetch_all(select_versions("certificate_id = $1 AND state = 'current' ORDER BY not_after, id").bind(id)).await?;
    rows.iter().map(|row| table::from_row(&VERSIONS, row)).collect()
}

/// All versions of a certificate that have not ended, newest first.
///
/// # Errors
/// When the database fails.
pub async fn living_versions(tx: &mut WriteTx, id: &CertificateId) -> Result<Vec<Version>, StoreError> {
    let now = tx.now();
    let rows = tx
        .fetch_all(select_versions("certificate_id = $1 AND not_after > $2 ORDER BY created_at DESC, id DESC").bind(id).bind(now))
        .await?;
    rows.iter().map(|row| table::from_row(&VERSIONS, row)).collect()
}

/// The versions in use of a certificate, outside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn read_current_versions(db: &Db, id: &CertificateId) -> Result<Vec<Version>, StoreError> {
    let rows = db.fetch_all(select_versions("certificate_id = $1 AND state = 'current' ORDER BY not_after, id").bind(id)).await?;
    rows.iter().map(|row| table::from_row(&VERSIONS, row)).collect()
}

/// A version by its id.
///
/// # Errors
/// When the database fails.
pub async fn version(db: &Db, id: &VersionId) -> Result<Option<Version>, StoreError> {
    let row = db.fetch_optional(select_versions("id = $1").bind(id)).await?;
    row.map(|row| table::from_row(&VERSIONS, &row)).transpose()
}

/// A version by its id, inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn version_in(tx: &mut WriteTx, id: &VersionId) -> Result<Option<Version>, StoreError> {
    let row = tx.fetch_optional(select_versions("id = $1").bind(id)).await?;
    row.map(|row| table::from_row(&VERSIONS, &row)).transpose()
}

/// The version that a job made, with the job that made it.
///
/// # Errors
/// When the database fails.
pub async fn version_of_job(tx: &mut WriteTx, job: &JobId) -> Result<Option<Version>, StoreError> {
    let row = tx.fetch_optional(select_versions("job_id = $1").bind(job)).await?;
    row.map(|row| table::from_row(&VERSIONS, &row)).transpose()
}

/// The job that made a version; its key has the job's name at the agent.
///
/// # Errors
/// When the database fails.
pub async fn job_of_version(db: &Db, id: &VersionId) -> Result<Option<JobId>, StoreError> {
    let row = db.fetch_optional(sql("SELECT job_id FROM certificate_versions WHERE id = $1").bind(id)).await?;
    row.map(|row| row.id("job_id")).transpose()
}

/// One page of a certificate's versions.
///
/// # Errors
/// When the query is not one of this table, or the database fails.
pub async fn list_versions(db: &Db, id: &CertificateId, query: &ListQuery) -> Result<Page<Version>, StoreError> {
    let mut query = query.clone();
    query.filters.push(("certificate_id".to_owned(), id.to_string()));
    table::list_rows(db, &VERSIONS, &query, &certctl_domain::auth::Reach::everywhere(), table::from_row::<Version>).await
}

/// Marks a version as revoked and writes the revocation; `false` when it was revoked before.
///
/// # Errors
/// When the database fails.
pub async fn revoke_version(tx: &mut WriteTx, version: &Version, revocation: &Revocation) -> Result<bool, StoreError> {
    let inserted = tx
        .execute(
            sql("INSERT INTO revocations (id, issuer_id, serial_number, certificate_id, version_id, reason, revoked_by, revoked_at, not_after, issuer_notified_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (issuer_id, serial_number) DO NOTHING")
            .bind(&revocation.id)
            .bind(&revocation.issuer_id)
            .bind(revocation.serial_number.as_str())
            .bind(&revocation.certificate_id)
            .bind(&revocation.version_id)
            .bind(revocation.reason.as_str())
            .bind(revocation.revoked_by.as_str())
            .bind(revocation.revoked_at)
            .bind(version.not_after)
            .bind(revocation.issuer_notified_at),
        )
        .await?;
    if inserted == 0 {
        return Ok(false);
    }
    tx.execute(
        sql("UPDATE certificate_versions SET revoked_at = $2, revocation_reason = $3 WHERE id = $1")
            .bind(&version.id)
            .bind(revocation.revoked_at)
            .bind(revocation.reason.as_str()),
    )
    .await?;
    Ok(true)
}

/// Revocations of which a CA is to be told now: those that were tried least first, of them the oldest.
///
/// # Errors
/// When the database fails.
pub async fn revocations_to_tell(db: &Db, now: Timestamp, limit: i64) -> Result<Vec<(String, VersionId, RevocationReason)>, StoreError> {
    let rows = db
        .fetch_all(
            sql("SELECT id, version_id, reason FROM revocations WHERE issuer_notified_at IS NULL AND (tell_at IS NULL OR tell_at <= $1)
                 ORDER BY tell_attempts, revoked_at, id LIMIT $2")
            .bind(now)
            .bind(limit),
        )
        .await?;
    rows.iter()
        .map(|row| {
            let reason = row.text("reason")?.parse().map_err(|_| StoreError::corrupt("a revocation's reason is unknown"))?;
            Ok((row.text("id")?, row.id("version_id")?, reason))
        })
        .collect()
}

/// Notes that a CA was told of a revocation in vain; gives how often that was.
///
/// # Errors
/// When the database fails.
pub async fn revocation_not_told(tx: &mut WriteTx, revocation: &str) -> Result<i64, StoreError> {
    let statement = sql("UPDATE revocations SET tell_attempts = tell_attempts + 1 WHERE id = $1 RETURNING tell_attempts").bind(revocation);
    tx.fetch_optional(statement).await?.map_or(Ok(0), |row| row.int("tell_attempts"))
}

/// Puts off telling a CA of a revocation, or of all that wait for it.
///
/// # Errors
/// When the database fails.
pub async fn tell_later(tx: &mut WriteTx, of: Waiting<'_>, at: Timestamp) -> Result<(), StoreError> {
    let statement = match of {
        Waiting::One(id) => sql("UPDATE revocations SET tell_at = $2 WHERE id = $1").bind(id).bind(at),
        Waiting::AllOf(issuer) => {
            sql("UPDATE revocations SET tell_at = $2 WHERE issuer_id = $1 AND issuer_notified_at IS NULL").bind(issuer).bind(at)
        }
    };
    tx.execute(statement).await?;
    Ok(())
}

/// Revocations that a CA was not told of yet.
#[derive(Debug, Clone, Copy)]
pub enum Waiting<'a> {
    /// This one.
    One(&'a str),
    /// All of an issuer.
    AllOf(&'a IssuerId),
}

/// Notes that the CA was told of a revocation.
///
/// # Errors
/// When the database fails.
pub async fn revocation_told(tx: &mut WriteTx, revocation: &str) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute(
        sql("UPDATE revocations SET issuer_notified_at = $2 WHERE id = $1 AND issuer_notified_at IS NULL").bind(revocation).bind(now),
    )
    .await?;
    Ok(())
}

/// A version of a certificate by serial number.
///
/// # Errors
/// When the database fails.
pub async fn version_by_serial(tx: &mut WriteTx, id: &CertificateId, serial: &Serial) -> Result<Option<Version>, StoreError> {
    let row = tx.fetch_optional(select_versions("certificate_id = $1 AND serial_number = $2").bind(id).bind(serial.as_str())).await?;
    row.map(|row| table::from_row(&VERSIONS, &row)).transpose()
}

/// Whether an issuer already gave out or is about to give out this serial number.
///
/// # Errors
/// When the database fails.
pub async fn serial_is_taken(tx: &mut WriteTx, issuer: &IssuerId, serial: &Serial) -> Result<bool, StoreError> {
    let statement = sql("SELECT 1 AS n FROM certificate_versions WHERE issuer_id = $1 AND serial_number = $2
             UNION ALL SELECT 1 AS n FROM issuances WHERE issuer_id = $1 AND serial = $2")
    .bind(issuer)
    .bind(serial.as_str());
    Ok(tx.fetch_optional(statement).await?.is_some())
}

/// Deletes nothing that was issued: a certificate with versions is archived instead.
///
/// # Errors
/// When the database fails.
pub async fn has_versions(tx: &mut WriteTx, id: &CertificateId) -> Result<bool, StoreError> {
    Ok(tx.fetch_optional(sql("SELECT 1 AS n FROM certificate_versions WHERE certificate_id = $1 LIMIT 1").bind(id)).await?.is_some())
}

fn select_versions(condition: &str) -> Sql {
    sql(format!("SELECT {} FROM certificate_versions WHERE {condition}", table::column_names(&VERSIONS)))
}

/// The name of another certificate that is put on this target already.
///
/// # Errors
/// When the database fails.
pub async fn other_on_target(tx: &mut WriteTx, target: &TargetId, than: &CertificateId) -> Result<Option<String>, StoreError> {
    let statement = sql("SELECT c.name AS name FROM certificate_targets t JOIN certificates c ON c.id = t.certificate_id
             WHERE t.target_id = $1 AND t.certificate_id <> $2 LIMIT 1")
    .bind(target)
    .bind(than);
    tx.fetch_optional(statement).await?.map(|row| row.text("name")).transpose()
}

const LIVE_TARGETS: &str = "SELECT t.id AS target_id, t.agent_id AS agent_id FROM certificate_targets c
    JOIN targets t ON t.id = c.target_id JOIN agents a ON a.id = t.agent_id
    WHERE c.certificate_id = $1 AND t.enabled AND a.retired_at IS NULL ORDER BY t.id";
