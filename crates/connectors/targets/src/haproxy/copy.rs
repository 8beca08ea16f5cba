//! A copy of the configuration in which a staged file stands for the live one, for HAProxy's own test.
//!
//! HAProxy finds more than the named file: the other files of a bundle, a `.key`, a whole directory. So the directory is
//! mirrored by links, with the one entry led to the staged file, and the copy names the mirror.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;

use super::syntax::{apply, quote};
use super::uses::{Config, Form, Lead, lead, list_lines, read};

/// A written copy.
#[derive(Debug)]
pub(super) struct Copies {
    /// The directory with the configuration files, for `-f`.
    pub(super) config: PathBuf,
    /// Each copy with what it stands for.
    pub(super) pairs: Vec<(PathBuf, PathBuf)>,
}

/// Writes the copy below `work`; `staged` leads from the paths that the live file is known under to its staged form.
///
/// # Errors
/// When the copy cannot be written.
pub(super) fn write(config: &Config, staged: &BTreeMap<PathBuf, PathBuf>, work: &Path) -> Result<Copies, ConnectorError> {
    let mut writer = Writer { staged, work, pairs: Vec::new(), mirrors: BTreeMap::new() };
    let directory = work.join("config");
    make_directory(&directory)?;
    let mut edits: Vec<Vec<_>> = vec![Vec::new(); config.files.len()];
    for one in config.uses() {
        let replacement = match one.is {
            Form::Certificate => writer.certificate(&one.path)?,
            Form::List => writer.list(&one.path, &one.base)?,
        };
        if let (Some(path), Some(edits)) = (replacement, edits.get_mut(one.file)) {
            edits.push((one.span, quote(&path.to_string_lossy())));
        }
    }
    for (file, _, line) in
        config.lines().filter(|(_, _, line)| line.word(0) == "default-path" && matches!(line.word(1), "config" | "parent"))
    {
        // Beside the copy there is nothing.
        if let (Some(origin), Some(word), Some(edits)) = (config.origin(file, line), line.words.get(1), edits.get_mut(file)) {
            edits.push((word.span.clone(), format!("origin {}", quote(&origin.to_string_lossy()))));
        }
    }
    for ((at, file), edits) in config.files.iter().enumerate().zip(edits) {
        let copy = directory.join(format!("{at:04}.cfg"));
        write_private(&copy, &apply(&file.text, edits))?;
        writer.pairs.push((copy, file.path.clone()));
    }
    Ok(Copies { config: directory, pairs: writer.pairs })
}

struct Writer<'a> {
    staged: &'a BTreeMap<PathBuf, PathBuf>,
    work: &'a Path,
    pairs: Vec<(PathBuf, PathBuf)>,
    /// By directory and entry.
    mirrors: BTreeMap<PathBuf, PathBuf>,
}

impl Writer<'_> {
    /// What to name instead; `None` when the path does not lead to the file.
    fn certificate(&mut self, named: &Path) -> Result<Option<PathBuf>, ConnectorError> {
        let known: Vec<_> = self.staged.keys().map(PathBuf::as_path).collect();
        let Some(lead) = lead(named, &known) else {
            return Ok(None);
        };
        let mirror = self.mirror(&lead)?;
        Ok(Some(match lead.named {
            Some(name) => mirror.join(name),
            None => mirror,
        }))
    }

    fn list(&mut self, path: &Path, base: &Path) -> Result<Option<PathBuf>, ConnectorError> {
        // A missing list is left for HAProxy to complain about.
        if !path.exists() {
            return Ok(None);
        }
        let text = read(path)?;
        let mut edits = Vec::new();
        for line in list_lines(&text, base) {
            if let Some(instead) = self.certificate(&line.path)? {
                edits.push((line.span, instead.to_string_lossy().into_owned()));
            }
        }
        if edits.is_empty() {
            return Ok(None);
        }
        let copy = self.work.join(format!("list-{:04}", self.pairs.len()));
        write_private(&copy, &apply(&text, edits))?;
        self.pairs.push((copy.clone(), path.to_owned()));
        Ok(Some(copy))
    }

    fn mirror(&mut self, lead: &Lead) -> Result<PathBuf, ConnectorError> {
        let live = lead.directory.join(&lead.entry);
        if let Some(mirror) = self.mirrors.get(&live) {
            return Ok(mirror.clone());
        }
        let mirror = self.work.join(format!("crt-{:04}", self.mirrors.len()));
        make_directory(&mirror)?;
        let link = |to: &Path, name: &std::ffi::OsStr| {
            let at = mirror.join(name);
            symlink(to, &at).map_err(|e| explain("link", &at, e))
        };
        for entry in fs::read_dir(&lead.directory).map_err(|e| explain("list", &lead.directory, e))?.flatten() {
            let name = entry.file_name();
            // HAProxy passes over hidden files, among them our staged ones.
            if name != lead.entry && !name.as_encoded_bytes().starts_with(b".") {
                link(&entry.path(), &name)?;
            }
        }
        // A link from elsewhere is known by what it leads to.
        let staged = self.staged.get(&live).or_else(|| self.staged.get(&live.canonicalize().ok()?)).or_else(|| self.staged.values().next());
        if let Some(staged) = staged {
            link(staged, &lead.entry)?;
        }
        self.pairs.push((mirror.clone(), lead.directory.clone()));
        self.mirrors.insert(live, mirror.clone());
        Ok(mirror)
    }
}

