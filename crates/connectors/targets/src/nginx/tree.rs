//! The whole live configuration, includes followed; and a copy of it in which the staged files stand for the live ones.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;

use super::glob;
use super::syntax::{self, Directive, Word};

/// A configuration: the main file and all that it includes.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    files: Vec<ConfigFile>,
    /// Which files a directive includes, by the file it stands in and where it begins.
    includes: BTreeMap<(usize, usize), Vec<usize>>,
    /// Relative paths begin here.
    directory: PathBuf,
}

#[derive(Debug, Clone)]
struct ConfigFile {
    path: PathBuf,
    text: String,
    directives: Vec<Directive>,
}

/// A directive with the file it stands in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Located<'a> {
    pub(super) file: usize,
    pub(super) directive: &'a Directive,
}

impl Tree {
    /// Reads the configuration that begins with this file.
    ///
    /// # Errors
    /// When a file cannot be read or is not a configuration.
    pub(super) fn load(main: &Path) -> Result<Self, ConnectorError> {
        let directory = main.parent().unwrap_or(Path::new("/")).to_owned();
        let mut tree = Self { files: Vec::new(), includes: BTreeMap::new(), directory };
        tree.read(main, 0)?;
        Ok(tree)
    }

    /// The directives of the main context, those of included files in place of the includes.
    pub(super) fn main(&self) -> Vec<Located<'_>> {
        self.files.first().map(|main| self.expand(0, &main.directives)).unwrap_or_default()
    }

    /// The directives of a block, includes expanded; empty when the directive has none.
    pub(super) fn block<'a>(&'a self, of: Located<'a>) -> Vec<Located<'a>> {
        of.directive.block.as_ref().map(|block| self.expand(of.file, block)).unwrap_or_default()
    }

    /// Where a directive stands, for people.
    pub(super) fn place(&self, of: Located<'_>) -> String {
        let path = self.files.get(of.file).map(|file| file.path.display().to_string()).unwrap_or_default();
        format!("{path}:{}", of.directive.line)
    }

    /// A path as nginx understands it: relative ones begin at the directory of the main file.
    pub(super) fn absolute(&self, path: &str) -> PathBuf {
        let mut plain = PathBuf::new();
        for part in self.directory.join(path).components() {
            match part {
                Component::ParentDir => {
                    plain.pop();
                }
                Component::CurDir => {}
                other => plain.push(other),
            }
        }
        plain
    }

    /// Whether a path of the configuration is one of these, by name or because both lead to one file.
    pub(super) fn leads_to<'s, T>(&self, path: &str, targets: &'s BTreeMap<PathBuf, T>) -> Option<&'s T> {
        let path = self.absolute(path);
        targets.get(&path).or_else(|| targets.get(&path.canonicalize().ok()?))
    }

    /// Writes a copy below `work` in which each path in `staged` is replaced; returns the copied files, the main one first,
    /// each with its original. What is not a configuration file (types, parameters, password files) is reached by links beside the copy, because nginx takes
    /// relative paths from the directory of the main file.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub(super) fn render(&self, staged: &BTreeMap<PathBuf, PathBuf>, work: &Path) -> Result<Vec<(PathBuf, PathBuf)>, ConnectorError> {
        let (conf, included) = (work.join("conf"), work.join("included"));
        for directory in [&conf, &included] {
            fs::create_dir(directory).map_err(|e| explain("make the directory", directory, e))?;
        }
        let main_name = self.files.first().and_then(|main| main.path.file_name()).unwrap_or(OsStr::new("nginx.conf"));
        for entry in fs::read_dir(&self.directory).map_err(|e| explain("list", &self.directory, e))?.flatten() {
            if entry.file_name() != main_name {
                let link = conf.join(entry.file_name());
                symlink(entry.path(), &link).map_err(|e| explain("link", &link, e))?;
            }
        }
        let main = conf.join(main_name);
        let place = |index: usize| if index == 0 { main.clone() } else { included.join(format!("{index}.conf")) };
        for (index, file) in self.files.iter().enumerate() {
            let edits = self.edits(index, &file.directives, staged, &place);
            write_private(&place(index), &apply(&file.text, edits))?;
        }
        Ok(self.files.iter().enumerate().map(|(index, file)| (place(index), file.path.clone())).collect())
    }

    /// What to replace in a file's text: includes by the copies of what they include, live paths by staged ones.
    fn edits(
        &self,
        file: usize,
        directives: &[Directive],
        staged: &BTreeMap<PathBuf, PathBuf>,
        place: &impl Fn(usize) -> PathBuf,
    ) -> Vec<(Range<usize>, String)> {
        let mut edits = Vec::new();
        for directive in directives {
            if let Some(included) = self.includes.get(&(file, directive.span.start)) {
                let lines: Vec<_> = included.iter().map(|index| format!("include {};", quote(&place(*index)))).collect();
                edits.push((directive.span.clone(), lines.join(" ")));
            } else if names_a_certificate(&directive.name) {
                let live = |arg: &Word| Some((arg.span.clone(), quote(self.leads_to(&arg.text, staged)?)));
                edits.extend(directive.args.iter().filter_map(live));
            }
            if let Some(block) = &directive.block {
                edits.extend(self.edits(file, block, staged, place));
            }
        }
        edits
    }

    fn expand<'a>(&'a self, file: usize, directives: &'a [Directive]) -> Vec<Located<'a>> {
        let mut flat = Vec::new();
        for directive in directives {
            match self.includes.get(&(file, directive.span.start)) {
                None => flat.push(Located { file, directive }),
                Some(included) => {
                    for index in included {
                        if let Some(inner) = self.files.get(*index) {
                            flat.extend(self.expand(*index, &inner.directives));
                        }
                    }
                }
            }
        }
        flat
    }

    fn read(&mut self, path: &Path, depth: usize) -> Result<usize, ConnectorError> {
        if depth > MAX_DEPTH || self.files.len() >= MAX_FILES {
            return Err(ConnectorError::permanent(format!(
                "the nginx configuration includes too many files, or itself, at {}",
                path.display()
            )));
        }
        let unreadable = |error| explain("read the nginx configuration", path, error);
        let mut bytes = Vec::new();
        fs::File::open(path).map_err(unreadable)?.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_SIZE {
            return Err(ConnectorError::permanent(format!("the nginx configuration {} is larger than 8 MiB", path.display())));
        }
        // A comment in an old encoding is no reason to give up.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let directives = syntax::parse(&text).map_err(|error| {
            ConnectorError::permanent(format!("the nginx configuration {} cannot be read: {error}", path.display()))
                .hint("nginx -t shows whether nginx can; if so, use a target of kind Files with the reload command of nginx")
        })?;
        let index = self.files.len();
        self.files.push(ConfigFile { path: path.to_owned(), text, directives: directives.clone() });
        self.follow(index, &directives, depth)?;
        Ok(index)
    }

    fn follow(&mut self, file: usize, directives: &[Directive], depth: usize) -> Result<(), ConnectorError> {
        for directive in directives {
            if directive.name == "include"
                && let [pattern] = directive.args.as_slice()
            {
                let pattern = self.absolute(&pattern.text);
                let text = pattern.to_string_lossy().into_owned();
                let paths = if glob::is_pattern(&text) { glob::matches(&pattern, MAX_FILES) } else { vec![pattern] };
                // A missing file is left for nginx to complain about.
                if paths.iter().all(|path| path.exists()) {
                    let indexes = paths.iter().map(|path| self.read(path, depth + 1)).collect::<Result<_, _>>()?;
                    self.includes.insert((file, directive.span.start), indexes);
                }
            } else if let Some(block) = &directive.block
                && !holds_data(&directive.name)
            {
                self.follow(file, block, depth)?;
            }
        }
        Ok(())
    }
}

