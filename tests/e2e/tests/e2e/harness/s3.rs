//! Real S3 servers: moto, which has everything but looks at no signature, and s3s-fs, which has little and looks at all of them.

use std::path::PathBuf;
use std::sync::Arc;

use certctl_testkit::{require_program, wait_until};
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::{Home, LONG, Process, Setup, free_port};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    Moto,
    S3sFs,
}

/// A server with one bucket.
pub(crate) struct Bucket {
    /// Where it listens.
    pub(crate) port: u16,
    keeper: Keeper,
    folder: PathBuf,
    _process: Process,
}

impl Bucket {
    /// Starts a server with an empty bucket.
    pub(crate) async fn open(home: &Arc<Home>, keeper: Keeper) -> Self {
        let (port, folder) = (free_port(), home.join("s3"));
        std::fs::create_dir_all(folder.join(NAME)).unwrap();
        let (host, number) = ("127.0.0.1".to_owned(), port.to_string());
        let words: Vec<String> = match keeper {
            Keeper::Moto => vec![program("moto_server"), "-H".to_owned(), host, "-p".to_owned(), number],
            Keeper::S3sFs => {
                let folder = folder.to_str().unwrap().to_owned();
                let keys = ["--access-key", KEY_ID, "--secret-key", SECRET, "--host", &host, "--port", &number].map(str::to_owned);
                [vec![program("s3s-fs")], keys.to_vec(), vec![folder]].concat()
            }
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut process = Process::start(home, "s3", &words, Signal::SIGKILL, |_| {});
        wait_until("the S3 server to listen", LONG, async || {
            process.must_run();
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        if keeper == Keeper::Moto {
            let made = reqwest::Client::new().put(format!("http://127.0.0.1:{port}/{NAME}")).send().await.unwrap();
            assert!(made.status().is_success(), "{made:?}");
        }
        home.plant(SECRET);
        Self { port, keeper, folder, _process: process }
    }

    /// Settings under which backups go into it, reached at this port.
    pub(crate) fn settings_at(&self, setup: Setup, port: u16) -> Setup {
        setup
            .with("CERTCTL_BACKUP_S3_BUCKET", NAME)
            .with("CERTCTL_BACKUP_S3_PREFIX", "certctl/test")
            .with("CERTCTL_BACKUP_S3_ENDPOINT", &format!("http://127.0.0.1:{port}"))
            .with("CERTCTL_BACKUP_S3_ACCESS_KEY_ID", KEY_ID)
            .with("CERTCTL_BACKUP_S3_SECRET_ACCESS_KEY", SECRET)
    }

    /// Settings under which backups go into it.
    pub(crate) fn settings(&self, setup: Setup) -> Setup {
        self.settings_at(setup, self.port)
    }

    /// The names of the objects, as the server itself has them.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let mut names = match self.keeper {
            Keeper::Moto => {
                let text = reqwest::get(format!("http://127.0.0.1:{}/{NAME}?list-type=2", self.port)).await.unwrap().text().await.unwrap();
                let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
                keys.filter_map(|(key, _)| key.strip_prefix("certctl/test/")).map(str::to_owned).collect()
            }
            Keeper::S3sFs => {
                let folder = self.folder.join(NAME).join("certctl/test");
                if folder.is_dir() { super::names_in(&folder) } else { Vec::new() }
            }
        };
        names.sort();
        names
    }

    /// A header field of an object of moto's.
    pub(crate) async fn header(&self, name: &str, field: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{}/{NAME}/certctl/test/{name}", self.port);
        let reply = reqwest::Client::new().head(url).send().await.unwrap().error_for_status().unwrap();
        reply.headers().get(field).map(|value| value.to_str().unwrap().to_owned())
    }

    /// The bytes of an object.
    pub(crate) async fn object(&self, name: &str) -> Vec<u8> {
        match self.keeper {
            Keeper::Moto => {
                let url = format!("http://127.0.0.1:{}/{NAME}/certctl/test/{name}", self.port);
                reqwest::get(url).await.unwrap().error_for_status().unwrap().bytes().await.unwrap().to_vec()
            }
            Keeper::S3sFs => std::fs::read(self.folder.join(NAME).join("certctl/test").join(name)).unwrap(),
        }
    }
}

fn program(name: &str) -> String {
    require_program(name).to_str().unwrap().to_owned()
}

const NAME: &str = "certctl-backups";
const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
