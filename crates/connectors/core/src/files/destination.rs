//! The place of one file: the directory it is in, its name there, and what is there now.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::{SFlag, fstat};
use zeroize::Zeroizing;

use super::attributes::FinalAttributes;
use super::directory::Directory;
use super::explain::explain;
use super::{MAX_FILE, sha256_hex};
use crate::ConnectorError;

/// A resolved place of a file.
#[derive(Debug)]
pub struct Destination {
    directory: Directory,
    name: OsString,
    path: PathBuf,
    existing: Option<Existing>,
}

/// A file's content, wiped when dropped, because it may be a key; and what the file is.
pub type Loaded = (Zeroizing<Vec<u8>>, Existing);

/// What is at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Owner, group, mode, labels.
    pub attributes: FinalAttributes,
    /// SHA-256 of the content in hex.
    pub sha256: String,
}

impl Destination {
    /// Finds where a path leads: the file itself may be a symbolic link (it is followed once and for all), its directories may not.
    ///
    /// # Errors
    /// When the directory is missing or behind a symbolic link, or the path leads to something that is not a small regular file.
    pub fn resolve(path: &Path) -> Result<Self, ConnectorError> {
        let (mut directory, mut name) = open_parent(path)?;
        if directory.is_link(&name) {
            let real = path.canonicalize().map_err(|e| {
                ConnectorError::permanent(format!("{} is a symbolic link that leads nowhere", path.display()))
                    .hint("create the file it should lead to, or remove the link")
                    .caused_by(e)
            })?;
            (directory, name) = open_parent(&real)?;
        }
        let path = directory.path().join(&name);
        let mut destination = Self { directory, name, path, existing: None };
        destination.existing = destination.load()?.map(|(_, existing)| existing);
        Ok(destination)
    }

    /// The file's real path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory it is in.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What was there when the destination was resolved.
    #[must_use]
    pub const fn existing(&self) -> Option<&Existing> {
        self.existing.as_ref()
    }

    /// What is there now.
    ///
    /// # Errors
    /// When it may not be read or is not a small regular file.
    pub fn load(&self) -> Result<Option<Loaded>, ConnectorError> {
        let Some(file) = self.directory.open_file(&self.name)? else {
            return Ok(None);
        };
        let stat = fstat(&file).map_err(|e| explain("examine", &self.path, e))?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(ConnectorError::permanent(format!("{} exists and is not a regular file", self.path.display()))
                .hint("give the path of a file, not of a directory or device"));
        }
        // Allocated once: a growing buffer would leave copies of a key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or_default().min(1 << 20) + 1));
        (&file).take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| explain("read", &self.path, e))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(ConnectorError::permanent(format!("{} is larger than 1 MiB: that is not a PEM file", self.path.display()))
                .hint("correct the path in the target's configuration"));
        }
        let existing = Existing { attributes: FinalAttributes::of(&file, &stat), sha256: sha256_hex(&bytes) };
        Ok(Some((bytes, existing)))
    }

    /// Writes a file beside the destination, complete and durable, under a name of its own.
    ///
    /// # Errors
    /// When the disk is full, the directory read-only, or the attributes may not be given.
    pub fn stage(&self, temporary: &str, bytes: &[u8], attributes: &FinalAttributes) -> Result<(), ConnectorError> {
        self.directory.create(temporary, bytes, attributes)
    }

    /// Puts the staged file in the place of the old one, in one step. [`Directory::sync`] makes it durable.
    ///
    /// # Errors
    /// When the file system refuses; the old file is then still there.
    pub fn swap_in(&self, temporary: &str) -> Result<(), ConnectorError> {
        self.directory.rename(temporary, &self.name)
    }

    /// Removes the file itself.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self) -> Result<(), ConnectorError> {
        self.directory.remove(&self.name)
    }

    /// The SHA-256 of a staged file; `None` when there is none.
    ///
    /// # Errors
    /// When it may not be read.
    pub fn staged_sha256(&self, temporary: &str) -> Result<Option<String>, ConnectorError> {
        let Some(file) = self.directory.open_file(OsStr::new(temporary))? else {
            return Ok(None);
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| explain("read", &self.directory.path().join(temporary), e))?;
        Ok(Some(sha256_hex(&bytes)))
    }
}

fn open_parent(path: &Path) -> Result<(Directory, OsString), ConnectorError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ConnectorError::permanent(format!("{} is not the path of a file", path.display())));
    };
    Ok((Directory::open(parent)?, name.to_owned()))
}
