//! The story itself: the only file that knows the product's command lines.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::binaries::Binaries;
use crate::children::{Children, bound, free_address};
use crate::failure::Failure;
use crate::files;
use crate::interrupt::Interrupt;
use crate::process::{capture, command, variable};
use crate::say;

use super::database::ScratchDatabase;
use super::folder::Folder;
use super::steps::Steps;
use super::tls;
use super::web::{Site, Web};

/// Everything that the story needs.
pub(crate) struct Stage<'a> {
    pub(crate) binaries: &'a Binaries,
    pub(crate) folder: &'a Folder,
    pub(crate) database: Option<&'a ScratchDatabase>,
    pub(crate) web: Web,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) children: &'a mut Children,
    pub(crate) steps: &'a mut Steps,
}

/// What is left for the reader to try.
pub(crate) struct Ending {
    pub(crate) try_next: Vec<String>,
}

/// Plays it; stops at the first step that does not hold.
pub(crate) fn play(stage: &mut Stage<'_>) -> Result<Ending, Failure> {
    let address = free_address()?;
    let url = format!("https://{address}");
    let data = stage.folder.join("server");

    say::title("A server, an agent, a web server");
    start_server(stage, address, &data)?;
    let cli = log_in(stage, &url, &data)?;
    let agent = enroll_agent(stage, &cli, &url, &data)?;
    let (site, placeholder) = start_web(stage)?;

    say::title("One certificate: requested, deployed, proved");
    create_target(stage, &cli, &site, &agent)?;
    let authority = authority(stage, &cli)?;
    let first = stage.steps.step("the certificate is requested, issued and deployed", |notes| {
        let names = ["--name", CERTIFICATE, "--san", HOST, "--target", TARGET, "--wait"];
        cli.run(["certs", "request"].iter().chain(&names))?;
        let version = cli.current_version(CERTIFICATE)?;
        notes.add(format_args!("serial {}", version.serial));
        Ok(version)
    })?;
    prove(stage, &site, &authority, &first)?;
    if first.fingerprint == placeholder {
        return Err(Failure::new("the web server still serves the certificate it began with"));
    }

    say::title("Renewed, and the old version revoked");
    let second = stage.steps.step("it is renewed on command", |notes| {
        cli.run(&["certs", "renew", CERTIFICATE, "--wait"])?;
        let version = cli.current_version(CERTIFICATE)?;
        if version.serial == first.serial {
            return Err(Failure::new("the current version is still the old one"));
        }
        notes.add(format_args!("serial {}", version.serial));
        Ok(version)
    })?;
    prove(stage, &site, &authority, &second)?;
    revoke(stage, &cli, &first)?;

    say::title("Evidence");
    stage.steps.step("the audit chain is whole", |notes| cli.run(&["audit", "verify"]).map(|said| notes.add(said.trim())))?;
    stage.steps.step("the certificate can say why it is in its state", |notes| {
        cli.run(&["certs", "explain", CERTIFICATE]).map(|said| said.lines().for_each(|line| notes.add(line)))
    })?;
    stage.children.all_alive()?;
    Ok(ending(&cli, &url, &site))
}

fn start_server(stage: &mut Stage<'_>, address: SocketAddr, data: &Path) -> Result<(), Failure> {
    let mut server = bound(stage.binaries.server()?);
    without_settings(&mut server);
    server.env("CERTCTL_SERVER_LISTEN", address.to_string()).env("CERTCTL_SERVER_DATA_DIR", data);
    let title = match stage.database {
        None => "the server starts on SQLite with nothing configured",
        Some(database) => {
            let key = stage.folder.join("secrets/encryption.key");
            write_secret(&key, &capture(command("openssl").args(["rand", "-base64", "32"]))?)?;
            server.env("CERTCTL_DATABASE_URL", database.url()).env("CERTCTL_ENCRYPTION_KEY_FILE", &key);
            "the server starts on PostgreSQL"
        }
    };
    let (children, interrupt) = (&mut *stage.children, stage.interrupt);
    stage.steps.step(title, |notes| {
        children.start("server", server)?;
        // Readiness is no secret and the server's own CA is not known yet, so the chain is not checked here; every later call checks it.
        let ready = format!("https://{address}/ready");
        let ask = || capture(command("curl").args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "5", &ready]));
        interrupt.until(READY_WITHIN, || children.all_alive(), ask)?;
        notes.add(format_args!("https://{address}, data in {}", data.display()));
        Ok(())
    })
}

