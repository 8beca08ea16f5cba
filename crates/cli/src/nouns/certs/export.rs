//! A certificate and its chain, in PEM or as a PKCS#12 file.

use std::path::{Path, PathBuf};

use certctl_api::certificates::{ExportPkcs12Request, ExportedPem};
use certctl_domain::secret::Secret;
use clap::Args;

use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::files::{self, Readers};
use crate::input;
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
    /// Write a PKCS#12 file with the certificate, its chain and no key
    #[arg(long, requires = "out", conflicts_with = "part")]
    pkcs12: bool,
    /// File with the password of the PKCS#12 file, - for standard input; default is an empty password
    #[arg(long, value_name = "FILE", requires = "pkcs12")]
    password_file: Option<PathBuf>,
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
        if let Some(file) = self.out.as_deref().filter(|_| self.pkcs12) {
            return self.pkcs12(session, file).await;
        }
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
        save(session, file, pem.as_bytes())
    }

    async fn pkcs12(&self, session: &Session, file: &Path) -> Result<(), Failure> {
        let password = self.password_file.as_deref().map(input::password).transpose()?;
        let body = ExportPkcs12Request { password: password.unwrap_or_else(|| Secret::new(String::new())) };
        let path = session.path(CERTIFICATE.path, &[&self.name, "export", "pkcs12"])?;
        save(session, file, &session.client.file(&path, &body).await?)
    }
}

fn save(session: &Session, file: &Path, content: &[u8]) -> Result<(), Failure> {
    files::write(file, content, Readers::Everybody).map_err(Failure::local(format!("cannot write {}", file.display())))?;
    session.out.note(&format!("written to {}", file.display()));
    Ok(())
}

pub(super) const EXAMPLES: &str = "Examples:
  certctl certs export web > web.pem
  certctl certs export web --part chain --out chain.pem
  certctl certs export web --pkcs12 --password-file password --out web.p12";
