//! What taking a copy over comes to: nothing is written here.

use std::collections::BTreeSet;

use keyward_backend::{MOST_BLOB, VersionId};
use keyward_protocol::backup::{BlobCopy, KeyCopy, PlacementCopy, TagCopy, TokenCopy, VersionCopy};
use keyward_protocol::{KeyState, Thumbprint};
use uuid::Uuid;

use super::identity;
use crate::registry::check::{MAX_ALIASES, MAX_TAGS, MAX_VERSIONS};
use crate::registry::error::Invalid;
use crate::registry::seal_count::is_counted;
use crate::registry::{Key, Registry};

/// What will be written, and what will not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Tokens that are pinned to nothing yet.
    pub(super) tokens: Vec<TokenCopy>,
    /// Keys that the registry does not have.
    pub(super) added: Vec<KeyCopy>,
    /// What keys lack that the registry has.
    pub(super) merged: Vec<Merge>,
    /// What versions of AES-GCM keys had reserved.
    pub(super) seals: Vec<(VersionId, u64)>,
    /// The files of keys whose places are entered.
    pub(super) blobs: Vec<BlobCopy>,
    /// What is not taken over, and why.
    pub kept: Vec<String>,
}

/// What a key gets that the registry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Merge {
    pub(super) key: Uuid,
    /// A stricter state.
    pub(super) state: Option<KeyState>,
    pub(super) aliases: Vec<String>,
    pub(super) tags: Vec<TagCopy>,
    pub(super) versions: Vec<VersionCopy>,
    /// Stricter states of versions.
    pub(super) states: Vec<(Uuid, KeyState)>,
    pub(super) placements: Vec<(Uuid, PlacementCopy)>,
}

impl Merge {
    /// The state that the key will have.
    fn state_after(&self, have: &Key) -> KeyState {
        self.state.unwrap_or(have.state)
    }

    fn is_empty(&self) -> bool {
        self.state.is_none()
            && self.aliases.is_empty()
            && self.tags.is_empty()
            && self.versions.is_empty()
            && self.states.is_empty()
            && self.placements.is_empty()
    }
}

impl Plan {
    /// Without the keys that something else has hold of.
    #[must_use]
    pub fn without(mut self, is_held: impl Fn(Uuid) -> bool) -> Self {
        let held: BTreeSet<Uuid> = self.keys().filter(|id| is_held(*id)).collect();
        self.added
            .retain(|key| !held.contains(&Uuid::from_bytes(*key.id)));
        self.merged.retain(|merge| !held.contains(&merge.key));
        self.kept.extend(held.iter().map(|id| {
            format!("{id}: it is just being changed, or a change of it waits for a token; restore again when that has ended")
        }));
        self
    }

    /// With the copy's files of keys: those whose places are entered with it. What the registry has
    /// keeps its own.
    ///
    /// # Errors
    /// One is there twice, or is no file of a key.
    pub fn with_blobs(mut self, blobs: &[BlobCopy]) -> Result<Self, Invalid> {
        let mut places: BTreeSet<([u8; 16], &str)> = BTreeSet::new();
        let added = self.added.iter().flat_map(|key| &key.versions);
        let merged = self.merged.iter().flat_map(|merge| &merge.versions);
        for version in added.chain(merged) {
            let tokens = version.placements.iter();
            places.extend(tokens.map(|place| (*version.id, place.token.as_str())));
        }
        let further = self.merged.iter().flat_map(|merge| &merge.placements);
        places.extend(further.map(|(id, place)| (id.into_bytes(), place.token.as_str())));
        let mut seen = BTreeSet::new();
        let mut entered = Vec::new();
        for blob in blobs {
            let place = (*blob.version, blob.token.as_str());
            if !(1..=MOST_BLOB).contains(&blob.bytes.len()) || !seen.insert(place) {
                let words = "a key has a file that is none, or two on one token";
                return Err(Invalid::new(words));
            }
            if places.contains(&place) {
                entered.push(blob.clone());
            }
        }
        self.blobs = entered;
        Ok(self)
    }

    /// How many files of keys come back.
    #[must_use]
    pub fn blobs(&self) -> usize {
        self.blobs.len()
    }

    /// What of that which comes back is bound to PCRs, and to which, in words for people.
    #[must_use]
    pub fn bound(&self) -> Vec<String> {
        let mut all = Vec::new();
        let versions = |id: Uuid, versions: &[VersionCopy], all: &mut Vec<String>| {
            for version in versions {
                let places = version.placements.iter();
                all.extend(places.filter_map(|place| bound(id, Some(version.number), place)));
            }
        };
        for key in &self.added {
            versions(Uuid::from_bytes(*key.id), &key.versions, &mut all);
        }
        for merge in &self.merged {
            versions(merge.key, &merge.versions, &mut all);
            let places = merge.placements.iter();
            all.extend(places.filter_map(|(_, place)| bound(merge.key, None, place)));
        }
        all
    }

