//! A registry that was lost, and keys that are found again on their tokens.

use std::fs;

use keyward_backend::VersionId;
use keyward_backend::message::{Generate, Outcome, Work};
use keyward_client::protocol::{
    ErrorCode, KeyState, KeyType, Purpose, SecretBytes,
    operation::{
        AcceptRegistry, Describe, Disable, Enable, GetPublicKey, Import, KeyMaterial, Lock,
        LoginState, Rescan, Rescanned, Rotate, Unwrap,
    },
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Setup, TokenSetup, Worker, openssl,
    request::{create, refused, sign},
    wait_for,
};
use uuid::Uuid;

fn rescan(daemon: &Daemon) -> Rescanned {
    let rescanned = daemon.client().call(Rescan { token: None });
    rescanned.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()))
}

/// Loses the registry and starts again.
fn lose_registry(daemon: &mut Daemon) {
    daemon.terminate();
    for file in ["registry.db", "registry.db-wal"] {
        let _ = fs::remove_file(daemon.state().join(file));
    }
    daemon.start_again();
}

#[test]
fn after_the_loss_of_the_registry_the_keys_are_found_again_suspended() {
    let mut daemon = Daemon::start(Setup::new());
    let signer = daemon.create_signer("signer");
    let opener = daemon.create("opener", Purpose::Unwrap, KeyType::Rsa2048);
    let secret = daemon.create("secret", Purpose::Encrypt, KeyType::Aes256);
    let sealed = openssl::encrypt_oaep_sha256(&daemon.public_file("opener"), b"kept").unwrap();
    let mut client = daemon.client();
    let key = "opener".to_owned();
    client.call(Rotate { key }).unwrap();
    let public = |daemon: &Daemon, key: &str| {
        let key = key.to_owned();
        let request = GetPublicKey { key, version: None };
        daemon.client().call(request).unwrap().cose_key
    };
    let before = public(&daemon, "signer");

    lose_registry(&mut daemon);
    let refusal = refused(
        daemon
            .client()
            .call(create("new", Purpose::Sign, KeyType::P256)),
    );
    assert_eq!(refusal.code, ErrorCode::RegistryMismatch, "{refusal}");
    let refusal = refused(daemon.client().call(Rescan { token: None }));
    assert_eq!(refusal.code, ErrorCode::RegistryMismatch, "{refusal}");
    let unasked = daemon.cli_fails(&["accept-registry"], b"");
    assert!(unasked.contains("--yes"), "{unasked}");
    daemon.cli(&["accept-registry", "--yes"]);
    let again = refused(daemon.client().call(AcceptRegistry {}));
    assert_eq!(again.code, ErrorCode::WrongState, "{again}");
    daemon.wait_for_token("main", LoginState::Unlocked);

    let found = rescan(&daemon);
    let mut versions: Vec<_> = found
        .recovered
        .iter()
        .map(|r| (r.key.clone(), r.version))
        .collect();
    versions.sort();
    let mut expected = vec![
        (signer.id.clone(), 1),
        (opener.id.clone(), 1),
        (opener.id.clone(), 2),
        (secret.id.clone(), 1),
    ];
    expected.sort();
    assert_eq!(versions, expected);
    assert_eq!((found.known, found.refused.len()), (0, 0), "{found:?}");
    assert!(found.missing.is_empty());
    let known = rescan(&daemon);
    assert_eq!((known.known, known.recovered.len()), (4, 0));

    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
    assert!(daemon.status().management_refused.is_none());
    let mut client = daemon.client();
    let refusal = refused(client.call(sign(&signer.id, b"message")));
    assert_eq!(refusal.code, ErrorCode::WrongState, "{refusal}");
    for key in [&signer, &opener, &secret] {
        let key = key.id.clone();
        client.call(Enable { key }).unwrap();
    }
    client.call(sign(&signer.id, b"message")).unwrap();
    assert_eq!(public(&daemon, &signer.id), before);
    let described = client
        .call(Describe {
            key: opener.id.clone(),
        })
        .unwrap();
    let states: Vec<_> = described.versions.iter().map(|v| v.state).collect();
    assert_eq!(states, [KeyState::Deactivated, KeyState::Active]);
    assert!(described.aliases.is_empty());
    let opened = client.call(Unwrap {
        key: opener.id.clone(),
        algorithm: None,
        ciphertext: sealed.into(),
        label: None,
        version: Some(1),
    });
    assert_eq!(opened.unwrap().plaintext.expose(), b"kept");
    assert_eq!(
        client
            .call(Rotate {
                key: signer.id.clone()
            })
            .unwrap()
            .versions
            .len(),
        2
    );
}

