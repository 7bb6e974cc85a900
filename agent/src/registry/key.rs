//! Keys as the registry has them.

use std::collections::BTreeMap;

use keyward_backend::VersionId;
use keyward_backend::pcr::BoundTo;
use keyward_protocol::{CoseKey, Format, KeyState, KeyType, Purpose, Thumbprint};
use uuid::Uuid;

use super::check::{check_alias, check_alias_count, check_formats, check_tags};
use super::error::Invalid;

/// What a person names: one purpose, one or several versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: Uuid,
    /// The id with hyphens, ready for replies.
    pub id_text: String,
    /// What it is for.
    pub purpose: Purpose,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// Where it is in its life.
    pub state: KeyState,
    /// What it may sign, ascending; empty unless it is a sign key.
    pub formats: Vec<Format>,
    /// Its names, ascending.
    pub aliases: Vec<String>,
    /// The owner's words.
    pub tags: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: u64,
    /// After how many seconds it should be rotated.
    pub rotation_period: Option<u64>,
    /// Its versions, oldest first.
    pub versions: Vec<Version>,
}

impl Key {
    /// The version that uses take which name none: the newest, whatever its state, unless it is
    /// destroyed. What is new is made by [`Key::protecting`] only.
    #[must_use]
    pub fn current(&self) -> Option<&Version> {
        self.versions
            .last()
            .filter(|version| version.state != KeyState::Destroyed)
    }

    /// The version that makes what is new: the current one, if it is active. No older one takes its
    /// place: that it is not new any more was decided once.
    #[must_use]
    pub fn protecting(&self) -> Option<&Version> {
        self.current()
            .filter(|version| version.state == KeyState::Active)
    }

    /// The version of a number.
    #[must_use]
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions
            .iter()
            .find(|version| version.number == number)
    }
}

/// One hardware key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its id: the CKA_ID of its objects.
    pub id: VersionId,
    /// Counts from 1.
    pub number: u32,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: u64,
    /// Its identity; a secret key has none but its id.
    pub thumbprint: Option<Thumbprint>,
    /// Its public part; a secret key has none.
    pub public: Option<CoseKey>,
    /// The public part as SubjectPublicKeyInfo, DER; empty for a secret key.
    pub spki: Vec<u8>,
    /// Where it lives, by the tokens' names; empty once it is destroyed.
    pub placements: Vec<Placement>,
}

/// A version on a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The token's name in the configuration.
    pub token: String,
    /// Where on the token: an RFC 7512 URI.
    pub locator: String,
    /// CKA_LOCAL.
    pub local: bool,
    /// CKA_ALWAYS_SENSITIVE.
    pub always_sensitive: bool,
    /// CKA_NEVER_EXTRACTABLE.
    pub never_extractable: bool,
    /// The key's own file, encrypted by its device, where it lives in one.
    pub blob: Option<Vec<u8>>,
    /// What it is bound to, if it is.
    pub bound: Option<BoundTo>,
}

/// A key that is to be entered, with its first version.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its id, which the intent names.
    pub id: Uuid,
    /// What it is for.
    pub purpose: Purpose,
    /// Active; suspended if it was found again on a token.
    pub state: KeyState,
    /// What it may sign.
    pub formats: Vec<Format>,
    /// Its names.
    pub aliases: Vec<String>,
    /// The owner's words.
    pub tags: BTreeMap<String, String>,
    /// The id of the first version, which the intent names.
    pub version: VersionId,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// The public part of the first version; a secret key has none.
    pub public: Option<CoseKey>,
    /// Where the first version lives.
    pub placements: Vec<Placement>,
}

/// A further version of a key that is there.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// Its id, which the intent names.
    pub id: VersionId,
    /// Its public part; a secret key has none.
    pub public: Option<CoseKey>,
    /// Where it lives.
    pub placements: Vec<Placement>,
}

/// Checks that a public part is there where the type has one, and is of the type.
pub(super) fn check_public(key_type: KeyType, public: Option<&CoseKey>) -> Result<(), Invalid> {
    match public {
        None if key_type.is_secret() => Ok(()),
        Some(public) if public.key_type() == Some(key_type) => Ok(()),
        _ => Err(Invalid::new(format!(
            "its public part is not that of a key of type {key_type}"
        ))),
    }
}

impl NewKey {
    /// Checks everything that needs no look into the registry.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        let key_type = self.key_type;
        check_public(key_type, self.public.as_ref())?;
        if !self.purpose.fits(key_type) {
            return Err(Invalid::new(format!(
                "a {key_type} key can't have the purpose {}",
                self.purpose
            )));
        }
        if self.state == KeyState::Destroyed {
            return Err(Invalid::new("a new key can't be destroyed already"));
        }
        check_formats(self.purpose, &self.formats)?;
        check_tags(&self.tags)?;
        check_alias_count(self.aliases.len())?;
        for alias in &self.aliases {
            check_alias(alias)?;
        }
        Ok(())
    }
}
