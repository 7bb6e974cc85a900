//! What is in the file of a key: lines that say what it is to keyward, and the PEM, which other
//! programs read as it stands.

use std::{iter, str};

use keyward_protocol::Purpose;

use super::bound::Bound;
use super::handle::Handle;
use crate::tpm::key_file::{KeyFile, KeyFileError};

/// A key of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the agent calls it: at most [`Entry::MAX_LABEL`] bytes.
    pub label: String,
    /// Where it comes from.
    pub made: Made,
    /// What it is for.
    pub purpose: Purpose,
    /// The values of PCRs that it may be used with, if it is bound to some.
    pub bound: Option<Bound>,
    /// The key, or where it is.
    pub key: Held,
}

/// Where the key itself is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// In the file, encrypted by the TPM.
    File(KeyFile),
    /// In the TPM.
    Handle(Handle),
}

impl Held {
    /// The key in the file, if it is there.
    #[must_use]
    pub fn file(&self) -> Option<&KeyFile> {
        match self {
            Self::File(file) => Some(file),
            Self::Handle(_) => None,
        }
    }

    /// Whether it has an authorization value, which then is what the PIN opens.
    #[must_use]
    pub fn has_auth(&self) -> bool {
        self.file().is_some_and(|file| !file.empty_auth)
    }
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The TPM made it.
    Generated,
    /// It was outside once.
    Imported,
    /// Another program put it into the TPM.
    Adopted,
}

/// Why a file is no entry, or an entry can be in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A folder, a symbolic link or a device.
    #[error("it is not a file")]
    NotFile,
    /// Another program's.
    #[error("it does not begin as keyward's files do")]
    Foreign,
    /// An older keyward can't read it.
    #[error("it was written by a later keyward")]
    Later,
    /// Of the lines before the PEM.
    #[error("its line `{0}` is not what keyward writes")]
    Line(&'static str),
    /// Of the PEM.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

impl Entry {
    /// The longest label.
    pub const MAX_LABEL: usize = 256;

    /// The file.
    ///
    /// # Errors
    /// It could not be read again.
    pub fn to_text(&self) -> Result<String, EntryError> {
        if self.label.len() > Self::MAX_LABEL {
            return Err(EntryError::Line("label"));
        }
        let label = quoted(&self.label).ok_or(EntryError::Line("label"))?;
        let bound = match self.bound.as_ref().map(Bound::to_lines) {
            Some(lines) => lines.ok_or(EntryError::Line(Bound::APPROVAL))?,
            None => String::new(),
        };
        let (made, purpose) = (self.made.name(), self.purpose);
        let key = match &self.key {
            Held::File(file) => format!("\n{}", file.to_pem()?),
            Held::Handle(at) if self.made == Made::Adopted && self.bound.is_none() => {
                at.to_lines().ok_or(EntryError::Line(Handle::HANDLE))?
            }
            Held::Handle(_) => return Err(EntryError::Line("made")),
        };
        let text =
            format!("keyward: 1\nlabel: {label}\nmade: {made}\npurpose: {purpose}\n{bound}{key}");
        match text.len() <= KeyFile::MAX_LENGTH {
            true => Ok(text),
            false => Err(KeyFileError::Malformed("it is longer than 16 KiB").into()),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// See [`EntryError`].
    pub fn from_text(file: &[u8]) -> Result<Self, EntryError> {
        let mut lines = Lines(file);
        match lines.field("keyward") {
            Some("1") => {}
            Some(version) if version.parse::<u32>().is_ok_and(|v| v > 1) => {
                return Err(EntryError::Later);
            }
            _ => return Err(EntryError::Foreign),
        }
        let label = lines.field("label").and_then(unquoted);
        let label = label.ok_or(EntryError::Line("label"))?;
        let made = lines.field("made").and_then(Made::from_name);
        let made = made.ok_or(EntryError::Line("made"))?;
        let purpose = lines.field("purpose").and_then(Purpose::from_name);
        let purpose = purpose.ok_or(EntryError::Line("purpose"))?;
        let authority = lines.field(Bound::AUTHORITY);
        let approvals: Vec<_> = iter::from_fn(|| lines.field(Bound::APPROVAL)).collect();
        let bound = match (authority, approvals.is_empty()) {
            (None, true) => None,
            _ => Some(
                Bound::from_lines(authority, &approvals)
                    .ok_or(EntryError::Line(Bound::APPROVAL))?,
            ),
        };
        if file.len() > KeyFile::MAX_LENGTH {
            return Err(KeyFileError::Malformed("it is longer than 16 KiB").into());
        }
        if made == Made::Adopted {
            let key = lines.handle().filter(|_| bound.is_none());
            let key = key.ok_or(EntryError::Line(Handle::HANDLE))?;
            return Ok(Self {
                label,
                made,
                purpose,
                bound,
                key: Held::Handle(key),
            });
        }
        // An empty line, and nothing but the PEM.
        let pem = lines.0.strip_prefix(b"\n");
        let pem = pem.filter(|rest| rest.starts_with(b"-----BEGIN "));
        let pem = pem.ok_or(EntryError::Line("-----BEGIN"))?;
        Ok(Self {
            label,
            made,
            purpose,
            bound,
            key: Held::File(KeyFile::from_pem(pem)?),
        })
    }
}

impl Made {
    fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Imported => "imported",
            Self::Adopted => "adopted",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Generated, Self::Imported, Self::Adopted]
            .into_iter()
            .find(|made| made.name() == name)
    }
}

/// What is left of the file.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// The value of the next line, if that has this name.
    fn field(&mut self, name: &str) -> Option<&'a str> {
        let mut parts = self.0.splitn(2, |byte| *byte == b'\n');
        let (line, rest) = (parts.next()?, parts.next()?);
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b": ")?;
        let value = str::from_utf8(value).ok()?;
        self.0 = rest;
        Some(value)
    }
}

impl Lines<'_> {
    /// Where a key is that is in the TPM: nothing stands behind it.
    fn handle(&mut self) -> Option<Handle> {
        let handle = self.field(Handle::HANDLE)?;
        let name = self.field(Handle::NAME)?;
        let public = self.field(Handle::PUBLIC)?;
        let at = Handle::from_lines(handle, name, public)?;
        self.0.is_empty().then_some(at)
    }
}

/// A JSON string: on one line, whatever is in it.
fn quoted(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}

fn unquoted(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}
