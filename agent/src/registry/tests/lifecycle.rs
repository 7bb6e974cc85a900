use proptest::prelude::*;

use super::*;

fn version(id: u128) -> NewVersion {
    NewVersion {
        id: VersionId::from(Uuid::from_u128(id)),
        public: Some(CoseKey::P256 {
            x: Uuid::from_u128(id).as_bytes().repeat(2).try_into().unwrap(),
            y: [3; 32],
        }),
        placements: vec![placement()],
    }
}

fn states(key: &Key) -> Vec<(u32, KeyState)> {
    key.versions.iter().map(|v| (v.number, v.state)).collect()
}

#[test]
fn a_new_version_is_the_current_one_and_the_others_are_deactivated() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let key = registry.insert(sign_key(1, "web")).unwrap();
    registry.add_version(key.id, &version(50)).unwrap();
    let key = registry.add_version(key.id, &version(51)).unwrap();
    let expected = [
        (1, KeyState::Deactivated),
        (2, KeyState::Deactivated),
        (3, KeyState::Active),
    ];
    assert_eq!(states(&key), expected);
    assert_eq!(key.current().unwrap().number, 3);
    assert!(Rc::ptr_eq(&registry.key("web").unwrap(), &key));
    let before = contents(&registry);
    let taken = registry.add_version(key.id, &version(51)).unwrap_err();
    assert!(matches!(taken, RegistryError::IdTaken(_)), "{taken}");
    let mut wrong = version(52);
    wrong.public = None;
    let wrong = registry.add_version(key.id, &wrong).unwrap_err();
    assert!(matches!(wrong, RegistryError::Invalid(_)), "{wrong}");
    assert_eq!(contents(&registry), before);
    drop(registry);
    assert_eq!(contents(&Registry::open(&path).unwrap()), before);
}

#[test]
fn a_key_has_a_hundred_versions_at_the_most() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let key = registry.insert(sign_key(1, "")).unwrap();
    for id in 2..=MAX_VERSIONS as u128 {
        registry.add_version(key.id, &version(id)).unwrap();
    }
    let error = registry.add_version(key.id, &version(999)).unwrap_err();
    assert!(matches!(error, RegistryError::Invalid(_)), "{error}");
}

#[test]
fn the_newest_version_makes_what_is_new_or_none_does() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let key = registry.insert(sign_key(1, "")).unwrap();
    let mut key = Key::clone(&registry.add_version(key.id, &version(50)).unwrap());
    assert_eq!(key.protecting().unwrap().number, 2);
    for &state in KeyState::ALL {
        key.versions[0].state = KeyState::Active;
        key.versions[1].state = state;
        let number = |version: Option<&Version>| version.map(|version| version.number);
        let expected = (state == KeyState::Active).then_some(2);
        assert_eq!(number(key.protecting()), expected, "{state}");
        let expected = (state != KeyState::Destroyed).then_some(2);
        assert_eq!(number(key.current()), expected, "{state}");
    }
}

#[test]
fn a_compromised_key_has_no_version_that_is_not() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let key = registry.insert(sign_key(1, "")).unwrap();
    registry.add_version(key.id, &version(50)).unwrap();
    let key = registry.set_state(key.id, KeyState::Compromised).unwrap();
    let compromised = |(_, state)| state == KeyState::Compromised;
    assert!(key.state == KeyState::Compromised && states(&key).into_iter().all(compromised));
}

#[test]
fn further_places_are_entered_once() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.pin_token("spare", &identity("2")).unwrap();
    let key = registry.insert(sign_key(1, "")).unwrap();
    let id = key.current().unwrap().id;
    let spare = [Placement {
        token: "spare".into(),
        ..placement()
    }];
    let key = registry.add_placements(key.id, id, &spare).unwrap();
    let tokens = |key: &Key| -> Vec<String> {
        let places = &key.current().unwrap().placements;
        places.iter().map(|p| p.token.clone()).collect()
    };
    assert_eq!(tokens(&key), ["main", "spare"]);
    assert!(registry.add_placements(key.id, id, &spare).is_err());
    let stranger = VersionId::random();
    let error = registry.add_placements(key.id, stranger, &spare);
    assert!(matches!(error, Err(RegistryError::NotFound(_))));
    let unknown = [Placement {
        token: "stranger".into(),
        ..placement()
    }];
    let error = registry.add_placements(key.id, id, &unknown);
    assert!(matches!(error, Err(RegistryError::UnknownToken(_))));
}

