//! What init made, so that exactly that can be taken back.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::exit::Exit;

/// All that was set up and not taken back, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) made: Vec<Made>,
}

/// What one `keyward init` made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    /// The token's name in the configuration.
    pub(super) token: String,
    pub(super) config: Config,
    /// Files and folders with what is in them, in the order in which they were made.
    pub(super) things: Vec<Thing>,
}

/// The configuration as it was left.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) path: PathBuf,
    pub(super) sha256: String,
    /// How many bytes were there before; nothing if there was no file.
    pub(super) kept: Option<usize>,
    /// What was there before: an init that was cut short did not change it yet.
    pub(super) before: Option<String>,
}

/// Something on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Thing {
    /// A folder, to be removed if it is empty.
    Folder(PathBuf),
    /// A file.
    File(PathBuf),
    /// The folder of a token in software, with the keys.
    Token(PathBuf),
    /// The folder of a TPM's keys.
    TpmKeys(PathBuf),
    /// A card that may have got another PIN, PUK and management key, for people.
    Card(String),
}

impl Record {
    /// The record, empty if there is none.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |what: String| {
            Error::new(Exit::Fault, format!("{} can't be read", path.display())).cause(what)
        };
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| wrong(e.to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(wrong(e.to_string())),
        }
    }

    /// Replaces the file as a whole.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(Exit::Fault, "can't write JSON").cause(e))?;
        crate::destination::write(
            Some(path),
            crate::destination::Content::SecretText,
            text.as_bytes(),
        )
    }
}

/// The digest of a file's bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    let mut digits = Vec::with_capacity(64);
    crate::hex::encode_into(&Sha256::digest(bytes), &mut digits);
    String::from_utf8_lossy(&digits).into_owned()
}
