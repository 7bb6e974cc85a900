//! Copies taken over: what was lost comes back, and nothing becomes less strict.

use keyward_protocol::backup::{KeyCopy, TokenCopy};

use super::*;

fn restore(registry: &mut Registry, copy: &(Vec<TokenCopy>, Vec<KeyCopy>)) -> Plan {
    let plan = registry.plan(&copy.0, &copy.1).unwrap();
    registry.restore(&plan).unwrap();
    plan
}

#[test]
fn an_empty_registry_becomes_what_the_copy_was() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.insert(sign_key(1, "one")).unwrap();
    registry.insert(sign_key(2, "")).unwrap();
    registry
        .set_state(Uuid::from_u128(2), KeyState::Suspended)
        .unwrap();
    registry.insert(sign_key(3, "three")).unwrap();
    registry.destroy(Uuid::from_u128(3)).unwrap();
    let (copy, (_, keys, count)) = (registry.copy().unwrap(), contents(&registry));
    let (_folder, path) = super::path();
    let mut empty = Registry::open(&path).unwrap();
    let plan = restore(&mut empty, &copy);
    assert_eq!((plan.added(), plan.merged(), plan.kept.len()), (3, 0, 1));
    assert!(plan.kept[0].starts_with("the state of 1 keys: they are suspended"));
    let (_, suspended, counted) = contents(&empty);
    assert_eq!(counted, count);
    assert_eq!(empty.key("one").unwrap().state, KeyState::Suspended);
    assert_ne!(suspended, keys);
    empty
        .set_state(Uuid::from_u128(1), KeyState::Active)
        .unwrap();
    assert_eq!(contents(&empty).1, keys);
    assert_eq!(empty.token_identity("main"), Some(&identity("1")));
    let generation = empty.generation();
    assert!(restore(&mut empty, &copy).is_empty());
    assert_eq!(empty.generation(), generation, "nothing was changed");
    drop(empty);
    assert_eq!(contents(&Registry::open(&path).unwrap()).2, count);
}

#[test]
fn the_files_of_keys_come_back_with_their_places_only() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    for id in 1..=2_u8 {
        let mut key = sign_key(id.into(), "");
        key.placements[0].blob = Some(vec![id; 100]);
        registry.insert(key).unwrap();
    }
    let (copy, blobs) = (registry.copy().unwrap(), registry.blobs());
    assert_eq!(blobs.len(), 2);
    let (_folder, path) = super::path();
    let mut other = open(&path);
    other.insert(sign_key(1, "")).unwrap();
    let plan = other.plan(&copy.0, &copy.1).unwrap();
    let plan = plan.with_blobs(&blobs).unwrap();
    assert_eq!(plan.blobs(), 1);
    other.restore(&plan).unwrap();
    drop(other);
    let other = Registry::open(&path).unwrap();
    let blob = |id: u128| {
        let key = other.key(&Uuid::from_u128(id).to_string()).unwrap();
        key.versions[0].placements[0].blob.clone()
    };
    assert_eq!(blob(1), None, "a key that is there keeps what it has");
    assert_eq!(blob(2), Some(vec![2; 100]));
    assert_eq!(other.blobs(), blobs[1..]);
    for wrong in [Vec::new(), vec![0; keyward_backend::MOST_BLOB + 1]] {
        let mut blobs = blobs.clone();
        blobs[0].bytes = wrong.into();
        assert!(Plan::default().with_blobs(&blobs).is_err());
    }
    let twice = [blobs[0].clone(), blobs[0].clone()];
    assert!(Plan::default().with_blobs(&twice).is_err());
}

#[test]
fn a_copy_of_before_does_not_bring_back_what_was_taken_away() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let stricter = [
        KeyState::Suspended,
        KeyState::Deactivated,
        KeyState::Compromised,
    ];
    for id in 1..=4 {
        registry.insert(sign_key(id, "")).unwrap();
    }
    let copy = registry.copy().unwrap();
    for (id, state) in (1..).zip(stricter) {
        registry.set_state(Uuid::from_u128(id), state).unwrap();
    }
    registry.destroy(Uuid::from_u128(4)).unwrap();
    let before = contents(&registry);
    let plan = restore(&mut registry, &copy);
    assert!(plan.is_empty());
    assert_eq!(plan.kept.len(), 4, "{:?}", plan.kept);
    assert_eq!(contents(&registry), before);
}

#[test]
fn a_registry_that_was_rolled_back_gets_what_it_lacks() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.insert(sign_key(1, "one")).unwrap();
    let mut copy = registry.copy().unwrap();
    let key = &mut copy.1[0];
    key.state = KeyState::Compromised;
    key.aliases.push("two".into());
    let mut version = key.versions[0].clone();
    version.number = 2;
    version.id = [9; 16].into();
    key.versions.push(version);
    let plan = restore(&mut registry, &copy);
    assert_eq!((plan.added(), plan.merged()), (0, 1));
    let key = registry.key("two").unwrap();
    assert_eq!((key.state, key.versions.len()), (KeyState::Compromised, 2));
    assert_eq!(registry.key("one").unwrap().id, key.id);
}

