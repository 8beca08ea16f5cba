//! A container without an engine: the program of a service with the user, folders, secrets, volumes and variables that image and service
//! give it, in mounts that only it sees. As root it runs as the service's own user, without a capability, on a root that is read-only.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use certctl_testkit::require_program;
use nix::sys::signal::Signal;

use super::image::{Image, OURS};
use super::project::{Project, Service};
use crate::harness::{Home, Process, Ran, command, product, run, run_with_input};

/// One container.
pub(super) struct Container {
    name: String,
    image: Image,
    service: Service,
    secrets: Vec<(String, PathBuf)>,
    /// What the ports of the engine's network are here.
    ports: Vec<(String, String)>,
}

impl Container {
    /// The container of a service. Nothing of it is changed but `ports`: texts in its variables, since all containers share one network here.
    pub(super) fn of(project: &Project, name: &str, images: &BTreeMap<String, Image>, ports: &[(&str, &str)]) -> Self {
        let service = project.service(name).clone();
        let target = service.image_name().strip_prefix("certctl-").unwrap_or_else(|| panic!("{} is not ours", service.image));
        let secrets = service.secrets.iter().map(|granted| (granted.source.clone(), project.secret(&granted.source).to_owned()));
        Self {
            name: name.to_owned(),
            image: images[target].clone(),
            secrets: secrets.collect(),
            service,
            ports: ports.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        }
    }

    /// With one more variable.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.service.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts it.
    pub(super) fn start(&self, home: &Home) -> Process {
        let words = self.words(home, &self.command());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Process::start(home, &self.name, &words, Signal::SIGKILL, |command| {
            command.env_clear().envs(self.variables());
        })
    }

    /// Runs it to its end, with other arguments where some are given.
    pub(super) async fn run(&self, home: &Home, arguments: &[&str]) -> Ran {
        let entrypoint = self.service.entrypoint.as_ref().unwrap_or(&self.image.entrypoint);
        let words: Vec<String> = match arguments {
            [] => self.command(),
            others => entrypoint.iter().cloned().chain(others.iter().map(ToString::to_string)).collect(),
        };
        self.run_beside(home, &words).await
    }

    /// As [`Container::run`], with something on its standard input.
    pub(super) async fn run_with(&self, home: &Home, arguments: &[&str], input: &str) -> Ran {
        let words: Vec<String> = self.image.entrypoint.iter().cloned().chain(arguments.iter().map(ToString::to_string)).collect();
        let words = self.words(home, &words);
        run_with_input(command(home, &words[0]).args(&words[1..]).env_clear().envs(self.variables()), input).await
    }

    /// Runs another program in it.
    pub(super) async fn execute(&self, home: &Home, words: &[&str]) -> Ran {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        self.run_beside(home, &words).await
    }

    /// Runs the health check of the service.
    pub(super) async fn health(&self, home: &Home) -> Ran {
        let [kind, words @ ..] = &self.service.healthcheck.test[..] else { panic!("{} has no health check", self.name) };
        assert_eq!(kind, "CMD", "no shell");
        self.run_beside(home, words).await
    }

    /// Runs the health check of the image.
    pub(super) async fn health_of_image(&self, home: &Home) -> Ran {
        self.run_beside(home, &self.image.health).await
    }

    async fn run_beside(&self, home: &Home, words: &[String]) -> Ran {
        let words = self.words(home, words);
        run(command(home, &words[0]).args(&words[1..]).env_clear().envs(self.variables())).await
    }

    fn command(&self) -> Vec<String> {
        let entrypoint = self.service.entrypoint.as_ref().unwrap_or(&self.image.entrypoint);
        // An entrypoint of the service's own leaves nothing of the image's arguments.
        let command = match (&self.service.command, &self.service.entrypoint) {
            (Some(command), _) => command.clone(),
            (None, Some(_)) => Vec::new(),
            (None, None) => self.image.command.clone(),
        };
        entrypoint.iter().cloned().chain(command).collect()
    }

    /// Those of the image, then those of the service.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let mut all = self.image.variables.clone();
        all.insert("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        all.insert("HOME".to_owned(), "/".to_owned());
        for (name, value) in &self.service.environment {
            let value = self.ports.iter().fold(value.clone(), |value, (from, to)| value.replace(from, to));
            all.insert(name.clone(), value);
        }
        all
    }

