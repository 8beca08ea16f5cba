//! Who owns a written file, what its mode is, and the extended attributes (SELinux label, ACL) it carries.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use nix::sys::stat::{FileStat, Mode, fchmod};
use nix::unistd::{Gid, Group, Uid, User, fchown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xattr::FileExt as _;

use super::explain::explain;
use crate::ConnectorError;

/// A file mode, written in octal as `chmod` takes it: `"0640"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(u32);

impl FileMode {
    /// Read and write for the owner, nothing for others: what a private key gets.
    pub const PRIVATE: Self = Self(0o600);
    /// Readable by everybody: what a certificate gets.
    pub const PUBLIC: Self = Self(0o644);

    /// The mode's bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        match u32::from_str_radix(digits, 8) {
            Ok(bits) if digits.len() >= 3 && bits <= 0o777 && bits & 0o400 != 0 => {
                if bits & 0o002 == 0 {
                    Ok(Self(bits))
                } else {
                    Err(format!("the mode {text} lets everybody write the file"))
                }
            }
            _ => Err(format!("`{text}` is not a file mode such as \"0640\"")),
        }
    }
}

impl TryFrom<String> for FileMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl JsonSchema for FileMode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileMode".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^(0o)?[0-7]{3,4}$", "description": "file mode in octal, such as \"0640\""})
    }
}

/// What is wished for: what is `None` is kept from the existing file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The mode, whatever the existing file has.
    pub mode: Option<FileMode>,
    /// User name or number.
    pub owner: Option<String>,
    /// Group name or number.
    pub group: Option<String>,
    /// The mode of a file that did not exist. Where it gives others nothing, an existing file's mode is kept without their bits.
    pub default_mode: FileMode,
}

impl Attributes {
    /// Keeps everything of an existing file; a new one gets this mode and our own user and group.
    #[must_use]
    pub const fn keep_or(default_mode: FileMode) -> Self {
        Self { mode: None, owner: None, group: None, default_mode }
    }

    /// What the file will get: the wish, else what the existing file has, else the default.
    ///
    /// # Errors
    /// When a user or group does not exist on this machine.
    pub fn settle(&self, existing: Option<&FinalAttributes>) -> Result<FinalAttributes, ConnectorError> {
        let owner = self.owner.as_deref().map(user_id).transpose()?;
        let group = self.group.as_deref().map(group_id).transpose()?;
        // A key must not stay open to everybody only because it was; the group's bits may be what its service reads it by.
        let closed = if self.default_mode.bits() & OTHERS == 0 { OTHERS } else { 0 };
        Ok(FinalAttributes {
            mode: self.mode.map(FileMode::bits).or_else(|| existing.map(|e| e.mode & !closed)).unwrap_or(self.default_mode.bits()),
            owner: owner.or_else(|| existing.map(|e| e.owner)).unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
            group: group.or_else(|| existing.map(|e| e.group)).unwrap_or_else(|| nix::unistd::getegid().as_raw()),
            extended: existing.map(|e| e.extended.clone()).unwrap_or_default(),
        })
    }
}

/// Attributes as the file system has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalAttributes {
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub owner: u32,
    /// Group id.
    pub group: u32,
    /// Extended attributes by name, values in hex.
    #[serde(default)]
    pub extended: Vec<(String, String)>,
}

impl FinalAttributes {
    /// Reads them from an open file.
    pub(super) fn of(file: &File, stat: &FileStat) -> Self {
        let mut extended: Vec<_> = file
            .list_xattr()
            .map(|names| {
                names
                    .filter_map(|name| {
                        let name = name.into_string().ok().filter(|n| !NOT_OURS.contains(&n.as_str()))?;
                        let value = file.get_xattr(&name).ok()??;
                        Some((name, hex::encode(value)))
                    })
                    .collect()
            })
            .unwrap_or_default();
        extended.sort();
        Self { mode: stat.st_mode & 0o7777, owner: stat.st_uid, group: stat.st_gid, extended }
    }

