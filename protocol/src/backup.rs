//! A copy of all that an agent keeps, as one document (SPEC.md §7.10).
//!
//! The copy is not secret, and it is not trusted: whoever takes it over checks each value of it.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::algorithm::KeyType;
use crate::cbor::{self, CborError};
use crate::cose_key::CoseKey;
use crate::key::{Format, KeyState, Purpose};

/// What the document begins with.
pub const MAGIC: &str = "keyward-backup";
/// The form of the document that this version writes and reads.
pub const FORM: u32 = 1;
/// The longest document, in bytes.
pub const LONGEST: usize = 64 << 20;

/// Why bytes are no copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Something else than a copy.
    #[error("it is no backup of keyward")]
    Foreign,
    /// A newer keyward wrote it: update this one.
    #[error("it has the form {0}, and this keyward knows {FORM}; update keyward")]
    Newer(u32),
    /// It was changed or cut since it was made.
    #[error("it was changed since it was made: its checksum is wrong")]
    Changed,
    /// Its content is not of the form.
    #[error("its content can't be read: {0}")]
    Content(CborError),
    /// There is more of it than fits into a copy.
    #[error("it has {0} bytes, and a backup has {LONGEST} at the most")]
    TooLarge(usize),
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Document {
    #[n(0)]
    magic: String,
    #[n(1)]
    form: u32,
    #[n(2)]
    content: ByteVec,
    #[n(3)]
    sha256: ByteArray<32>,
}

/// What is in a copy.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Content {
    /// When it was made, in seconds since 1970 (UTC).
    #[n(0)]
    pub created: u64,
    /// Name and version of the agent that made it.
    #[n(1)]
    pub software: String,
    /// The registry's generation.
    #[n(2)]
    pub generation: u64,
    /// The registry's digest at that generation.
    #[n(3)]
    pub digest: ByteArray<32>,
    /// What the tokens' names are pinned to, in the order of the names.
    #[n(4)]
    pub tokens: Vec<TokenCopy>,
    /// The keys, destroyed ones too, in the order of their ids.
    #[n(5)]
    pub keys: Vec<KeyCopy>,
    /// Keys that live in files which only their token can open.
    #[n(6)]
    pub blobs: Vec<BlobCopy>,
    /// Configuration and policy, in the order of their names.
    #[n(7)]
    pub files: Vec<FileCopy>,
}

/// A token's pin.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TokenCopy {
    /// Its name in the configuration.
    #[n(0)]
    pub name: String,
    /// Who made it.
    #[n(1)]
    pub manufacturer: String,
    /// Its model.
    #[n(2)]
    pub model: String,
    /// Its serial number.
    #[n(3)]
    pub serial: String,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyCopy {
    /// Its id, a UUID.
    #[n(0)]
    pub id: ByteArray<16>,
    /// What it is for.
    #[n(1)]
    pub purpose: Purpose,
    /// What kind of key it is.
    #[n(2)]
    pub key_type: KeyType,
    /// Where it is in its life.
    #[n(3)]
    pub state: KeyState,
    /// What it may sign, ascending.
    #[n(4)]
    pub formats: Vec<Format>,
    /// Its names, ascending.
    #[n(5)]
    pub aliases: Vec<String>,
    /// The owner's words.
    #[n(6)]
    pub tags: Vec<TagCopy>,
    /// When it was made, in seconds since 1970 (UTC).
    #[n(7)]
    pub created: u64,
    /// After how many seconds it should be rotated.
    #[n(8)]
    pub rotation_period: Option<u64>,
    /// Its versions, oldest first.
    #[n(9)]
    pub versions: Vec<VersionCopy>,
}

/// A tag of a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TagCopy {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Its value.
    #[n(1)]
    pub value: String,
}

/// A version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct VersionCopy {
    /// Its id, a UUID: the CKA_ID of its objects.
    #[n(0)]
    pub id: ByteArray<16>,
    /// Counts from 1.
    #[n(1)]
    pub number: u32,
    /// Where it is in its life.
    #[n(2)]
    pub state: KeyState,
    /// When it was made, in seconds since 1970 (UTC).
    #[n(3)]
    pub created: u64,
    /// Its public part; a secret key has none.
    #[n(4)]
    pub public: Option<CoseKey>,
    /// Where it lives.
    #[n(5)]
    pub placements: Vec<PlacementCopy>,
    /// How many encryptions were reserved of a key that counts them.
    #[n(6)]
    pub seals: Option<u64>,
}

