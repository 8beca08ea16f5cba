//! Guide and runbooks: every `helm` command in it renders, what its `kubectl` commands name is rendered or was made before, the commands of `certctl`
//! exist, and the figures of the resource ladder are those of the measurement.

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::files;

use super::chart::World;
use super::objects::{Object, parse};

const GUIDE: &str = "docs/operator/helm.md";

/// The ladder once more, for those without Kubernetes.
const SCALE: &str = "docs/operator/scale.md";

/// Figures of the measurement, for comparison.
const BASELINES: &str = "docs/operator/performance-baselines.md";

/// In the order in which a reader comes to them: what one made is there for the next.
pub(super) const PAGES: [&str; 3] = [GUIDE, "docs/operator/runbooks/prometheus-bearer-token.md", "docs/operator/runbooks/rollback.md"];

/// What a reader who follows it would stumble over.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let guide = files::read(&world.root.join(GUIDE))?;
    let commands = files::read(&world.root.join("docs/reference/cli.md"))?;
    let figures = files::read(&world.root.join("docs/reference/performance.md"))?;
    let mut findings = wrong_figures(&guide, &figures);
    findings.extend(wrong_figures(&files::read(&world.root.join(SCALE))?, &figures));
    findings.extend(wrong_baselines(&files::read(&world.root.join(BASELINES))?, &figures));
    let mut rendered: BTreeSet<String> = BTreeSet::new();
    let pages = PAGES.iter().map(|page| files::read(&world.root.join(page))).collect::<Result<Vec<_>, Failure>>()?;
    let lines: Vec<&str> = pages.iter().flat_map(|page| shell_lines(page)).collect();
    for line in lines.iter().filter(|line| RENDERED.iter().any(|verb| line.starts_with(verb))) {
        match world.plain(&template_words(line))? {
            Ok(text) => rendered.extend(named_in(&parse(&text).map_err(Failure::new)?)),
            Err(said) => findings.push(format!("`{line}`: {said}")),
        }
    }
    rendered.extend(lines.iter().flat_map(|line| made_by(line)));
    for line in &lines {
        findings
            .extend(named_by(line).into_iter().filter(|name| !rendered.contains(name)).map(|name| format!("`{line}`: there is no {name}")));
        for (_, rest) in
            line.match_indices("certctl ").filter(|(place, _)| starts_a_command(line, *place)).map(|(place, _)| line.split_at(place))
        {
            let command = rest.split(' ').take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect::<Vec<_>>().join(" ");
            if !commands.contains(&format!("\n### {command}\n")) {
                findings.push(format!("`{line}`: there is no command `{command}`"));
            }
        }
    }
    Ok(findings)
}

/// The lines of the blocks that are for a shell.
pub(super) fn shell_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        if let Some(language) = line.strip_prefix("```") {
            inside = language == "sh";
            return false;
        }
        inside
    })
}

/// The words of a `helm install`, `upgrade` or `template`, as `helm template` takes them.
fn template_words(line: &str) -> Vec<String> {
    let mut words = line.split(' ').skip(2).map(str::to_owned);
    let mut kept = vec!["template".to_owned()];
    while let Some(word) = words.next() {
        match word.as_str() {
            "--wait" => {}
            "--timeout" => drop(words.next()),
            _ => kept.push(word),
        }
    }
    kept
}

/// Kinds and names as `kubectl` takes them, with the Secrets that the pods expect.
fn named_in(objects: &[Object]) -> Vec<String> {
    let own = objects.iter().map(|object| format!("{}/{}", object.kind().to_lowercase(), object.name()));
    let pods = objects.iter().filter(|object| object.kind() == "StatefulSet").map(|object| format!("pod/{}-0", object.name()));
    own.chain(pods).collect()
}

/// What a command makes for those after it.
fn made_by(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let create = words.iter().position(|word| *word == "create")?;
    match (*words.get(create + 1)?, words.get(create + 2..)?) {
        ("secret", ["generic", name, ..]) => Some(format!("secret/{name}")),
        ("job", [.., name]) => Some(format!("job/{name}")),
        _ => None,
    }
}

/// What a `kubectl` command speaks of: `kind/name`, or `kind name` behind `get` and `delete`.
fn named_by(line: &str) -> Vec<String> {
    if !line.starts_with("kubectl ") {
        return Vec::new();
    }
    let words: Vec<&str> = line.split(' ').map(|word| word.trim_start_matches("--from=")).collect();
    let joined = words.iter().filter(|word| KINDS.iter().any(|kind| word.starts_with(&format!("{kind}/")))).map(|word| (*word).to_owned());
    let apart = words.windows(3).filter_map(|window| match window {
        [verb, kind, name] if ["get", "delete"].contains(verb) && KINDS.contains(kind) => Some(format!("{kind}/{name}")),
        ["exec", "-it", name] => Some(format!("pod/{name}")),
        _ => None,
    });
    joined.chain(apart).collect()
}