fn log_in(stage: &mut Stage<'_>, url: &str, data: &Path) -> Result<Cli, Failure> {
    let cli = Cli::at(stage.folder, stage.binaries.cli()?)?;
    stage.steps.step("the first administrator logs in with the one-time token", |_| {
        let (token, ca) = (data.join("first-admin-token"), data.join("tls/ca.pem"));
        cli.run(&["login", "--server", url, "--ca", &text(&ca), "--token-file", &text(&token)])
    })?;
    Ok(cli)
}

fn enroll_agent(stage: &mut Stage<'_>, cli: &Cli, url: &str, data: &Path) -> Result<Agent, Failure> {
    let home = stage.folder.join("agent");
    let token_file = stage.folder.join("secrets/enrollment-token");
    let program = stage.binaries.agent()?.to_path_buf();
    let allowed = home.join("commands.toml");

    stage.steps.step("an agent enrolls with a single-use token and makes its own identity", |_| {
        let token = cli.json(&["agents", "token", "create", "--name", AGENT])?;
        write_secret(&token_file, string(&token, "/token_value")?)?;
        let mut enroll = command(&program);
        without_settings(&mut enroll);
        enroll.args(["enroll", "--server", url, "--name", AGENT]).arg("--ca").arg(data.join("tls/ca.pem"));
        enroll.arg("--token-file").arg(&token_file).arg("--state-dir").arg(&home);
        capture(&mut enroll)
    })?;

    // The agent uses it only if nobody but its owner can write it, whatever the umask here is.
    write_with_mode(&allowed, 0o644, &allow_list(&stage.web, &stage.folder.join("web/nginx.conf")))?;
    let mut agent = bound(&program);
    without_settings(&mut agent);
    agent.arg("run").arg("--state-dir").arg(&home).arg("--allow-list").arg(&allowed);
    let (children, interrupt) = (&mut *stage.children, stage.interrupt);
    stage.steps.step("the agent is online", |notes| {
        children.start("agent", agent)?;
        let online = || {
            let shown = cli.json(&["agents", "get", AGENT])?;
            if string(&shown, "/status")? != "Online" {
                return Err(Failure::new(format!("the agent is {}", string(&shown, "/status")?)));
            }
            string(&shown, "/id").map(str::to_owned)
        };
        let id = interrupt.until(READY_WITHIN, || children.all_alive(), online)?;
        notes.add(format_args!("{id}; keys are made here and never leave {}", home.display()));
        Ok(Agent { id })
    })
}

fn start_web(stage: &mut Stage<'_>) -> Result<(Site, String), Failure> {
    let program = stage.binaries.agent()?.to_path_buf();
    let site = Site::prepare(&stage.folder.join("web"), HOST)?;
    let (web, children, interrupt) = (&stage.web, &mut *stage.children, stage.interrupt);
    let title = match web {
        Web::Nginx { .. } => "nginx serves a self-signed placeholder",
        Web::Listener => "a small TLS listener serves a self-signed placeholder",
    };
    let served = stage.steps.step(title, |notes| {
        let served = site.start(web, &program, HOST, (children, interrupt))?;
        notes.add(format_args!("https://{} as {HOST}: {}", site.address, served.subject));
        Ok(served)
    })?;
    Ok((site, served.fingerprint))
}

fn create_target(stage: &mut Stage<'_>, cli: &Cli, site: &Site, agent: &Agent) -> Result<(), Failure> {
    let observe = json!({ "address": site.address.to_string(), "server_names": [HOST] });
    let (kind, config) = match &stage.web {
        Web::Nginx { program } => {
            let config = json!({
                "certificate_path": site.certificate, "key_path": site.key, "config_path": site.config,
                "test_command": [program, "-t", "-c", "{config}"],
                "reload_command": [program, "-s", "reload", "-c", site.config],
                "observe": observe,
            });
            ("NGINX", config)
        }
        Web::Listener => ("Files", json!({ "certificate_path": site.certificate, "key_path": site.key, "observe": observe })),
    };
    let file = stage.folder.join("cli/target.json");
    files::write(&file, &format!("{:#}\n", json!({ "config": config })))?;
    let from = text(&file);
    let title = format!("the target {TARGET} tells certctl where the certificate goes");
    stage
        .steps
        .step(&title, |_| cli.run(&["targets", "create", "--name", TARGET, "--type", kind, "--agent", &agent.id, "--from-file", &from]))?;
    Ok(())
}

