//! Where a HAProxy configuration names certificates: `crt` of a file, of a bundle or of a directory, and `crt-list`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;

use super::syntax::{Line, Word, parse};

/// A configuration: one file after the other, as HAProxy reads them.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) files: Vec<ConfigFile>,
}

/// One file.
#[derive(Debug, Clone)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) lines: Vec<Line>,
}

/// A word that names certificates.
#[derive(Debug, Clone)]
pub(super) struct Use<'a> {
    pub(super) file: usize,
    pub(super) line: &'a Line,
    /// The word itself.
    pub(super) span: Range<usize>,
    pub(super) path: PathBuf,
    pub(super) is: Form,
    /// What relative paths within a certificate list begin with.
    pub(super) base: PathBuf,
}

/// What is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `crt`: a file, the common part of a bundle's names, or a directory.
    Certificate,
    /// `crt-list`: a file that lists certificates.
    List,
}

/// How a named path leads to the file that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lead {
    /// The directory HAProxy looks in.
    pub(super) directory: PathBuf,
    /// The name there under which it finds the file.
    pub(super) entry: OsString,
    /// What is named below the directory; nothing when the directory itself is.
    pub(super) named: Option<OsString>,
}

/// A line of a certificate list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListLine {
    /// The certificate's path.
    pub(super) path: PathBuf,
    /// Where it stands in the list.
    pub(super) span: Range<usize>,
    /// The names that it is for; empty when it is for those in the certificate.
    pub(super) filters: Vec<String>,
}

impl Config {
    /// Reads the files; a directory stands for the `*.cfg` files in it.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn load(paths: &[PathBuf]) -> Result<Self, ConnectorError> {
        let mut files = Vec::new();
        for path in paths {
            for path in if path.is_dir() { configs_in(path)? } else { vec![path.clone()] } {
                let text = read(&path)?;
                files.push(ConfigFile { lines: parse(&text), path, text });
            }
        }
        Ok(Self { files })
    }

    /// Every line with the index of its file and the section that it stands in.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str, &Line)> {
        let mut section = "";
        self.files.iter().enumerate().flat_map(|(file, config)| config.lines.iter().map(move |line| (file, line))).map(
            move |(file, line)| {
                if SECTIONS.contains(&line.word(0)) {
                    section = line.word(0);
                }
                (file, section, line)
            },
        )
    }

    /// Every word that names certificates.
    pub(super) fn uses(&self) -> Vec<Use<'_>> {
        let mut uses = Vec::new();
        let (mut global_base, mut store_base) = (PathBuf::new(), PathBuf::new());
        // The service starts in the root directory, as ours do.
        let mut default_path = PathBuf::from("/");
        for (file, section, line) in self.lines() {
            match (line.word(0), section) {
                ("crt-store", _) => store_base = PathBuf::new(),
                ("crt-base", "crt-store") => store_base = line.word(1).into(),
                ("crt-base", _) => global_base = line.word(1).into(),
                ("default-path", _) => default_path = self.origin(file, line).unwrap_or_else(|| "/".into()),
                ("bind" | "default-bind" | "server" | "default-server" | "server-template" | "load" | "ssl-f-use", _) => {
                    let base = default_path.join(if section == "crt-store" { &store_base } else { &global_base });
                    for pair in line.words.windows(2) {
                        if let [keyword, value] = pair {
                            uses.extend(self::named(keyword, value, &default_path, &base).map(|(is, path)| Use {
                                file,
                                line,
                                span: value.span.clone(),
                                path,
                                is,
                                base: base.clone(),
                            }));
                        }
                    }
                }
                _ => {}
            }
        }
        uses
    }

    /// The directory that a `default-path` line makes relative paths begin with; `None` when it leaves that to the process.
    pub(super) fn origin(&self, file: usize, line: &Line) -> Option<PathBuf> {
        let beside = self.files.get(file)?.path.parent()?;
        match line.word(1) {
            "config" => Some(beside.to_owned()),
            "parent" => Some(beside.parent().unwrap_or(beside).to_owned()),
            "origin" => Some(line.word(2).into()),
            _ => None,
        }
    }

    /// Where a line stands, for people.
    pub(super) fn place(&self, file: usize, line: &Line) -> String {
        let path = self.files.get(file).map(|file| file.path.display().to_string()).unwrap_or_default();
        format!("{path}:{}", line.number)
    }
}