#[test]
fn a_key_is_destroyed_when_no_token_has_anything_of_it() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.pin_token("spare", &identity("2")).unwrap();
    let key = registry.insert(sign_key(1, "web")).unwrap();
    let first = key.current().unwrap().id;
    let spare = Placement {
        token: "spare".into(),
        ..placement()
    };
    registry.add_placements(key.id, first, &[spare]).unwrap();
    registry.add_version(key.id, &version(50)).unwrap();
    let key = registry.destroy_on(key.id, &["main"], 1).unwrap();
    let generation = registry.generation();
    assert_eq!(registry.destroy_on(key.id, &["main"], 1).unwrap(), key);
    assert_eq!(registry.generation(), generation, "it is entered once");
    let before = [(1, KeyState::Deactivated), (2, KeyState::Active)];
    assert_eq!(states(&key), before, "the spare has the first one");
    assert_eq!(key.versions[0].placements.len(), 1);
    let key = registry.destroy_on(key.id, &["spare"], 1).unwrap();
    let before = [(1, KeyState::Destroyed), (2, KeyState::Active)];
    assert_eq!((states(&key), key.state), (before.into(), KeyState::Active));
    let key = registry.destroy_on(key.id, &["main"], 2).unwrap();
    assert_eq!(key.state, KeyState::Destroyed);
    assert!(registry.key("web").is_none());
    let again = registry.destroy_on(key.id, &["main"], 2);
    assert!(matches!(again, Err(RegistryError::Destroyed(_))));
    let before = contents(&registry);
    drop(registry);
    assert_eq!(contents(&Registry::open(&path).unwrap()), before);
}

#[test]
fn names_are_given_and_taken_all_or_none() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let key = registry.insert(sign_key(1, "web")).unwrap();
    registry.insert(sign_key(2, "taken")).unwrap();
    let text = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).into()).collect() };
    let changed = registry
        .set_aliases(key.id, &text(&["api", "api"]), &text(&["web"]))
        .unwrap();
    assert_eq!(changed.aliases, ["api"]);
    assert!(registry.key("web").is_none());
    // One that it has already does no harm.
    registry.set_aliases(key.id, &text(&["api"]), &[]).unwrap();
    let before = contents(&registry);
    for (add, remove) in [
        (text(&["ok", "taken"]), text(&[])),
        (text(&["ok"]), text(&["web"])),
        (text(&["ok", "-v"]), text(&["api"])),
        (text(&["api"]), text(&["api"])),
        (text(&[]), text(&["api", "api"])),
        ((0..50).map(|n| n.to_string()).collect(), text(&[])),
    ] {
        assert!(registry.set_aliases(key.id, &add, &remove).is_err());
        assert_eq!(contents(&registry), before, "{add:?} {remove:?}");
    }
}

#[test]
fn tags_are_set_and_removed_all_or_none() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let key = registry.insert(sign_key(1, "")).unwrap();
    let tag = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let team = ["team".to_owned()];
    let changed = registry.set_tags(key.id, &tag("env", "test"), &team);
    assert_eq!(changed.unwrap().tags, tag("env", "test"));
    let changed = registry.set_tags(key.id, &tag("env", "live"), &[]);
    assert_eq!(changed.unwrap().tags, tag("env", "live"));
    let before = contents(&registry);
    assert!(registry.set_tags(key.id, &tag("new", ""), &team).is_err());
    assert!(registry.set_tags(key.id, &tag("", ""), &[]).is_err());
    let env = ["env".to_owned()];
    assert!(registry.set_tags(key.id, &tag("env", ""), &env).is_err());
    assert_eq!(contents(&registry), before);
}

/// What can be done to a key.
#[derive(Clone, Debug)]
enum Step {
    State(KeyState),
    Version(u32),
    Alias(String, bool),
    Tag(String, Option<String>),
    Destroy,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::sample::select(KeyState::ALL.to_vec()).prop_map(Step::State),
        any::<u32>().prop_map(Step::Version),
        ("[a-c]", any::<bool>()).prop_map(|(name, add)| Step::Alias(name, add)),
        ("[a-c]", prop::option::of("[x-z]{0,3}")).prop_map(|(name, set)| Step::Tag(name, set)),
        Just(Step::Destroy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_done_is_read_after_a_restart(
        steps in prop::collection::vec((0..3_u128, step()), 1..20),
    ) {
        let (_folder, path) = path();
        let mut registry = open(&path);
        for id in 0..3 {
            registry.insert(sign_key(id, "")).unwrap();
        }
        for (id, step) in steps {
            let id = Uuid::from_u128(id);
            let generation = registry.generation();
            let done = match step {
                Step::State(state) => registry.set_state(id, state),
                Step::Version(number) => registry.add_version(id, &version(number.into())),
                Step::Alias(name, true) => registry.set_aliases(id, &[name], &[]),
                Step::Alias(name, false) => registry.set_aliases(id, &[], &[name]),
                Step::Tag(name, None) => registry.set_tags(id, &BTreeMap::new(), &[name]),
                Step::Tag(name, Some(value)) => {
                    registry.set_tags(id, &BTreeMap::from([(name, value)]), &[])
                }
                Step::Destroy => registry.destroy(id),
            };
            prop_assert_eq!(registry.generation(), generation + u64::from(done.is_ok()));
        }
        let before = contents(&registry);
        drop(registry);
        let registry = Registry::open(&path).unwrap();
        prop_assert_eq!(contents(&registry), before);
    }
}
