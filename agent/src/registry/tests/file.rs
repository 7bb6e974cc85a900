use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::audit::tests::tmpfs;

#[test]
fn the_file_is_its_owners_alone_and_marked_as_keywards() {
    let (folder, path) = path();
    let mut registry = open(&path);
    registry.insert(sign_key(1, "web")).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let pragma = |name: &str| -> String {
        let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        let value = registry.connection.pragma_query_value(None, name, value);
        match value.unwrap() {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2");
    assert_eq!(pragma("foreign_keys"), "1");
    assert_eq!(pragma("user_version"), "1");
    drop(registry);
    assert_eq!(&fs::read(&path).unwrap()[68..72], b"keyw");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Registry::open(&path).unwrap_err();
    assert!(matches!(error, RegistryError::Exposed { .. }), "{error}");
}

#[test]
fn a_second_process_can_not_open_it() {
    let (_folder, path) = path();
    let registry = open(&path);
    let error = Registry::open(&path).unwrap_err();
    assert!(matches!(error, RegistryError::InUse(_)), "{error}");
    drop(registry);
    Registry::open(&path).unwrap();
}

#[test]
fn a_newer_form_another_program_and_nonsense_are_refused_and_left_alone() {
    let (_folder, path) = path();
    let refused = |path: &Path| {
        let before = fs::read(path).unwrap();
        let error = Registry::open(path).unwrap_err();
        assert_eq!(fs::read(path).unwrap(), before, "{error}");
        error
    };
    drop(open(&path));
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 7).unwrap();
    drop(connection);
    let error = refused(&path);
    assert!(
        matches!(
            error,
            RegistryError::Newer {
                found: 7,
                known: 1,
                ..
            }
        ),
        "{error}"
    );

    let foreign = path.with_file_name("foreign.db");
    let connection = Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE t (a)").unwrap();
    drop(connection);
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(refused(&foreign), RegistryError::Foreign(_)));

    let nonsense = path.with_file_name("nonsense.db");
    fs::write(
        &nonsense,
        "not a database at all, only some words".repeat(200),
    )
    .unwrap();
    fs::set_permissions(&nonsense, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(refused(&nonsense), RegistryError::Foreign(_)));
}

#[test]
fn a_row_that_can_not_be_is_damage() {
    for sql in [
        "UPDATE key SET purpose = 'everything'",
        "UPDATE key_format SET format = 'any' WHERE format = 'raw'",
        "UPDATE version SET thumbprint = upper(thumbprint)",
        "UPDATE version SET cose_key = x'a0'",
        "UPDATE version SET id = 'me'",
    ] {
        let (_folder, path) = path();
        open(&path).insert(sign_key(1, "web")).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "foreign_keys", false)
            .unwrap();
        connection.execute(sql, ()).unwrap();
        drop(connection);
        let error = Registry::open(&path).unwrap_err();
        assert!(matches!(error, RegistryError::Damaged(_)), "{sql}: {error}");
    }
}

#[test]
fn on_a_full_disk_a_change_fails_as_a_whole() {
    const NAME: &str = "registry::tests::file::on_a_full_disk_a_change_fails_as_a_whole";
    let Some(disk) = tmpfs::mounted(NAME, "1m") else {
        return;
    };
    let path = disk.join("registry.db");
    let mut registry = open(&path);
    registry.insert(sign_key(1, "web")).unwrap();
    let ballast = tmpfs::fill(&disk);
    let mut id = 1;
    let error = loop {
        let before = contents(&registry);
        id += 1;
        if let Err(error) = registry.insert(sign_key(id, "")) {
            assert_eq!(contents(&registry), before);
            break error;
        }
    };
    assert!(matches!(error, RegistryError::Full), "{error}");
    fs::remove_file(ballast).unwrap();
    registry.insert(sign_key(id, "api")).unwrap();
    let after = contents(&registry);
    drop(registry);
    assert_eq!(contents(&Registry::open(&path).unwrap()), after);
}

#[test]
fn on_a_full_disk_a_key_can_still_be_taken_out_of_use() {
    const NAME: &str = "registry::tests::file::on_a_full_disk_a_key_can_still_be_taken_out_of_use";
    let Some(disk) = tmpfs::mounted(NAME, "1m") else {
        return;
    };
    let path = disk.join("registry.db");
    let mut registry = open(&path);
    let kept = |disk: &Path| fs::metadata(disk.join("registry.ballast")).unwrap().len();
    assert_eq!(kept(&disk), 64 << 10);
    let keys: Vec<_> = (1..=3)
        .map(|id| registry.insert(sign_key(id, "")).unwrap().id)
        .collect();
    let ballast = tmpfs::fill(&disk);
    let full = loop {
        // The write-ahead log has some room left.
        let tag = BTreeMap::from([("n".to_owned(), registry.generation().to_string())]);
        if let Err(error) = registry.set_tags(keys[0], &tag, &[]) {
            break error;
        }
    };
    assert!(matches!(full, RegistryError::Full), "{full}");
    registry.set_state(keys[1], KeyState::Suspended).unwrap();
    let key = registry.set_state(keys[2], KeyState::Compromised).unwrap();
    assert_eq!(key.versions[0].state, KeyState::Compromised);
    assert_eq!(kept(&disk), 0);
    // What was given up belongs to the next emergency.
    let refused = registry.set_state(keys[1], KeyState::Active).unwrap_err();
    assert!(matches!(refused, RegistryError::Full), "{refused}");
    fs::remove_file(ballast).unwrap();
    registry.set_state(keys[1], KeyState::Active).unwrap();
    assert_eq!(kept(&disk), 64 << 10);
    let after = contents(&registry);
    drop(registry);
    assert_eq!(contents(&Registry::open(&path).unwrap()), after);
}
