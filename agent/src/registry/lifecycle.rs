//! What happens to keys after they were entered.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use keyward_backend::VersionId;
use keyward_protocol::KeyState;
use uuid::Uuid;

use super::check::{MAX_VERSIONS, check_alias, check_alias_count, check_tags};
use super::error::{Invalid, RegistryError};
use super::key::{Key, NewVersion, Placement, check_public};
use super::{Registry, now, rows};

impl Registry {
    /// Changes the state of a key; into destroyed it goes by [`Registry::destroy`] only.
    ///
    /// What takes a key out of use also works on a full disk. A compromised key's versions are all
    /// compromised.
    ///
    /// # Errors
    /// There is no such key, it is destroyed, or the disk refuses.
    pub fn set_state(&mut self, id: Uuid, state: KeyState) -> Result<Rc<Key>, RegistryError> {
        self.live(id)?;
        let change = |transaction: &rusqlite::Transaction<'_>| {
            if state == KeyState::Compromised {
                rows::set_version_states(transaction, id, state)?;
            }
            rows::set_state(transaction, id, state)
        };
        match state {
            KeyState::Destroyed => {
                return Err(
                    Invalid::new("a key is destroyed with its versions, not by its state").into(),
                );
            }
            KeyState::Suspended | KeyState::Compromised => self.change_urgently(change)?,
            _ => self.change(change)?,
        }
        self.reload(id)
    }

    /// Enters that tokens have nothing left of a key's versions up to a number. A version that is on
    /// no token any more is destroyed, and the key is when no version is on one: what it was called
    /// is free then.
    ///
    /// # Errors
    /// There is no such key, it is destroyed, or the disk refuses.
    pub fn destroy_on(
        &mut self,
        id: Uuid,
        tokens: &[&str],
        newest: u32,
    ) -> Result<Rc<Key>, RegistryError> {
        let key = self.live(id)?;
        let goes = |number: u32, token: &str| number <= newest && tokens.contains(&token);
        let is_left = key.versions.iter().any(|version| {
            let mut places = version.placements.iter();
            places.any(|place| !goes(version.number, &place.token))
        });
        let is_changed = key.versions.iter().any(|version| {
            let mut places = version.placements.iter();
            places.any(|place| goes(version.number, &place.token))
                || (version.number <= newest
                    && version.placements.is_empty()
                    && version.state != KeyState::Destroyed)
        });
        if is_left && !is_changed {
            return Ok(key);
        }
        self.change(|transaction| {
            if is_left {
                rows::destroy_on(transaction, id, tokens, newest)
            } else {
                rows::destroy(transaction, id)
            }
        })?;
        self.reload(id)
    }

    /// Enters a new version of a key, which new uses take from now on. The ones before are
    /// deactivated.
    ///
    /// # Errors
    /// There is no such key, something is taken or invalid, or the disk refuses.
    pub fn add_version(&mut self, id: Uuid, new: &NewVersion) -> Result<Rc<Key>, RegistryError> {
        let key = self.live(id)?;
        check_public(key.key_type, new.public.as_ref())?;
        let number = next_number(&key)?;
        self.check_tokens(&new.placements)?;
        self.change(|transaction| {
            rows::deactivate_versions(transaction, id)?;
            rows::add_version(transaction, id, number, new, now())
        })?;
        self.reload(id)
    }

    /// Enters that a version lives on further tokens.
    ///
    /// # Errors
    /// There is no such key or version, it is there already, or the disk refuses.
    pub fn add_placements(
        &mut self,
        id: Uuid,
        version: VersionId,
        placements: &[Placement],
    ) -> Result<Rc<Key>, RegistryError> {
        let key = self.live(id)?;
        if !key.versions.iter().any(|other| other.id == version) {
            return Err(RegistryError::NotFound(version.uuid()));
        }
        self.check_tokens(placements)?;
        self.change(|transaction| rows::add_placements(transaction, version, placements))?;
        self.reload(id)
    }

    /// Keeps the file of a key that its token has written anew.
    ///
    /// # Errors
    /// There is no such key, or the disk refuses.
    pub fn replace_blob(
        &mut self,
        id: Uuid,
        version: VersionId,
        place: &Placement,
    ) -> Result<Rc<Key>, RegistryError> {
        let key = self.live(id)?;
        let mut places = key.versions.iter().filter(|other| other.id == version);
        let mut places = places.by_ref().flat_map(|version| &version.placements);
        let same = places.any(|old| old.token == place.token && old.blob == place.blob);
        if same {
            return Ok(key);
        }
        self.change(|transaction| rows::replace_blob(transaction, version, place))?;
        self.reload(id)
    }

    /// Gives and takes names, all or none of them. A name that the key has already may be given.
    ///
    /// # Errors
    /// There is no such key, another key has the name, one that is to go is not there, or the disk
    /// refuses.
    pub fn set_aliases(
        &mut self,
        id: Uuid,
        add: &[String],
        remove: &[String],
    ) -> Result<Rc<Key>, RegistryError> {
        let key = self.live(id)?;
        let mut aliases: BTreeSet<&String> = key.aliases.iter().collect();
        for alias in remove {
            if !aliases.remove(alias) {
                return Err(Invalid::new(format!("the key has no alias {alias:?}")).into());
            }
        }
        for alias in add {
            check_alias(alias)?;
            if remove.contains(alias) {
                return Err(
                    Invalid::new(format!("the alias {alias:?} can't be given and taken")).into(),
                );
            }
            match self.aliases.get(alias) {
                Some(other) if other.id != id => {
                    return Err(RegistryError::AliasTaken(alias.clone()));
                }
                _ => aliases.insert(alias),
            };
        }
        check_alias_count(aliases.len())?;
        let added: BTreeSet<&String> = add.iter().filter(|a| !key.aliases.contains(a)).collect();
        self.change(|transaction| {
            for alias in remove {
                rows::remove_alias(transaction, id, alias)?;
            }
            for alias in &added {
                rows::add_alias(transaction, id, alias)?;
            }
            Ok(())
        })?;
        self.reload(id)
    }

    /// Sets and removes tags, all or none of them.
    ///
    /// # Errors
    /// There is no such key, one that is to go is not there, they are too many or too long, or the
    /// disk refuses.
    pub fn set_tags(
        &mut self,
        id: Uuid,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<Rc<Key>, RegistryError> {
        let key = self.live(id)?;
        let mut tags = key.tags.clone();
        for name in remove {
            if tags.remove(name).is_none() || set.contains_key(name) {
                return Err(Invalid::new(format!("the tag {name:?} can't be removed")).into());
            }
        }
        tags.extend(set.clone());
        check_tags(&tags)?;
        self.change(|transaction| rows::set_tags(transaction, id, &tags))?;
        self.reload(id)
    }
}

/// The number of the version that comes next.
///
/// # Errors
/// There are too many.
pub(crate) fn next_number(key: &Key) -> Result<u32, Invalid> {
    let last = key.versions.last().map_or(0, |version| version.number);
    match last.checked_add(1) {
        Some(next) if key.versions.len() < MAX_VERSIONS => Ok(next),
        _ => Err(Invalid::new(format!(
            "a key has at most {MAX_VERSIONS} versions; make a new key"
        ))),
    }
}
