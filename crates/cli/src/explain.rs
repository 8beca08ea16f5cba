//! Why something is as it is, as the server explains it.

use certctl_domain::certificate::Explanation;
use certctl_domain::time::Timestamp;

use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::output::terminal::plain;
use crate::session::Session;
use crate::span;

/// Fetches the explanation at a path and prints it.
pub(crate) async fn show(session: &Session, path: &str) -> Result<(), Failure> {
    let answer: Doc = session.client.get(path, &[]).await?;
    let explanation: Explanation = doc::read(&answer)?;
    session.out.answer(&answer, || told(&explanation, session.now))
}

fn told(explanation: &Explanation, now: Timestamp) -> String {
    let mut lines = vec![plain(&explanation.summary)];
    lines.extend(explanation.because.iter().map(|reason| format!("  - {}", plain(reason))));
    let when = explanation.next_at.map(|at| format!(" ({at}, {})", span::relative(at, now)));
    match (&explanation.next, when) {
        (Some(next), when) => lines.push(format!("next: {}{}", plain(next), when.unwrap_or_default())),
        (None, Some(when)) => lines.push(format!("next:{when}")),
        (None, None) => {}
    }
    if !explanation.jobs.is_empty() {
        let jobs: Vec<String> = explanation.jobs.iter().map(ToString::to_string).collect();
        lines.push(format!("jobs: {}", jobs.join(", ")));
    }
    lines.extend(explanation.hint.iter().map(|hint| format!("hint: {}", plain(hint))));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_says_why_what_next_and_what_to_do() {
        let explanation: Explanation = serde_json::from_value(serde_json::json!({
            "summary": "web is Failed: nginx refused the new pair",
            "because": ["2 failures in a row", "job job-1 is Pending\u{1b}[2J"],
            "next": "job job-1 goes on",
            "next_at": "2026-01-01T01:00:00Z",
            "hint": "run nginx -t on web-1",
            "jobs": ["job-1"],
        }))
        .unwrap();
        insta::assert_snapshot!(told(&explanation, "2026-01-01T00:00:00Z".parse().unwrap()), @r"
        web is Failed: nginx refused the new pair
          - 2 failures in a row
          - job job-1 is Pending\u{1b}[2J
        next: job job-1 goes on (2026-01-01T01:00:00Z, in 1h)
        jobs: job-1
        hint: run nginx -t on web-1
        ");
    }
}
