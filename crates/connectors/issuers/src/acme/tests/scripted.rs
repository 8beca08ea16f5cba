//! A CA that does what a test tells it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

/// What the CA does with one request.
pub(super) enum Act {
    /// Status, further headers, body, which is plain text where it is a string; `BASE` stands for its own address.
    Say(u16, &'static str, Value),
    Garbage,
    Hang,
    Close,
}

/// What is done with the requests of each path.
type Script = Vec<(&'static str, VecDeque<Act>)>;

/// Where a request went, and what was in it.
type Body = (String, Vec<u8>);

/// A CA that does what it was told, one act for each request of a path, the last one again and again.
pub(super) struct Ca {
    pub(super) base: String,
    root_pem: String,
    script: Arc<Mutex<Script>>,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<Body>>>,
}

impl Ca {
    pub(super) async fn start() -> Self {
        let mut root = rcgen::CertificateParams::default();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = rcgen::CertifiedIssuer::self_signed(root, rcgen::KeyPair::generate().unwrap()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key.into()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let ca = Self { base: base.clone(), root_pem: root.pem(), script: Arc::default(), asked: Arc::default(), bodies: Arc::default() };
        let (script, asked, bodies) = (Arc::clone(&ca.script), Arc::clone(&ca.asked), Arc::clone(&ca.bodies));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, script, asked, base) = (acceptor.clone(), Arc::clone(&script), Arc::clone(&asked), base.clone());
                let bodies = Arc::clone(&bodies);
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let head = String::from_utf8_lossy(&head).to_lowercase();
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok()).unwrap_or(0);
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    asked.lock().unwrap().push(path.clone());
                    bodies.lock().unwrap().push((path.clone(), body));
                    let answer = {
                        let mut script = script.lock().unwrap();
                        let act = script
                            .iter_mut()
                            .find(|(for_path, _)| *for_path == path)
                            .and_then(|(_, acts)| if acts.len() > 1 { acts.pop_front() } else { acts.front().map(Act::again) });
                        act.unwrap_or_else(|| standard(&path)).text(&base)
                    };
                    match answer {
                        Some(text) => drop(stream.write_all(text.as_bytes()).await),
                        None => std::future::pending().await,
                    }
                    drop(stream.shutdown().await);
                });
            }
        });
        ca
    }

    pub(super) fn will(&self, path: &'static str, acts: impl IntoIterator<Item = Act>) {
        let mut script = self.script.lock().unwrap();
        script.retain(|(for_path, _)| *for_path != path);
        script.push((path, acts.into_iter().collect()));
    }

    pub(super) fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }

    /// The protected headers of the signed requests to a path, in order.
    pub(super) fn headers(&self, path: &str) -> Vec<Value> {
        let read = |body: &[u8]| -> Value {
            let envelope: Value = serde_json::from_slice(body).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(envelope["protected"].as_str().unwrap()).unwrap()).unwrap()
        };
        self.bodies.lock().unwrap().iter().filter(|(at, _)| at == path).map(|(_, body)| read(body)).collect()
    }

    pub(super) fn config(&self) -> Value {
        json!({"directory_url": format!("{}/dir", self.base), "ca_bundle_pem": self.root_pem, "request_timeout": "500ms"})
    }
}

impl Act {
    fn again(&self) -> Self {
        match self {
            Self::Say(status, headers, body) => Self::Say(*status, headers, body.clone()),
            Self::Garbage => Self::Garbage,
            Self::Hang => Self::Hang,
            Self::Close => Self::Close,
        }
    }

    /// What is written; `None` for nothing at all.
    fn text(&self, base: &str) -> Option<String> {
        let (status, headers, body) = match self {
            Self::Say(status, headers, Value::Null) => (*status, *headers, String::new()),
            Self::Say(status, headers, Value::String(text)) => (*status, *headers, text.clone()),
            Self::Say(status, headers, body) => (*status, *headers, body.to_string()),
            Self::Garbage => (200, "content-type: text/html\r\n", "<html>Please log in".to_owned()),
            Self::Hang => return None,
            Self::Close => return Some(String::new()),
        };
        let body = body.replace("BASE", base);
        let headers = headers.replace("BASE", base);
        let nonce = if headers.contains("replay-nonce:") { "" } else { "replay-nonce: n-1\r\n" };
        Some(format!("HTTP/1.1 {status} X\r\n{nonce}{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
    }
}

/// What a good CA says.
pub(super) fn standard(path: &str) -> Act {
    match path {
        "/dir" => Act::Say(
            200,
            "",
            json!({"newNonce": "BASE/nonce", "newAccount": "BASE/account", "newOrder": "BASE/order",
            "revokeCert": "BASE/revoke", "keyChange": "BASE/key"}),
        ),
        "/nonce" => Act::Say(200, "", Value::Null),
        "/account" => Act::Say(201, "location: BASE/account/1\r\n", json!({"status": "valid"})),
        "/order" => Act::Say(201, "location: BASE/order/1\r\n", json!({"status": "pending"})),
        _ => Act::Say(404, "", Value::Null),
    }
}

pub(super) fn problem(kind: &str, detail: &str) -> Value {
    json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail})
}
