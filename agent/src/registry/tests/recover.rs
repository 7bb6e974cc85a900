use keyward_protocol::KeyType;

use super::*;

/// A version of a P-256 sign key as a token shows it.
fn found(key: u128, number: u32) -> FoundVersion {
    let new = sign_key(key, "");
    FoundVersion {
        key: new.id,
        number,
        purpose: new.purpose,
        formats: new.formats,
        id: VersionId::from(Uuid::from_u128(key * 1000 + u128::from(number))),
        key_type: new.key_type,
        public: new.public,
        placement: placement(),
    }
}

#[test]
fn recovered_keys_are_suspended_with_the_newest_version_current() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let generation = registry.generation();
    let all = [found(1, 3), found(1, 1), found(2, 1)];
    registry.recover(&all, &[]).unwrap();
    assert_eq!(registry.generation(), generation + 1);
    let key = registry.key(&Uuid::from_u128(1).to_string()).unwrap();
    assert_eq!(key.state, KeyState::Suspended);
    let versions: Vec<_> = key.versions.iter().map(|v| (v.number, v.state)).collect();
    assert_eq!(
        versions,
        [(1, KeyState::Deactivated), (3, KeyState::Active)]
    );
    // One more of a key that is still suspended.
    registry.recover(&[found(1, 4)], &[]).unwrap();
    let key = registry.key(&key.id_text).unwrap();
    assert_eq!(key.current().unwrap().number, 4);
    let before = contents(&registry);
    drop(registry);
    assert_eq!(contents(&Registry::open(&path).unwrap()), before);
}

#[test]
fn no_label_gives_a_key_in_use_a_version_or_brings_a_destroyed_one_back() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let active = registry.insert(sign_key(1, "")).unwrap();
    let gone = registry.insert(sign_key(2, "")).unwrap();
    registry.destroy(gone.id).unwrap();
    let before = contents(&registry);
    let refused = |version: FoundVersion, words: &str| {
        let why = registry.check_found(&version).unwrap_err().to_string();
        assert!(why.contains(words), "{why}");
    };
    refused(found(1, 2), "keyward key disable");
    refused(found(1, 1), "another version 1");
    refused(found(2, 2), "is destroyed");
    let changed = |change: fn(&mut FoundVersion)| {
        let mut version = found(3, 1);
        change(&mut version);
        version
    };
    refused(changed(|v| v.number = 0), "no number");
    refused(changed(|v| v.number = 101), "no number");
    refused(changed(|v| v.formats.clear()), "needs a format");
    refused(changed(|v| v.formats.reverse()), "ascending");
    refused(changed(|v| v.public = None), "public part");
    refused(changed(|v| v.key_type = KeyType::P384), "public part");
    refused(changed(|v| v.purpose = Purpose::Mac), "formats");
    assert!(registry.recover(&[found(3, 1), found(1, 2)], &[]).is_err());
    // Two versions of one number.
    let twice = [found(3, 1), {
        let mut other = found(3, 1);
        other.id = VersionId::random();
        other
    }];
    assert!(registry.recover(&twice, &[]).is_err());
    assert_eq!(contents(&registry), before);

    registry.set_state(active.id, KeyState::Suspended).unwrap();
    registry.recover(&[found(1, 2)], &[]).unwrap();
    let key = registry.key(&active.id_text).unwrap();
    assert_eq!(key.current().unwrap().number, 2);
}

#[test]
fn a_compromised_version_stays_so_when_versions_are_found() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.recover(&[found(1, 2), found(1, 1)], &[]).unwrap();
    drop(registry);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let sql = "UPDATE version SET state = 'compromised' WHERE number = 2";
    assert_eq!(connection.execute(sql, ()).unwrap(), 1);
    drop(connection);
    let mut registry = Registry::open(&path).unwrap();
    registry.recover(&[found(1, 3)], &[]).unwrap();
    let key = registry.key(&Uuid::from_u128(1).to_string()).unwrap();
    let states: Vec<_> = key.versions.iter().map(|v| v.state).collect();
    assert_eq!(
        states,
        [
            KeyState::Deactivated,
            KeyState::Compromised,
            KeyState::Active
        ]
    );
}

#[test]
fn what_should_be_on_a_token_is_told_by_it() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.pin_token("spare", &identity("2")).unwrap();
    let key = registry.insert(sign_key(1, "")).unwrap();
    let id = key.current().unwrap().id;
    let spare = Placement {
        token: "spare".into(),
        ..placement()
    };
    assert!(registry.on_token("spare").is_empty());
    registry.recover(&[], &[(key.id, id, spare)]).unwrap();
    let on = registry.on_token("spare");
    assert_eq!((on.len(), on[0].0.id, on[0].1), (1, key.id, id));
    assert_eq!(registry.key_of(id).unwrap().id, key.id);
    assert!(registry.key_of(VersionId::random()).is_none());
}
