//! The judge of profiles: zlint.

use std::path::PathBuf;

use certctl_testkit::require_program;
use serde_json::Value;

use super::{Home, command, run};

/// Fails when a certificate or revocation list in PEM breaks an RFC rule of zlint; gives how many rules it was seen to keep. The other
/// sources are policy for public CAs, which a private one need not follow.
pub(crate) async fn lint(home: &Home, name: &str, pem: &str) -> usize {
    let file = home.write(name, pem);
    let zlint = zlint();
    let sources = run(command(home, &zlint).arg("-list-lints-source")).await.ok();
    let policies: Vec<&str> = sources.split_whitespace().filter(|source| !source.starts_with("RFC")).collect();
    assert!(policies.contains(&"CABF_BR") && sources.contains("RFC5280"), "{sources}");
    let results = run(command(home, &zlint).args(["-excludeSources", &policies.join(",")]).arg(&file)).await.json();
    let results = results.as_object().unwrap();
    let broken: Vec<&str> = results.iter().filter(|(_, result)| is_bad(&result["result"])).map(|(rule, _)| rule.as_str()).collect();
    assert!(broken.is_empty(), "{name} breaks {broken:?}:\n{pem}");
    results.values().filter(|result| result["result"] == "pass").count()
}

fn is_bad(result: &Value) -> bool {
    matches!(result.as_str(), Some("error" | "fatal"))
}

/// zlint where `cargo xtask setup` puts it, or else in `PATH`.
fn zlint() -> PathBuf {
    let own = std::env::home_dir().unwrap_or_default().join(".cache/certctl-tools/bin/zlint");
    if own.is_file() { own } else { require_program("zlint") }
}
