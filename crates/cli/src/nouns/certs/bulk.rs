//! The same done to many certificates: to those that are named, or to all that fit.

use certctl_domain::x509::RevocationReason;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::Kind;
use crate::nouns::{AGENT, CERTIFICATE, ISSUER, OWNER, PROFILE, TEAM};
use crate::output::terminal::plain;
use crate::session::Session;

/// Certificates to renew.
#[derive(Debug, Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    selection: Selection,
}

/// Certificates to revoke.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    selection: Selection,
    /// Why (RFC 5280), such as superseded or key-compromise
    #[arg(long, value_name = "REASON")]
    reason: RevocationReason,
}

/// Which certificates. What is given must all hold.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Selection {
    /// This certificate; repeat for more
    #[arg(long, value_name = "NAME")]
    cert: Vec<String>,
    /// All of this profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// All of this owner
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// All on a target of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// All of this issuer
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// All of this team
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
}

impl Renew {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        session.confirm("Renew all certificates that fit?")?;
        send(session, "bulk-renew", self.selection.body(session).await?).await
    }
}

impl Revoke {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        session.confirm("Revoke all certificates that fit?")?;
        let mut body = self.selection.body(session).await?;
        body.insert("reason".to_owned(), json!(self.reason));
        send(session, "bulk-revoke", body).await
    }
}

impl Selection {
    async fn body(&self, session: &Session) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        let mut ids = Vec::with_capacity(self.cert.len());
        for name in &self.cert {
            ids.push(json!(session.id_of(&CERTIFICATE, name).await?));
        }
        if !ids.is_empty() {
            body.insert("certificate_ids".to_owned(), Value::Array(ids));
        }
        let criteria: [(&str, &Kind, &Option<String>); 5] = [
            ("profile_id", &PROFILE, &self.profile),
            ("owner_id", &OWNER, &self.owner),
            ("agent_id", &AGENT, &self.agent),
            ("issuer_id", &ISSUER, &self.issuer),
            ("team_id", &TEAM, &self.team),
        ];
        for (field, kind, name) in criteria {
            if let Some(name) = name {
                body.insert(field.to_owned(), json!(session.id_of(kind, name).await?));
            }
        }
        Ok(body)
    }
}

/// Sends it. That some could not be done is failed work, whatever the HTTP status says.
async fn send(session: &Session, verb: &str, body: Map<String, Value>) -> Result<(), Failure> {
    let answer: Doc = session.client.post(&session.path(CERTIFICATE.path, &[verb])?, &body).await?;
    session.out.answer(&answer, || told(&answer))?;
    match doc::at(&answer, "total_failed").and_then(Doc::as_u64) {
        Some(failed) if failed > 0 => Err(Failure::Work {
            message: format!("{failed} certificates could not be done"),
            hint: Some("certctl certs explain NAME".to_owned()),
        }),
        _ => Ok(()),
    }
}

/// The counts, then each that could not be done.
fn told(answer: &Doc) -> String {
    let counts = answer.as_mapping().into_iter().flatten().filter_map(|(name, value)| {
        let name = name.as_str()?.strip_prefix("total_")?;
        Some(format!("{name:9}  {}\n", doc::shown(value)))
    });
    let errors = doc::at(answer, "errors").and_then(Doc::as_sequence).map(Vec::as_slice).unwrap_or_default();
    let errors = errors.iter().map(|error| plain(&format!("{}: {}", doc::text(error, "certificate_id"), doc::text(error, "error"))) + "\n");
    counts.chain(errors).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_errors_are_told() {
        let answer: Doc = serde_json::from_str(
            r#"{"total_matched": 3, "total_revoked": 2, "total_failed": 1, "errors": [{"certificate_id": "mc-3", "error": "it was archived"}]}"#,
        )
        .unwrap();
        insta::assert_snapshot!(told(&answer), @r"
        matched    3
        revoked    2
        failed     1
        mc-3: it was archived
        ");
    }
}
