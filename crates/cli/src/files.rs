//! Files that this program writes: whole or not at all, with the mode that their content asks for.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner alone.
    Owner,
    /// Everybody, as far as the umask allows.
    Everybody,
}

/// Writes a file: first beside it, then in its place, so that a crash leaves the old one or the new one. A symbolic link stays, and the
/// file that it leads to is written. What is no regular file, such as `/dev/null` or a pipe, is written into.
pub(crate) fn write(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let path = &behind_links(path)?;
    if path.starts_with(OPEN_FILES) || std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(content);
    }
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not the path of a file"))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everybody => 0o644,
    };
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    });
    if written.is_err() {
        // What is left of a failed try is of no use; the first error is the one to tell.
        drop(std::fs::remove_file(&beside));
    }
    written
}

/// Where symbolic links lead; the file need not be there.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match std::fs::read_link(&path) {
            // What a process has open is no link to rename over: opening it is the only way to it.
            Ok(_) if path.starts_with(OPEN_FILES) => return Ok(path),
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("its symbolic links lead in a circle"))
}

const MOST_LINKS: usize = 40;
/// Where `/dev/stdout` leads.
const OPEN_FILES: &str = "/proc";

/// Makes the folder of a private file, open to its owner alone. A folder that exists stays as it is.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether somebody beside the owner can read or write a file.
pub(crate) fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_private_even_in_place_of_an_open_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, b"old", Readers::Everybody).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(is_open_to_others(&path).unwrap());
        write(&path, b"new", Readers::Owner).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_stay_and_devices_are_written_into() {
        use std::os::unix::fs::{FileTypeExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        symlink("real/file", at("link")).unwrap();
        symlink("link", at("link-to-link")).unwrap();
        // The first leads nowhere yet.
        for content in [b"one", b"two"] {
            write(&at("link-to-link"), content, Readers::Owner).unwrap();
            assert_eq!(std::fs::read(at("real/file")).unwrap(), content);
            assert!(at("link").is_symlink() && at("link-to-link").is_symlink());
        }
        symlink("circle", at("circle")).unwrap();
        assert!(write(&at("circle"), b"x", Readers::Owner).is_err());
        symlink("/dev/null", at("null")).unwrap();
        write(&at("null"), b"x", Readers::Owner).unwrap();
        assert!(at("null").is_symlink() && std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        // A pipe that this test reads.
        make_pipe(&at("pipe"));
        let pipe = at("pipe");
        let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap());
        write(&at("pipe"), b"through", Readers::Owner).unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(std::fs::metadata(at("pipe")).unwrap().file_type().is_fifo());
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own pipe")]
    fn make_pipe(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path(), b"x", Readers::Owner).is_err());
        assert!(write(&folder.path().join("missing/file"), b"x", Readers::Owner).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
