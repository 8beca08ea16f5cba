//! The names of the images: one list, which release job, chart, compose files and documents are compared with (AC-1 of the deployment).

use crate::failure::Failure;
use crate::files;

use super::Release;

/// Targets of `deploy/docker/Dockerfile`; an image is named `certctl-` and its target, and its tag is the version.
pub(super) const TARGETS: [&str; 3] = ["server", "agent", "cli"];

/// Writes `images.txt`: one reference a line.
pub(super) fn write(release: &Release, registry: &str) -> Result<(), Failure> {
    let lines: String = TARGETS.iter().map(|target| format!("{}\n", reference(registry, target, &release.version))).collect();
    files::write(&release.out.join("images.txt"), &lines)
}

/// `registry.example.test/tools/certctl-server:0.1.0`
pub(super) fn reference(registry: &str, target: &str, version: &str) -> String {
    let prefix = registry.trim_end_matches('/');
    let separator = if prefix.is_empty() { "" } else { "/" };
    format!("{prefix}{separator}certctl-{target}:{version}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::workspace;

    fn text(path: &str) -> String {
        files::read(&workspace::root().unwrap().join(path)).unwrap()
    }

    /// Everything after `certctl-` up to the end of an image's reference, with what stands for the tag.
    fn named(text: &str) -> BTreeSet<String> {
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ')' | '|');
        let all = text.split("certctl-").skip(1).filter_map(|rest| rest.split(ends).next());
        all.filter(|word| TARGETS.iter().any(|target| word.strip_prefix(target).is_some_and(|tag| tag.starts_with(':'))))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_reference_has_registry_name_and_version() {
        assert_eq!(reference("registry.example.test/tools/", "agent", "1.2.3"), "registry.example.test/tools/certctl-agent:1.2.3");
        assert_eq!(reference("", "agent", "1.2.3"), "certctl-agent:1.2.3");
    }

    #[test]
    fn every_place_names_the_images_that_a_release_makes() {
        let version = super::super::version().unwrap();
        let released: BTreeSet<String> = TARGETS.iter().map(|target| format!("{target}:{version}")).collect();
        // The chart has no client.
        let of_pods: BTreeSet<String> = released.iter().filter(|name| !name.starts_with("cli")).cloned().collect();
        let mut rendered = BTreeSet::new();
        for example in ["dev", "small", "external-db", "ha", "acme-dns01"] {
            let images: String =
                text(&format!("deploy/helm/rendered/{example}.yaml")).lines().filter(|line| line.contains("image:")).collect();
            rendered.extend(named(&images));
        }
        assert_eq!(rendered, of_pods, "the chart");
        let chart = text("deploy/helm/certctl/Chart.yaml");
        assert!(chart.contains(&format!("\nversion: {version}\n")) && chart.contains(&format!("\nappVersion: \"{version}\"\n")), "{chart}");

        let compose = text("deploy/compose/compose.yaml").replace("${CERTCTL_TAG:-", "").replace('}', " ");
        assert_eq!(named(&compose), released, "compose.yaml");
        let demo = text("deploy/compose/compose.demo.yaml").replace("${CERTCTL_TAG:-", "").replace('}', " ");
        assert_eq!(named(&demo), of_pods, "compose.demo.yaml");
        assert!(text("deploy/compose/.env.example").contains(&format!("\nCERTCTL_TAG={version}\n")));

        let dockerfile = text("deploy/docker/Dockerfile");
        for target in TARGETS {
            assert!(dockerfile.contains(&format!(" AS {target}\n")), "{target}");
        }
        assert_eq!(dockerfile.matches(&format!("ARG VERSION={version}\n")).count(), TARGETS.len());
        assert_eq!(named(&text("docs/operator/docker.md")), released, "docker.md");
        for page in ["docs/operator/helm.md", "docs/operator/compose.md", "docs/operator/runbooks/rollback.md"] {
            let other: Vec<String> = named(&text(page)).difference(&released).cloned().collect();
            assert!(other.is_empty(), "{page}: {other:?}");
        }
    }

    #[test]
    fn the_release_job_pushes_them_by_these_names() {
        let job = text(".github/workflows/release.yml");
        assert!(job.contains("cargo xtask release"), "it makes the release by the command that everybody has");
        for wanted in ["--file deploy/docker/Dockerfile", "--target \"$target\"", "\"$REGISTRY/certctl-$target:$VERSION\"", "images.txt"] {
            assert!(job.contains(wanted), "the release job lacks `{wanted}`");
        }
        let toolchain = text("rust-toolchain.toml");
        let rust = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"')).unwrap();
        assert!(job.contains(&format!("/rust:{rust}-slim-bookworm")), "the release is built by the Rust of the repository");
        let parsed: serde_json::Value = serde_norway::from_str(&job).unwrap();
        assert_eq!(parsed["jobs"]["publish"]["needs"], "check", "nothing goes out that has not been checked");
        let steps: Vec<&str> =
            parsed["jobs"]["publish"]["steps"].as_array().unwrap().iter().filter_map(|step| step["name"].as_str()).collect();
        assert_eq!(steps.last(), Some(&"Publish"), "the release is seen when its images are there");
        let targets = job.lines().find_map(|line| line.trim().strip_prefix("for target in ")).unwrap();
        assert_eq!(targets.trim_end_matches("; do"), TARGETS.join(" "));
    }
}
