//! kubeconform: every rendered object fits the schemas of the oldest and the newest Kubernetes, which are kept in the repository.

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::process::{command, fed};

use super::chart::World;

/// What does not fit.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let texts: Vec<&str> = world.rendered.iter().filter_map(|rendered| Some(rendered.outcome.as_ref().ok()?.text.as_str())).collect();
    let mut findings = Vec::new();
    for release in RELEASES {
        let folder = world.root.join("deploy/helm/schemas");
        let places = [folder.join(release), folder.join("crds")];
        let mut kubeconform = command(&world.tools.kubeconform);
        kubeconform.args(["-strict", "-output", "text"]);
        for place in places {
            kubeconform.arg("-schema-location").arg(place.join("{{ .ResourceKind }}{{ .KindSuffix }}.json"));
        }
        let output = fed(&mut kubeconform, &texts.join("\n---\n"))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let lines: BTreeSet<String> = String::from_utf8_lossy(&said).lines().map(|line| format!("{release}: {line}")).collect();
            findings.extend(lines);
        }
    }
    Ok(findings)
}

const RELEASES: [&str; 2] = ["v1.27", "v1.37"];
