//! Owners: the people and mailboxes that answer for certificates.

use super::{ID, TEAM};
use crate::noun::{Known, Noun, Takes, Verb, flag, text, time};

/// The noun.
#[derive(Debug)]
pub(crate) struct Owners;

impl Known for Owners {
    const NOUN: &'static Noun = &Noun {
        command: "owners",
        one: "owner",
        many: "owners",
        path: "/api/v1/owners",
        handle: "name",
        columns: &[
            text("NAME", "name"),
            text("EMAIL", "email"),
            text("TEAM", "team_id"),
            text("ID", "id"),
            time("CREATED", "created_at").wide(),
        ],
        details: &[time("UPDATED", "updated_at")],
        filters: &[
            flag("team", "team_id", Takes::One(&TEAM), "Only owners of this team"),
            flag("email", "email", Takes::Text, "Only the one with exactly this address"),
        ],
        sorts: &["name", "id"],
        fields: &[
            flag("name", "name", Takes::Text, "Unique name").required(),
            flag("email", "email", Takes::Text, "Where alerts go"),
            flag("team", "team_id", Takes::One(&TEAM), "The team it belongs to"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Create, Verb::Edit, Verb::Delete],
        example: "web-ops",
        create_example: "--name web-ops --email web-ops@example.test --team platform",
        edit_example: "--email oncall@example.test",
        empty: "make one: certctl owners create --name web-ops --email web-ops@example.test",
    };
}