#[test]
fn what_the_token_lacks_is_listed_and_nothing_is_changed() {
    let daemon = Daemon::start(Setup::new());
    let key = daemon.create_signer("k");
    let hsm = daemon.hsm("main");
    // Somebody else removes it from the token.
    for object in fs::read_dir(hsm.token_dir()).unwrap() {
        let folder = object.unwrap().path();
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".object") && name != "token.object" {
                fs::remove_file(file).unwrap();
            }
        }
    }
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Unlocked);
    let found = rescan(&daemon);
    assert_eq!(found.missing, std::slice::from_ref(&key.id));
    let described = daemon.client().call(Describe { key: key.id }).unwrap();
    assert_eq!(described.state, KeyState::Active);
    assert_eq!(described.versions[0].placements.len(), 1);
}

/// Puts a key with a label on the token, as whoever has the PIN can.
fn plant(daemon: &Daemon, id: u128, label: &str) {
    let mut worker = Worker::ready(daemon.hsm("main"), None);
    let outcome = worker.call(Work::Generate(Generate {
        id: VersionId::from(Uuid::from_u128(id)),
        label: label.to_owned(),
        key_type: KeyType::P256,
        purpose: Purpose::Sign,
        piv: None,
    }));
    assert!(matches!(outcome, Outcome::Key(Some(_))), "{outcome:?}");
}

#[test]
fn labels_that_others_wrote_change_no_key_in_use() {
    let daemon = Daemon::start(Setup::new());
    let id = daemon.create_signer("k").id;
    let other = Uuid::from_u128(9);
    plant(&daemon, 1, "theirs");
    plant(&daemon, 2, "keyward:not:1:sign:raw");
    plant(&daemon, 3, &format!("keyward:{id}:2:sign:raw"));
    plant(&daemon, 4, &format!("keyward:{other}:1:sign:raw"));
    plant(&daemon, 5, &format!("keyward:{other}:1:sign:raw"));
    plant(&daemon, 6, &format!("keyward:{other}:1:agree:"));
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Unlocked);
    let found = rescan(&daemon);
    assert_eq!((found.known, found.foreign), (1, 1), "{found:?}");
    assert!(found.recovered.is_empty(), "{found:?}");
    let refused = found.refused.join("\n");
    for words in ["label", "keyward key disable", "contradict"] {
        assert!(refused.contains(words), "{refused}");
    }
    let signature = daemon.client().call(sign("k", b"message")).unwrap();
    assert_eq!(signature.version, 1);
    // A person who disables the key first means it.
    let key = || id.clone();
    daemon.client().call(Disable { key: key() }).unwrap();
    let found = rescan(&daemon);
    assert_eq!(found.recovered.len(), 1, "{found:?}");
    assert_eq!(
        (&found.recovered[0].key, found.recovered[0].version),
        (&id, 2)
    );
    let described = daemon.client().call(Describe { key: key() }).unwrap();
    assert_eq!(described.state, KeyState::Suspended);
}

