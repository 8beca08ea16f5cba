//! ACME CAs to test against: pebble, as misbehaving as it is by default, with name servers that say what the test wants.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ports::free_address;
use crate::programs::require_program;
use crate::running::Running;
use crate::wait::wait_until;

/// How a pebble is to be.
#[derive(Debug, Clone, Default)]
pub struct PebbleSetup {
    /// The port on 127.0.0.1 at which it looks for HTTP challenges; none listens where it is 0.
    pub http_port: u16,
    /// The port on 127.0.0.1 at which it looks for TLS challenges; none listens where it is 0.
    pub tls_port: u16,
    /// Whom it asks for names. Without one, a name server of its own says that every name is 127.0.0.1.
    pub dns: Option<SocketAddr>,
    /// Whether accounts need this external binding: key identifier, and key in base64url.
    pub binding: Option<(String, String)>,
    /// Roots beside the first.
    pub alternate_roots: u8,
    /// Whether it takes its time, as it does when nobody tells it not to.
    pub slow: bool,
}

/// A pebble that runs until it is dropped.
#[derive(Debug)]
pub struct Pebble {
    pebble: Running,
    _names: Option<Running>,
    folder: tempfile::TempDir,
    listen: SocketAddr,
    trust_pem: String,
}

impl Pebble {
    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start(setup: PebbleSetup) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let (listen, management) = (free_address(), free_address());
        let trust_pem = tls_pair(folder.path());
        let mut names = None;
        let dns = match setup.dns {
            Some(dns) => dns,
            None => {
                let (server, address) = challenge_names(folder.path()).await;
                names = Some(server);
                address
            }
        };
        let bindings =
            setup.binding.as_ref().map_or(String::new(), |(kid, key)| format!(r#","externalAccountMACKeys":{{"{kid}":"{key}"}}"#));
        let config = format!(
            r#"{{"pebble":{{"listenAddress":"{listen}","managementListenAddress":"{management}","certificate":"cert.pem","privateKey":"key.pem",
                "httpPort":{},"tlsPort":{},"ocspResponderURL":"","externalAccountBindingRequired":{}{bindings},
                "retryAfter":{{"authz":1,"order":1}},"keyAlgorithm":"ecdsa","profiles":{{
                "default":{{"description":"usual","validityPeriod":7776000}},"shortlived":{{"description":"short","validityPeriod":518400}}}}}}}}"#,
            setup.http_port,
            setup.tls_port,
            setup.binding.is_some(),
        );
        write(&folder.path().join("config.json"), &config);
        let mut program = command("pebble", folder.path());
        program.args(["-config", "config.json", "-dnsserver", &dns.to_string()]);
        // Refused nonces (5 %) stay, and every name is proven anew.
        program.env("PEBBLE_AUTHZREUSE", "0").env("PEBBLE_ALTERNATE_ROOTS", setup.alternate_roots.to_string());
        if !setup.slow {
            // The waits of a real CA teach nothing to most tests.
            program.env("PEBBLE_VA_NOSLEEP", "1");
        }
        let pebble = Running::start(&mut program, &folder.path().join("pebble.log"));
        let this = Self { pebble, _names: names, folder, listen, trust_pem };
        wait_until("pebble to answer", PATIENCE, async || TcpStream::connect(listen).await.is_ok()).await;
        this
    }

    /// Where its directory is.
    #[must_use]
    pub fn directory_url(&self) -> String {
        format!("https://{}/dir", self.listen)
    }

    /// The root of its own HTTPS certificate.
    #[must_use]
    pub fn trust_pem(&self) -> &str {
        &self.trust_pem
    }

    /// All that it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("pebble.log")).unwrap_or_default()
    }

    /// Holds it still for as long as this takes: it looks at no challenge meanwhile.
    pub async fn frozen<T>(&self, during: impl Future<Output = T>) -> T {
        self.pebble.frozen(during).await
    }

    /// How many orders were placed.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.log().lines().filter(|line| line.contains("Added order")).count()
    }

    /// How many certificates were made.
    #[must_use]
    pub fn certificates(&self) -> usize {
        self.log().lines().filter(|line| line.contains("Issued certificate serial")).count()
    }

    /// How many accounts there are.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.log().lines().filter(|line| line.contains("accounts in memory")).count()
    }
}

