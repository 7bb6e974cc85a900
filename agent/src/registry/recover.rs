//! Keys that were found on a token and that the registry does not have.

use std::collections::BTreeSet;
use std::rc::Rc;

use keyward_backend::VersionId;
use keyward_protocol::{CoseKey, Format, KeyState, KeyType, Purpose};
use uuid::Uuid;

use super::check::{MAX_VERSIONS, check_formats};
use super::error::{Invalid, RegistryError};
use super::key::{Key, NewVersion, Placement, check_public};
use super::rows::KeyRow;
use super::{Registry, now, rows, seal_count};

/// A version as its token shows it.
#[derive(Clone, Debug)]
pub struct FoundVersion {
    /// The id of its key.
    pub key: Uuid,
    /// Its number.
    pub number: u32,
    /// What the key is for.
    pub purpose: Purpose,
    /// What it may sign.
    pub formats: Vec<Format>,
    /// Its own id.
    pub id: VersionId,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// Its public part; a secret key has none.
    pub public: Option<CoseKey>,
    /// Where it was found.
    pub placement: Placement,
}

impl Registry {
    /// Whether a version could be taken in, by itself: what the token says must be a key of
    /// keyward's, and must not give an active key a version that no person has looked at.
    ///
    /// # Errors
    /// Why it can't be.
    pub fn check_found(&self, found: &FoundVersion) -> Result<(), Invalid> {
        let refuse = |words: String| Err(Invalid::new(words));
        check_public(found.key_type, found.public.as_ref())?;
        check_formats(found.purpose, &found.formats)?;
        if !found.purpose.fits(found.key_type) {
            return refuse(format!(
                "a {} key can't have the purpose {}",
                found.key_type, found.purpose
            ));
        }
        if !(1..=MAX_VERSIONS as u64).contains(&u64::from(found.number)) {
            return refuse(format!("{} is no number of a version", found.number));
        }
        let Some(key) = self.keys.get(&found.key) else {
            return Ok(());
        };
        if key.state == KeyState::Destroyed {
            return refuse(format!("the key {} is destroyed", key.id));
        }
        if (key.purpose, key.key_type, &key.formats)
            != (found.purpose, found.key_type, &found.formats)
        {
            return refuse(format!(
                "the key {} has another purpose, type or formats",
                key.id
            ));
        }
        if key.version(found.number).is_some() {
            return refuse(format!(
                "the key {} has another version {}",
                key.id, found.number
            ));
        }
        if key.state != KeyState::Suspended {
            return refuse(format!(
                "the key {0} is {1}; to take in a version that was not known: keyward key disable {0}, then rescan",
                key.id, key.state
            ));
        }
        Ok(())
    }

    /// Takes in versions, their keys suspended, and further places of versions that are there: all
    /// in one change. Each was looked at by [`Registry::check_found`], and no two have the same key
    /// and number.
    ///
    /// # Errors
    /// One of them can't be taken in, or the disk refuses: nothing was changed.
    pub fn recover(
        &mut self,
        found: &[FoundVersion],
        places: &[(Uuid, VersionId, Placement)],
    ) -> Result<(), RegistryError> {
        for version in found {
            self.check_found(version)?;
            self.check_tokens(std::slice::from_ref(&version.placement))?;
        }
        for (key, _, placement) in places {
            self.live(*key)?;
            self.check_tokens(std::slice::from_ref(placement))?;
        }
        let new: BTreeSet<Uuid> = found.iter().map(|version| version.key).collect();
        let unknown: BTreeSet<Uuid> = new
            .iter()
            .filter(|key| !self.keys.contains_key(key))
            .copied()
            .collect();
        self.change(|transaction| {
            let mut entered = BTreeSet::new();
            for version in found {
                if unknown.contains(&version.key) && entered.insert(version.key) {
                    let row = KeyRow {
                        id: version.key,
                        purpose: version.purpose,
                        key_type: version.key_type,
                        state: KeyState::Suspended,
                        formats: &version.formats,
                    };
                    rows::insert_key(transaction, &row, now())?;
                }
                let row = NewVersion {
                    id: version.id,
                    public: version.public.clone(),
                    placements: vec![version.placement.clone()],
                };
                rows::add_version(transaction, version.key, version.number, &row, now())?;
                // How often it sealed is not on the token.
                if seal_count::is_counted(version.purpose, version.key_type) {
                    seal_count::go_on_from(transaction, version.id, 0)?;
                }
            }
            for key in &new {
                rows::activate_newest(transaction, *key)?;
            }
            for (_, version, placement) in places {
                rows::add_placements(transaction, *version, std::slice::from_ref(placement))?;
            }
            Ok(())
        })?;
        let placed = places.iter().map(|(key, ..)| *key);
        for key in new.into_iter().chain(placed) {
            self.reload(key)?;
        }
        Ok(())
    }

    /// The key that has a version, also one that is destroyed.
    #[must_use]
    pub fn key_of(&self, version: VersionId) -> Option<Rc<Key>> {
        let has = |key: &&Rc<Key>| key.versions.iter().any(|v| v.id == version);
        self.keys.values().find(has).cloned()
    }

    /// The versions that should be on a token, with their keys.
    #[must_use]
    pub fn on_token(&self, token: &str) -> Vec<(Rc<Key>, VersionId)> {
        let mut versions = Vec::new();
        for key in self.keys.values() {
            for version in &key.versions {
                if version.placements.iter().any(|p| p.token == token) {
                    versions.push((Rc::clone(key), version.id));
                }
            }
        }
        versions
    }
}
