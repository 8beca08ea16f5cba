//! Teams.

use certctl_domain::team::Team;

use crate::table::{Kind, Scoped, Stored, Table, equals};

impl Stored for Team {
    const TABLE: Table = Table {
        name: "teams",
        columns: &[
            ("id", Kind::Text),
            ("name", Kind::Text),
            ("description", Kind::Text),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &["id", "name", "description"],
        filters: &[equals("name", Kind::Text, "name = $?")],
        sorts: &["name", "id"],
        scope: Scoped { profile: None, issuer: None },
        counter: None,
    };
}
