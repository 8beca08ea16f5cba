//! Configurations in pages: settings go through the server's own check, allow-lists through the agent, units through systemd, and those of
//! nginx and HAProxy through the real programs.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::failure::Failure;
use crate::files;
use crate::process::{command, find_program, output};

use super::blocks::Block;
use super::claims::{Executor, executor};
use super::{Finding, Pages};

/// Every configuration that its program does not take.
pub(super) fn check(pages: &Pages<'_>) -> Result<Vec<Finding>, Failure> {
    let scratch = tempfile::tempdir().map_err(|error| Failure::new("cannot make a folder").because(error))?;
    let judge = Judge { pages, scratch: scratch.path().to_owned() };
    let mut findings = Vec::new();
    for page in &pages.pages {
        for (number, block) in page.blocks().iter().enumerate() {
            let folder = scratch.path().join(page.path.replace('/', "-")).join(number.to_string());
            files::make_dir(&folder)?;
            let said = match executor(&page.path, block.info) {
                Some(Executor::Settings) => judge.settings(&folder, block)?,
                Some(Executor::Allowed) => judge.allowed(&folder, block)?,
                Some(Executor::DropIn(unit)) => judge.drop_in(&folder, block, unit)?,
                Some(Executor::Nginx) => nginx(&folder, block)?,
                Some(Executor::Prometheus) => prometheus(&folder, block)?,
                Some(Executor::Haproxy) => haproxy(&folder, block)?,
                _ => None,
            };
            findings.extend(said.map(|said| Finding::new(&page.path, block.line, said)));
        }
    }
    Ok(findings)
}

struct Judge<'a> {
    pages: &'a Pages<'a>,
    scratch: PathBuf,
}

impl Judge<'_> {
    /// `certctl-server config check`. Secrets that lie in files on the reader's machine are stood in for by one.
    fn settings(&self, folder: &Path, block: &Block<'_>) -> Result<Option<String>, Failure> {
        let secret = folder.join("secret");
        files::write(&secret, SECRET)?;
        let address = folder.join("address");
        files::write(&address, "postgres://certctl@db.example.test/certctl")?;
        let mut section = String::new();
        let mut lines = String::new();
        for line in block.text.lines() {
            if line.starts_with('[') {
                line.clone_into(&mut section);
            }
            let key = line.split_once(" = ").map_or("", |(key, _)| key.trim_end());
            let read_when_used = section == "[tls]" || FILES_OF_OTHER_KINDS.contains(&key);
            let stand_in = if key == "url_file" { &address } else { &secret };
            lines.push_str(&if key.ends_with("_file") && !read_when_used {
                format!("{key} = \"{}\"", stand_in.display())
            } else {
                line.to_owned()
            });
            lines.push('\n');
        }
        let file = folder.join("server.toml");
        files::write(&file, &lines)?;
        let mut run = command(self.pages.binaries.server()?);
        run.env_clear().env("HOME", folder).current_dir(folder).arg("--data-dir").arg(folder).arg("--config").arg(&file);
        Ok(complaint(&output(run.args(["config", "check"]))?, folder))
    }

    /// The agent reads the list to show it.
    fn allowed(&self, folder: &Path, block: &Block<'_>) -> Result<Option<String>, Failure> {
        let file = folder.join("commands.toml");
        files::write(&file, &block.text)?;
        let mut run = command(self.pages.binaries.agent()?);
        run.env_clear().env("HOME", folder).arg("--state-dir").arg(folder).arg("--allow-list").arg(&file).arg("allow");
        let ran = output(&mut run)?;
        let n = block.text.matches("[[command]]").count();
        let shown = String::from_utf8_lossy(&ran.stdout).lines().count();
        Ok(complaint(&ran, folder).or_else(|| (shown < n).then(|| format!("{n} commands are listed, and the agent reads {shown}"))))
    }

    /// A drop-in beside the unit that it is for, with programs that are there.
    fn drop_in(&self, folder: &Path, block: &Block<'_>, unit: &str) -> Result<Option<String>, Failure> {
        let text = files::read(&self.pages.root.join("deploy/systemd").join(unit))?;
        let there = |line: &str| match line.split_once('=') {
            Some((key @ ("ExecStart" | "ExecStartPre" | "ExecStopPost"), _)) => format!("{key}=/bin/true\n"),
            _ => format!("{line}\n"),
        };
        let file = folder.join(unit);
        files::write(&file, &text.lines().map(there).collect::<String>())?;
        files::write(&folder.join(format!("{unit}.d/page.conf")), &block.text.lines().map(there).collect::<String>())?;
        let program = needed("systemd-analyze", "systemd")?;
        let mut run = command(program);
        let ran = output(run.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&file).env("SYSTEMD_LOG_LEVEL", "warning"))?;
        let said = String::from_utf8_lossy(&ran.stderr);
        let ours = said.lines().find(|line| line.contains("page.conf"));
        Ok(ours.map(|line| line.replace(&format!("{}/", self.scratch.display()), "")).or_else(|| complaint(&ran, folder)))
    }
}

