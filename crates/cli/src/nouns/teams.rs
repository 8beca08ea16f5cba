//! Teams: groups of owners.

use super::ID;
use crate::noun::{Known, Noun, Takes, Verb, flag, text, time};

/// The noun.
#[derive(Debug)]
pub(crate) struct Teams;

impl Known for Teams {
    const NOUN: &'static Noun = &Noun {
        command: "teams",
        one: "team",
        many: "teams",
        path: "/api/v1/teams",
        handle: "name",
        columns: &[text("NAME", "name"), text("DESCRIPTION", "description"), text("ID", "id"), time("CREATED", "created_at").wide()],
        details: &[time("UPDATED", "updated_at")],
        filters: &[flag("name", "name", Takes::Text, "Only the one with exactly this name")],
        sorts: &["name", "id"],
        fields: &[
            flag("name", "name", Takes::Text, "Unique name").required(),
            flag("description", "description", Takes::Text, "For people"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Create, Verb::Edit, Verb::Delete],
        example: "platform",
        create_example: "--name platform --description 'Runs the edge'",
        edit_example: "--description 'Runs the edge and the mesh'",
        empty: "make one: certctl teams create --name platform",
    };
}
