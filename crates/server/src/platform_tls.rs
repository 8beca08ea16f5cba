//! The certificate that the server makes for itself when nobody gave it one: issued by the platform CA, kept in the data directory,
//! renewed in its last third.

use std::sync::Arc;
use std::time::Duration;

use certctl_domain::time::Timestamp;
use certctl_domain::x509::{San, SanSet};
use certctl_engine::{Ctx, Engine, platform};
use certctl_pki::certificate::Certificate;
use certctl_pki::chain::Chain;
use tokio_util::sync::CancellationToken;

use crate::boot::BootError;
use crate::config::Config;
use crate::private_file;
use crate::tls::PairFiles;

/// The pair in the data directory; made now when there is none, its names are others, or it is in its last third.
///
/// # Errors
/// When it cannot be made or written.
pub async fn ensure(ctx: &Ctx, config: &Config) -> Result<PairFiles, BootError> {
    let directory = config.server.data_dir.join("tls");
    private_file::directory(&directory)?;
    let files = PairFiles { cert: directory.join("server.pem"), key: directory.join("server.key") };
    let names = names(config);
    let ca = platform::ca_pem(ctx).await?;
    private_file::write(&directory.join("ca.pem"), ca.as_bytes())?;
    let (cert, key) = (private_file::read(&files.cert)?, private_file::read(&files.key)?);
    let fine = cert.zip(key).is_some_and(|(cert, key)| {
        is_fine(cert.expose(), &ca, &names, ctx.now()) && certctl_pki::verify::pair_matches(cert.expose(), key.expose()).is_ok()
    });
    if !fine {
        let pair = platform::issue(ctx, &names).await?;
        // A crash between the two leaves a pair that does not match, which is made anew at the next start.
        private_file::write(&files.key, pair.key_pem.expose().as_bytes())?;
        private_file::write(&files.cert, pair.chain_pem.as_bytes())?;
        tracing::info!(n_names = names.len(), "a certificate was made for the server itself");
    }
    Ok(files)
}

/// Looks every hour whether the pair is to be made anew. The listener takes it up by itself.
pub async fn keep(engine: Arc<Engine>, config: Config, stop: CancellationToken) {
    let ctx = Ctx::system(&engine, "platform_tls");
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(3_600)) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = ensure(&ctx, &config).await {
            tracing::error!(error = %error, "the server's own certificate cannot be renewed; it is tried again in an hour");
        }
    }
}

fn is_fine(pem: &str, ca: &str, names: &SanSet, now: Timestamp) -> bool {
    let (Ok(chain), Ok(ca)) = (Chain::parse_pem(pem), Certificate::parse_pem(ca)) else {
        return false;
    };
    let certificate = chain.leaf();
    let life = certificate.not_before().until(certificate.not_after());
    let same = certificate.sans().len() == names.len() && certificate.sans().iter().all(|san| names.contains(san));
    same && chain.intermediates().contains(&ca)
        && certificate.verify_signed_by(&ca).is_ok()
        && now.until(certificate.not_after()) > life / 3
}

fn names(config: &Config) -> SanSet {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let public =
        config.server.public_url.as_ref().and_then(|url| url.as_url().host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
    let listen = config.server.listen.iter().map(|address| address.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
    let texts = ["localhost", "127.0.0.1", "::1"].into_iter().map(str::to_owned).chain(host).chain(public).chain(listen);
    let sans = texts.filter_map(|text| San::parse(&text).ok()).chain(config.tls.hosts.iter().map(|host| host.as_san().clone()));
    SanSet::new(sans).unwrap_or_default()
}