/// `nginx -t`. A block that begins with `location` is put into a server, one with `server` or `upstream` into `http`.
fn nginx(folder: &Path, block: &Block<'_>) -> Result<Option<String>, Failure> {
    let first = block.text.split_whitespace().next().unwrap_or_default();
    let (before, after) = match first {
        "location" => ("http { server { listen unix:nginx.sock; ", "} }"),
        "stream" | "http" => ("", ""),
        _ => ("http { ", "}"),
    };
    let text = block.text.replace("certctl.internal", "127.0.0.1");
    // Ports below 1024 are not ours to take; the names of the reader's machines mean nothing here.
    let text = format!("{}pid nginx.pid; error_log stderr; events {{}}\n{before}\n{text}{after}\n", modules(block));
    let file = folder.join("nginx.conf");
    files::write(&file, &text)?;
    let mut run = command(needed("nginx", "nginx-light")?);
    Ok(complaint(&output(run.arg("-t").arg("-q").arg("-p").arg(folder).arg("-c").arg(&file))?, folder))
}

/// `promtool check config`; the files that it names lie on the reader's machine.
fn prometheus(folder: &Path, block: &Block<'_>) -> Result<Option<String>, Failure> {
    let file = folder.join("prometheus.yml");
    files::write(&file, &block.text)?;
    let mut run = command(needed("promtool", "prometheus")?);
    Ok(complaint(&output(run.args(["check", "config", "--syntax-only"]).arg(&file))?, folder))
}

/// Debian builds the stream module apart from nginx.
fn modules(block: &Block<'_>) -> String {
    let module = Path::new(STREAM_MODULE);
    if block.text.contains("stream {") && module.exists() { format!("load_module {STREAM_MODULE};\n") } else { String::new() }
}

/// `haproxy -c`. Back ends that a block only names are made.
fn haproxy(folder: &Path, block: &Block<'_>) -> Result<Option<String>, Failure> {
    let words: Vec<Vec<&str>> = block.text.lines().map(|line| line.split_whitespace().collect()).collect();
    let named = words.iter().filter_map(|words| match words.as_slice() {
        ["use_backend" | "default_backend", name, ..] => Some(*name),
        _ => None,
    });
    let made: Vec<&str> =
        words.iter().filter_map(|words| if words.first() == Some(&"backend") { words.get(1).copied() } else { None }).collect();
    let missing: std::collections::BTreeSet<&str> = named.filter(|name| !made.contains(name)).collect();
    let backends: String = missing.iter().map(|name| format!("backend {name}\n  mode tcp\n  server one 127.0.0.1:1\n")).collect();
    let defaults =
        if block.text.contains("defaults") { "" } else { "defaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n" };
    let file = folder.join("haproxy.cfg");
    files::write(&file, &format!("{defaults}{}{backends}", block.text))?;
    let mut run = command(needed("haproxy", "haproxy")?);
    Ok(complaint(&output(run.args(["-c", "-q", "-f"]).arg(&file))?, folder))
}

fn needed(program: &str, package: &str) -> Result<PathBuf, Failure> {
    find_program(program).ok_or_else(|| Failure::new(format!("`{program}` is not installed")).hint(format!("apt-get install {package}")))
}

/// What a program says that did not succeed.
fn complaint(ran: &Output, folder: &Path) -> Option<String> {
    if ran.status.success() {
        return None;
    }
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
    let said = said.replace(&format!("{}/", folder.display()), "");
    Some(said.lines().filter(|line| !line.trim().is_empty()).take(3).collect::<Vec<_>>().join("; "))
}

/// 32 bytes in base64: good as a key, and as any other secret.
const SECRET: &str = "cGFnZXMgb2YgY2VydGN0bCwgYSBrZXkgb2YgMzJieXQ=";

/// Settings that name a file which is read when it is used, and not as a value.
const FILES_OF_OTHER_KINDS: [&str; 3] = ["commands_file", "s3_ca_file", "s3_web_identity_token_file"];

const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block<'static> {
        Block { line: 1, info: "", text: text.to_owned() }
    }

    #[test]
    fn nginx_and_haproxy_judge_what_stands_in_pages() {
        let folder = tempfile::tempdir().unwrap();
        let good = "location /x { proxy_pass http://certctl.internal:8080; }\n";
        assert_eq!(nginx(folder.path(), &block(good)).unwrap(), None);
        assert!(nginx(folder.path(), &block(&good.replace("proxy_pass", "proxy_pas"))).unwrap().unwrap().contains("proxy_pas"));
        let good = "frontend f\n  mode tcp\n  bind 127.0.0.1:1\n  default_backend web\n";
        assert_eq!(haproxy(folder.path(), &block(good)).unwrap(), None);
        assert!(haproxy(folder.path(), &block(&good.replace("mode", "mod"))).unwrap().is_some());
    }
}
