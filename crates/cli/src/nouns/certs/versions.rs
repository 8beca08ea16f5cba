//! The issued versions of a certificate.

use clap::Args;

use crate::crud::listing::Listing;
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, flag, status, text, time};
use crate::nouns::CERTIFICATE;
use crate::session::Session;

/// The noun.
#[derive(Debug)]
pub(crate) struct Issued;

/// Which versions to list.
#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// Name or id of the certificate
    name: String,
    #[command(flatten)]
    listing: Listing<Issued>,
}

impl Versions {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        self.listing.show(session, &session.path(CERTIFICATE.path, &[&self.name, "versions"])?).await
    }
}

impl Known for Issued {
    const NOUN: &'static Noun = &Noun {
        command: "certs versions",
        one: "version",
        many: "versions",
        path: CERTIFICATE.path,
        handle: "id",
        columns: &[
            text("SERIAL", "serial_number"),
            status("STATE", "state"),
            time("EXPIRES", "not_after"),
            time("REVOKED", "revoked_at"),
            text("KEY", "key_algorithm"),
            text("AGENT", "agent_id"),
            text("ID", "id").wide(),
            text("SHA-256", "fingerprint_sha256").wide(),
            text("ISSUER", "issuer_id").wide(),
            text("REVOKED BECAUSE", "revocation_reason").wide(),
            time("ISSUED", "created_at").wide(),
        ],
        details: &[],
        filters: &[
            flag("state", "state", Takes::Choice(&["current", "superseded"]), "Only versions in use, or those that a newer one replaced"),
            flag("serial", "serial_number", Takes::Text, "Only the version with this serial number"),
        ],
        sorts: &["created_at", "not_after"],
        fields: &[],
        verbs: &[Verb::List],
        example: "web",
        create_example: "",
        edit_example: "",
        empty: "none was issued; see why: certctl certs explain NAME",
    };
}
