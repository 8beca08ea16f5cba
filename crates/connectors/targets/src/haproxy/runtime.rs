//! Gives a certificate to a running HAProxy, without a reload: `set ssl cert` and `commit ssl cert` of its runtime API.
//!
//! HAProxy has one transaction for everybody. A `set` while a transaction about another certificate is open does not fail:
//! the content goes into that one. So whoever sets looks first, and looks again at the answer.

mod socket;

use std::path::Path;
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

pub use self::socket::RuntimeAddress;
use crate::deploy::{NotLive, Point, reach};

/// The runtime API of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Where it listens.
    pub address: RuntimeAddress,
    /// For each command, and for waiting until somebody else's transaction has ended.
    pub timeout: Duration,
}

impl Runtime {
    /// Gives the process the content of a file, under every name by which it knows the file; tells which.
    ///
    /// # Errors
    /// When it cannot be reached, does not know the file, or refuses the content.
    pub(crate) async fn give(&self, known_as: &[&Path], pem: &[u8]) -> Result<Vec<String>, NotLive> {
        let listed = self.ask("show ssl cert\n").await?;
        let names: Vec<_> = names(&listed).filter(|name| leads_to(name, known_as)).map(str::to_owned).collect();
        if names.is_empty() {
            let shown = known_as.first().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(NotLive::Unknown(format!("the running HAProxy at {} does not know {shown}", self.address)));
        }
        let blocks = pem_blocks(pem);
        for name in &names {
            self.replace(name, &blocks).await?;
        }
        Ok(names)
    }

    async fn replace(&self, name: &str, blocks: &str) -> Result<(), NotLive> {
        let quoted = escape(name);
        self.make_room(&quoted).await?;
        let mut set = Zeroizing::new(String::with_capacity(blocks.len() + quoted.len() + 32));
        set.extend(["set ssl cert ", &quoted, " <<\n", blocks, "\n"]);
        let answer = self.ask(&set).await?;
        match transaction(&answer) {
            Some(about) if about == name => {}
            Some(about) => {
                // Our content went into somebody else's transaction, whose commit would now put it in the wrong place.
                let stopped = self.ask(&format!("abort ssl cert {}\n", escape(about))).await?;
                tracing::warn!(certificate = about, answer = stopped, "a foreign HAProxy transaction was broken off");
                return Err(NotLive::Unavailable(busy(about)));
            }
            None => {
                let error = refused(&answer, name);
                self.break_off(&quoted).await;
                return Err(error);
            }
        }
        reach(Point::LiveSet).await;
        let answer = self.ask(&format!("commit ssl cert {quoted}\n")).await?;
        if answer.contains("Success!") {
            return Ok(());
        }
        // A refused commit leaves the transaction open.
        let error = refused(&answer, name);
        self.break_off(&quoted).await;
        Err(error)
    }

    /// Ends what an earlier attempt left open, and waits for the end of somebody else's transaction.
    async fn make_room(&self, quoted: &str) -> Result<(), NotLive> {
        let until = Instant::now() + self.timeout;
        let mut nap = FIRST_NAP;
        loop {
            let answer = self.ask(&format!("abort ssl cert {quoted}\n")).await?;
            let Some(about) = quotation(&answer).filter(|_| answer.contains("ongoing transaction is about")) else {
                return denied(&answer).map_or(Ok(()), Err);
            };
            if Instant::now() >= until {
                return Err(NotLive::Unavailable(busy(about)));
            }
            sleep(nap).await;
            nap = (nap * 2).min(LONGEST_NAP);
        }
    }

    async fn break_off(&self, quoted: &str) {
        if let Err(NotLive::Unavailable(error)) = self.ask(&format!("abort ssl cert {quoted}\n")).await {
            tracing::warn!(error = %error.explain(), "a HAProxy transaction could not be broken off");
        }
    }

    async fn ask(&self, command: &str) -> Result<String, NotLive> {
        self.address.ask(command, self.timeout).await.map_err(NotLive::Unavailable)
    }
}

const FIRST_NAP: Duration = Duration::from_millis(5);
const LONGEST_NAP: Duration = Duration::from_millis(200);

/// The names in the answer to `show ssl cert`; those with a transaction (`*`) come again below.
fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().map(str::trim).filter(|line| line.starts_with('/'))
}

fn leads_to(name: &str, known_as: &[&Path]) -> bool {
    let name = Path::new(name);
    known_as.contains(&name) || name.canonicalize().is_ok_and(|real| known_as.contains(&real.as_path()))
}

/// Which certificate the transaction is about that a `set` made or filled.
fn transaction(answer: &str) -> Option<&str> {
    let said = answer.lines().find_map(|line| {
        ["Transaction created for certificate ", "Transaction updated for certificate "].iter().find_map(|words| line.strip_prefix(words))
    })?;
    said.trim_end().strip_suffix('!')
}

fn quotation(answer: &str) -> Option<&str> {
    answer.split('\'').nth(1)
}

/// The socket may not be used for this, whatever the content.
fn denied(answer: &str) -> Option<NotLive> {
    let error = if answer.contains("Permission denied") {
        ConnectorError::permanent("HAProxy's runtime API does not let certificates be changed")
            .hint("add `level admin` to the `stats socket` line")
    } else if answer.contains("Unknown command") {
        ConnectorError::permanent("this HAProxy cannot change certificates while it runs").hint("2.2 and later can")
    } else {
        return None;
    };
    Some(NotLive::Unavailable(error))
}

