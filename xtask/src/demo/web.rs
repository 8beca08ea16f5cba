//! The server that the certificate is for: a real nginx with a configuration of its own, or, where there is none, the agent's small listener.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::children::{Children, bound, free_address};
use crate::failure::Failure;
use crate::files;
use crate::interrupt::Interrupt;
use crate::process::{capture, command};

use super::tls::{self, Served};

/// Which server serves.
pub(crate) enum Web {
    /// nginx, by its path.
    Nginx { program: PathBuf },
    /// `certctl-agent demo-listener`.
    Listener,
}

/// The files and the address of the server.
pub(crate) struct Site {
    /// Where the certificate and its chain go.
    pub(crate) certificate: PathBuf,
    /// Where the private key goes.
    pub(crate) key: PathBuf,
    /// nginx's configuration file; the listener has none.
    pub(crate) config: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Site {
    /// Makes the folder, a self-signed certificate to begin with and the configuration.
    pub(crate) fn prepare(folder: &Path, name: &str) -> Result<Self, Failure> {
        files::make_dir(folder)?;
        let site = Self {
            certificate: folder.join("site.pem"),
            key: folder.join("site.key"),
            config: folder.join("nginx.conf"),
            address: free_address()?,
        };
        let mut openssl = command("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "1"]);
        openssl.args(["-subj", "/CN=placeholder before certctl"]).args(["-addext", &format!("subjectAltName=DNS:{name}")]);
        capture(openssl.arg("-out").arg(&site.certificate).arg("-keyout").arg(&site.key))?;
        files::write(&site.config, &nginx_conf(folder, &site, name))?;
        Ok(site)
    }

    /// Starts the server and waits until it serves the certificate to begin with.
    pub(crate) fn start(&self, web: &Web, agent: &Path, name: &str, stage: (&mut Children, &Interrupt)) -> Result<Served, Failure> {
        let (children, interrupt) = stage;
        match web {
            Web::Nginx { program } => {
                capture(command(program).arg("-t").arg("-c").arg(&self.config))?;
                let mut nginx = bound(program);
                nginx.arg("-c").arg(&self.config);
                children.start("nginx", nginx)?;
            }
            Web::Listener => {
                let mut listener = bound(agent);
                listener.args(["demo-listener", "--listen", &self.address.to_string()]);
                listener.arg("--certificate").arg(&self.certificate).arg("--key").arg(&self.key);
                children.start("listener", listener)?;
            }
        }
        interrupt.until(Duration::from_secs(20), || children.all_alive(), || tls::unverified(self.address, name))
    }
}

/// A complete configuration that touches nothing outside its folder.
fn nginx_conf(folder: &Path, site: &Site, name: &str) -> String {
    let (folder, address) = (folder.display(), site.address);
    let (certificate, key) = (site.certificate.display(), site.key.display());
    format!(
        "daemon off;
worker_processes 1;
pid \"{folder}/nginx.pid\";
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path \"{folder}/tmp-body\";
    proxy_temp_path \"{folder}/tmp-proxy\";
    fastcgi_temp_path \"{folder}/tmp-fastcgi\";
    uwsgi_temp_path \"{folder}/tmp-uwsgi\";
    scgi_temp_path \"{folder}/tmp-scgi\";
    server {{
        listen {address} ssl;
        server_name {name};
        ssl_certificate \"{certificate}\";
        ssl_certificate_key \"{key}\";
        location / {{ return 200 \"served with a certificate from certctl\\n\"; }}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup;

    #[test]
    fn a_real_nginx_serves_the_first_certificate_and_its_fingerprint_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let program = setup::nginx().expect("this test needs nginx; `cargo xtask setup` installs it");
        let site = Site::prepare(&folder.path().join("web"), "web.demo.test").unwrap();
        let mut children = Children::new(folder.path().to_path_buf());
        let (_sender, interrupt) = Interrupt::deaf();
        let web = Web::Nginx { program };
        let served = site.start(&web, Path::new("unused"), "web.demo.test", (&mut children, &interrupt)).unwrap();

        let mut openssl = command("openssl");
        openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&site.certificate);
        let expected = capture(&mut openssl).unwrap().trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
        assert_eq!(served.fingerprint, expected);
        assert!(served.subject.contains("placeholder"), "{}", served.subject);

        let seen = tls::verified(site.address, "web.demo.test", &site.certificate).unwrap();
        assert_eq!(seen, served);
        assert!(tls::verified(site.address, "other.demo.test", &site.certificate).is_err(), "a wrong name must not pass");
        children.stop().unwrap();
        assert!(tls::unverified(site.address, "web.demo.test").is_err(), "nobody serves any more");
    }
}