/// The CA's certificates in a file, for the witness.
fn authority(stage: &mut Stage<'_>, cli: &Cli) -> Result<PathBuf, Failure> {
    let file = stage.folder.join("cli/authority.pem");
    stage.steps.step("the built-in CA shows its certificate", |_| {
        let chain = cli.run(&["issuers", "ca", ISSUER])?;
        files::write(&file, &chain)
    })?;
    Ok(file)
}

/// An independent handshake: chain, name and validity hold, and what is served is what is stored.
fn prove(stage: &mut Stage<'_>, site: &Site, authority: &Path, version: &Version) -> Result<(), Failure> {
    let web = match &stage.web {
        Web::Nginx { .. } => "nginx",
        Web::Listener => "the listener",
    };
    let title = format!("a TLS handshake with {web} proves it: served equals stored");
    let (children, interrupt) = (&*stage.children, stage.interrupt);
    stage.steps.step(&title, |notes| {
        // nginx finishes handshakes with its old workers for a moment after a reload.
        let equal = || {
            let served = tls::verified(site.address, HOST, authority)?;
            if served.fingerprint == version.fingerprint {
                return Ok(served);
            }
            Err(Failure::new(format!("served is {}, stored is {}", served.fingerprint, version.fingerprint)))
        };
        let served = interrupt.until(PROVED_WITHIN, || children.all_alive(), equal)?;
        notes.add(format_args!("SHA-256 {}", served.fingerprint));
        notes.add(format_args!("valid until {}", served.not_after));
        Ok(())
    })
}

fn revoke(stage: &mut Stage<'_>, cli: &Cli, old: &Version) -> Result<(), Failure> {
    stage.steps.step("the old version is revoked, the new one is not", |notes| {
        cli.run(&["certs", "revoke", CERTIFICATE, "--serial", &old.serial, "--reason", "superseded", "--yes"])?;
        let versions = cli.json(&["certs", "versions", CERTIFICATE])?;
        let rows = versions.pointer("/data").and_then(Value::as_array).ok_or_else(|| Failure::new("no list of versions"))?;
        for row in rows {
            let (serial, revoked) = (string(row, "/serial_number")?, row.pointer("/revoked_at").is_some_and(|at| !at.is_null()));
            if revoked != (serial == old.serial) {
                return Err(Failure::new(format!("version {serial} has the wrong state: revoked is {revoked}")));
            }
            notes.add(format_args!("{serial} {}", if revoked { "revoked: superseded" } else { "valid" }));
        }
        Ok(())
    })
}

fn ending(cli: &Cli, url: &str, site: &Site) -> Ending {
    let certctl = cli.script.display();
    Ending {
        try_next: vec![
            format!("{certctl} certs list"),
            format!("{certctl} certs explain {CERTIFICATE}"),
            format!("{certctl} certs renew {CERTIFICATE} --wait"),
            format!("{certctl} jobs list"),
            format!("{certctl} audit list"),
            format!("openssl s_client -connect {} -servername {HOST} </dev/null | openssl x509 -noout -text", site.address),
            format!("curl --insecure {url}/health"),
        ],
    }
}

/// What the agent on this machine may run, and nothing else.
fn allow_list(web: &Web, config: &Path) -> String {
    let Web::Nginx { program } = web else { return "# This agent may run no command.\n".to_owned() };
    let test = json!([program, "-t", "-c", "*"]);
    let reload = json!([program, "-s", "reload", "-c", config]);
    format!("# What this agent may run; `*` stands for one argument.\n[[command]]\nargv = {test}\n\n[[command]]\nargv = {reload}\n")
}

struct Agent {
    id: String,
}

struct Version {
    serial: String,
    fingerprint: String,
}

/// The command line client, with its settings in the demo's folder instead of the user's home.
struct Cli {
    program: PathBuf,
    home: PathBuf,
    script: PathBuf,
}

