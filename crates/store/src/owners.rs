//! Owners.

use certctl_domain::owner::Owner;

use crate::table::{Kind, Scoped, Stored, Table, equals};

impl Stored for Owner {
    const TABLE: Table = Table {
        name: "owners",
        columns: &[
            ("id", Kind::Text),
            ("name", Kind::Text),
            ("email", Kind::Text),
            ("team_id", Kind::Text),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &["id", "name", "email"],
        filters: &[
            equals("name", Kind::Text, "name = $?"),
            equals("email", Kind::Text, "email = $?"),
            equals("team_id", Kind::Text, "team_id = $?"),
        ],
        sorts: &["name", "id"],
        scope: Scoped { profile: None, issuer: None },
        counter: None,
    };
}
