//! The registry: which keys there are, in SQLite, and all of it in memory.
//!
//! Each change is one transaction that counts the generation up; the memory follows once it is
//! committed. The log holds [`Registry::mark`] in each management record, so that a registry that
//! was rolled back is found at start by [`check_mark`].

mod ballast;
mod check;
mod copy;
mod error;
mod key;
mod lifecycle;
mod mark;
mod recover;
mod rows;
mod schema;
mod seal_count;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use keyward_backend::TokenIdentity;
use keyward_protocol::event::EventKind;
use keyward_protocol::{CoseKey, KeyState, Thumbprint};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use uuid::Uuid;

use crate::audit::RegistryMark;
use crate::events::Events;

use ballast::Ballast;
pub use check::{
    MAX_ALIAS, MAX_ALIASES, MAX_TAG_NAME, MAX_TAG_VALUE, MAX_TAGS, MAX_VERSIONS, check_alias,
    check_formats, check_tags,
};
pub use copy::Plan;
pub use error::{Invalid, RegistryError};
pub use key::{Key, NewKey, NewVersion, Placement, Version};
pub(crate) use lifecycle::next_number;
pub use mark::{MarkCheck, check_mark};
pub use recover::FoundVersion;
pub use seal_count::SealCountError;

/// The open registry.
#[derive(Debug)]
pub struct Registry {
    connection: Connection,
    ballast: Ballast,
    mark: RegistryMark,
    keys: BTreeMap<Uuid, Rc<Key>>,
    aliases: HashMap<String, Rc<Key>>,
    tokens: BTreeMap<String, TokenIdentity>,
    count: usize,
    /// Who is told of changes; nobody while it is opened.
    events: Option<Rc<Events>>,
    seal_counts: seal_count::SealCounts,
}

