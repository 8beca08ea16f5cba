//! A certificate and its chain in PEM.

use std::path::PathBuf;

use certctl_api::certificates::ExportedPem;
use clap::Args;

use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::files::{self, Readers};
use crate::nouns::CERTIFICATE;
use crate::session::Session;

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Name or id of the certificate
    name: String,
    /// What to print
    #[arg(long, value_enum, default_value = "full")]
    part: Part,
    /// File to write; default standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A part of what is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The certificate, then its chain
    Full,
    /// The certificate alone
    Cert,
    /// The chain alone
    Chain,
}

impl Export {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let path = session.path(CERTIFICATE.path, &[&self.name, "export", "pem"])?;
        let answer: Doc = session.client.get(&path, &[]).await?;
        let exported: ExportedPem = doc::read(&answer)?;
        let pem = match self.part {
            Part::Full => exported.full_pem,
            Part::Cert => exported.cert_pem,
            Part::Chain => exported.chain_pem,
        };
        let Some(file) = &self.out else {
            return session.out.answer(&answer, || pem);
        };
        files::write(file, pem.as_bytes(), Readers::Everybody).map_err(Failure::local(format!("cannot write {}", file.display())))?;
        session.out.note(&format!("written to {}", file.display()));
        Ok(())
    }
}
