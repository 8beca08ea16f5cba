//! Where archives are kept: a directory or an S3 bucket. Whatever is seen there under a name is whole.

pub mod directory;
pub mod s3;

use std::io::{Read, Write};

use certctl_domain::time::Timestamp;

use crate::BackupError;
use crate::manifest::Manifest;
use crate::name::{self, ArchiveName, MANIFEST};
use crate::seal::{Encrypted, Identities, Opening};
use crate::stream::{CHUNK, Measure, Measured};

/// A place for archives.
#[derive(Debug)]
pub enum Place {
    /// A directory of this machine, or of a file server.
    Directory(directory::Directory),
    /// A bucket of Amazon's S3 or of anything that speaks as it does.
    S3(s3::S3),
}

/// A file that is being written there. Nobody sees it before [`Upload::finish`]; dropped, it leaves nothing.
pub trait Upload: Write {
    /// Gives it its name, durably.
    ///
    /// # Errors
    /// When that fails; then there is no file of that name.
    fn finish(self: Box<Self>) -> Result<(), BackupError>;
}

/// A file that lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// An archive that lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: ArchiveName,
    /// Its size in bytes; `None` when there is a manifest alone.
    pub size: Option<u64>,
    /// What its manifest says, or why it says nothing.
    pub state: State,
}

/// How an archive looks without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has a manifest and the size that stands there.
    Whole(Box<Manifest>),
    /// It was never finished, or lost something.
    Broken(String),
}

impl Place {
    /// Begins a file.
    ///
    /// # Errors
    /// When there is one of that name, or nothing can be written there.
    pub fn create(&self, name: &str) -> Result<Box<dyn Upload>, BackupError> {
        match self {
            Self::Directory(directory) => directory.create(name),
            Self::S3(s3) => s3.create(name),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, BackupError> {
        match self {
            Self::Directory(directory) => directory.open(name),
            Self::S3(s3) => s3.open(name),
        }
    }

    /// Everything that lies there, folders and what is unfinished not.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub fn list(&self) -> Result<Vec<Item>, BackupError> {
        match self {
            Self::Directory(directory) => directory.list(),
            Self::S3(s3) => s3.list(),
        }
    }

    /// Removes a file; one that is not there is removed already.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), BackupError> {
        match self {
            Self::Directory(directory) => directory.remove(name),
            Self::S3(s3) => s3.remove(name),
        }
    }

