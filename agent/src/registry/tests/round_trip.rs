use keyward_protocol::{KeyType, Thumbprint};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

fn public(key_type: KeyType, seed: u8) -> CoseKey {
    let number = |length| vec![seed | 0x81; length];
    match key_type {
        KeyType::P256 => CoseKey::ec2(&[seed; 32], &[7; 32]).unwrap(),
        KeyType::P384 => CoseKey::ec2(&[seed; 48], &[7; 48]).unwrap(),
        KeyType::Ed25519 => CoseKey::Ed25519 { x: [seed; 32] },
        KeyType::Rsa2048 => CoseKey::rsa(&number(256), &[1, 0, 1]).unwrap(),
        KeyType::Rsa3072 => CoseKey::rsa(&number(384), &[1, 0, 1]).unwrap(),
        _ => CoseKey::rsa(&number(512), &[1, 0, 1]).unwrap(),
    }
}

fn kinds() -> Vec<(Purpose, KeyType)> {
    let all = Purpose::ALL
        .iter()
        .flat_map(|p| KeyType::ALL.map(|t| (*p, t)));
    all.filter(|(purpose, key_type)| purpose.fits(*key_type))
        .collect()
}

fn placements() -> impl Strategy<Value = Vec<Placement>> {
    let tokens = subsequence(vec!["main", "spare", "z"], 0..=3);
    let blob = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..40));
    let bound = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..4));
    let all = (tokens, ".{0,40}", any::<[bool; 3]>(), blob, bound);
    all.prop_map(|(tokens, locator, flags, blob, bound)| {
        let placement = |token: &str| Placement {
            token: token.into(),
            locator: locator.clone(),
            local: flags[0],
            always_sensitive: flags[1],
            never_extractable: flags[2],
            blob: blob.clone(),
            bound: bound.clone().map(|pcrs| keyward_backend::pcr::BoundTo {
                pcrs,
                authority: flags[0].then_some(CoseKey::Ed25519 { x: [3; 32] }),
            }),
        };
        tokens.into_iter().map(placement).collect()
    })
}

prop_compose! {
    fn new_key()(
        (purpose, key_type) in select(kinds()),
        state in select(vec![KeyState::Active, KeyState::Suspended, KeyState::PreActivation]),
        formats in subsequence(Format::ALL.to_vec(), 1..=Format::ALL.len()),
        aliases in btree_set("[a-zé\"'][a-z0-9 /%;\"']{0,30}[a-z]", 0..4),
        tags in btree_map("[a-zü']{1,20}", "[ -~]{0,40}", 0..5),
        ids in any::<(u128, u128)>(),
        seed in any::<u8>(),
        placements in placements(),
    ) -> NewKey {
        NewKey {
            id: Uuid::from_u128(ids.0),
            purpose,
            state,
            formats: if purpose == Purpose::Sign { formats } else { Vec::new() },
            aliases: aliases.into_iter().collect(),
            tags,
            version: VersionId::from(Uuid::from_u128(ids.1)),
            key_type,
            public: Some(public(key_type, seed)),
            placements,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_entered_is_what_is_read_after_a_restart(
        keys in vec(new_key(), 1..6),
        destroyed in any::<u8>(),
    ) {
        let (_folder, path) = path();
        let mut registry = Registry::open(&path).unwrap();
        for token in ["main", "spare", "z"] {
            registry.pin_token(token, &identity(token)).unwrap();
        }
        for (n, new) in keys.into_iter().enumerate() {
            let Ok(key) = registry.insert(new.clone()) else {
                continue; // an alias that an earlier key has
            };
            prop_assert_eq!((key.id, key.purpose, key.state), (new.id, new.purpose, new.state));
            prop_assert_eq!((&key.formats, &key.aliases), (&new.formats, &new.aliases));
            prop_assert_eq!(&key.tags, &new.tags);
            let version = key.current().unwrap();
            prop_assert_eq!(version.id, new.version);
            prop_assert_eq!(&version.public, &new.public);
            prop_assert_eq!(version.thumbprint, new.public.as_ref().map(Thumbprint::of));
            prop_assert_eq!(&version.placements, &new.placements);
            if destroyed >> n & 1 == 1 {
                registry.destroy(key.id).unwrap();
            }
        }
        let before = contents(&registry);
        drop(registry);
        let registry = Registry::open(&path).unwrap();
        prop_assert_eq!(contents(&registry), before);
    }
}