    /// Gives them to a file that nobody else can open yet. Owner first, mode last: changing the owner clears bits of the
    /// mode, and an ACL would otherwise overwrite it.
    pub(super) fn apply(&self, file: &File, path: &Path) -> Result<(), ConnectorError> {
        let stat = nix::sys::stat::fstat(file).map_err(|e| explain("examine", path, e))?;
        if (stat.st_uid, stat.st_gid) != (self.owner, self.group) {
            fchown(file, Some(Uid::from_raw(self.owner)), Some(Gid::from_raw(self.group))).map_err(|e| {
                ConnectorError::permanent(format!(
                    "cannot give {} to user id {} and group id {} (this runs as user id {})",
                    path.display(),
                    self.owner,
                    self.group,
                    nix::unistd::geteuid()
                ))
                .hint("set owner and group in the target's configuration to ones that this user may give files to, or grant CAP_CHOWN")
                .caused_by(std::io::Error::from(e))
            })?;
        }
        for (name, value) in &self.extended {
            let value = hex::decode(value).unwrap_or_default();
            if file.get_xattr(name).ok().flatten().as_deref() == Some(value.as_slice()) {
                continue;
            }
            file.set_xattr(name, &value).map_err(|e| {
                ConnectorError::permanent(format!("cannot keep the attribute {name} of {}", path.display()))
                    .hint(
                        "the service may depend on it (SELinux label, ACL): run with the capability to set it, or remove it from the file",
                    )
                    .caused_by(e)
            })?;
        }
        fchmod(file, Mode::from_bits_truncate(self.mode)).map_err(|e| explain("set the mode of", path, e))
    }
}

/// What everybody may do.
const OTHERS: u32 = 0o007;

/// Signatures over the old content, which would be wrong for the new.
const NOT_OURS: [&str; 2] = ["security.ima", "security.evm"];

fn user_id(name: &str) -> Result<u32, ConnectorError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err(ConnectorError::permanent(format!("there is no user `{name}` on this machine"))
            .hint(format!("create it (useradd --system {name}) or correct `owner` in the target's configuration"))),
    }
}

fn group_id(name: &str) -> Result<u32, ConnectorError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(ConnectorError::permanent(format!("there is no group `{name}` on this machine"))
            .hint(format!("create it (groupadd --system {name}) or correct `group` in the target's configuration"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_text() {
        assert_eq!("0640".parse::<FileMode>().unwrap().bits(), 0o640);
        assert_eq!("600".parse::<FileMode>().unwrap().to_string(), "0600");
        for text in ["", "9", "64", "0o", "0666", "777777", "416", "u+r", "01777", "0200"] {
            assert!(text.parse::<FileMode>().is_err(), "{text}");
        }
        // A JSON number would be read in decimal by one reader and in octal by the next.
        assert!(serde_json::from_str::<FileMode>("416").is_err());
        assert_eq!(serde_json::to_string(&FileMode::PRIVATE).unwrap(), "\"0600\"");
    }

    fn existing_with(existing: &FinalAttributes, mode: u32) -> FinalAttributes {
        FinalAttributes { mode, ..existing.clone() }
    }

    #[test]
    fn the_wish_wins_over_the_file_and_the_file_over_the_default() {
        let existing = FinalAttributes { mode: 0o640, owner: 7, group: 8, extended: vec![("user.a".into(), "00".into())] };
        let keep = Attributes::keep_or(FileMode::PRIVATE);
        assert_eq!(keep.settle(Some(&existing)).unwrap(), existing);
        assert_eq!(keep.settle(None).unwrap().mode, 0o600);
        let open = FinalAttributes { mode: 0o644, ..existing.clone() };
        assert_eq!(keep.settle(Some(&open)).unwrap(), existing_with(&open, 0o640), "a key is closed to others");
        assert_eq!(Attributes::keep_or(FileMode::PUBLIC).settle(Some(&open)).unwrap(), open);
        let wish = Attributes { mode: Some(FileMode::PUBLIC), owner: Some("0".into()), group: Some("9".into()), ..keep };
        assert_eq!(wish.settle(Some(&existing)).unwrap(), FinalAttributes { mode: 0o644, owner: 0, group: 9, ..existing });
    }

    #[test]
    fn an_unknown_owner_is_an_error_with_a_hint() {
        let mut wish = Attributes::keep_or(FileMode::PUBLIC);
        wish.owner = Some("no-such-user".into());
        assert!(wish.settle(None).unwrap_err().advice().unwrap().contains("useradd"));
        wish.owner = None;
        wish.group = Some("no-such-group".into());
        assert!(wish.settle(None).unwrap_err().advice().unwrap().contains("groupadd"));
    }
}
