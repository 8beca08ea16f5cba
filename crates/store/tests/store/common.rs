//! What the tests of the store share.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::auth::ActorKind;
use certctl_domain::ids::Id;
use certctl_domain::noun::Noun;
use certctl_domain::team::{Team, TeamDraft};
use certctl_domain::time::Timestamp;
use certctl_store::db::{Sql, sql};
use certctl_store::{Store, StoreError, Who, table};

certctl_testkit::test_store!();

/// An instant, in seconds after an arbitrary beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000 + seconds).unwrap()
}

pub(crate) fn id<I: Id>(text: &str) -> I {
    I::parse(text).unwrap()
}

/// Alice, at second 0.
pub(crate) fn alice() -> Who {
    Who { actor: "alice".into(), kind: ActorKind::User, request_id: Some("req-1".into()), at: at(0) }
}

/// What a test writes into the audit log when the entry does not matter.
pub(crate) fn entry() -> Audit {
    Audit::new(AuditCategory::Config, "test.change", "test", "1")
}

pub(crate) fn team(id: &str, name: &str) -> Team {
    Team::create(self::id(id), TeamDraft { id: None, name: name.into(), description: String::new() }, at(0)).unwrap()
}

pub(crate) async fn insert<N: certctl_store::table::Stored>(store: &Store, noun: &N) -> Result<(), StoreError> {
    let mut tx = store.write(alice()).await?;
    table::insert(&mut tx, noun).await?;
    tx.commit(entry()).await
}

/// Runs a statement and commits it.
pub(crate) async fn run(store: &Store, statement: impl Into<Statement>) -> Result<u64, StoreError> {
    let mut tx = store.write(alice()).await?;
    let touched = tx.execute(statement.into().0).await?;
    tx.commit_housekeeping("test").await?;
    Ok(touched)
}

/// The only integer that a statement gives, under the name `n`.
pub(crate) async fn number(store: &Store, statement: impl Into<Statement>) -> i64 {
    store.db().fetch_optional(statement.into().0).await.unwrap().unwrap().int("n").unwrap()
}

pub(crate) struct Statement(Sql);

impl From<&'static str> for Statement {
    fn from(text: &'static str) -> Self {
        Self(sql(text))
    }
}

impl From<Sql> for Statement {
    fn from(statement: Sql) -> Self {
        Self(statement)
    }
}
