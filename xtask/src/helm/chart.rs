//! The chart, the programs that render and judge it, and everything that it rendered.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command, find_program, output};
use crate::setup;

use super::cases::{self, Case};
use super::objects::{self, Object};

/// Where the chart is.
pub(super) const CHART: &str = "deploy/helm/certctl";
/// The name of the release in every case: not the chart's, so that names which forget it are found.
pub(super) const RELEASE: &str = "rel";
/// Its namespace.
pub(super) const NAMESPACE: &str = "tools";

/// The programs that are needed.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) helm: PathBuf,
    pub(super) kubeconform: PathBuf,
    pub(super) promtool: PathBuf,
}

impl Tools {
    /// Finds them where `cargo xtask setup` puts them, or in `PATH`.
    pub(super) fn find() -> Result<Self, Failure> {
        Self::find_in(&setup::tools_dir()?, find_program)
    }

    fn find_in(built: &Path, elsewhere: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, Failure> {
        let find = |name: &str| {
            let candidate = built.join(name);
            let found = if candidate.is_file() { Some(candidate) } else { elsewhere(name) };
            found.ok_or_else(|| Failure::new(format!("{name} is not installed")).hint("cargo xtask setup"))
        };
        Ok(Self { helm: find("helm")?, kubeconform: find("kubeconform")?, promtool: find("promtool")? })
    }
}

/// A repository with a chart, and what came of every case.
#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) root: &'a Path,
    pub(super) tools: &'a Tools,
    pub(super) rendered: Vec<Rendered>,
}

/// What came of one case.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) case: Case,
    /// The text and its objects, or what Helm said.
    pub(super) outcome: Result<Output, String>,
}

/// What Helm rendered.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) text: String,
    pub(super) objects: Vec<Object>,
}

impl Rendered {
    /// The objects; none where Helm refused, which is a finding of its own.
    pub(super) fn objects(&self) -> &[Object] {
        self.outcome.as_ref().map_or(&[], |output| output.objects.as_slice())
    }
}

impl<'a> World<'a> {
    /// Renders every case.
    pub(super) fn look(root: &'a Path, tools: &'a Tools) -> Result<Self, Failure> {
        Self::look_at(root, tools, cases::all())
    }

    /// Renders these cases.
    pub(super) fn look_at(root: &'a Path, tools: &'a Tools, cases: Vec<Case>) -> Result<Self, Failure> {
        let mut world = World { root, tools, rendered: Vec::new() };
        for case in cases {
            let outcome = world.render(&case.arguments())?;
            world.rendered.push(Rendered { case, outcome });
        }
        Ok(world)
    }

    /// Renders with these arguments; the inner error is what Helm said.
    pub(super) fn render(&self, arguments: &[String]) -> Result<Result<Output, String>, Failure> {
        let text = match self.template(arguments)? {
            Ok(text) => text,
            Err(said) => return Ok(Err(said)),
        };
        Ok(objects::parse(&text).map(|objects| Output { text, objects }))
    }

    /// Renders to text.
    pub(super) fn template(&self, arguments: &[String]) -> Result<Result<String, String>, Failure> {
        let words = ["template", RELEASE, CHART, "--namespace", NAMESPACE].map(str::to_owned);
        self.plain(&[&words, arguments].concat())
    }

    /// Runs Helm with these words; the inner error is what it said.
    pub(super) fn plain(&self, words: &[String]) -> Result<Result<String, String>, Failure> {
        let mut helm = command(&self.tools.helm);
        helm.current_dir(self.root).args(words);
        let output = output(&mut helm)?;
        if output.status.success() {
            return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// What does not render, and what `helm lint` has against an example.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let mut findings: Vec<String> = world
        .rendered
        .iter()
        .filter_map(|rendered| Some(format!("{}: {}", rendered.case.name, rendered.outcome.as_ref().err()?)))
        .collect();
    for example in &cases::EXAMPLES {
        let mut helm = command(&world.tools.helm);
        helm.current_dir(world.root).args(["lint", "--strict", CHART, "--values", &cases::example(example.name)]);
        if let Err(error) = capture(&mut helm) {
            findings.push(format!("helm lint, {}: {}", example.name, error.chain()));
        }
        match notes(world, example.name)? {
            Ok(notes) if notes.contains(RELEASE) && !notes.contains("%!") => {}
            Ok(notes) | Err(notes) => findings.push(format!("{}: NOTES.txt does not tell: {notes}", example.name)),
        }
    }
    Ok(findings)
}

/// What Helm tells the person who installs it. Helm shows it only where it has a cluster, so a template beside it, in a copy, takes it in.
fn notes(world: &World<'_>, example: &str) -> Result<Result<String, String>, Failure> {
    let copy = tempfile::tempdir().map_err(|error| Failure::new("cannot make a temporary folder").because(error))?;
    files::copy(&world.root.join(CHART), &copy.path().join(CHART))?;
    let taken_in = "kind: Notes\ntext: {{ include (print $.Template.BasePath \"/NOTES.txt\") . | quote }}\n";
    files::write(&copy.path().join(CHART).join("templates/notes.yaml"), taken_in)?;
    let copied = World { root: copy.path(), tools: world.tools, rendered: Vec::new() };
    let rendered =
        copied.render(&["--values".to_owned(), cases::example(example), "--show-only".to_owned(), "templates/notes.yaml".to_owned()])?;
    Ok(rendered.map(|output| output.objects.first().map(|notes| notes.text("/text").to_owned()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_a_failure_with_the_command_that_installs_it() {
        let empty = tempfile::tempdir().unwrap();
        let error = Tools::find_in(empty.path(), |_| None).unwrap_err();
        assert_eq!((error.chain().as_str(), error.advice()), ("helm is not installed", Some("cargo xtask setup")));
        files::write(&empty.path().join("helm"), "").unwrap();
        assert_eq!(Tools::find_in(empty.path(), |_| None).unwrap_err().chain(), "kubeconform is not installed");
    }
}
