//! Who is in the way of a migration, as far as PostgreSQL tells: other roles' sessions show little.

use std::fmt;

use crate::db::{Db, Row, sql};
use crate::error::StoreError;

/// A session that holds what a migration needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process id of its backend; `pg_terminate_backend` ends it.
    pub pid: i64,
    /// What it calls itself.
    pub application: Option<String>,
    /// Its role.
    pub role: Option<String>,
    /// Its address; none over a socket of the file system.
    pub client: Option<String>,
    /// `active`, `idle in transaction` and so on.
    pub state: Option<String>,
    /// The beginning of its transaction, in UTC.
    pub since: Option<String>,
}

impl Holder {
    /// Who holds the migration lock now.
    pub(super) async fn of_lock(db: &Db, (class, object): (i32, i32)) -> Result<Option<Self>, StoreError> {
        let mut statement = sql(SESSION);
        statement.push(" JOIN pg_locks l ON l.pid = a.pid WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2");
        statement.push(" AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())");
        statement.push(" AND l.classid::bigint = ").push_bind(i64::from(class));
        statement.push(" AND l.objid::bigint = ").push_bind(i64::from(object));
        Self::read(db, statement).await
    }

    /// Who keeps this backend waiting now.
    pub(super) async fn of_what_blocks(db: &Db, pid: i64) -> Result<Option<Self>, StoreError> {
        let mut statement = sql(SESSION);
        statement.push(" WHERE a.pid = ANY (pg_blocking_pids(").push_bind(pid).push("::int)) ORDER BY a.xact_start NULLS LAST LIMIT 1");
        Self::read(db, statement).await
    }

    async fn read(db: &Db, statement: crate::db::Sql) -> Result<Option<Self>, StoreError> {
        db.fetch_optional(statement).await?.map(|row| Self::from_row(&row)).transpose()
    }

    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let text = |column| Ok::<_, StoreError>(row.opt_text(column)?.filter(|text| !text.is_empty()));
        Ok(Self {
            pid: row.int("pid")?,
            application: text("application")?,
            role: text("role")?,
            client: text("client")?,
            state: text("state")?,
            since: text("since")?,
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        for (what, value) in [
            ("application", &self.application),
            ("role", &self.role),
            ("from", &self.client),
            ("state", &self.state),
            ("in its transaction since", &self.since),
        ] {
            if let Some(value) = value {
                write!(f, ", {what} {value}")?;
            }
        }
        Ok(())
    }
}

const SESSION: &str = "SELECT a.pid::bigint AS pid, a.application_name::text AS application, a.usename::text AS role, \
     host(a.client_addr)::text AS client, a.state::text AS state, \
     to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since FROM pg_stat_activity a";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_said() {
        let nobody = Holder { pid: 7, application: None, role: None, client: None, state: None, since: None };
        assert_eq!(nobody.to_string(), "pid 7");
        let known = Holder { application: Some("psql".to_owned()), client: Some("10.0.0.7".to_owned()), ..nobody };
        assert_eq!(known.to_string(), "pid 7, application psql, from 10.0.0.7");
    }
}