/// A step-ca with an ACME provisioner; it runs until it is dropped.
#[derive(Debug)]
pub struct StepCa {
    _names: Running,
    _step_ca: Running,
    _folder: tempfile::TempDir,
    listen: SocketAddr,
    trust_pem: String,
}

impl StepCa {
    /// Starts it, with a root and an intermediate of its own. It looks for HTTP challenges at this port, and every name is 127.0.0.1.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start(http_port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let (here, listen) = (folder.path(), free_address());
        let trust_pem = ca_files(here);
        let config = format!(
            r#"{{"root":"root.pem","crt":"intermediate.pem","key":"intermediate.key","address":"{listen}","dnsNames":["127.0.0.1","localhost"],
                "logger":{{"format":"json"}},"db":{{"type":"badgerv2","dataSource":"db"}},
                "authority":{{"provisioners":[{{"type":"ACME","name":"acme"}}]}}}}"#
        );
        write(&here.join("ca.json"), &config);
        let (names, dns) = challenge_names(here).await;
        let step_ca = Running::start(
            command("step-ca", here).env("HOME", here).env("STEPPATH", here).args([
                "ca.json",
                "--insecure",
                "--resolver",
                &dns.to_string(),
                "--acme-http-port",
                &http_port.to_string(),
            ]),
            &here.join("step-ca.log"),
        );
        let this = Self { _names: names, _step_ca: step_ca, _folder: folder, listen, trust_pem };
        wait_until("step-ca to answer", PATIENCE, async || TcpStream::connect(listen).await.is_ok()).await;
        this
    }

    /// Where its directory is.
    #[must_use]
    pub fn directory_url(&self) -> String {
        format!("https://{}/acme/acme/directory", self.listen)
    }

    /// Its root, which its own HTTPS certificate chains to as well.
    #[must_use]
    pub fn trust_pem(&self) -> &str {
        &self.trust_pem
    }
}

/// A BIND name server with one zone, which a TSIG key may update.
#[derive(Debug)]
pub struct NameServer {
    _named: Running,
    _folder: tempfile::TempDir,
    /// Where it listens, over UDP and TCP.
    pub address: SocketAddr,
    /// The name of the key.
    pub key_name: &'static str,
    /// The key, in base64.
    pub key: &'static str,
}

impl NameServer {
    /// Starts it for a zone in which every name is 127.0.0.1.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start(zone: &str) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let address = free_address();
        let (ip, port) = (address.ip(), address.port());
        let (key_name, key) = ("certctl-key", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
        let here = folder.path().display();
        write(
            &folder.path().join("zone"),
            &format!(
                "$TTL 1\n@ IN SOA ns.{zone}. host.{zone}. 1 3600 600 86400 1\n@ IN NS ns.{zone}.\nns IN A 127.0.0.1\n* IN A 127.0.0.1\n"
            ),
        );
        write(
            &folder.path().join("named.conf"),
            &format!(
                "key {key_name} {{ algorithm hmac-sha256; secret \"{key}\"; }};\noptions {{ directory \"{here}\"; listen-on port {port} {{ {ip}; }}; \
                 listen-on-v6 {{ none; }}; recursion no; pid-file \"{here}/pid\"; session-keyfile \"{here}/session.key\"; dnssec-validation no; }};\n\
                 controls {{ }};\nzone \"{zone}\" {{ type primary; file \"zone\"; allow-update {{ key {key_name}; }}; }};\n"
            ),
        );
        let named = Running::start(
            command("named", folder.path()).args(["-g", "-c"]).arg(folder.path().join("named.conf")),
            &folder.path().join("named.log"),
        );
        let this = Self { _named: named, _folder: folder, address, key_name, key };
        wait_until("named to answer", PATIENCE, async || TcpStream::connect(address).await.is_ok()).await;
        this
    }
}