const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 5_000;
const MAX_SIZE: u64 = 8 * 1024 * 1024;

/// Blocks whose includes are lists of data, perhaps huge, and never name a certificate.
fn holds_data(block: &str) -> bool {
    matches!(block, "types" | "map" | "geo" | "split_clients" | "charset_map")
}

/// `ssl_certificate`, `ssl_certificate_key`, `proxy_ssl_certificate`, `ssl_trusted_certificate` and their like.
fn names_a_certificate(directive: &str) -> bool {
    directive.ends_with("ssl_certificate") || directive.ends_with("ssl_certificate_key") || directive.ends_with("_certificate")
}

fn quote(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

fn apply(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(span, _)| span.start);
    let mut new = String::with_capacity(text.len());
    let mut done = 0;
    for (span, replacement) in edits {
        new.push_str(text.get(done..span.start).unwrap_or_default());
        new.push_str(&replacement);
        done = span.end;
    }
    new.push_str(text.get(done..).unwrap_or_default());
    new
}

fn write_private(path: &Path, text: &str) -> Result<(), ConnectorError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| explain("create", path, e))?;
    file.write_all(text.as_bytes()).map_err(|e| explain("write", path, e))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_copy_names_the_staged_files_and_nothing_else_changes() {
        let guard = tempfile::tempdir().unwrap();
        let root = guard.path().canonicalize().unwrap();
        let r = root.display();
        write(&root, "etc/nginx.conf", "# main\nhttp { include mime.types; include sites/*; include none/*.conf; }\n");
        write(&root, "etc/mime.types", "types { text/html html; }\n");
        write(&root, "etc/sites/a", &format!("server {{ ssl_certificate {r}/ssl/a.pem; ssl_certificate_key ssl/a.key; include snip; }}\n"));
        write(&root, "etc/sites/b", "server { ssl_certificate \"ssl/../ssl/b.pem\"; }\n");
        write(&root, "etc/snip", "ssl_dhparam dh.pem;\n");
        write(&root, "etc/ssl/a.key", "");
        write(&root, "ssl/real.pem", "");
        symlink(root.join("ssl/real.pem"), root.join("ssl/a.pem")).unwrap();

        let tree = Tree::load(&root.join("etc/nginx.conf")).unwrap();
        // Under the name of the link's target, and relative to the main file.
        let staged = BTreeMap::from([
            (root.join("ssl/real.pem"), PathBuf::from("/new/cert \"1\".pem")),
            (root.join("etc/ssl/a.key"), PathBuf::from("/new/key.pem")),
        ]);
        let work = root.join("work");
        fs::create_dir(&work).unwrap();
        let copies = tree.render(&staged, &work).unwrap();
        let main = work.join("conf/nginx.conf");
        assert_eq!(copies[0], (main.clone(), root.join("etc/nginx.conf")));
        assert_eq!(copies[2], (work.join("included/2.conf"), root.join("etc/sites/a")));

        let text = fs::read_to_string(&main).unwrap();
        let w = work.display();
        assert_eq!(
            text,
            format!(
                "# main\nhttp {{ include \"{w}/included/1.conf\"; include \"{w}/included/2.conf\"; include \"{w}/included/4.conf\";  }}\n"
            )
        );
        assert_eq!(
            fs::read_to_string(work.join("included/2.conf")).unwrap(),
            format!(
                "server {{ ssl_certificate \"/new/cert \\\"1\\\".pem\"; ssl_certificate_key \"/new/key.pem\"; include \"{w}/included/3.conf\"; }}\n"
            )
        );
        assert_eq!(fs::read_to_string(work.join("included/4.conf")).unwrap(), "server { ssl_certificate \"ssl/../ssl/b.pem\"; }\n");
        assert_eq!(fs::canonicalize(work.join("conf/snip")).unwrap(), root.join("etc/snip"), "relative paths still lead there");
    }

    #[test]
    fn a_configuration_that_includes_itself_is_refused() {
        let guard = tempfile::tempdir().unwrap();
        write(guard.path(), "nginx.conf", "include nginx.conf;");
        assert!(Tree::load(&guard.path().join("nginx.conf")).unwrap_err().to_string().contains("itself"));
        write(guard.path(), "nginx.conf", "http {");
        let error = Tree::load(&guard.path().join("nginx.conf")).unwrap_err();
        assert!(error.to_string().contains("line 1") && error.advice().unwrap().contains("Files"), "{error}");
        assert!(Tree::load(&guard.path().join("absent.conf")).unwrap_err().to_string().contains("does not exist"));
    }
}
