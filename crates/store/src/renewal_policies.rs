//! Renewal policies.

use certctl_domain::renewal::RenewalPolicy;

use crate::table::{Kind, Scoped, Stored, Table, equals};

impl Stored for RenewalPolicy {
    const TABLE: Table = Table {
        name: "renewal_policies",
        columns: &[
            ("id", Kind::Text),
            ("name", Kind::Text),
            ("renewal_window_days", Kind::Int),
            ("auto_renew", Kind::Bool),
            ("max_retries", Kind::Int),
            ("retry_interval_seconds", Kind::Int),
            ("alert_thresholds_days", Kind::Json),
            ("certificate_profile_id", Kind::Text),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &["id", "name"],
        filters: &[equals("name", Kind::Text, "name = $?"), equals("auto_renew", Kind::Bool, "auto_renew = $?")],
        sorts: &["name", "id"],
        scope: Scoped { profile: None, issuer: None },
        counter: None,
    };
}