/// Answers plain HTTP on 127.0.0.1 as `answer` says for each path; `None` is 404. Gives the port. It ends with the runtime.
///
/// # Panics
/// When no port is free.
#[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
pub async fn answer_http<F>(answer: impl Fn(String) -> F + Send + Sync + 'static) -> u16
where
    F: Future<Output = Option<String>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|e| panic!("no port: {e}"));
    let port = listener.local_addr().map_or(0, |address| address.port());
    let answer = std::sync::Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = std::sync::Arc::clone(&answer);
            tokio::spawn(async move {
                let mut head = Vec::new();
                let mut buffer = [0; 1024];
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(n @ 1..) => head.extend(buffer.iter().take(n)),
                        _ => return,
                    }
                }
                let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
                let (status, body) = answer(path).await.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                drop(stream.write_all(text.as_bytes()).await);
            });
        }
    });
    port
}

/// pebble's own test name server: every name is 127.0.0.1.
async fn challenge_names(folder: &Path) -> (Running, SocketAddr) {
    let (dns, management) = (free_address(), free_address());
    let server = Running::start(
        command("pebble-challtestsrv", folder).args([
            "-dnsserver",
            &dns.to_string(),
            "-management",
            &management.to_string(),
            "-http01=",
            "-tlsalpn01=",
            "-https01=",
            "-doh=",
            "-defaultIPv4=127.0.0.1",
            "-defaultIPv6=",
        ]),
        &folder.join("names.log"),
    );
    wait_until("pebble-challtestsrv to answer", PATIENCE, async || TcpStream::connect(dns).await.is_ok()).await;
    (server, dns)
}

/// Writes a root, and an intermediate with its key; gives the root.
fn ca_files(folder: &Path) -> String {
    let made = (|| {
        let authority = |name: &str| {
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
            params.use_authority_key_identifier_extension = true;
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params
        };
        let root = rcgen::CertifiedIssuer::self_signed(authority("step root"), rcgen::KeyPair::generate()?)?;
        let key = rcgen::KeyPair::generate()?;
        let intermediate = authority("step intermediate").signed_by(&key, &root)?;
        Ok::<_, rcgen::Error>((root.pem(), intermediate.pem(), key.serialize_pem()))
    })();
    let (root, intermediate, key) = made.unwrap_or_else(|e| panic!("no CA for the test: {e}"));
    write(&folder.join("root.pem"), &root);
    write(&folder.join("intermediate.pem"), &intermediate);
    write(&folder.join("intermediate.key"), &key);
    root
}

/// Writes a certificate for 127.0.0.1 with its key; gives the root.
fn tls_pair(folder: &Path) -> String {
    let made = (|| {
        let mut root = rcgen::CertificateParams::default();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.distinguished_name.push(rcgen::DnType::CommonName, "test root");
        let root = rcgen::CertifiedIssuer::self_signed(root, rcgen::KeyPair::generate()?)?;
        let key = rcgen::KeyPair::generate()?;
        let leaf = rcgen::CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?.signed_by(&key, &root)?;
        Ok::<_, rcgen::Error>((root.pem(), leaf.pem(), key.serialize_pem()))
    })();
    let (root, leaf, key) = made.unwrap_or_else(|e| panic!("no TLS certificate for the test: {e}"));
    write(&folder.join("cert.pem"), &leaf);
    write(&folder.join("key.pem"), &key);
    root
}

#[expect(clippy::disallowed_methods, reason = "a fixture starts the programs of others")]
fn command(program: &str, folder: &Path) -> Command {
    let path: PathBuf = require_program(program);
    let mut command = Command::new(path);
    command.current_dir(folder).stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "a fixture's file is gone with the test")]
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}

const PATIENCE: Duration = Duration::from_secs(20);
