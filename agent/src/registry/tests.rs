#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod changes;
mod copy;
mod file;
mod lifecycle;
mod marks;
mod recover;
mod round_trip;
mod seal_count;

use std::path::PathBuf;

use keyward_backend::VersionId;
use keyward_protocol::{CoseKey, Format, Purpose};
use tempfile::TempDir;

use super::*;

/// A path for a registry, in a folder that goes away.
fn path() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    (folder, path)
}

fn identity(serial: &str) -> TokenIdentity {
    TokenIdentity {
        manufacturer: "SoftHSM project".into(),
        model: "SoftHSM v2".into(),
        serial: serial.into(),
    }
}

fn open(path: &Path) -> Registry {
    let mut registry = Registry::open(path).unwrap();
    if registry.token_identity("main").is_none() {
        registry.pin_token("main", &identity("1")).unwrap();
    }
    registry
}

fn placement() -> Placement {
    Placement {
        token: "main".into(),
        locator: "pkcs11:token=main;id=%01".into(),
        local: true,
        always_sensitive: true,
        never_extractable: false,
        bound: None,
        blob: None,
    }
}

/// A P-256 sign key whose id is a number.
fn sign_key(id: u128, alias: &str) -> NewKey {
    NewKey {
        id: Uuid::from_u128(id),
        purpose: Purpose::Sign,
        state: KeyState::Active,
        formats: vec![Format::Raw, Format::Digest],
        aliases: Vec::from_iter((!alias.is_empty()).then(|| alias.to_owned())),
        tags: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        version: VersionId::from(Uuid::from_u128(id + 1_000_000)),
        key_type: keyward_protocol::KeyType::P256,
        public: Some(CoseKey::P256 {
            x: [1; 32],
            y: [2; 32],
        }),
        placements: vec![placement()],
    }
}

/// All that can be seen of a registry.
fn contents(registry: &Registry) -> (RegistryMark, BTreeMap<Uuid, Rc<Key>>, usize) {
    let aliases: usize = registry.keys.values().map(|key| key.aliases.len()).sum();
    assert_eq!(registry.aliases.len(), aliases);
    for (alias, key) in &registry.aliases {
        assert!(key.aliases.contains(alias) && Rc::ptr_eq(key, &registry.keys[&key.id]));
    }
    (registry.mark(), registry.keys.clone(), registry.count())
}
