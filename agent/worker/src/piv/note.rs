//! What keyward writes beside a key: which of its key versions it is.
//!
//! PIV has no room for a label or an id at a key, but for objects of a card's owner (Yubico takes tags
//! from `5f0000` on). So each slot has a small object, written after the key: the key is found again
//! on any machine, and a key that somebody else has put into the slot is not taken for it.

use keyward_backend::VersionId;
use keyward_protocol::{CoseKey, Purpose};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

/// The form that this version writes.
const FORM: u8 = 1;
/// The longest note: a label of 256 bytes, and an RSA-2048 key where the card does not show it.
const MOST: usize = 1024;

/// Why an object is no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// A newer keyward wrote it, or another program.
    #[error("the note has the form {0}, and this keyward knows {FORM}")]
    Form(u8),
    /// It was changed or cut.
    #[error("the note is damaged")]
    Damaged,
}

/// How a key came into its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Origin {
    /// The card made it, for keyward.
    #[n(1)]
    Generated,
    /// Keyward put it there.
    #[n(2)]
    Imported,
    /// It was there, and keyward uses it.
    #[n(3)]
    Adopted,
    /// It is there only because a card before firmware 5.7 can't delete a key: it was made to
    /// overwrite another, and nobody uses it.
    #[n(4)]
    Overwritten,
}

/// The note about one key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Note {
    /// Which key version.
    #[n(0)]
    pub id: VersionId,
    /// What keyward calls it.
    #[n(1)]
    pub label: String,
    /// SHA-256 of its SubjectPublicKeyInfo.
    #[n(2)]
    pub spki: ByteArray<32>,
    /// What it is for.
    #[n(3)]
    pub purpose: Purpose,
    /// How it came there.
    #[n(4)]
    pub origin: Origin,
    /// Its public part, where the card does not show it.
    #[n(5)]
    pub public: Option<CoseKey>,
    /// The numbers of its policies for PIN and touch, where the card does not show them.
    #[n(6)]
    pub policies: Option<(u8, u8)>,
}

impl Note {
    /// Parses the content of the object.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn parse(object: &[u8]) -> Result<Self, NoteError> {
        let (form, bytes) = object.split_first().ok_or(NoteError::Damaged)?;
        if *form != FORM {
            return Err(NoteError::Form(*form));
        }
        if bytes.len() > MOST {
            return Err(NoteError::Damaged);
        }
        let mut decoder = minicbor::Decoder::new(bytes);
        match decoder.decode() {
            Ok(note) if decoder.position() == bytes.len() => Ok(note),
            _ => Err(NoteError::Damaged),
        }
    }

    /// The content of the object.
    #[must_use]
    pub fn to_object(&self) -> Vec<u8> {
        let mut object = vec![FORM];
        match minicbor::encode(self, &mut object) {
            Ok(()) => object,
            Err(error) => unreachable!("writing to a Vec does not fail: {error}"),
        }
    }

    /// Whether it is about this key.
    #[must_use]
    pub fn is_about(&self, key: &CoseKey) -> bool {
        digest(key).is_some_and(|digest| digest == self.spki)
    }
}

/// What a note has of a key.
#[must_use]
pub fn digest(key: &CoseKey) -> Option<ByteArray<32>> {
    let spki = key.to_spki().ok()?;
    let digest: [u8; 32] = Sha256::digest(spki).into();
    Some(digest.into())
}

#[cfg(test)]
mod tests;