fn refused(answer: &str, name: &str) -> NotLive {
    if let Some(denied) = denied(answer) {
        return denied;
    }
    if answer.contains("not referenced by the configuration") {
        return NotLive::Unknown(format!("the running HAProxy does not know {name}"));
    }
    if answer.contains("ongoing transaction") {
        return NotLive::Unavailable(ConnectorError::transient("somebody else ended the HAProxy transaction"));
    }
    let said: Vec<_> = answer.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Committing")).collect();
    NotLive::Refused(
        ConnectorError::permanent(format!("HAProxy refuses the certificate for {name}: {}", said.join(" ")))
            .hint("`haproxy -c` with this file may say more; is the key large enough for the security level of its OpenSSL?"),
    )
}

fn busy(about: &str) -> ConnectorError {
    ConnectorError::transient(format!("somebody else is changing {about} in the running HAProxy"))
        .hint(format!("if nobody is, end the transaction: abort ssl cert {about}"))
}

/// A name as the command line takes it.
fn escape(name: &str) -> String {
    name.chars().flat_map(|c| [Some('\\').filter(|_| matches!(c, ' ' | ';' | '\\' | '"' | '\'')), Some(c)]).flatten().collect()
}

/// The PEM blocks alone: an empty line would end the command in their middle.
fn pem_blocks(pem: &[u8]) -> Zeroizing<String> {
    let mut blocks = Zeroizing::new(String::with_capacity(pem.len() + 1));
    let mut inside = false;
    for line in pem.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).map(str::trim) {
        inside |= line.starts_with("-----BEGIN ");
        if inside && !line.is_empty() {
            blocks.extend([line, "\n"]);
        }
        inside &= !line.starts_with("-----END ");
    }
    blocks
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn answers_are_understood() {
        let listed = "# transaction\n*/ssl/a.pem\n# filename\n/ssl/a.pem\n/ssl/b c.pem\n\n";
        assert_eq!(names(listed).collect::<Vec<_>>(), ["/ssl/a.pem", "/ssl/b c.pem"]);
        assert_eq!(transaction("Transaction created for certificate /ssl/a.pem!\n\n"), Some("/ssl/a.pem"));
        assert_eq!(transaction("note\nTransaction updated for certificate /ssl/b.pem!\n\n"), Some("/ssl/b.pem"));
        assert_eq!(transaction("Can't update /ssl/a.pem!\n"), None);
        let foreign = "The ongoing transaction is about '/ssl/a.pem' but you are trying to abort a transaction for '/ssl/b.pem'\n\n";
        assert_eq!(quotation(foreign), Some("/ssl/a.pem"));
        for (answer, kind) in [
            ("Permission denied\n\n", "Unavailable"),
            ("Unknown command: 'set ssl cert'", "Unavailable"),
            ("No ongoing transaction! !\nCan't commit /a!", "Unavailable"),
            ("Can't replace a certificate which is not referenced by the configuration!\nCan't update /a!", "Unknown"),
            ("inconsistencies between private key and certificate loaded '/a'.\nCan't commit /a!", "Refused"),
            ("Committing /a.\nunable to load SSL certificate into SSL Context '/a'.\nFailed!", "Refused"),
        ] {
            assert!(format!("{:?}", refused(answer, "/a")).starts_with(kind), "{answer}");
        }
    }

    #[test]
    fn only_pem_is_sent_and_nothing_in_it_ends_the_command() {
        let pem = b"subject=x\n\n-----BEGIN CERTIFICATE-----\r\nAAAA\n\nBBBB\n-----END CERTIFICATE-----\n\n# key\n-----BEGIN PRIVATE KEY-----\nCCCC\n-----END PRIVATE KEY-----";
        assert_eq!(
            *pem_blocks(pem),
            "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nCCCC\n-----END PRIVATE KEY-----\n"
        );
        assert_eq!(*pem_blocks(b"\xff\nnothing"), "");
        assert_eq!(escape("/a b;c\\d.pem"), "/a\\ b\\;c\\\\d.pem");
    }

    #[tokio::test]
    async fn content_that_went_into_a_foreign_transaction_is_taken_out_of_it() {
        let guard = tempfile::tempdir().unwrap();
        let path = guard.path().join("sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        // Somebody began between our look and our `set`.
        let play = async {
            let mut asked = Vec::new();
            for answer in [
                "# filename\n/ssl/a.pem\n/ssl/b.pem\n\n",
                "No ongoing transaction!\n\n",
                "Transaction updated for certificate /ssl/b.pem!\n\n",
                "Transaction aborted for certificate '/ssl/b.pem'!\n\n",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut command = vec![0; 4096];
                let n_read = stream.read(&mut command).await.unwrap();
                asked.push(String::from_utf8_lossy(&command[..n_read]).lines().next().unwrap().to_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        };
        let runtime = Runtime { address: path.to_str().unwrap().parse().unwrap(), timeout: Duration::from_secs(10) };
        let (known_as, pem) = ([Path::new("/ssl/a.pem")], b"-----BEGIN X-----\nA\n-----END X-----\n");
        let (given, asked) = tokio::join!(runtime.give(&known_as, pem), play);
        assert!(format!("{:?}", given.unwrap_err()).starts_with("Unavailable"));
        assert_eq!(asked, ["show ssl cert", "abort ssl cert /ssl/a.pem", "set ssl cert /ssl/a.pem <<", "abort ssl cert /ssl/b.pem"]);
    }
}