    /// Removes what killed backups of an installation left. Only for who knows that none of its backups runs.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn sweep(&self, installation: &str) -> Result<usize, BackupError> {
        match self {
            Self::Directory(directory) => directory.sweep(&name::prefix_of(installation)),
            // Parts of an upload that was never finished are no file; a rule of the bucket ends them.
            Self::S3(_) => Ok(0),
        }
    }

    /// For people: the path, or `s3://bucket/prefix`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Directory(directory) => directory.path().display().to_string(),
            Self::S3(s3) => s3.describe(),
        }
    }

    /// Writes a small file whole.
    ///
    /// # Errors
    /// As [`Place::create`].
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let mut file = self.create(name)?;
        file.write_all(bytes).map_err(|e| BackupError::from_io(&format!("{name} cannot be written"), e))?;
        file.finish()
    }

    /// Reads the manifest of an archive.
    ///
    /// # Errors
    /// When there is none, or it is not one.
    pub fn manifest(&self, archive: &ArchiveName) -> Result<Manifest, BackupError> {
        let mut bytes = Vec::new();
        let read = self.open(&archive.manifest())?.take(LARGEST_MANIFEST).read_to_end(&mut bytes);
        read.map_err(|e| BackupError::from_io(&format!("the manifest of {archive} cannot be read"), e))?;
        Manifest::parse(archive.as_str(), &bytes)
    }

    /// The archives there, the newest first; of one installation, or of all.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub fn archives(&self, installation: Option<&str>) -> Result<Vec<Found>, BackupError> {
        let items = self.list()?;
        let mut found: Vec<Found> = Vec::new();
        let whose = |name: &ArchiveName| installation.is_none_or(|wanted| name.installation() == wanted);
        for item in &items {
            if let Some(name) = ArchiveName::parse(&item.name).filter(whose) {
                let described = items.iter().any(|other| other.name == name.manifest());
                let state = if described { self.looked_at(&name, item.size) } else { State::Broken("it has no manifest".to_owned()) };
                found.push(Found { name, size: Some(item.size), state });
            } else if let Some(name) = item.name.strip_suffix(MANIFEST).and_then(ArchiveName::parse).filter(whose)
                && !items.iter().any(|other| other.name == name.as_str())
            {
                found.push(Found { name, size: None, state: State::Broken("only its manifest is there".to_owned()) });
            }
        }
        found.sort_by(|a, b| b.name.began().cmp(&a.name.began()).then_with(|| b.name.cmp(&a.name)));
        Ok(found)
    }

    fn looked_at(&self, name: &ArchiveName, size: u64) -> State {
        match self.manifest(name) {
            Ok(manifest) if manifest.size_bytes == size => State::Whole(Box::new(manifest)),
            Ok(manifest) => State::Broken(format!("it has {size} bytes instead of {}", manifest.size_bytes)),
            Err(error) => State::Broken(error.chain()),
        }
    }

    /// Reads an archive from one end to the other and hands on its content. What is handed on is not to be believed before this has
    /// ended well: the hash is known at the end.
    ///
    /// # Errors
    /// When it cannot be read or decrypted, or is not what its manifest says.
    pub fn read(
        &self,
        manifest: &Manifest,
        identities: &Identities,
        take: impl FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.read_all(manifest, identities, take).map_err(|error| error.about(&manifest.archive))
    }

    fn read_all(
        &self,
        manifest: &Manifest,
        identities: &Identities,
        mut take: impl FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let name = manifest.archive.as_str();
        let failed = |e| BackupError::from_io(&format!("{name} cannot be read"), e);
        let encrypted = if manifest.is_encrypted() { Encrypted::With(identities) } else { Encrypted::No };
        let mut measured = Measured::new(self.open(name)?);
        let mut opening = Opening::new(encrypted, &mut measured)?;
        let mut buffer = vec![0; CHUNK];
        let mut content = 0;
        loop {
            let length = crate::stream::fill(&mut opening, &mut buffer).map_err(failed)?;
            let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            content += bytes.len() as u64;
            take(bytes)?;
        }
        // What is encrypted ends by itself; the hash is over everything.
        while measured.read(&mut buffer).map_err(failed)? > 0 {}
        check(manifest, &measured.end().1)?;
        if content != manifest.content_bytes {
            return Err(BackupError::new(format!("{name} holds {content} bytes instead of {}", manifest.content_bytes)));
        }
        Ok(())
    }

    /// Reads an archive from one end to the other, without a key, and compares it with its manifest.
    ///
    /// # Errors
    /// When it cannot be read, or is not what its manifest says.
    pub fn check(&self, manifest: &Manifest) -> Result<(), BackupError> {
        let mut measured = Measured::new(self.open(&manifest.archive)?);
        let mut buffer = vec![0; CHUNK];
        while measured.read(&mut buffer).map_err(|e| BackupError::from_io(&format!("{} cannot be read", manifest.archive), e))? > 0 {}
        check(manifest, &measured.end().1)
    }
}

impl Found {
    /// When it was begun.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        match &self.state {
            State::Whole(manifest) => manifest.created_at,
            State::Broken(_) => self.name.began(),
        }
    }

    /// Its manifest, when it looks whole.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.state {
            State::Whole(manifest) => Some(manifest),
            State::Broken(_) => None,
        }
    }
}

fn check(manifest: &Manifest, measure: &Measure) -> Result<(), BackupError> {
    let name = &manifest.archive;
    if measure.bytes != manifest.size_bytes {
        return Err(BackupError::new(format!("{name} has {} bytes instead of {}", measure.bytes, manifest.size_bytes)).hint(OTHER));
    }
    if measure.sha256 != manifest.sha256 {
        let wrong = format!("{name} was changed: its SHA-256 is {} instead of {}", measure.sha256, manifest.sha256);
        return Err(BackupError::new(wrong).hint(OTHER));
    }
    Ok(())
}

const OTHER: &str = "use another archive; `certctl-server backup list` shows which there are";
const LARGEST_MANIFEST: u64 = 1 << 20;