    /// The words that make the mounts, become the user and start `program`.
    fn words(&self, home: &Home, program: &[String]) -> Vec<String> {
        let root = nix::unistd::geteuid().is_root();
        let mut script = self.lay_out(home);
        if root && self.service.read_only {
            script.push("mount -o remount,bind,ro /".to_owned());
        }
        script.push(format!("cd {}\nexec \"$0\" \"$@\"", self.image.folder));
        let unshare = require_program("unshare").to_str().unwrap().to_owned();
        let mut words = vec![unshare];
        words.extend((!root).then(|| "--map-root-user".to_owned()));
        words.extend(["--mount", "--", "sh", "-ec", &script.join("\n")].map(str::to_owned));
        if root {
            let user = if self.service.user.is_empty() { &self.image.user } else { &self.service.user };
            let (user, group) = user.split_once(':').unwrap();
            words.extend([require_program("setpriv").to_str().unwrap(), "--clear-groups"].map(str::to_owned));
            words.extend([format!("--reuid={user}"), format!("--regid={group}")]);
            if self.service.security_opt == ["no-new-privileges:true"] {
                words.push("--no-new-privs".to_owned());
            }
            if self.service.cap_drop == ["ALL"] {
                words.extend(["--bounding-set=-all", "--inh-caps=-all"].map(str::to_owned));
            }
            words.push("--".to_owned());
        }
        words.extend(program.iter().cloned());
        words
    }

    /// Makes the files that the container sees; gives the script that mounts them.
    fn lay_out(&self, home: &Home) -> Vec<String> {
        let root = home.join(&format!("container-{}", self.name));
        let mut script = Vec::new();
        for place in PLACES {
            open_folder(&root.join(place.trim_start_matches('/')));
            script.push(format!("mount --bind {}{place} {place}", root.display()));
        }
        for file in ["passwd", "group", "nsswitch.conf"] {
            std::fs::copy(Path::new("/etc").join(file), root.join("etc").join(file)).unwrap();
        }
        let hosts = root.join("etc/hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost server postgres\n").unwrap();
        std::fs::set_permissions(&hosts, std::fs::Permissions::from_mode(0o644)).unwrap();

        let bin = root.join("bin");
        open_folder(&bin);
        script.push("mount -t tmpfs -o mode=0755 tmpfs /usr/local/bin".to_owned());
        for program in &self.image.programs {
            let name = program.strip_prefix("/usr/local/bin/").unwrap_or_else(|| panic!("{program} is not in PATH"));
            script.push(format!("touch {program} && mount --bind {} {program}", product(name).display()));
        }

        let secrets = root.join("run/secrets");
        open_folder(&secrets);
        for (name, file) in &self.secrets {
            // With its mode: that of the file on the machine is the one that the container sees. Whole, as another one may be starting.
            let new = secrets.join(format!("{name}.new"));
            std::fs::copy(file, &new).unwrap_or_else(|error| panic!("the secret {}: {error}", file.display()));
            std::fs::rename(&new, secrets.join(name)).unwrap();
        }

        let mounted = self.service.mounts();
        for (name, inside, writable) in &mounted {
            assert!(PLACES.iter().any(|place| inside.starts_with(place)), "{inside} is in none of {PLACES:?}");
            let volume = home.join("volumes").join(name);
            if !volume.is_dir() {
                open_folder(&volume);
                // A new volume is as the folder of the image below it; without one it is root's.
                if self.image.own_folders.contains(inside) && nix::unistd::geteuid().is_root() {
                    let (user, group) = OURS.split_once(':').unwrap();
                    chown(&volume, user.parse().ok(), group.parse().ok()).unwrap();
                    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o700)).unwrap();
                }
            }
            open_folder(&root.join(inside.trim_start_matches('/')));
            script.push(format!("mount --bind {} {inside}", volume.display()));
            if !writable {
                script.push(format!("mount -o remount,bind,ro {inside}"));
            }
        }
        open_folder(&root.join(self.image.folder.trim_start_matches('/')));
        if self.service.read_only {
            // What the image has besides volumes is not to be written.
            script.extend(
                PLACES.iter().filter(|_| nix::unistd::geteuid().is_root()).map(|place| format!("mount -o remount,bind,ro {place}")),
            );
        }
        // Last, as everything above lies there.
        for tmpfs in &self.service.tmpfs {
            let (place, options) = tmpfs.split_once(':').unwrap();
            script.push(format!("mount -t tmpfs -o {options} tmpfs {place}"));
        }
        script
    }
}

/// A folder that every user of a container may enter.
fn open_folder(path: &Path) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The folders of this machine over which the container's are mounted.
const PLACES: [&str; 4] = ["/etc", "/var/lib", "/var/backups", "/run"];
