//! Whether a copy holds what a registry can hold. Anybody may have written it.

use std::collections::BTreeSet;

use keyward_backend::pcr::is_selection;
use keyward_protocol::backup::{BoundCopy, KeyCopy, TokenCopy, VersionCopy};
use keyward_protocol::{CoseKey, KeyState};
use uuid::Uuid;

use crate::registry::check::{
    MAX_VERSIONS, check_alias, check_alias_count, check_formats, check_tags,
};
use crate::registry::error::Invalid;

/// The longest name of a token, and of what it is pinned to, in bytes.
const MOST_NAME: usize = 256;
/// The longest place of a key, in bytes.
const MOST_LOCATOR: usize = 1024;

pub(super) fn check(tokens: &[TokenCopy], keys: &[KeyCopy]) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    for token in tokens {
        let words = [
            &token.name,
            &token.manufacturer,
            &token.model,
            &token.serial,
        ];
        let readable =
            |word: &&String| word.len() <= MOST_NAME && !word.chars().any(char::is_control);
        if token.name.is_empty() || !words.iter().all(readable) {
            return wrong("a token has a name that no token has".into());
        }
        if !names.insert(token.name.as_str()) {
            return wrong(format!("the token {} is there twice", token.name));
        }
    }
    let mut ids = BTreeSet::new();
    let mut aliases = BTreeSet::new();
    for key in keys {
        let id = Uuid::from_bytes(*key.id);
        check_key(key).map_err(|why| Invalid::new(format!("the key {id}: {why}")))?;
        let versions = key
            .versions
            .iter()
            .map(|version| Uuid::from_bytes(*version.id));
        for id in versions.chain([id]) {
            if !ids.insert(id) {
                return wrong(format!("the id {id} is there twice"));
            }
        }
        for alias in &key.aliases {
            if !aliases.insert(alias.as_str()) {
                return wrong(format!("the alias {alias} is there twice"));
            }
        }
        let places = key.versions.iter().flat_map(|version| &version.placements);
        for place in places {
            if !names.contains(place.token.as_str()) {
                return wrong(format!("the key {id} is on a token that the copy lacks"));
            }
        }
    }
    Ok(())
}

fn check_key(key: &KeyCopy) -> Result<(), Invalid> {
    if !key.purpose.fits(key.key_type) {
        return wrong(format!(
            "a {} key can't have the purpose {}",
            key.key_type, key.purpose
        ));
    }
    check_formats(key.purpose, &key.formats)?;
    let tags = key
        .tags
        .iter()
        .map(|tag| (tag.name.clone(), tag.value.clone()));
    let tags: std::collections::BTreeMap<_, _> = tags.collect();
    check_tags(&tags)?;
    if tags.len() != key.tags.len() {
        return wrong("it has a tag twice".into());
    }
    check_alias_count(key.aliases.len())?;
    for alias in &key.aliases {
        check_alias(alias)?;
    }
    if !(1..=MAX_VERSIONS).contains(&key.versions.len()) {
        return wrong(format!("a key has 1 to {MAX_VERSIONS} versions"));
    }
    let numbers = key.versions.iter().map(|version| version.number);
    if key
        .versions
        .first()
        .is_none_or(|version| version.number == 0)
        || !numbers.is_sorted_by(|a, b| a < b)
    {
        return wrong("its versions don't count up from 1".into());
    }
    if !times(&[Some(key.created), key.rotation_period]) {
        return wrong("it has a time that can't be".into());
    }
    let destroyed = key.state == KeyState::Destroyed;
    if destroyed && !key.aliases.is_empty() {
        return wrong("it is destroyed and has a name".into());
    }
    for version in &key.versions {
        check_version(key, version)?;
        if destroyed && version.state != KeyState::Destroyed {
            return wrong("it is destroyed and one of its versions is not".into());
        }
    }
    Ok(())
}

fn check_version(key: &KeyCopy, version: &VersionCopy) -> Result<(), Invalid> {
    let secret = key.key_type.is_secret();
    match &version.public {
        None if secret => {}
        Some(public)
            if !secret && public.key_type() == Some(key.key_type) && public.to_spki().is_ok() => {}
        _ => return wrong("it has a public part that is not of its type".into()),
    }
    if !times(&[Some(version.created), version.seals]) {
        return wrong("it has a time that can't be".into());
    }
    if version.state == KeyState::Destroyed && !version.placements.is_empty() {
        return wrong("a version is destroyed and is on a token".into());
    }
    let mut tokens = BTreeSet::new();
    for place in &version.placements {
        let readable =
            place.locator.len() <= MOST_LOCATOR && !place.locator.chars().any(char::is_control);
        if !readable || !tokens.insert(&place.token) {
            return wrong("a version is at a place that can't be".into());
        }
        if place.bound.as_ref().is_some_and(|bound| !is_bound(bound)) {
            return wrong("a version is bound to what nothing can be bound to".into());
        }
    }
    Ok(())
}

/// Whether something can be bound to that.
fn is_bound(bound: &BoundCopy) -> bool {
    let approves = |key: &CoseKey| matches!(key, CoseKey::P256 { .. } | CoseKey::Rsa { .. });
    is_selection(&bound.pcrs) && bound.authority.as_ref().is_none_or(approves)
}

/// SQLite has 63 bits for them.
fn times(times: &[Option<u64>]) -> bool {
    times
        .iter()
        .flatten()
        .all(|time| i64::try_from(*time).is_ok())
}

fn wrong(words: String) -> Result<(), Invalid> {
    Err(Invalid::new(words))
}