#[test]
fn a_copy_that_somebody_made_up_gives_a_key_in_use_no_version_and_no_place() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.pin_token("other", &identity("2")).unwrap();
    registry.insert(sign_key(1, "one")).unwrap();
    let mut copy = registry.copy().unwrap();
    let versions = &mut copy.1[0].versions;
    let mut version = versions[0].clone();
    version.number = 99;
    version.id = [9; 16].into();
    let mut place = version.placements[0].clone();
    place.token = "other".into();
    versions[0].placements.push(place);
    versions.push(version);
    let id = Uuid::from_u128(1);
    for state in [KeyState::Active, KeyState::Deactivated] {
        registry.set_state(id, state).unwrap();
        let plan = restore(&mut registry, &copy);
        let about = |what| plan.kept.iter().any(|words| words.contains(what));
        assert!(about("version 99 is not added") && about("on the token other is not added"));
        let key = registry.key("one").unwrap();
        assert_eq!((key.state, key.versions.len()), (state, 1));
        assert_eq!(key.versions[0].placements.len(), 1);
    }
    // Only a person brings it back into use, and is told so.
    registry.set_state(id, KeyState::Suspended).unwrap();
    let plan = restore(&mut registry, &copy);
    assert!(plan.kept[0].starts_with("the state of 1 keys"));
    let key = registry.key("one").unwrap();
    assert_eq!((key.state, key.versions.len()), (KeyState::Suspended, 2));
    assert_eq!(key.versions[0].placements.len(), 2);
}

#[test]
fn aes_gcm_keys_count_on_from_what_the_copy_says_with_a_margin() {
    const BLOCK: i64 = 65_536;
    let reserved = |registry: &Registry| -> Vec<i64> {
        let select = "SELECT reserved FROM seal_count ORDER BY reserved";
        let mut statement = registry.connection.prepare(select).unwrap();
        let rows = statement.query_map((), |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let (_folder, path) = path();
    let mut registry = open(&path);
    for id in 1..=2 {
        let mut new = sign_key(id, "");
        new.purpose = Purpose::Encrypt;
        new.key_type = keyward_protocol::KeyType::Aes256;
        new.formats.clear();
        new.public = None;
        registry.insert(new).unwrap();
    }
    let sealing = sign_key(1, "").version;
    registry.count_seal(sealing).unwrap();
    let copy = registry.copy().unwrap();
    let (_folder, path) = super::path();
    let mut empty = Registry::open(&path).unwrap();
    restore(&mut empty, &copy);
    assert_eq!(reserved(&empty), [2 * BLOCK, 3 * BLOCK]);
    // Again, and where the registry knows of fewer or more: never less, and not more each time.
    restore(&mut empty, &copy);
    assert_eq!(reserved(&empty), [2 * BLOCK, 3 * BLOCK]);
    restore(&mut registry, &copy);
    assert_eq!(reserved(&registry), [3 * BLOCK]);
    for _ in 0..=BLOCK {
        registry.count_seal(sealing).unwrap();
    }
    let before = reserved(&registry);
    restore(&mut registry, &copy);
    assert_eq!(
        (reserved(&registry), before),
        (vec![4 * BLOCK], vec![4 * BLOCK])
    );
}

#[test]
fn names_and_tokens_stay_with_who_has_them() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.insert(sign_key(1, "web")).unwrap();
    let copy = registry.copy().unwrap();
    let (_folder, path) = super::path();
    let mut other = Registry::open(&path).unwrap();
    other.pin_token("main", &identity("2")).unwrap();
    other.insert(sign_key(7, "web")).unwrap();
    let plan = restore(&mut other, &copy);
    assert_eq!((plan.added(), plan.kept.len()), (1, 3), "{:?}", plan.kept);
    assert_eq!(other.key("web").unwrap().id, Uuid::from_u128(7));
    assert_eq!(other.token_identity("main"), Some(&identity("2")));
    let key = other.key(&Uuid::from_u128(1).to_string()).unwrap();
    assert_eq!(key.versions[0].placements, [], "that token is another");
}

#[test]
fn ids_that_another_key_has_are_not_taken_over() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.insert(sign_key(1, "web")).unwrap();
    let mut copy = registry.copy().unwrap();
    copy.1[0].id = [3; 16].into();
    copy.1[0].aliases.clear();
    let plan = restore(&mut registry, &copy);
    assert!(plan.is_empty());
    assert_eq!(plan.kept.len(), 1);
}

#[test]
fn what_no_registry_can_hold_is_refused() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.insert(sign_key(1, "web")).unwrap();
    let good = registry.copy().unwrap();
    let refused = |change: &dyn Fn(&mut Vec<TokenCopy>, &mut Vec<KeyCopy>)| {
        let (mut tokens, mut keys) = good.clone();
        change(&mut tokens, &mut keys);
        registry.plan(&tokens, &keys).is_err()
    };
    assert!(!refused(&|_, _| {}));
    assert!(refused(&|tokens, _| tokens.clear()), "its token");
    assert!(refused(&|tokens, _| tokens.push(tokens[0].clone())));
    assert!(refused(&|tokens, _| tokens[0].name = "a\n".into()));
    assert!(refused(&|_, keys| keys.push(keys[0].clone())));
    assert!(refused(&|_, keys| keys[0].purpose = Purpose::Unwrap));
    assert!(refused(&|_, keys| keys[0].formats.clear()));
    assert!(refused(&|_, keys| keys[0].aliases = vec!["-x".into()]));
    assert!(refused(
        &|_, keys| keys[0].aliases = vec!["x".into(), "x".into()]
    ));
    assert!(refused(&|_, keys| keys[0].created = u64::MAX));
    assert!(refused(&|_, keys| keys[0].state = KeyState::Destroyed));
    assert!(refused(&|_, keys| keys[0].versions.clear()));
    assert!(refused(&|_, keys| keys[0].versions[0].number = 0));
    assert!(refused(&|_, keys| keys[0].versions[0].public = None));
    assert!(refused(
        &|_, keys| keys[0].versions[0].state = KeyState::Destroyed
    ));
    let place = |keys: &mut Vec<KeyCopy>| keys[0].versions[0].placements.clone();
    assert!(refused(&|_, keys| {
        let places = place(keys);
        keys[0].versions[0].placements.extend(places);
    }));
}
