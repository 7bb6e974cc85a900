use std::fs;

use super::*;
use crate::audit::{Audit, Found, Kind, Record};

/// The log after a restart.
fn restarted(folder: &Path) -> (Audit, Found) {
    Audit::open(&folder.join("audit")).unwrap()
}

fn log(audit: &Audit, kind: Kind, intent: Option<u64>, registry: &Registry) -> u64 {
    let record = Record {
        intent,
        registry: Some(registry.mark()),
        ..Record::new(kind, "create")
    };
    let reservation = audit.reserve().unwrap();
    let seq = audit.append(reservation, &record).unwrap();
    audit.sync_now().unwrap();
    seq.index()
}

/// Enters a key as management does.
fn create(audit: &Audit, registry: &mut Registry, id: u128) {
    let intent = log(audit, Kind::ManageIntent, None, registry);
    registry.insert(sign_key(id, "")).unwrap();
    log(audit, Kind::ManageOutcome, Some(intent), registry);
}

fn copy(path: &Path) -> Vec<u8> {
    // The write-ahead log is merged when the registry is closed.
    assert!(!path.with_extension("db-wal").exists());
    fs::read(path).unwrap()
}

#[test]
fn every_change_has_its_own_generation_and_digest() {
    let (_folder, path) = path();
    let mut registry = Registry::open(&path).unwrap();
    let mut digests = vec![registry.digest()];
    assert_eq!(registry.generation(), 0);
    registry.pin_token("main", &identity("1")).unwrap();
    digests.push(registry.digest());
    registry.insert(sign_key(1, "web")).unwrap();
    digests.push(registry.digest());
    registry
        .set_state(Uuid::from_u128(1), KeyState::Suspended)
        .unwrap();
    digests.push(registry.digest());
    registry
        .set_state(Uuid::from_u128(1), KeyState::Active)
        .unwrap();
    digests.push(registry.digest());
    assert_eq!(registry.generation(), 4);
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 5);
}

#[test]
fn a_registry_that_was_rolled_back_is_found() {
    let (folder, path) = path();
    let (audit, found) = restarted(folder.path());
    let mut registry = Registry::open(&path).unwrap();
    assert_eq!(check_mark(&found, &registry), MarkCheck::Fresh);
    let intent = log(&audit, Kind::ManageIntent, None, &registry);
    registry.pin_token("main", &identity("1")).unwrap();
    log(&audit, Kind::ManageOutcome, Some(intent), &registry);
    create(&audit, &mut registry, 1);
    drop(registry);
    let old = copy(&path);
    let mut registry = Registry::open(&path).unwrap();
    create(&audit, &mut registry, 2);
    drop((registry, audit));
    let new = copy(&path);

    let (audit, found) = restarted(folder.path());
    assert_eq!(
        check_mark(&found, &Registry::open(&path).unwrap()),
        MarkCheck::Match
    );
    drop(audit);
    fs::write(&path, old).unwrap();
    let (audit, found) = restarted(folder.path());
    let MarkCheck::Mismatch { text } = check_mark(&found, &Registry::open(&path).unwrap()) else {
        panic!("the rollback was not found");
    };
    assert!(
        text.contains("generation 2, but the log saw generation 3"),
        "{text}"
    );
    drop(audit);

    // The right generation with other content, and a registry whose log is gone.
    fs::write(&path, new).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute("UPDATE tag SET value = 'x'", ())
        .unwrap();
    drop(connection);
    let registry = Registry::open(&path).unwrap();
    assert!(matches!(
        check_mark(&found, &registry),
        MarkCheck::Mismatch { .. }
    ));
    fs::remove_dir_all(folder.path().join("audit")).unwrap();
    let (_audit, found) = restarted(folder.path());
    let MarkCheck::Mismatch { text } = check_mark(&found, &registry) else {
        panic!("the missing log was not found");
    };
    assert!(text.contains("no record"), "{text}");
}

/// The intent to make the key of a number.
fn intend(audit: &Audit, registry: &Registry, id: u128) -> u64 {
    let record = Record {
        key: Some(Uuid::from_u128(id)),
        version: Some(sign_key(id, "").version),
        registry: Some(registry.mark()),
        ..Record::new(Kind::ManageIntent, "create")
    };
    let seq = audit.append(audit.reserve().unwrap(), &record).unwrap();
    audit.sync_now().unwrap();
    seq.index()
}

#[test]
fn changes_whose_outcome_was_not_written_are_explained_by_their_intents() {
    let (folder, path) = path();
    let (audit, _) = restarted(folder.path());
    let mut registry = open(&path);
    let pinned = log(&audit, Kind::ManageIntent, None, &registry);
    log(&audit, Kind::ManageOutcome, Some(pinned), &registry);
    let intents = [intend(&audit, &registry, 1), intend(&audit, &registry, 2)];
    // One that never came to anything explains nothing.
    intend(&audit, &registry, 9);
    drop(audit);
    for changes in 0..3_u128 {
        let (_audit, found) = restarted(folder.path());
        let check = match check_mark(&found, &registry) {
            MarkCheck::Match => (0, Vec::new()),
            MarkCheck::Ahead {
                generations,
                intents,
            } => (generations, intents.iter().map(|i| i.audit_id).collect()),
            other => panic!("{other:?}"),
        };
        let changed = usize::try_from(changes).unwrap();
        assert_eq!(check, (changes as u64, intents[..changed].to_vec()));
        registry.insert(sign_key(changes + 1, "")).unwrap();
    }
    // Three changes, and two intents that show.
    let (_audit, found) = restarted(folder.path());
    assert!(matches!(
        check_mark(&found, &registry),
        MarkCheck::Mismatch { .. }
    ));
}

#[test]
fn a_restoration_is_explained_by_its_intent_unless_the_registry_did_not_match_before() {
    for (matched, explained) in [(true, true), (false, false)] {
        let (folder, path) = path();
        let (audit, _) = restarted(folder.path());
        let mut registry = open(&path);
        let pinned = log(&audit, Kind::ManageIntent, None, &registry);
        log(&audit, Kind::ManageOutcome, Some(pinned), &registry);
        let record = Record {
            registry: matched.then(|| registry.mark()),
            ..Record::new(Kind::ManageIntent, "restore")
        };
        audit.append(audit.reserve().unwrap(), &record).unwrap();
        audit.sync_now().unwrap();
        drop(audit);
        let (_audit, found) = restarted(folder.path());
        assert_eq!(check_mark(&found, &registry), MarkCheck::Match);
        registry.insert(sign_key(1, "")).unwrap();
        match check_mark(&found, &registry) {
            MarkCheck::Ahead { generations: 1, .. } if explained => {}
            MarkCheck::Mismatch { .. } if !explained => {}
            other => panic!("{matched}: {other:?}"),
        }
    }
}

#[test]
fn an_old_intent_does_not_explain_a_change_made_without_the_log() {
    let (folder, path) = path();
    let (audit, _) = restarted(folder.path());
    let mut registry = open(&path);
    let pinned = log(&audit, Kind::ManageIntent, None, &registry);
    log(&audit, Kind::ManageOutcome, Some(pinned), &registry);
    intend(&audit, &registry, 1);
    drop(audit);
    registry.insert(sign_key(2, "")).unwrap();
    let (_audit, found) = restarted(folder.path());
    assert!(matches!(
        check_mark(&found, &registry),
        MarkCheck::Mismatch { .. }
    ));
}