fn make_directory(path: &Path) -> Result<(), ConnectorError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|e| explain("make the directory", path, e))
}

fn write_private(path: &Path, text: &str) -> Result<(), ConnectorError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| explain("create", path, e))?;
    file.write_all(text.as_bytes()).map_err(|e| explain("write", path, e))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;

    #[test]
    fn the_copy_leads_to_the_staged_file_and_the_rest_stays() {
        let guard = tempfile::tempdir().unwrap();
        let root = guard.path().canonicalize().unwrap();
        let r = root.display();
        for directory in ["etc", "ssl", "work"] {
            fs::create_dir(root.join(directory)).unwrap();
        }
        for name in ["web.pem", "web.pem.ocsp", "b.pem", ".certctl-1.new"] {
            fs::write(root.join("ssl").join(name), name).unwrap();
        }
        fs::write(root.join("etc/list"), format!("# x\nb.pem\n{r}/ssl/web.pem [alpn h2] a.test\n")).unwrap();
        let text = format!(
            "global\n default-path config\n crt-base {r}/ssl\nfrontend f\n bind :1 ssl crt web.pem crt b.pem # x\n bind :2 ssl crt {r}/ssl/\n bind :3 ssl crt-list list\n"
        );
        fs::write(root.join("etc/haproxy.cfg"), &text).unwrap();
        let config = Config::load(&[root.join("etc/haproxy.cfg")]).unwrap();
        let staged = BTreeMap::from([(root.join("ssl/web.pem"), root.join("ssl/.certctl-1.new"))]);
        let copies = write(&config, &staged, &root.join("work")).unwrap();

        let w = root.join("work").display().to_string();
        let written = fs::read_to_string(copies.config.join("0000.cfg")).unwrap();
        assert_eq!(
            written,
            text.replace("default-path config", &format!("default-path origin \"{r}/etc\""))
                .replace("crt web.pem", &format!("crt \"{w}/crt-0000/web.pem\""))
                .replace(&format!("crt {r}/ssl/"), &format!("crt \"{w}/crt-0000\""))
                .replace("crt-list list", &format!("crt-list \"{w}/list-0001\""))
        );
        assert_eq!(fs::read_to_string(format!("{w}/list-0001")).unwrap(), format!("# x\nb.pem\n{w}/crt-0000/web.pem [alpn h2] a.test\n"));
        let mut names: Vec<_> = fs::read_dir(format!("{w}/crt-0000")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["b.pem", "web.pem", "web.pem.ocsp"]);
        assert_eq!(fs::read_to_string(format!("{w}/crt-0000/web.pem")).unwrap(), ".certctl-1.new");
        assert!(copies.pairs.contains(&(PathBuf::from(format!("{w}/crt-0000")), root.join("ssl"))));
        assert!(copies.pairs.contains(&(copies.config.join("0000.cfg"), root.join("etc/haproxy.cfg"))));
    }
}
