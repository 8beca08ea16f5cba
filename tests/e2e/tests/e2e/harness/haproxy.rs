//! A real HAProxy with a configuration of its own: in front of a site, or in front of replicas of the server.

use std::path::PathBuf;
use std::sync::Arc;

use certctl_testkit::{require_program, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Agent, Home, LONG, Process, free_port, write};

/// A running HAProxy.
pub(crate) struct Haproxy {
    folder: PathBuf,
    program: PathBuf,
    /// Where it listens.
    pub(crate) port: u16,
    _process: Process,
}

impl Haproxy {
    /// One that serves `name` over TLS, first with a self-signed certificate.
    pub(crate) async fn terminating(home: &Arc<Home>, name: &str) -> Self {
        let folder = home.join("haproxy");
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        write(&folder.join("site.pem"), format!("{}{}", pair.signing_key.serialize_pem(), pair.cert.pem()));
        let site = folder.join("site.pem");
        let front = format!("mode http\n  bind 127.0.0.1:{{port}} ssl crt {}\n  http-request return status 200", site.display());
        Self::start(home, folder, &front).await
    }

    /// One that hands connections on to replicas as they are, and asks each of them every now and then whether it is ready.
    pub(crate) async fn balancing(home: &Arc<Home>, replicas: &[u16]) -> Self {
        let servers: String = replicas
            .iter()
            .map(|port| format!("  server s{port} 127.0.0.1:{port} check check-ssl verify none inter 200ms fall 1 rise 1\n"))
            .collect();
        let front = format!(
            "mode tcp\n  bind 127.0.0.1:{{port}}\n  default_backend replicas\nbackend replicas\n  mode tcp\n  option redispatch\n  retries 3\n  option httpchk GET /ready\n{servers}"
        );
        Self::start(home, home.join("balancer"), &front).await
    }

    /// One that speaks TLS for a server that does not, as `localhost`, with a self-signed certificate. `rule` changes
    /// what it hands on.
    pub(crate) async fn before(home: &Arc<Home>, port: u16, rule: &str) -> Self {
        let folder = home.join("front");
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&folder.join("site.pem"), format!("{}{}", pair.signing_key.serialize_pem(), pair.cert.pem()));
        write(&folder.join("certificate.pem"), pair.cert.pem());
        let site = folder.join("site.pem");
        let bind = format!("mode http\n  bind 127.0.0.1:{{port}} ssl crt {} alpn h2,http/1.1\n  default_backend behind", site.display());
        Self::start(home, folder, &format!("{bind}\nbackend behind\n  mode http\n  {rule}\n  server behind 127.0.0.1:{port}")).await
    }

    /// The certificate of one that speaks for another.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    async fn start(home: &Arc<Home>, folder: PathBuf, front: &str) -> Self {
        let (port, program) = (free_port(), require_program("haproxy"));
        let text = format!(
            "global\n  stats socket {}/admin.sock mode 600 level admin\n\
             defaults\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n\
             frontend front\n  {}\n",
            folder.display(),
            front.replace("{port}", &port.to_string()),
        );
        let config = write(&folder.join("haproxy.cfg"), text);
        let words = [program.to_str().unwrap(), "-db", "-f", config.to_str().unwrap()];
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let mut process = Process::start(home, &name, &words, Signal::SIGTERM, |_| {});
        wait_until("HAProxy to listen", LONG, async || {
            process.must_run();
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { folder, program, port, _process: process }
    }

    /// Settings of a target for what it serves.
    pub(crate) fn target(&self) -> Value {
        json!({
            "pem_path": self.folder.join("site.pem"),
            "config_paths": [self.config()],
            "test_command": [self.program, "-c", "-f", "{config}"],
            "reload_command": [],
        })
    }

    /// Allows the agent what its target needs.
    pub(crate) async fn allow(&self, agent: &Agent) {
        agent.allow(&[self.program.to_str().unwrap(), "-c", "-f", "*"]).await;
    }

    fn config(&self) -> PathBuf {
        self.folder.join("haproxy.cfg")
    }
}