/// How a named path leads to one of the paths that a file is known under.
pub(super) fn lead(named: &Path, known: &[&Path]) -> Option<Lead> {
    let (parent, name) = (named.parent(), named.file_name());
    if named.is_dir() {
        let real = named.canonicalize().ok()?;
        let inside = known.iter().find(|path| path.parent().and_then(|p| p.canonicalize().ok()).is_some_and(|p| p == real))?;
        return Some(Lead { directory: named.to_owned(), entry: inside.file_name()?.to_owned(), named: None });
    }
    let is_known = |path: &Path| known.contains(&path) || path.canonicalize().is_ok_and(|real| known.contains(&real.as_path()));
    let with = |ending: &str| {
        let mut entry = name.unwrap_or(OsStr::new("")).to_owned();
        entry.push(ending);
        entry
    };
    let entry = ["", ".rsa", ".ecdsa", ".dsa"].map(with).into_iter().find(|entry| is_known(&named.with_file_name(entry)))?;
    Some(Lead { directory: parent?.to_owned(), entry, named: Some(name?.to_owned()) })
}

/// The lines of a certificate list.
pub(super) fn list_lines(text: &str, base: &Path) -> Vec<ListLine> {
    let mut lines = Vec::new();
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        let lead_in = line.len() - line.trim_start().len();
        let content = line.trim();
        let length = content.find(|c: char| c.is_whitespace() || c == '[').unwrap_or(content.len());
        let (path, rest) = content.split_at_checked(length).unwrap_or_default();
        if !path.is_empty() && !path.starts_with('#') {
            let filters = rest.rsplit_once(']').map_or(rest, |(_, filters)| filters);
            let start = begin + lead_in;
            lines.push(ListLine {
                path: base.join(path),
                span: start..start + path.len(),
                filters: filters.split_whitespace().map(str::to_owned).collect(),
            });
        }
        begin += line.len();
    }
    lines
}

/// Reads a file of the configuration.
pub(super) fn read(path: &Path) -> Result<String, ConnectorError> {
    let unreadable = |error| explain("read the HAProxy configuration", path, error);
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(unreadable)?.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(ConnectorError::permanent(format!("the HAProxy configuration {} is larger than 8 MiB", path.display())));
    }
    // A comment in an old encoding is no reason to give up.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const MAX_SIZE: u64 = 8 * 1024 * 1024;

const SECTIONS: [&str; 22] = [
    "acme",
    "backend",
    "cache",
    "crt-store",
    "defaults",
    "dynamic-update",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "log-forward",
    "log-profile",
    "mailers",
    "namespace_list",
    "peers",
    "program",
    "resolvers",
    "ring",
    "snmp",
    "traces",
    "userlist",
];

fn named(keyword: &Word, value: &Word, default_path: &Path, base: &Path) -> Option<(Form, PathBuf)> {
    match keyword.text.as_str() {
        "crt" => Some((Form::Certificate, base.join(&value.text))),
        // `crt-base` is for the certificates in the list, not for the list.
        "crt-list" => Some((Form::List, default_path.join(&value.text))),
        _ => None,
    }
}

fn configs_in(directory: &Path) -> Result<Vec<PathBuf>, ConnectorError> {
    let entries = fs::read_dir(directory).map_err(|e| explain("list", directory, e))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_config(path)).collect();
    paths.sort();
    Ok(paths)
}