#[test]
fn a_spare_that_is_found_again_serves_again() {
    let setup = Setup::new()
        .token(keyward_tests::TokenSetup::new("main"))
        .token(keyward_tests::TokenSetup::new("spare"));
    let mut daemon = Daemon::start(setup);
    let der = openssl::generate_pkcs8(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let material = KeyMaterial::Pkcs8(SecretBytes::copy_from(&der));
    let key = daemon
        .client()
        .call(Import {
            purpose: Purpose::Sign,
            material,
            alias: None,
            tokens: Some(vec!["main".into(), "spare".into()]),
            formats: None,
            tags: None,
            existing: None,
            bind: None,
            piv: None,
        })
        .unwrap();
    lose_registry(&mut daemon);
    daemon.client().call(AcceptRegistry {}).unwrap();
    for token in ["main", "spare"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
        let token = Some(token.to_owned());
        let found = daemon.client().call(Rescan { token }).unwrap();
        assert_eq!(found.recovered.len(), 1, "{found:?}");
    }
    let key = daemon.client().call(Enable { key: key.id }).unwrap();
    assert_eq!(key.versions[0].placements.len(), 2);
    let token = Some("main".to_owned());
    daemon.client().call(Lock { token }).unwrap();
    daemon.client().call(sign(&key.id, b"message")).unwrap();
}

#[test]
fn a_key_that_is_being_imported_is_not_taken_in() {
    let setup = Setup::new()
        .token(TokenSetup::new("main"))
        .token(TokenSetup::new("spare").fault());
    let daemon = Daemon::start(setup);
    let spare = daemon.fault("spare");
    spare.set("C_CreateObject", &Fault::Hang);
    let der = openssl::generate_pkcs8(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let import = Import {
        purpose: Purpose::Sign,
        material: KeyMaterial::Pkcs8(SecretBytes::copy_from(&der)),
        alias: Some("k".into()),
        tokens: Some(vec!["main".into(), "spare".into()]),
        formats: None,
        tags: None,
        existing: None,
        bind: None,
        piv: None,
    };
    std::thread::scope(|scope| {
        let importing = scope.spawn(|| daemon.client().call(import));
        assert!(wait_for(|| spare.calls("C_CreateObject") > 0, PATIENCE));
        let token = Some("main".to_owned());
        let found = daemon.client().call(Rescan { token }).unwrap();
        spare.clear("C_CreateObject");
        assert!(found.recovered.is_empty(), "{found:?}");
        assert!(found.refused.join("\n").contains("busy"), "{found:?}");
        importing.join().unwrap().unwrap();
    });
    daemon.client().call(sign("k", b"message")).unwrap();
}

/// Puts a key of those numbers on the token, with a label like keyward's own.
fn plant_keys(daemon: &Daemon, numbers: std::ops::Range<u128>, purpose: Purpose, kind: KeyType) {
    let mut worker = Worker::ready(daemon.hsm("main"), None);
    let formats = match purpose {
        Purpose::Sign => "raw",
        _ => "",
    };
    for number in numbers {
        let key = Uuid::from_u128(number);
        let outcome = worker.call(Work::Generate(Generate {
            id: VersionId::from(Uuid::from_u128(number + 1000)),
            label: format!("keyward:{key}:1:{purpose}:{formats}"),
            key_type: kind,
            purpose,
            piv: None,
        }));
        assert!(matches!(outcome, Outcome::Key(Some(_))), "{outcome:?}");
    }
}

#[test]
fn what_was_taken_in_stays_when_the_time_is_up_and_the_next_goes_on() {
    let mut daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    plant_keys(&daemon, 1..41, Purpose::Encrypt, KeyType::Aes256);
    plant_keys(&daemon, 41..43, Purpose::Sign, KeyType::P256);
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Unlocked);
    // The proof of the first key pair does not end.
    let fault = daemon.fault("main");
    fault.set("C_Sign", &Fault::Hang);
    let limit = std::time::Duration::from_secs(3);
    let request = || Rescan { token: None };
    let found = daemon.client().call_with_deadline(request(), limit);
    let found = found.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()));
    assert_eq!((found.recovered.len(), found.known), (40, 0), "{found:?}");
    let [more] = found.refused.as_slice() else {
        panic!("{found:?}");
    };
    assert!(
        more.starts_with("2 keys were not looked at") && more.ends_with("rescan again"),
        "{more}"
    );
    assert!(found.missing.is_empty());
    let nothing = refused(daemon.client().call_with_deadline(request(), limit));
    assert_eq!(nothing.code, ErrorCode::DeadlineExceeded, "{nothing}");
    fault.clear("C_Sign");

    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
    assert_eq!(daemon.status().management_refused, None);
    let found = rescan(&daemon);
    assert_eq!((found.recovered.len(), found.known), (2, 40), "{found:?}");
    assert!(found.refused.is_empty(), "{found:?}");

    // The log names each of them, behind an intent of its page.
    let records = daemon.audit();
    let of = |kind: &str| {
        let rescans = records.iter().filter(|r| r["op"] == "rescan");
        let rescans = rescans.filter(|r| r["kind"] == kind);
        rescans.collect::<Vec<_>>()
    };
    let intents: Vec<_> = of("manage-intent").iter().map(|r| &r["seq"]).collect();
    assert_eq!(intents.len(), 3, "pages of 32, 8 and 2");
    let named: Vec<_> = of("manage-outcome")
        .into_iter()
        .filter(|record| !record["intent"].is_null())
        .collect();
    assert_eq!(named.len(), 42);
    for (number, record) in (1..).zip(named) {
        let id = |number| Uuid::from_u128(number).to_string();
        assert_eq!(record["key"], id(number));
        assert_eq!(record["version"], id(number + 1000));
        let label = record["detail"].as_str().unwrap();
        assert!(label.starts_with(&format!("keyward:{}:1:", id(number))));
        assert!(intents.contains(&&record["intent"]), "{record}");
    }
}
