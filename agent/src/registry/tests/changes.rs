use super::*;

#[test]
fn a_key_is_found_by_its_id_and_its_aliases() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let mut new = sign_key(1, "web");
    new.aliases.push("api/signer".into());
    let key = registry.insert(new).unwrap();
    assert_eq!(key.id_text, Uuid::from_u128(1).to_string());
    assert_eq!(key.aliases, ["api/signer", "web"]);
    for name in [
        key.id_text.as_str(),
        "web",
        "api/signer",
        &key.id_text.to_uppercase(),
    ] {
        assert!(Rc::ptr_eq(&registry.key(name).unwrap(), &key), "{name}");
    }
    for name in [
        "",
        "Web",
        "nobody",
        &key.id.simple().to_string(),
        &Uuid::nil().to_string(),
    ] {
        assert!(registry.key(name).is_none(), "{name}");
    }
    let version = key.current().unwrap();
    assert_eq!((version.number, version.state), (1, KeyState::Active));
    assert_eq!(CoseKey::from_spki(&version.spki).ok(), version.public);
    assert_eq!(version.placements, [placement()]);
    assert_eq!(key.version(1), Some(version));
    assert_eq!(key.version(2), None);
}

#[test]
fn what_is_taken_or_wrong_changes_nothing() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    registry.insert(sign_key(1, "web")).unwrap();
    let before = contents(&registry);
    let mut refused = |change: &dyn Fn(&mut NewKey)| {
        let mut new = sign_key(2, "other");
        change(&mut new);
        registry.insert(new).unwrap_err().to_string()
    };
    let words = [
        refused(&|new| new.aliases = vec!["ok".into(), "web".into()]),
        refused(&|new| new.aliases = vec!["twice".into(), "twice".into()]),
        refused(&|new| new.id = Uuid::from_u128(1)),
        refused(&|new| new.version = VersionId::from(Uuid::from_u128(1_000_001))),
        refused(&|new| new.placements[0].token = "stranger".into()),
        refused(&|new| new.aliases = vec!["-v".into()]),
        refused(&|new| new.formats.clear()),
        refused(&|new| new.purpose = Purpose::Unwrap),
        refused(&|new| new.state = KeyState::Destroyed),
        refused(&|new| new.public = CoseKey::rsa(&[0xff; 129], &[3])),
    ];
    let expected = [
        "\"web\" is taken",
        "\"twice\" is taken",
        "already a key",
        "already a key",
        "\"stranger\" was not enrolled",
        "begins with '-'",
        "needs a format",
        "can't have the purpose unwrap",
        "destroyed already",
        "public part",
    ];
    for (words, expected) in words.iter().zip(expected) {
        assert!(words.contains(expected), "{words}");
    }
    assert_eq!(contents(&registry), before);
    drop(registry);
    assert_eq!(contents(&Registry::open(&path).unwrap()), before);
}

#[test]
fn a_destroyed_key_is_found_by_its_id_only_and_stays_destroyed() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let key = registry.insert(sign_key(1, "web")).unwrap();
    registry.insert(sign_key(2, "api")).unwrap();
    let destroyed = registry.destroy(key.id).unwrap();
    assert_eq!(destroyed.state, KeyState::Destroyed);
    assert_eq!(destroyed.versions[0].state, KeyState::Destroyed);
    assert_eq!(destroyed.versions[0].placements, []);
    assert_eq!(destroyed.current(), None);
    assert!(Rc::ptr_eq(&registry.key(&key.id_text).unwrap(), &destroyed));
    assert!(registry.key("web").is_none());
    assert_eq!((registry.count(), registry.page(None, 9).len()), (1, 1));

    let again = registry.destroy(key.id).unwrap_err();
    assert!(matches!(again, RegistryError::Destroyed(id) if id == key.id));
    let revived = registry.set_state(key.id, KeyState::Active).unwrap_err();
    assert!(matches!(revived, RegistryError::Destroyed(_)));
    let missing = registry.destroy(Uuid::nil()).unwrap_err();
    assert!(matches!(missing, RegistryError::NotFound(_)));

    let next = registry.insert(sign_key(3, "web")).unwrap();
    assert!(Rc::ptr_eq(&registry.key("web").unwrap(), &next));
    let before = contents(&registry);
    drop(registry);
    assert_eq!(contents(&Registry::open(&path).unwrap()), before);
}

#[test]
fn a_state_is_changed_but_never_to_destroyed() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    let key = registry.insert(sign_key(1, "web")).unwrap();
    let suspended = registry.set_state(key.id, KeyState::Suspended).unwrap();
    assert_eq!(suspended.state, KeyState::Suspended);
    assert!(Rc::ptr_eq(&registry.key("web").unwrap(), &suspended));
    let error = registry.set_state(key.id, KeyState::Destroyed).unwrap_err();
    assert!(matches!(error, RegistryError::Invalid(_)));
}

#[test]
fn a_token_is_pinned_until_it_is_pinned_anew() {
    let (_folder, path) = path();
    let mut registry = Registry::open(&path).unwrap();
    assert_eq!(registry.token_identity("main"), None);
    for serial in ["1", "2"] {
        registry.pin_token("main", &identity(serial)).unwrap();
        assert_eq!(registry.token_identity("main"), Some(&identity(serial)));
    }
    drop(registry);
    let registry = Registry::open(&path).unwrap();
    assert_eq!(registry.token_identity("main"), Some(&identity("2")));
}

#[test]
fn pages_go_through_all_keys_in_the_order_of_their_ids() {
    let (_folder, path) = path();
    let mut registry = open(&path);
    for id in [5, 3, 9, 1, 7] {
        registry.insert(sign_key(id, "")).unwrap();
    }
    registry.destroy(Uuid::from_u128(5)).unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = registry.page(after, 2);
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|key| key.id.as_u128()));
    }
    assert_eq!(seen, [1, 3, 7, 9]);
}
