//! What the Dockerfile makes of each image, as far as it decides how a program runs there.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{in_repository, read};

/// One image.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) base: String,
    pub(super) user: String,
    pub(super) folder: String,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) volumes: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
    pub(super) health: Vec<String>,
    pub(super) stop_signal: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Our programs in it, by their path.
    pub(super) programs: BTreeSet<String>,
    /// Folders that belong to [`OURS`]: a volume that begins there is writable.
    pub(super) own_folders: BTreeSet<String>,
}

/// Every stage by its name. Anything that is not understood fails the test.
pub(super) fn images() -> BTreeMap<String, Image> {
    let mut all = BTreeMap::new();
    let mut arguments: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<(String, Image)> = None;
    for (word, rest) in instructions(&read(&in_repository("deploy/docker/Dockerfile"))) {
        let rest = arguments.iter().fold(rest, |rest: String, (name, value)| rest.replace(&format!("${{{name}}}"), value));
        if word == "FROM" {
            let [base, _as, name] = &words(&rest)[..] else { panic!("FROM {rest}: a stage without a name") };
            all.extend(current.replace((name.clone(), Image { base: base.clone(), ..Image::default() })));
            continue;
        }
        if word == "ARG" {
            // One without a value takes the one that it has above the first stage.
            if let Some((name, value)) = rest.split_once('=') {
                arguments.insert(name.to_owned(), value.to_owned());
            }
            continue;
        }
        let image = &mut current.as_mut().unwrap_or_else(|| panic!("{word} before the first stage")).1;
        match word.as_str() {
            "USER" => image.user = rest,
            "WORKDIR" => image.folder = rest,
            "ENV" => image.variables.extend(pairs(&rest)),
            "LABEL" => image.labels.extend(pairs(&rest)),
            "VOLUME" => image.volumes = list(&rest),
            "ENTRYPOINT" => image.entrypoint = list(&rest),
            "CMD" => image.command = list(&rest),
            "STOPSIGNAL" => image.stop_signal = rest,
            "HEALTHCHECK" => image.health = list(rest.split_once(" CMD ").unwrap().1),
            "COPY" => copied(image, &rest),
            "RUN" => {
                for part in rest.split("&&") {
                    let owned = part.trim().strip_prefix("chown ").map(words).unwrap_or_default();
                    if owned.first().is_some_and(|owner| owner == OURS) {
                        image.own_folders.extend(owned.into_iter().skip(1));
                    }
                }
            }
            "EXPOSE" => {}
            other => panic!("{other} is not known here"),
        }
    }
    all.extend(current);
    all
}

fn copied(image: &mut Image, rest: &str) {
    let all = words(rest);
    let (flags, paths): (Vec<_>, Vec<_>) = all.iter().partition(|word| word.starts_with("--"));
    let (to, from) = paths.split_last().unwrap();
    let ours = flags.iter().any(|flag| **flag == format!("--chown={OURS}"));
    for source in from {
        match source.strip_prefix("/out/bin/") {
            Some(name) => drop(image.programs.insert(format!("{to}{name}"))),
            None if ours => drop(image.own_folders.insert((*to).clone())),
            None => {}
        }
    }
}

/// The instructions with what stands behind them, comments left out and long lines joined.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    joined.lines().map(|line| line.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.trim().to_owned())).unwrap()).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The form without a shell; the other one is refused.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text} goes through a shell: {error}"))
}

/// `a=b c="d e"`
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap(),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        all.push((name.trim().to_owned(), value.to_owned()));
        rest = next.trim();
    }
    all
}

/// User and group of everything of ours.
pub(super) const OURS: &str = "65532:65532";
