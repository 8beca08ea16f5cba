//! Programs that no Debian package has, so that Go builds them from their modules.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command, find_program};

/// One module with the programs that are wanted of it.
pub(super) struct Module {
    /// What a person calls it.
    pub(super) name: &'static str,
    /// Completes "needed ...".
    pub(super) why: &'static str,
    /// The import path of the folder that holds the programs.
    folder: &'static str,
    /// The programs.
    programs: &'static [&'static str],
    /// Variables of the program that its own build sets at linking, `{version}` being the version.
    variables: &'static [&'static str],
    /// Newest first; an older one where the Go of a Debian release cannot build the newest.
    versions: &'static [&'static str],
}

/// All of them.
pub(super) const ALL: [Module; 5] = [
    Module {
        name: "zlint",
        why: "to lint what the CA issues",
        folder: "github.com/zmap/zlint/v3/cmd",
        programs: &["zlint"],
        variables: &[],
        // 3.7 needs Go 1.25; 3.6 builds with the Go 1.19 of Debian 12.
        versions: &["v3.7.3", "v3.6.1"],
    },
    Module {
        name: "pebble",
        why: "as an ACME CA that misbehaves",
        folder: "github.com/letsencrypt/pebble/v2/cmd",
        programs: &["pebble", "pebble-challtestsrv"],
        variables: &[],
        versions: &["v2.10.1"],
    },
    Module {
        name: "step-ca",
        why: "as a private ACME CA",
        folder: "github.com/smallstep/certificates/cmd",
        programs: &["step-ca"],
        variables: &[],
        versions: &["v0.30.2"],
    },
    Module {
        name: "helm",
        why: "to render the chart",
        folder: "helm.sh/helm/v3/cmd",
        programs: &["helm"],
        // Without them it says that it renders for Kubernetes 1.20, which charts refuse. 37 is the minor release of the client libraries
        // of this version.
        variables: &[
            "helm.sh/helm/v3/internal/version.version={version}",
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37",
        ],
        versions: &["v3.22.0"],
    },
    Module {
        name: "kubeconform",
        why: "to hold what the chart renders against the schemas of Kubernetes",
        folder: "github.com/yannh/kubeconform/cmd",
        programs: &["kubeconform"],
        variables: &[],
        versions: &["v0.6.7"],
    },
];

impl Module {
    /// The version in `tools`, if all its programs are there.
    pub(super) fn installed(&self, tools: &Path) -> Option<String> {
        let stamp = files::read(&tools.join(self.stamp())).ok()?;
        let version = stamp.trim().to_owned();
        let complete = self.programs.iter().all(|program| tools.join(program).is_file());
        (complete && self.versions.contains(&version.as_str())).then_some(version)
    }

    /// Builds the newest version that this Go can, and says which.
    pub(super) fn install(&self, tools: &Path) -> Result<String, Failure> {
        let go =
            go().ok_or_else(|| Failure::new(format!("{} needs Go to be built", self.name)).hint("as root: apt-get install -y golang-go"))?;
        let mut last = Failure::new(format!("no version of {} could be built", self.name));
        for version in self.versions {
            match self.build(&go, version, tools) {
                Ok(()) => {
                    files::write(&tools.join(self.stamp()), version)?;
                    return Ok((*version).to_owned());
                }
                Err(error) => last = last.because(error),
            }
        }
        Err(last.hint("the Go module proxy must be reachable (`go env GOPROXY`), and Go be at least as new as the program wants"))
    }

    fn build(&self, go: &Path, version: &str, tools: &Path) -> Result<(), Failure> {
        for program in self.programs {
            let module = format!("{}/{program}@{version}", self.folder);
            // Without C: step-ca would ask for the headers of a smart card library.
            let variables = self.variables.iter().map(|variable| format!("-X {}", variable.replace("{version}", version)));
            let linking = format!("-ldflags=-s -w {}", variables.collect::<Vec<_>>().join(" "));
            capture(command(go).args(["install", &linking, &module]).env("GOBIN", tools).env("CGO_ENABLED", "0"))?;
        }
        Ok(())
    }

    /// The file with the installed version, since programs built by `go install` do not know their own.
    fn stamp(&self) -> String {
        format!(".{}-version", self.name)
    }
}

/// The Go command, if there is one.
pub(super) fn go() -> Option<PathBuf> {
    find_program("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_programs_and_a_known_version_must_be_there() {
        let tools = tempfile::tempdir().unwrap();
        for module in ALL {
            assert_eq!(module.installed(tools.path()), None, "{}", module.name);
            files::write(&tools.path().join(module.stamp()), &format!("{}\n", module.versions[0])).unwrap();
            for program in module.programs {
                assert_eq!(module.installed(tools.path()), None, "{}", module.name);
                files::write(&tools.path().join(program), "").unwrap();
            }
            assert_eq!(module.installed(tools.path()).as_deref(), Some(module.versions[0]));
            files::write(&tools.path().join(module.stamp()), "v0.0.1").unwrap();
            assert_eq!(module.installed(tools.path()), None, "{}", module.name);
        }
    }
}
