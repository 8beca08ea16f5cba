//! Requests a certificate, and watches until it is served.

use clap::Args;

use super::Certs;
use crate::crud::draft::Draft;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::follow::{self, Round};
use crate::noun::Known as _;
use crate::nouns::CERTIFICATE;
use crate::session::Session;

/// A certificate to request.
#[derive(Debug, Args)]
pub(crate) struct Request {
    #[command(flatten)]
    draft: Draft<Certs>,
    /// Wait until it is served, showing each step
    #[arg(long)]
    pub(super) wait: bool,
}

impl Request {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let body = self.draft.body(session).await?;
        let made: Doc = session.client.post(CERTIFICATE.path, &body).await?;
        let id = doc::text(&made, "id");
        session.out.note(&format!("certificate {} requested", doc::text(&made, "name")));
        if self.wait {
            return follow::certificate(session, &id, Round::All).await;
        }
        session.out.one(Certs::NOUN, &made)?;
        session.out.note(&format!("see it through: certctl certs wait {id}"));
        Ok(())
    }
}

pub(super) const EXAMPLES: &str = "Examples:
  certctl certs request --name web --san web.example.test --target nginx-1 --wait
  certctl certs request --name api --san api.example.test --san 10.0.0.7 --key-algorithm RSA-3072 --tag tier=edge
  certctl certs request --from-file certificate.yaml --wait --timeout 10m";