impl Registry {
    /// Opens the registry, or makes it, brings its form up to date, and reads all of it.
    ///
    /// # Errors
    /// It is in use, of a newer form, another program's, or damaged.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let connection = schema::open(path)?;
        let mut registry = Self {
            mark: rows::mark(&connection)?,
            tokens: rows::tokens(&connection)?,
            keys: BTreeMap::new(),
            aliases: HashMap::new(),
            count: 0,
            ballast: Ballast::open(path)?,
            events: None,
            seal_counts: seal_count::SealCounts::default(),
            connection,
        };
        for id in rows::key_ids(&registry.connection)? {
            registry.reload(id)?;
        }
        Ok(registry)
    }

    /// Has changes of keys told from now on.
    pub fn tell(&mut self, events: Rc<Events>) {
        self.events = Some(events);
    }

    /// The key of an id (with hyphens) or an alias. A destroyed key is found by its id only.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<Rc<Key>> {
        let id = (name.len() == 36).then(|| Uuid::try_parse(name).ok());
        match id.flatten() {
            Some(id) => self.keys.get(&id),
            None => self.aliases.get(name),
        }
        .cloned()
    }

    /// The key, and its version, that has a public part.
    #[must_use]
    pub fn holder(&self, public: &CoseKey) -> Option<(Rc<Key>, Version)> {
        let thumbprint = Some(Thumbprint::of(public));
        self.keys.values().find_map(|key| {
            let mut versions = key.versions.iter();
            let version = versions.find(|version| version.thumbprint == thumbprint)?;
            Some((Rc::clone(key), version.clone()))
        })
    }

    /// At most `limit` keys behind an id, in the order of their ids, without destroyed ones.
    #[must_use]
    pub fn page(&self, after: Option<Uuid>, limit: usize) -> Vec<Rc<Key>> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.keys
            .range((begin, Bound::Unbounded))
            .map(|(_, key)| key)
            .filter(|key| key.state != KeyState::Destroyed)
            .take(limit)
            .cloned()
            .collect()
    }

    /// How many keys there are, without destroyed ones.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Enters a key with its first version.
    ///
    /// # Errors
    /// Something of it is taken or invalid, or the disk refuses.
    pub fn insert(&mut self, new: NewKey) -> Result<Rc<Key>, RegistryError> {
        new.check()?;
        if let Some(alias) = new.aliases.iter().find(|a| self.aliases.contains_key(*a)) {
            return Err(RegistryError::AliasTaken(alias.clone()));
        }
        self.check_tokens(&new.placements)?;
        self.change(|transaction| rows::insert(transaction, &new, now()))?;
        self.reload(new.id)
    }

    /// Marks a key and its versions as destroyed, and frees its aliases. The hardware's keys are
    /// gone before.
    ///
    /// # Errors
    /// There is no such key, or the disk refuses.
    pub fn destroy(&mut self, id: Uuid) -> Result<Rc<Key>, RegistryError> {
        self.live(id)?;
        self.change(|transaction| rows::destroy(transaction, id))?;
        self.reload(id)
    }

    /// Pins a token's name to a token, also if it was pinned to another before.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn pin_token(&mut self, name: &str, identity: &TokenIdentity) -> Result<(), RegistryError> {
        self.change(|transaction| rows::pin_token(transaction, name, identity, now()))?;
        self.tokens.insert(name.to_owned(), identity.clone());
        Ok(())
    }

    /// What a token's name is pinned to.
    #[must_use]
    pub fn token_identity(&self, name: &str) -> Option<&TokenIdentity> {
        self.tokens.get(name)
    }

    /// How often the registry was changed.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.mark.generation
    }

    /// SHA-256 over all that is in it, its form included.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.mark.digest
    }

    /// Generation and digest, for the log.
    #[must_use]
    pub const fn mark(&self) -> RegistryMark {
        self.mark
    }

    fn live(&self, id: Uuid) -> Result<Rc<Key>, RegistryError> {
        match self.keys.get(&id) {
            None => Err(RegistryError::NotFound(id)),
            Some(key) if key.state == KeyState::Destroyed => Err(RegistryError::Destroyed(id)),
            Some(key) => Ok(Rc::clone(key)),
        }
    }

    fn check_tokens(&self, placements: &[Placement]) -> Result<(), RegistryError> {
        let known = |name: &String| self.tokens.contains_key(name);
        match placements.iter().find(|p| !known(&p.token)) {
            Some(placement) => Err(RegistryError::UnknownToken(placement.token.clone())),
            None => Ok(()),
        }
    }

    /// Makes a change and counts it, or leaves everything as it was.
    fn change(
        &mut self,
        change: impl Fn(&Transaction<'_>) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        // What was given up in an emergency is kept for the next one before anything else.
        if !self.ballast.fill() {
            return Err(RegistryError::Full);
        }
        self.commit(change)
    }

    /// The same for what must be possible on a full disk too.
    fn change_urgently(
        &mut self,
        change: impl Fn(&Transaction<'_>) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        match self.commit(&change) {
            Err(RegistryError::Full) if self.ballast.spend() => self.commit(change),
            result => result,
        }
    }

    fn commit(
        &mut self,
        change: impl Fn(&Transaction<'_>) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        change(&transaction)?;
        rows::count_up(&transaction)?;
        let mark = rows::mark(&transaction)?;
        transaction.commit()?;
        self.mark = mark;
        Ok(())
    }

    /// Reads a key again.
    fn reload(&mut self, id: Uuid) -> Result<Rc<Key>, RegistryError> {
        let key = Rc::new(rows::key(&self.connection, id)?);
        let counted = |key: &Rc<Key>| usize::from(key.state != KeyState::Destroyed);
        let before = self.keys.insert(id, Rc::clone(&key));
        if let Some(events) = &self.events
            && let Some(kind) = change_of(before.as_deref(), &key)
        {
            events.key(kind, id);
        }
        self.count = self
            .count
            .saturating_sub(before.as_ref().map_or(0, counted))
            .saturating_add(counted(&key));
        for alias in before.iter().flat_map(|key| &key.aliases) {
            self.aliases.remove(alias);
        }
        for alias in &key.aliases {
            self.aliases.insert(alias.clone(), Rc::clone(&key));
        }
        Ok(key)
    }
}

/// What those who listen are told of a change.
fn change_of(before: Option<&Key>, now: &Key) -> Option<EventKind> {
    match before {
        None => Some(EventKind::KeyCreated),
        Some(before) if before.state == now.state => None,
        Some(_) if now.state == KeyState::Destroyed => Some(EventKind::KeyDestroyed),
        Some(_) => Some(EventKind::KeyStateChanged),
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

#[cfg(test)]
mod tests;
