//! Profiles.

use certctl_domain::profile::Profile;

use crate::table::{Kind, Scoped, Stored, Table, equals};

impl Stored for Profile {
    const TABLE: Table = Table {
        name: "profiles",
        columns: &[
            ("id", Kind::Text),
            ("name", Kind::Text),
            ("description", Kind::Text),
            ("allowed_key_algorithms", Kind::Json),
            ("max_ttl_seconds", Kind::Int),
            ("allowed_ekus", Kind::Json),
            ("required_san_patterns", Kind::Json),
            ("spiffe_uri_pattern", Kind::Text),
            ("allow_short_lived", Kind::Bool),
            ("must_staple", Kind::Bool),
            ("requires_approval", Kind::Bool),
            ("enabled", Kind::Bool),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &["id", "name", "description"],
        filters: &[
            equals("name", Kind::Text, "name = $?"),
            equals("enabled", Kind::Bool, "enabled = $?"),
            equals("requires_approval", Kind::Bool, "requires_approval = $?"),
        ],
        sorts: &["name", "id"],
        scope: Scoped { profile: Some("id"), issuer: None },
        counter: None,
    };
}
