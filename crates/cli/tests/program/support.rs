//! A small HTTPS server that answers what a test says, and the real program run against it.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What the program sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET /path?query`
    pub(crate) line: String,
    /// Headers by lower-case name.
    pub(crate) headers: HashMap<String, String>,
    /// The body.
    pub(crate) body: String,
}

type Answers = Arc<Mutex<HashMap<String, VecDeque<(u16, String)>>>>;

/// The server, with a home of its own for the program.
pub(crate) struct Server {
    /// `https://localhost:port`
    pub(crate) url: String,
    /// Folder with `ca.pem`; `HOME` of the program.
    pub(crate) home: TempDir,
    answers: Answers,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts it on a free port.
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (ca, acceptor) = tls();
        put(&home.path().join("ca.pem"), &ca);
        let (answers, requests) = (Answers::default(), Arc::new(Mutex::new(Vec::new())));
        let (port_is, port) = mpsc::channel();
        let (for_answers, for_requests) = (Arc::clone(&answers), Arc::clone(&requests));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                port_is.send(listener.local_addr().unwrap().port()).unwrap();
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (acceptor, answers, requests) = (acceptor.clone(), Arc::clone(&for_answers), Arc::clone(&for_requests));
                    connections.spawn(async move {
                        // A client that does not trust the certificate breaks off.
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, &answers, &requests).await;
                        }
                    });
                }
            });
        });
        Self { url: format!("https://localhost:{}", port.recv().unwrap()), home, answers, requests }
    }

    /// Answers a request line; several answers come in order, and the last one stays.
    pub(crate) fn on(&self, line: &str, status: u16, body: impl ToString) -> &Self {
        self.answers.lock().unwrap().entry(line.to_owned()).or_default().push_back((status, body.to_string()));
        self
    }

    /// What was sent since the last look.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// The request lines since the last look.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    /// The program with key, server and CA in its environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(
            arguments,
            &[("CERTCTL_SERVER_URL", &self.url), ("CERTCTL_API_KEY", "ck_1_secret"), ("CERTCTL_CA_FILE", &self.ca())],
            "",
        )
    }

    /// The program with these variables alone, and this on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Ran {
        run(self.home.path(), arguments, variables, input)
    }

    /// Path of the CA file.
    pub(crate) fn ca(&self) -> String {
        self.home.path().join("ca.pem").display().to_string()
    }
}

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Its standard output, after it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Its standard error, after it ended with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}

/// Writes a file.
#[expect(clippy::disallowed_methods, reason = "a test's own file")]
pub(crate) fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Runs the program with this home.
pub(crate) fn run(home: &Path, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Ran {
    let mut child =
        program(home, variables).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that does not read its input closes the pipe.
    drop(std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Ran { code: status.code().unwrap_or(-1), out: String::from_utf8(stdout).unwrap(), err: String::from_utf8(stderr).unwrap() }
}

/// The program with this home and these variables, and nothing else around it.
#[expect(clippy::disallowed_methods, reason = "the program under test, run as a user runs it")]
pub(crate) fn program(home: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certctl"));
    command.env_clear().env("HOME", home).envs(variables.iter().copied());
    command
}

async fn serve(mut stream: impl AsyncRead + tokio::io::AsyncWrite + Unpin, answers: &Answers, requests: &Mutex<Vec<Request>>) {
    let Some(request) = read(&mut stream).await else { return };
    let (status, body) = {
        let mut answers = answers.lock().unwrap();
        match answers.get_mut(&request.line) {
            Some(queue) if queue.len() > 1 => queue.pop_front().unwrap(),
            Some(queue) => queue[0].clone(),
            None => (404, format!(r#"{{"status":404,"detail":"nothing is at {}"}}"#, request.line.replace('"', "'"))),
        }
    };
    requests.lock().unwrap().push(request);
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // The client may have gone away by now, as long polls do.
    drop(stream.write_all((head + &body).as_bytes()).await);
    drop(stream.shutdown().await);
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: HashMap<_, _> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { line, headers, body: String::from_utf8(bytes[head + 4..].to_vec()).ok()? })
}

fn tls() -> (String, TlsAcceptor) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&ca_params, &ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}