/// A version on a token.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PlacementCopy {
    /// The token's name.
    #[n(0)]
    pub token: String,
    /// Where on the token.
    #[n(1)]
    pub locator: String,
    /// CKA_LOCAL.
    #[n(2)]
    pub local: bool,
    /// CKA_ALWAYS_SENSITIVE.
    #[n(3)]
    pub always_sensitive: bool,
    /// CKA_NEVER_EXTRACTABLE.
    #[n(4)]
    pub never_extractable: bool,
    /// What it is bound to, if it is.
    #[n(5)]
    pub bound: Option<BoundCopy>,
}

/// What a version on a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BoundCopy {
    /// The PCRs, in ascending order.
    #[n(0)]
    pub pcrs: Vec<u8>,
    /// The public key that approves other values; absent: none does.
    #[n(1)]
    pub authority: Option<CoseKey>,
}

/// A key that lives in a file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BlobCopy {
    /// The id of its version.
    #[n(0)]
    pub version: ByteArray<16>,
    /// The token that can open it.
    #[n(1)]
    pub token: String,
    /// The file's content.
    #[n(2)]
    pub bytes: ByteVec,
}

/// A file of text.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FileCopy {
    /// Its path below the folder of the configuration.
    #[n(0)]
    pub name: String,
    /// What is in it.
    #[n(1)]
    pub text: String,
}

impl Content {
    /// The whole document.
    ///
    /// # Errors
    /// [`BackupError::TooLarge`].
    pub fn to_document(&self) -> Result<Vec<u8>, BackupError> {
        let content = cbor::encode(self);
        let document = cbor::encode(&Document {
            magic: MAGIC.to_owned(),
            form: FORM,
            sha256: checksum(&content),
            content: content.into(),
        });
        if document.len() > LONGEST {
            return Err(BackupError::TooLarge(document.len()));
        }
        Ok(document)
    }

    /// Reads a document, which somebody may have made up.
    ///
    /// # Errors
    /// Why it is no copy. Its content is of the form, no more: whether it makes sense is not checked.
    pub fn from_document(document: &[u8]) -> Result<Self, BackupError> {
        if document.len() > LONGEST {
            return Err(BackupError::TooLarge(document.len()));
        }
        let read = cbor::decode_known::<Document>(document).map_err(|_| BackupError::Foreign)?;
        if read.magic != MAGIC {
            return Err(BackupError::Foreign);
        }
        if read.form != FORM {
            return Err(BackupError::Newer(read.form));
        }
        cbor::decode_exact::<Document>(document).map_err(BackupError::Content)?;
        if checksum(&read.content) != read.sha256 {
            return Err(BackupError::Changed);
        }
        cbor::decode_exact(&read.content).map_err(BackupError::Content)
    }
}

fn checksum(content: &[u8]) -> ByteArray<32> {
    let digest: [u8; 32] = Sha256::digest(content).into();
    digest.into()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            created: 1_700_000_000,
            software: "keywardd/0.1.0".into(),
            generation: 7,
            digest: [7; 32].into(),
            tokens: vec![TokenCopy {
                name: "main".into(),
                manufacturer: "m".into(),
                model: "o".into(),
                serial: "1".into(),
            }],
            keys: Vec::new(),
            blobs: Vec::new(),
            files: vec![FileCopy {
                name: "keyward.toml".into(),
                text: "[token.main]\n".into(),
            }],
        }
    }

    #[test]
    fn a_copy_is_read_as_it_was_written() {
        let document = content().to_document().unwrap();
        assert_eq!(Content::from_document(&document), Ok(content()));
    }

    #[test]
    fn no_byte_of_a_copy_can_be_changed_or_cut() {
        let document = content().to_document().unwrap();
        for at in 0..document.len() {
            let mut changed = document.clone();
            changed[at] ^= 1;
            assert!(Content::from_document(&changed).is_err(), "byte {at}");
            assert!(
                Content::from_document(&document[..at]).is_err(),
                "cut at {at}"
            );
        }
        let mut longer = document;
        longer.push(0);
        assert!(Content::from_document(&longer).is_err());
    }

    #[test]
    fn other_files_and_newer_forms_are_told_apart() {
        for foreign in [&b""[..], b"{}", b"SQLite format 3\0", &[0xa0]] {
            assert_eq!(Content::from_document(foreign), Err(BackupError::Foreign));
        }
        let newer = cbor::encode(&Document {
            magic: MAGIC.into(),
            form: 2,
            content: Vec::new().into(),
            sha256: [0; 32].into(),
        });
        assert_eq!(Content::from_document(&newer), Err(BackupError::Newer(2)));
    }
}
