//! A real nginx with a configuration of its own, on a port that needs no rights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use certctl_testkit::require_program;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Agent, Home, Process, fingerprint_of, free_port, read, run, served, write};

/// A running nginx that serves several names on one address.
pub(crate) struct Nginx {
    home: Arc<Home>,
    folder: PathBuf,
    pub(crate) program: PathBuf,
    /// Where it listens.
    pub(crate) port: u16,
    _process: Process,
}

impl Nginx {
    /// Starts one with a self-signed certificate for each name.
    pub(crate) async fn start(home: &Arc<Home>, names: &[&str]) -> Self {
        Self::start_with(home, names, "").await
    }

    /// The same, which also shows the files below a folder over plain HTTP. Its workers are not root, so everybody must be able to read them.
    pub(crate) async fn showing(home: &Arc<Home>, names: &[&str], (folder, port): (&Path, u16)) -> Self {
        let plain = format!("    server {{ listen 127.0.0.1:{port}; root \"{}\"; }}\n", folder.display());
        Self::start_with(home, names, &plain).await
    }

    /// The same, which also shows the files below a folder over HTTPS at another port, by the certificate of the first name. What is asked for
    /// below `/plain/` it sends on to plain HTTP, where the same files are.
    pub(crate) async fn publishing(home: &Arc<Home>, names: &[&str], (folder, port): (&Path, u16)) -> Self {
        let (own, name, plain) = (home.join("nginx"), names[0], free_port());
        let pair = format!("ssl_certificate \"{0}/{name}.pem\"; ssl_certificate_key \"{0}/{name}.key\";", own.display());
        let root = format!("root \"{}\";", folder.display());
        let onward = format!("rewrite ^/plain/(.*) http://localhost:{plain}/$1 redirect;");
        let servers = format!(
            "    server {{ listen 127.0.0.1:{port} ssl; {pair} {root} {onward} }}\n    server {{ listen 127.0.0.1:{plain}; {root} }}\n"
        );
        Self::start_with(home, names, &servers).await
    }

    async fn start_with(home: &Arc<Home>, names: &[&str], further: &str) -> Self {
        let (folder, port, program) = (home.join("nginx"), free_port(), require_program("nginx"));
        for name in names {
            let pair = rcgen::generate_simple_self_signed([(*name).to_owned()]).unwrap();
            write(&folder.join(format!("{name}.pem")), pair.cert.pem());
            write(&folder.join(format!("{name}.key")), pair.signing_key.serialize_pem());
        }
        let config = write(&folder.join("nginx.conf"), configuration(&folder, port, names).replace("{further}", further));
        let words = [program.to_str().unwrap(), "-c", config.to_str().unwrap()];
        let process = Process::start(home, "nginx", &words, Signal::SIGTERM, |_| {});
        let nginx = Self { home: Arc::clone(home), folder, program, port, _process: process };
        for name in names {
            nginx.serves(name, &nginx.placed(name).await).await;
        }
        nginx
    }

    /// The file with the certificate of a name.
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    /// The file with the key of a name.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("nginx.conf")
    }

    /// The fingerprint of the certificate that lies where the name's certificate lies.
    pub(crate) async fn placed(&self, name: &str) -> String {
        fingerprint_of(&self.home, &read(&self.certificate(name))).await
    }

    /// Waits until it serves the certificate with this fingerprint for a name.
    pub(crate) async fn serves(&self, name: &str, fingerprint: &str) {
        served(&self.home, self.port, name, fingerprint).await;
    }

    /// How its configuration is tested; `{config}` stands for the file.
    pub(crate) fn test_command<'a>(&'a self, config: &'a str) -> Vec<&'a str> {
        vec![text(&self.program), "-t", "-c", config]
    }

    /// Settings of a target for one of its names. Where to look at what is served is left to be found in the configuration.
    pub(crate) fn target(&self, name: &str) -> Value {
        json!({
            "certificate_path": self.certificate(name),
            "key_path": self.key(name),
            "config_path": self.config(),
            "test_command": self.test_command("{config}"),
            "reload_command": [self.program, "-s", "reload", "-c", self.config()],
        })
    }

    /// Allows the agent what its targets need.
    pub(crate) async fn allow(&self, agent: &Agent) {
        agent.allow(&self.test_command("*")).await;
        agent.allow(&[text(&self.program), "-s", "reload", "-c", text(&self.config())]).await;
    }

    /// Makes it take up its files, by hand.
    pub(crate) async fn reload(&self) {
        run(super::command(&self.home, &self.program).args(["-s", "reload", "-c", text(&self.config())])).await.ok();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A complete configuration that touches nothing outside its folder.
fn configuration(folder: &Path, port: u16, names: &[&str]) -> String {
    let folder = folder.display();
    let servers: String = names
        .iter()
        .map(|name| {
            format!(
                "    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {name};
        ssl_certificate \"{folder}/{name}.pem\";
        ssl_certificate_key \"{folder}/{name}.key\";
        location / {{ return 200 \"{name}\\n\"; }}
    }}
"
            )
        })
        .collect();
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
{servers}{{further}}}}
"
    )
}