fn is_config(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension() == Some(OsStr::new("cfg")) && path.is_file()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let file = ConfigFile { path: "/etc/haproxy/haproxy.cfg".into(), text: text.to_owned(), lines: parse(text) };
        Config { files: vec![file] }
    }

    fn paths(text: &str) -> Vec<String> {
        config(text).uses().iter().map(|one| format!("{:?} {}", one.is, one.path.display())).collect()
    }

    #[test]
    fn every_word_that_names_a_certificate_is_found_with_its_base() {
        let text = "global\n crt-base /etc/ssl\nfrontend f\n bind :443 ssl crt a.pem crt /b.pem crt-list list ca-file ca.pem\n\
                    backend b\n server s 10.0.0.1:443 ssl crt client.pem\n\
                    crt-store web\n crt-base /srv\n load crt c.pem key c.key\nlisten l\n bind :1 ssl crt d.pem\n";
        assert_eq!(
            paths(text),
            [
                "Certificate /etc/ssl/a.pem",
                "Certificate /b.pem",
                "List /list",
                "Certificate /etc/ssl/client.pem",
                "Certificate /srv/c.pem",
                "Certificate /etc/ssl/d.pem"
            ]
        );
        assert_eq!(paths("global\n default-path config\nfrontend f\n bind :1 ssl crt a.pem"), ["Certificate /etc/haproxy/a.pem"]);
        assert_eq!(paths("global\n default-path parent\nfrontend f\n bind :1 ssl crt a.pem"), ["Certificate /etc/a.pem"]);
        assert_eq!(paths("frontend crt\n log crt x\n http-request set-header crt /a.pem"), [""; 0]);
    }

    #[test]
    fn a_path_leads_to_a_file_by_itself_by_a_bundle_a_directory_or_a_link() {
        let guard = tempfile::tempdir().unwrap();
        let root = guard.path().canonicalize().unwrap();
        fs::create_dir(root.join("ssl")).unwrap();
        let pem = root.join("ssl/web.pem.rsa");
        fs::write(&pem, "").unwrap();
        std::os::unix::fs::symlink(&pem, root.join("link.pem")).unwrap();
        let lead = |named: &str| {
            let found = lead(&root.join(named), &[&pem])?;
            let directory = found.directory.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            Some((directory, found.entry.into_string().unwrap(), found.named.map(|name| name.into_string().unwrap())))
        };
        let is =
            |directory: &str, entry: &str, named: Option<&str>| Some((directory.to_owned(), entry.to_owned(), named.map(str::to_owned)));
        assert_eq!(lead("ssl/web.pem.rsa"), is("ssl", "web.pem.rsa", Some("web.pem.rsa")));
        assert_eq!(lead("ssl/web.pem"), is("ssl", "web.pem.rsa", Some("web.pem")));
        assert_eq!(lead("ssl"), is("ssl", "web.pem.rsa", None));
        assert_eq!(lead("link.pem"), is("", "link.pem", Some("link.pem")));
        assert_eq!(lead("ssl/other.pem"), None);
        assert_eq!(lead("absent"), None);
    }

    #[test]
    fn a_list_is_read_with_options_filters_and_comments() {
        let text = "# web.pem\n\n  web.pem [alpn h2 ssl-min-ver TLSv1.2] *.a.test !b.a.test c.test\n/x/y.pem\nz.pem[verify none]\n";
        let lines = list_lines(text, Path::new("/base"));
        let flat: Vec<_> =
            lines.iter().map(|l| (l.path.to_str().unwrap(), text.get(l.span.clone()).unwrap(), l.filters.join(" "))).collect();
        assert_eq!(
            flat,
            [
                ("/base/web.pem", "web.pem", "*.a.test !b.a.test c.test".to_owned()),
                ("/x/y.pem", "/x/y.pem", String::new()),
                ("/base/z.pem", "z.pem", String::new())
            ]
        );
    }

    #[test]
    fn a_directory_stands_for_its_cfg_files_in_order() {
        let guard = tempfile::tempdir().unwrap();
        for name in ["b.cfg", "a.cfg", ".c.cfg", "d.txt"] {
            fs::write(guard.path().join(name), "global\n").unwrap();
        }
        let config = Config::load(&[guard.path().to_owned()]).unwrap();
        let names: Vec<_> = config.files.iter().map(|file| file.path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a.cfg", "b.cfg"]);
        assert!(Config::load(&[guard.path().join("absent.cfg")]).unwrap_err().to_string().contains("does not exist"));
    }
}