    /// How many keys come back.
    #[must_use]
    pub fn added(&self) -> usize {
        self.added.len()
    }

    /// How many keys get what they lack.
    #[must_use]
    pub fn merged(&self) -> usize {
        self.merged.len()
    }

    /// Whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.added.is_empty() && self.merged.is_empty()
    }

    /// The keys that change.
    pub(super) fn keys(&self) -> impl Iterator<Item = Uuid> {
        let added = self.added.iter().map(|key| Uuid::from_bytes(*key.id));
        added.chain(self.merged.iter().map(|merge| merge.key))
    }
}

/// Compares a copy that was checked with the registry.
pub(super) fn plan(registry: &Registry, tokens: &[TokenCopy], keys: &[KeyCopy]) -> Plan {
    let mut planning = Planning {
        registry,
        plan: Plan::default(),
        elsewhere: BTreeSet::new(),
        versions: registry
            .keys
            .values()
            .flat_map(|key| key.versions.iter().map(|version| version.id.uuid()))
            .collect(),
        suspended: 0,
    };
    for token in tokens {
        planning.token(token);
    }
    for key in keys {
        match registry.keys.get(&Uuid::from_bytes(*key.id)) {
            None => planning.add(key),
            Some(have) => planning.merge(have, key),
        }
    }
    planning.finish()
}

struct Planning<'r> {
    registry: &'r Registry,
    plan: Plan,
    /// Names that are pinned to another token than in the copy.
    elsewhere: BTreeSet<String>,
    /// The versions that the registry has.
    versions: BTreeSet<Uuid>,
    /// How many keys a person has to look at.
    suspended: usize,
}

impl Planning<'_> {
    fn token(&mut self, token: &TokenCopy) {
        match self.registry.token_identity(&token.name) {
            None => self.plan.tokens.push(token.clone()),
            Some(pinned) if *pinned == identity(token) => {}
            Some(pinned) => {
                self.keep(format!(
                    "the token {} stays pinned to {pinned}; keys of the copy's are not looked for there",
                    token.name
                ));
                self.elsewhere.insert(token.name.clone());
            }
        }
    }

    fn add(&mut self, copy: &KeyCopy) {
        let id = Uuid::from_bytes(*copy.id);
        let taken = |version: &VersionCopy| self.versions.contains(&Uuid::from_bytes(*version.id));
        if copy.versions.iter().any(taken) || self.versions.contains(&id) {
            return self.keep(format!("{id}: the registry has its ids under another key"));
        }
        let mut key = copy.clone();
        key.aliases = self.free(id, &copy.aliases);
        // Nobody knows who wrote the copy, and what became of the key since.
        if let Some(state) = stricter(key.state, KeyState::Suspended) {
            key.state = state;
            self.suspended = self.suspended.saturating_add(1);
        }
        for version in &mut key.versions {
            version
                .placements
                .retain(|p| !self.elsewhere.contains(&p.token));
        }
        if is_counted(copy.purpose, copy.key_type) {
            copy.versions.iter().for_each(|version| self.seals(version));
        }
        self.plan.added.push(key);
    }

    fn merge(&mut self, have: &Key, copy: &KeyCopy) {
        let id = have.id;
        if (have.purpose, have.key_type, &have.formats)
            != (copy.purpose, copy.key_type, &copy.formats)
        {
            return self.keep(format!(
                "{id}: it has another purpose, type or formats here"
            ));
        }
        if have.state == KeyState::Destroyed {
            if copy.state != KeyState::Destroyed {
                self.keep(format!("{id}: it is destroyed, and stays so"));
            }
            return;
        }
        if copy.state == KeyState::Destroyed {
            return self.keep(format!(
                "{id}: it is destroyed in the copy and not here; if that is right: keyward key destroy {id} --now"
            ));
        }
        if strictness(copy.state) < strictness(have.state) {
            self.keep(format!("{id}: it is {}, and stays so", have.state));
        }
        let mut merge = Merge {
            key: id,
            state: stricter(have.state, copy.state),
            aliases: Vec::new(),
            tags: Vec::new(),
            versions: Vec::new(),
            states: Vec::new(),
            placements: Vec::new(),
        };
        let missing = copy.aliases.iter();
        let missing = missing.filter(|alias| !have.aliases.contains(alias));
        let room = MAX_ALIASES.saturating_sub(have.aliases.len());
        let missing: Vec<String> = missing.take(room).cloned().collect();
        merge.aliases = self.free(id, &missing);
        let room = MAX_TAGS.saturating_sub(have.tags.len());
        let lacks = |tag: &&TagCopy| !have.tags.contains_key(&tag.name);
        merge.tags = copy.tags.iter().filter(lacks).take(room).cloned().collect();
        for version in &copy.versions {
            self.merge_version(have, version, &mut merge);
        }
        if !merge.is_empty() {
            let grows = !merge.versions.is_empty() || !merge.placements.is_empty();
            if grows && merge.state_after(have) == KeyState::Suspended {
                self.suspended = self.suspended.saturating_add(1);
            }
            self.plan.merged.push(merge);
        }
    }

    fn merge_version(&mut self, have: &Key, copy: &VersionCopy, merge: &mut Merge) {
        let id = Uuid::from_bytes(*copy.id);
        let Some(version) = have.versions.iter().find(|version| version.id.uuid() == id) else {
            let number = copy.number;
            let state = merge.state_after(have);
            if !may_grow(state) {
                return self.keep(not_added(have.id, state, &format!("version {number}")));
            }
            let count = have.versions.len().saturating_add(merge.versions.len());
            if count >= MAX_VERSIONS
                || have.version(number).is_some()
                || self.versions.contains(&id)
            {
                let key = have.id;
                return self.keep(format!("{key}: version {number} finds no place here"));
            }
            let mut copy = copy.clone();
            copy.placements
                .retain(|p| !self.elsewhere.contains(&p.token));
            if is_counted(have.purpose, have.key_type) {
                self.seals(&copy);
            }
            return merge.versions.push(copy);
        };
        if version.state == KeyState::Destroyed || copy.state == KeyState::Destroyed {
            return;
        }
        if version.public != copy.public {
            let key = have.id;
            let number = version.number;
            return self.keep(format!(
                "{key}: version {number} has another public key here"
            ));
        }
        if copy.seals.is_some() && is_counted(have.purpose, have.key_type) {
            self.seals(copy);
        }
        if let Some(state) = stricter(version.state, copy.state) {
            merge.states.push((id, state));
        }
        for place in &copy.placements {
            let has = version.placements.iter().any(|p| p.token == place.token);
            if has || self.elsewhere.contains(&place.token) {
                continue;
            }
            let state = merge.state_after(have);
            if may_grow(state) {
                merge.placements.push((id, place.clone()));
            } else {
                let what = format!("version {} on the token {}", version.number, place.token);
                self.keep(not_added(have.id, state, &what));
            }
        }
    }

    /// The names that nobody has.
    fn free(&mut self, key: Uuid, aliases: &[String]) -> Vec<String> {
        let (free, taken): (Vec<_>, Vec<_>) = aliases
            .iter()
            .cloned()
            .partition(|alias| !self.registry.aliases.contains_key(alias));
        for alias in taken {
            let owner = self.registry.aliases.get(&alias);
            let owner = owner.map_or(String::new(), |owner| owner.id_text.clone());
            self.keep(format!("{key}: the name {alias} stays with {owner}"));
        }
        free
    }

    fn seals(&mut self, version: &VersionCopy) {
        let id = VersionId::from(Uuid::from_bytes(*version.id));
        self.plan.seals.push((id, version.seals.unwrap_or(0)));
    }

    fn keep(&mut self, words: String) {
        self.plan.kept.push(words);
    }

    /// The plan; what a person has to do stands first.
    fn finish(mut self) -> Plan {
        if self.suspended > 0 {
            let words = format!(
                "the state of {} keys: they are suspended until somebody has looked at each (keyward key show KEY, keyward key enable KEY)",
                self.suspended
            );
            self.plan.kept.insert(0, words);
        }
        self.plan
    }
}