/// Whether `certctl` stands there as a program, and not as the name of a release or a namespace.
fn starts_a_command(line: &str, place: usize) -> bool {
    line.get(..place).is_some_and(|before| before.is_empty() || before.ends_with("; do "))
}

/// Rows of the ladder that name no row of the measurement, or another figure than it.
fn wrong_figures(guide: &str, figures: &str) -> Vec<String> {
    let rows: Vec<&str> =
        guide.lines().filter(|line| ["| `small`", "| `medium`", "| `large`"].iter().any(|rung| line.starts_with(rung))).collect();
    let mut found = Vec::new();
    if rows.len() != 3 {
        found.push("the ladder has other rungs than small, medium and large".to_owned());
    }
    for row in rows {
        let named: Vec<&str> = row.split('`').skip(3).step_by(2).collect();
        if named.is_empty() || !row.contains("not measured") {
            found.push(format!("`{row}` does not say where its figures are from, or what was not measured"));
        }
        for name in named {
            let Some(measured) = figures.lines().find(|line| line.starts_with(&format!("| {name} |"))) else {
                found.push(format!("`{name}` is no row of docs/reference/performance.md"));
                continue;
            };
            let claimed = row.split(&format!("`{name}` has ")).nth(1).and_then(|rest| rest.split(' ').next());
            if let Some(figure) = claimed.filter(|figure| !measured.split([' ', ',', ';', '|']).any(|word| word == *figure)) {
                found.push(format!("`{name}` was not measured to have {figure}"));
            }
        }
    }
    found
}

/// Rows of the baselines that say something else than the measurement: rate, p50, p99 and memory are its columns 2, 3, 4 and 7.
fn wrong_baselines(page: &str, figures: &str) -> Vec<String> {
    let cells = |line: &str| line.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut found = Vec::new();
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| `")).map(cells) {
        rows += 1;
        let name = row.first().map(|name| name.trim_matches('`')).unwrap_or_default();
        let Some(measured) = figures.lines().find(|line| line.starts_with(&format!("| {name} |"))).map(cells) else {
            found.push(format!("`{name}` is no row of docs/reference/performance.md"));
            continue;
        };
        for (here, there) in [(1, 1), (2, 2), (3, 3), (4, 6)] {
            if row.get(here) != measured.get(there) {
                let (here, there) = (row.get(here).map_or("", String::as_str), measured.get(there).map_or("", String::as_str));
                found.push(format!("`{name}` was measured to have `{there}`, not `{here}`"));
            }
        }
    }
    if rows == 0 {
        found.push(format!("{BASELINES} has no row"));
    }
    found
}

/// The commands of Helm that render.
const RENDERED: [&str; 3] = ["helm install ", "helm upgrade ", "helm template "];

/// The kinds that commands name.
const KINDS: [&str; 8] = ["deployment", "statefulset", "daemonset", "cronjob", "service", "secret", "pod", "job"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_a_shell_would() {
        assert_eq!(template_words("helm install a b -n c --wait --timeout 10m --set d=e").join(" "), "template a b -n c --set d=e");
        assert_eq!(made_by("kubectl -n a create secret generic b --from-file=c").as_deref(), Some("secret/b"));
        assert_eq!(made_by("kubectl -n a create job --from=cronjob/b c").as_deref(), Some("job/c"));
        assert_eq!(named_by("kubectl -n a rollout status deployment/b"), ["deployment/b"]);
        assert_eq!(named_by("kubectl -n a delete pod b-0"), ["pod/b-0"]);
        assert_eq!(named_by("kubectl -n a create job --from=cronjob/b c"), ["cronjob/b"]);
        assert!(starts_a_command("certctl keys list", 0) && !starts_a_command("helm upgrade certctl x", 13));
    }

    #[test]
    fn baselines_are_those_of_the_measurement() {
        let figures = "| get | 4 526 | 3.31 | 7.99 | 0.19 + 0.20 | 3.01 | 44 | one select |\n";
        assert_eq!(wrong_baselines("| `get` | 4 526 | 3.31 | 7.99 | 44 | one row |\n", figures), Vec::<String>::new());
        for bad in ["| `get` | 4 527 | 3.31 | 7.99 | 44 | x |\n", "| `put` | 1 |\n", "| `get` | 4 526 | 3.31 | 7.99 |\n", ""] {
            assert_eq!(wrong_baselines(bad, figures).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_figure_that_nobody_measured_is_found() {
        let guide =
            |row: &str| format!("| `small` | x | {row} |\n| `medium` | x | `rest` not measured |\n| `large` | x | `rest` not measured |\n");
        let figures = "| rest |  | RSS 35.5, goal |\n";
        assert_eq!(wrong_figures(&guide("`rest` has 35.5 MB; not measured"), figures), Vec::<String>::new());
        for bad in ["`rest` has 36 MB; not measured", "`sleep` has 35.5 MB; not measured", "not measured", "`rest` has 35.5 MB"] {
            assert_eq!(wrong_figures(&guide(bad), figures).len(), 1, "{bad}");
        }
    }
}
