//! How the server is, and what needs attention.

use certctl_api::client::{Client, ClientError};
use certctl_domain::time::Timestamp;
use serde_json::json;

use crate::app::App;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::output::terminal::plain;
use crate::span;

/// Asks, and prints what it heard. A server that is not ready makes the command fail.
pub(crate) async fn show(app: &App) -> Result<(), Failure> {
    let connection = app.connection()?;
    let client = connection.client(app.call_limit())?;
    let health = word(client.get("/health", &[]).await)?;
    let ready = word(client.get("/ready", &[]).await)?;
    let is_ready = matches!(ready.as_str(), "ok" | "ready");
    let version: Option<Doc> = client.get("/api/v1/version", &[]).await.ok();
    let (mut summary, mut needs, mut refused) = (None, Vec::new(), None);
    if connection.token.is_some() && is_ready {
        match client.get::<Doc>("/api/v1/stats/summary", &[]).await {
            Ok(doc) => summary = Some(doc),
            Err(error) => refused = Some(error),
        }
        // Who may not look at one kind of thing is told of the others.
        if refused.as_ref().is_none_or(|error| error.status() == Some(403)) {
            needs = attention(&client).await?;
        }
    }
    let version = version.map(|version| doc::text(&version, "version")).unwrap_or_default();
    let document = json!({ "server": connection.server, "health": health, "ready": ready, "version": version, "summary": summary, "attention": needs.iter().map(|need| &need.doc).collect::<Vec<_>>() });
    app.out.answer(&document, || {
        let head = format!(
            "server   {}\nversion  {}\nhealth   {}\nready    {}\n",
            connection.server,
            plain(&version),
            plain(&health),
            plain(&ready)
        );
        let body = summary.as_ref().map(counts).unwrap_or_default();
        head + &body + &told(&needs, app.environment.now)
    })?;
    match (refused, &connection.token) {
        (Some(error), _) if error.status() != Some(403) => return Err(error.into()),
        (_, None) => app.out.note(&format!("to see more, log in: certctl login --server {}", connection.server)),
        (None, Some(_)) if is_ready && needs.is_empty() => app.out.note("nothing needs attention"),
        _ => {}
    }
    if is_ready {
        Ok(())
    } else {
        Err(Failure::Work { message: format!("the server is not ready: {ready}"), hint: Some("look at the server's log".to_owned()) })
    }
}

/// Something that needs attention.
#[derive(Debug)]
struct Need {
    kind: &'static Kind,
    doc: Doc,
}

/// A kind of thing that can need attention.
#[derive(Debug)]
struct Kind {
    path: &'static str,
    one: &'static str,
    filter: (&'static str, &'static str),
    /// The field by which people call it.
    name: &'static str,
    explain: &'static str,
}

async fn attention(client: &Client) -> Result<Vec<Need>, Failure> {
    let mut needs = Vec::new();
    for kind in KINDS {
        let page = client.get::<Doc>(kind.path, &[kind.filter, ("per_page", "10")]).await;
        let page = match page {
            Err(error) if error.status() == Some(403) => continue,
            page => page?,
        };
        needs.extend(doc::rows(&page).iter().map(|row| Need { kind, doc: row.clone() }));
    }
    Ok(needs)
}

fn counts(summary: &Doc) -> String {
    let count = |field: &str| doc::at(summary, field).map_or_else(|| "?".to_owned(), doc::shown);
    format!(
        "\ncertificates  {} ({} expiring, {} expired, {} revoked)\nagents        {} ({} online, {} offline)\njobs          {} pending, {} failed\n",
        count("total_certificates"),
        count("expiring_certificates"),
        count("expired_certificates"),
        count("revoked_certificates"),
        count("total_agents"),
        count("active_agents"),
        count("offline_agents"),
        count("pending_jobs"),
        count("failed_jobs"),
    )
}

fn told(needs: &[Need], now: Timestamp) -> String {
    if needs.is_empty() {
        return String::new();
    }
    needs.iter().fold("\nneeds attention\n".to_owned(), |text, Need { kind, doc }| {
        let name = doc::text(doc, kind.name);
        let reason =
            Some(doc::text(doc, "reason")).filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}")).unwrap_or_default();
        let when = |label: &str, field: &str| doc::text(doc, field).parse().ok().map(|at| format!(", {label} {}", span::relative(at, now)));
        let seen = when("heard of", "last_heartbeat_at").or_else(|| when("ends", "expires_at")).unwrap_or_default();
        let hint = match doc::text(doc, "hint") {
            hint if hint.is_empty() => format!("{} {name}", kind.explain),
            hint => hint,
        };
        let status = doc::text(doc, "status");
        text + &plain(&format!("  {} {name} is {status}{reason}{seen}", kind.one)) + "\n" + &plain(&format!("    hint: {hint}")) + "\n"
    })
}

/// The status that an answer states, or why there is none. Only a server that was not reached is an error.
fn word(answer: Result<Doc, ClientError>) -> Result<String, Failure> {
    match answer {
        Ok(doc) => Ok(doc::text(&doc, "status")),
        Err(ClientError::Problem(problem)) => Ok(problem.detail.clone()),
        Err(error) => Err(error.into()),
    }
}

const fn kind(one: &'static str, path: &'static str, status: &'static str, name: &'static str, explain: &'static str) -> Kind {
    Kind { path, one, filter: ("status", status), name, explain }
}

const KINDS: &[Kind] = &[
    kind("certificate", "/api/v1/certificates", "Expired", "name", "certctl certs explain"),
    kind("certificate", "/api/v1/certificates", "Failed", "name", "certctl certs explain"),
    kind("certificate", "/api/v1/certificates", "Expiring", "name", "certctl certs explain"),
    kind("agent", "/api/v1/agents", "Offline", "name", "certctl agents explain"),
    kind("agent", "/api/v1/agents", "Degraded", "name", "certctl agents explain"),
    kind("job", "/api/v1/jobs", "AwaitingApproval", "id", "certctl jobs approve"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_attention_says_why_and_what_to_do() {
        let need = |kind: usize, json: &str| Need { kind: &KINDS[kind], doc: serde_json::from_str(json).unwrap() };
        let needs = [
            need(
                1,
                r#"{"name": "web", "status": "Failed", "reason": "nginx refused the pair", "expires_at": "2026-01-11T00:00:00Z", "hint": "run nginx -t"}"#,
            ),
            need(3, r#"{"name": "edge-7", "status": "Offline", "last_heartbeat_at": "2025-12-31T22:00:00Z"}"#),
            need(5, r#"{"id": "job-1", "status": "AwaitingApproval", "reason": "waits for a second pair of eyes"}"#),
        ];
        insta::assert_snapshot!(told(&needs, "2026-01-01T00:00:00Z".parse().unwrap()).trim_start(), @r"
        needs attention
          certificate web is Failed: nginx refused the pair, ends in 10d
            hint: run nginx -t
          agent edge-7 is Offline, heard of 2h ago
            hint: certctl agents explain edge-7
          job job-1 is AwaitingApproval: waits for a second pair of eyes
            hint: certctl jobs approve job-1
        ");
    }
}
