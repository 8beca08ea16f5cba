//! What an error of the file system means to a person.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use crate::ConnectorError;

/// Turns a failed file operation into an error that names the path and says what to do.
#[must_use]
pub fn explain(doing: &str, path: &Path, error: impl Into<io::Error>) -> ConnectorError {
    let error: io::Error = error.into();
    let shown = path.display();
    let directory = path.parent().unwrap_or(path).display();
    let what = format!("cannot {doing} {shown}");
    let explained = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC) => ConnectorError::transient(format!("{what}: the disk is full"))
            .hint(format!("free some space (df -h {directory}; df -i {directory})")),
        Some(Errno::EDQUOT) => {
            ConnectorError::transient(format!("{what}: the disk quota is used up")).hint("free some space or raise the quota of this user")
        }
        Some(Errno::EROFS) => ConnectorError::permanent(format!("{what}: the file system is read-only"))
            .hint(format!("mount it writable, or let the service manager open the path (ReadWritePaths={directory})")),
        Some(Errno::EACCES | Errno::EPERM) => {
            let us = nix::unistd::geteuid();
            ConnectorError::permanent(format!("{what}: permission denied (this runs as user id {us})")).hint(format!(
                "let user id {us} write in {directory}; also look for SELinux denials and immutable files (lsattr -d {directory})"
            ))
        }
        Some(Errno::ENOENT) => ConnectorError::permanent(format!("{what}: it does not exist")).hint(format!("mkdir -p {directory}")),
        Some(Errno::ENOTDIR) => ConnectorError::permanent(format!("{what}: a part of the path is not a directory")),
        Some(Errno::EEXIST) => ConnectorError::transient(format!("{what}: it exists already")),
        Some(Errno::EXDEV) => ConnectorError::permanent(format!("{what}: it is itself a mount point, so it cannot be replaced"))
            .hint(format!("mount the directory {directory} instead of the single file")),
        Some(Errno::EBUSY) => ConnectorError::permanent(format!("{what}: it is in use as a mount point, so it cannot be replaced"))
            .hint(format!("mount the directory {directory} instead of the single file")),
        _ => ConnectorError::transient(what),
    };
    explained.caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Retry;

    #[test]
    fn every_usual_failure_has_a_meaning_and_a_class() {
        for (errno, class, word) in [
            (Errno::ENOSPC, Retry::Transient, "full"),
            (Errno::EDQUOT, Retry::Transient, "quota"),
            (Errno::EROFS, Retry::Permanent, "read-only"),
            (Errno::EACCES, Retry::Permanent, "permission"),
            (Errno::EPERM, Retry::Permanent, "permission"),
            (Errno::ENOENT, Retry::Permanent, "not exist"),
            (Errno::EBUSY, Retry::Permanent, "mount point"),
            (Errno::EIO, Retry::Transient, "cannot write /etc/ssl/x.pem"),
        ] {
            let error = explain("write", Path::new("/etc/ssl/x.pem"), errno);
            assert_eq!(error.retry(), class, "{errno}");
            assert!(error.to_string().contains(word) && error.to_string().contains("/etc/ssl/x.pem"), "{error}");
        }
    }
}