/// What a place is bound to, if it is.
fn bound(key: Uuid, version: Option<u32>, place: &PlacementCopy) -> Option<String> {
    let bound = place.bound.as_ref()?;
    let version = version.map_or(String::new(), |number| format!(" version {number}"));
    let pcrs: Vec<_> = bound.pcrs.iter().map(u8::to_string).collect();
    let approves = match &bound.authority {
        Some(authority) => format!(
            "the key with the thumbprint {} approves other values",
            Thumbprint::of(authority)
        ),
        None => "nobody approves other values".to_owned(),
    };
    Some(format!(
        "{key}{version} on the token {}: PCRs {}; {approves}",
        place.token,
        pcrs.join(", ")
    ))
}

/// Whether a key in this state may get versions and places that nobody has looked at: nothing is
/// sealed to it or verified with it, until a person enables it.
fn may_grow(state: KeyState) -> bool {
    matches!(state, KeyState::Suspended | KeyState::Compromised)
}

fn not_added(key: Uuid, state: KeyState, what: &str) -> String {
    let how = match state {
        KeyState::Active => {
            format!("; if it is right: keyward key disable {key}, then restore again")
        }
        _ => String::new(),
    };
    format!("{key}: {what} is not added to a key that is {state}{how}")
}

/// The copy's state, if it is the stricter one.
fn stricter(have: KeyState, copy: KeyState) -> Option<KeyState> {
    (strictness(copy) > strictness(have)).then_some(copy)
}

fn strictness(state: KeyState) -> u8 {
    match state {
        KeyState::Active => 0,
        KeyState::PreActivation => 1,
        KeyState::Suspended => 2,
        KeyState::Deactivated => 3,
        KeyState::Compromised => 4,
        // A state that is not known lets nobody do more.
        _ => 5,
    }
}