impl Cli {
    /// Also leaves a script in the folder, so that the reader can go on with the same settings.
    fn at(folder: &Folder, program: &Path) -> Result<Self, Failure> {
        let (home, script) = (folder.join("cli"), folder.join("certctl"));
        files::make_dir(&home)?;
        let (shown_home, shown_program) = (home.display(), program.display());
        let lines = format!("#!/bin/sh\nexport HOME='{shown_home}' XDG_CONFIG_HOME='{shown_home}'\nexec '{shown_program}' \"$@\"\n");
        files::write(&script, &lines)?;
        let executable = fs::set_permissions(&script, Permissions::from_mode(0o755));
        executable.map_err(|error| Failure::new(format!("cannot make {} executable", script.display())).because(error))?;
        Ok(Self { program: program.to_path_buf(), home, script })
    }

    /// Runs a command and returns what it printed.
    fn run<'w>(&self, words: impl IntoIterator<Item = &'w &'w str>) -> Result<String, Failure> {
        let mut certctl = command(&self.program);
        without_settings(&mut certctl);
        certctl.env("HOME", &self.home).env("XDG_CONFIG_HOME", &self.home);
        capture(certctl.args(words))
    }

    /// Runs a command and reads its answer as JSON.
    fn json(&self, words: &[&str]) -> Result<Value, Failure> {
        let said = self.run(words.iter().chain(&["--output", "json"]))?;
        serde_json::from_str(&said).map_err(|error| Failure::new(format!("`certctl {}` printed no JSON", words.join(" "))).because(error))
    }

    fn current_version(&self, certificate: &str) -> Result<Version, Failure> {
        let shown = self.json(&["certs", "versions", certificate, "--state", "current"])?;
        let version = |field: &str| string(&shown, &format!("/data/0/{field}")).map(str::to_owned);
        Ok(Version { serial: version("serial_number")?, fingerprint: version("fingerprint_sha256")? })
    }
}

fn string<'v>(value: &'v Value, pointer: &str) -> Result<&'v str, Failure> {
    value.pointer(pointer).and_then(Value::as_str).ok_or_else(|| Failure::new(format!("the answer has no text at {pointer}")))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Takes the reader's own environment away: their settings must not change the story.
fn without_settings(program: &mut Command) {
    program.env_clear();
    for name in ["PATH", "LANG", "TZ", "TERM"] {
        if let Some(value) = variable(name) {
            program.env(name, value);
        }
    }
}

/// Writes a file that only its owner can read.
fn write_secret(path: &Path, secret: &str) -> Result<(), Failure> {
    write_with_mode(path, 0o600, secret)
}

/// Writes a file with a mode that it has before there is anything in it.
fn write_with_mode(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    files::write(path, "")?;
    let set = fs::set_permissions(path, Permissions::from_mode(mode));
    set.map_err(|error| Failure::new(format!("cannot set the mode of {}", path.display())).because(error))?;
    files::write(path, text)
}

const CERTIFICATE: &str = "web";
const HOST: &str = "web.demo.test";
const TARGET: &str = "web-1";
const AGENT: &str = "web-host";
const ISSUER: &str = "iss-local";

const READY_WITHIN: Duration = Duration::from_secs(60);
const PROVED_WITHIN: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets/token");
        write_secret(&path, "ce_1_2").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(files::read(&path).unwrap(), "ce_1_2");
    }

    #[test]
    fn the_allow_list_names_the_two_commands_and_no_other() {
        let web = Web::Nginx { program: PathBuf::from("/usr/sbin/nginx") };
        let list = allow_list(&web, Path::new("/d/web/nginx.conf"));
        assert_eq!(list.matches("[[command]]").count(), 2);
        assert!(list.contains(r#"argv = ["/usr/sbin/nginx","-s","reload","-c","/d/web/nginx.conf"]"#), "{list}");
        assert!(!allow_list(&Web::Listener, Path::new("x")).contains("[[command]]"));
    }

    #[test]
    fn the_readers_settings_do_not_reach_the_programs() {
        let mut shell = command("sh");
        shell.env("CERTCTL_DATABASE_URL", "postgres://somebody");
        without_settings(&mut shell);
        let said = capture(shell.args(["-c", "echo \"[$CERTCTL_DATABASE_URL]\""])).unwrap();
        assert_eq!(said.trim(), "[]");
    }
}
