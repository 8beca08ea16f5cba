//! `certctl-agent demo-listener`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use certctl_connector_core::ConnectorError;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output::say;
use crate::listener::{Files, Listener};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8444")]
    listen: SocketAddr,
    /// Certificate chain in PEM, leaf first
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(super) async fn execute(options: &Options) -> Result<ExitCode, ConnectorError> {
    let failed = |e| ConnectorError::transient("signals cannot be waited for").caused_by(e);
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let files = Files { certificate: options.certificate.clone(), key: options.key.clone() };
    let listener = Listener::bind(options.listen, files).await?;
    say(&format!("listening on https://{}", listener.address()?));
    let stop = CancellationToken::new();
    let told = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => listener.reload(),
            }
        }
        stop.cancel();
    };
    tokio::join!(listener.serve(&stop), told);
    Ok(ExitCode::SUCCESS)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  certctl-agent demo-listener --listen 127.0.0.1:8444 --certificate web.pem --key web.key

It reloads when a file changes and on SIGHUP. A pair that does not fit together is not loaded; the old one is served on.";
