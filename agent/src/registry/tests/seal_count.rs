use super::*;
use crate::registry::seal_count::SealCountError;

fn reserved(registry: &Registry) -> Vec<i64> {
    let mut statement = registry
        .connection
        .prepare("SELECT reserved FROM seal_count ORDER BY reserved")
        .unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn with_key(path: &Path) -> (Registry, VersionId) {
    let mut registry = open(path);
    let key = registry.insert(sign_key(1, "k")).unwrap();
    let version = key.versions[0].id;
    (registry, version)
}

#[test]
fn uses_are_reserved_in_blocks_and_a_restart_loses_one_at_the_most() {
    let (_folder, path) = path();
    let (mut registry, version) = with_key(&path);
    let mark = registry.mark();
    for _ in 0..65_536 {
        registry.count_seal(version).unwrap();
    }
    assert_eq!(reserved(&registry), [65_536]);
    registry.count_seal(version).unwrap();
    assert_eq!(
        reserved(&registry),
        [131_072],
        "on the disk before its first use"
    );
    drop(registry);
    let mut registry = Registry::open(&path).unwrap();
    assert_eq!(registry.mark(), mark, "it is no change of the registry");
    registry.count_seal(version).unwrap();
    assert_eq!(
        reserved(&registry),
        [196_608],
        "the rest of the block is lost"
    );
}

#[test]
fn a_version_that_sealed_too_often_seals_no_more_and_others_do() {
    let (_folder, path) = path();
    let (mut registry, version) = with_key(&path);
    let other = registry.insert(sign_key(2, "other")).unwrap().versions[0].id;
    registry.count_seal(version).unwrap();
    let last = (1_i64 << 32) - 65_536;
    let update = "UPDATE seal_count SET reserved = ?1";
    registry.connection.execute(update, [last]).unwrap();
    drop(registry);
    let mut registry = Registry::open(&path).unwrap();
    for _ in 0..65_536 {
        registry.count_seal(version).unwrap();
    }
    for _ in 0..2 {
        let error = registry.count_seal(version).unwrap_err();
        assert!(matches!(error, SealCountError::Exhausted), "{error}");
    }
    registry.count_seal(other).unwrap();
    assert_eq!(reserved(&registry), [65_536, 1 << 32]);
}

#[test]
fn nothing_is_counted_for_a_version_that_is_not_there() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let error = registry.count_seal(VersionId::random()).unwrap_err();
    assert!(matches!(error, SealCountError::Registry(_)), "{error}");
    assert!(reserved(&registry).is_empty());
}
