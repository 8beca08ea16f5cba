//! Roles.

use certctl_domain::auth::Role;
use certctl_domain::ids::{Id as _, RoleId};

use crate::db::{Tx, Value, sql};
use crate::error::StoreError;
use crate::table::{self, Kind, Scoped, Stored, Table, equals};

impl Stored for Role {
    const TABLE: Table = Table {
        name: "roles",
        columns: &[
            ("id", Kind::Text),
            ("tenant_id", Kind::Text),
            ("name", Kind::Text),
            ("description", Kind::Text),
            ("system", Kind::Bool),
            ("permissions", Kind::Json),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &["id", "name", "description"],
        filters: &[equals("name", Kind::Text, "name = $?"), equals("system", Kind::Bool, "system = $?")],
        sorts: &["name", "id"],
        scope: Scoped { profile: None, issuer: None },
        counter: None,
    };
}

/// The roles with these ids, as far as there are.
///
/// # Errors
/// When the database fails.
pub async fn with_ids(tx: &mut Tx, ids: &[&RoleId]) -> Result<Vec<Role>, StoreError> {
    let mut statement = sql(format!("SELECT {} FROM roles WHERE id IN ", table::column_names(&Role::TABLE)));
    statement.push_list(ids.iter().map(|id| Value::from(id.as_str())));
    tx.fetch_all(statement).await?.iter().map(|row| table::from_row(&Role::TABLE, row)).collect()
}
