//! Renewal policies: when and how often certificates are renewed, and when people are warned.

use super::ID;
use crate::noun::{Known, Noun, Takes, Verb, flag, text, time};

/// The noun.
#[derive(Debug)]
pub(crate) struct Policies;

impl Known for Policies {
    const NOUN: &'static Noun = &Noun {
        command: "policies",
        one: "renewal policy",
        many: "renewal policies",
        path: "/api/v1/renewal-policies",
        handle: "name",
        columns: &[
            text("NAME", "name"),
            text("WINDOW (DAYS)", "renewal_window_days"),
            text("AUTO", "auto_renew"),
            text("ALERTS (DAYS)", "alert_thresholds_days"),
            text("ID", "id"),
            text("RETRIES", "max_retries").wide(),
            text("RETRY AFTER (S)", "retry_interval_seconds").wide(),
            time("CREATED", "created_at").wide(),
        ],
        details: &[time("UPDATED", "updated_at")],
        filters: &[flag("auto-renew", "auto_renew", Takes::Bool, "Only those that renew by themselves, or with `false` the others")],
        sorts: &["name", "id"],
        fields: &[
            flag("name", "name", Takes::Text, "Unique name").required(),
            flag("window-days", "renewal_window_days", Takes::Number, "Days before expiry at which renewal begins, 1 to 365; default 30"),
            flag("auto-renew", "auto_renew", Takes::Bool, "Whether renewal happens by itself; default true"),
            flag("max-retries", "max_retries", Takes::Number, "Failures in a row after which people are alerted, 0 to 10; default 3"),
            flag(
                "retry-interval",
                "retry_interval_seconds",
                Takes::Seconds,
                "First wait after a failure, such as 10m; doubles up to a day",
            ),
            flag("alert-days", "alert_thresholds_days", Takes::Numbers, "Days before expiry at which people are warned, such as 30,14,7,0"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Create, Verb::Edit, Verb::Delete],
        example: "monthly",
        create_example: "--name monthly --window-days 10 --alert-days 7,3,1",
        edit_example: "--retry-interval 10m",
        empty: "make one: certctl policies create --name monthly --window-days 10",
    };
}
