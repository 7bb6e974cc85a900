//! Keys from outside, in one token or several.

use std::fs;

use keyward_backend::VersionId;
use keyward_backend::message::{Generate, Outcome, Work};
use keyward_client::protocol::{
    CoseKey, ErrorCode, Failure, KeyType, Purpose, SecretBytes,
    operation::{
        Describe, Destroy, Import, KeyDescription, KeyMaterial, List, Lock, LoginState, Rotate,
        SignInput, Unlock, Verify,
    },
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Setup, TokenSetup, Worker, openssl,
    request::{refused, sign},
    wait_for,
};
use uuid::Uuid;

fn p256() -> Vec<u8> {
    openssl::generate_pkcs8(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
}

fn pkcs8(alias: &str, purpose: Purpose, der: &[u8]) -> Import {
    import(
        alias,
        purpose,
        KeyMaterial::Pkcs8(SecretBytes::copy_from(der)),
    )
}

fn secret(alias: &str, purpose: Purpose, key_type: KeyType, bytes: &[u8]) -> Import {
    let material = KeyMaterial::Secret(key_type, SecretBytes::copy_from(bytes));
    import(alias, purpose, material)
}

fn import(alias: &str, purpose: Purpose, material: KeyMaterial) -> Import {
    Import {
        purpose,
        material,
        alias: Some(alias.into()),
        tokens: None,
        formats: None,
        tags: None,
        existing: None,
        bind: None,
        piv: None,
    }
}

fn on(tokens: &[&str], import: Import) -> Import {
    Import {
        tokens: Some(tokens.iter().map(|name| (*name).to_owned()).collect()),
        ..import
    }
}

fn further(key: &str, token: &str, import: Import) -> Import {
    Import {
        alias: None,
        existing: Some(key.into()),
        bind: None,
        ..on(&[token], import)
    }
}

#[track_caller]
fn imported(daemon: &Daemon, import: Import) -> KeyDescription {
    let done = daemon.client().call(import);
    done.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()))
}

fn tokens(key: &KeyDescription) -> Vec<&str> {
    let places = key.versions.last().unwrap().placements.iter();
    places.map(|place| place.token.as_str()).collect()
}

fn two() -> Setup {
    Setup::new()
        .token(TokenSetup::new("main").fault())
        .token(TokenSetup::new("spare").fault())
}

fn keys(daemon: &Daemon) -> usize {
    let list = daemon.client().call(List { after: None });
    list.unwrap().keys.len()
}

#[test]
fn each_type_is_imported_and_proves_itself() {
    let daemon = Daemon::start(Setup::new());
    let p384 =
        openssl::generate_pkcs8(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let rsa = openssl::generate_pkcs8(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    for (nth, (purpose, der, key_type)) in [
        (Purpose::Sign, p256(), KeyType::P256),
        (Purpose::Sign, p384.clone(), KeyType::P384),
        (Purpose::Sign, rsa.clone(), KeyType::Rsa2048),
        (Purpose::Agree, p256(), KeyType::P256),
        (Purpose::Agree, p384, KeyType::P384),
        (Purpose::Encrypt, p256(), KeyType::P256),
        (Purpose::Unwrap, rsa.clone(), KeyType::Rsa2048),
        (Purpose::Encrypt, rsa, KeyType::Rsa2048),
    ]
    .into_iter()
    .enumerate()
    {
        let key = imported(&daemon, pkcs8(&format!("k{nth}"), purpose, &der));
        assert_eq!((key.purpose, key.key_type), (purpose, key_type));
        let place = &key.versions[0].placements[0];
        assert!(!place.local && !place.always_sensitive, "{place:?}");
    }
    for (purpose, key_type) in [
        (Purpose::Encrypt, KeyType::Aes128),
        (Purpose::Encrypt, KeyType::Aes256),
        (Purpose::Wrap, KeyType::Aes256),
        (Purpose::Mac, KeyType::HmacSha256),
        (Purpose::Mac, KeyType::HmacSha384),
        (Purpose::Mac, KeyType::HmacSha512),
    ] {
        let bytes = vec![0x5a; key_type.secret_length().unwrap()];
        let name = format!("{purpose} {key_type}");
        let key = imported(&daemon, secret(&name, purpose, key_type, &bytes));
        assert_eq!(key.key_type, key_type);
        assert!(key.versions[0].thumbprint.is_none());
    }
    // The record has the length and nothing of the key.
    let records = daemon.audit();
    let made = records.iter().find(|r| r["op"] == "import").unwrap();
    assert!(made["length"].as_u64().is_some_and(|length| length > 60));
}

#[test]
fn what_is_imported_signs_as_it_did_outside() {
    let daemon = Daemon::start(Setup::new());
    let der = p256();
    let file = daemon.dir().join("key.der");
    fs::write(&file, &der).unwrap();
    let mut command = openssl::command("pkey");
    command.args(["-inform", "DER", "-pubout", "-outform", "DER", "-in"]);
    let public = command.arg(&file).output().unwrap().stdout;
    imported(&daemon, pkcs8("k", Purpose::Sign, &der));
    let mut client = daemon.client();
    let got = client
        .call(keyward_client::protocol::operation::GetPublicKey {
            key: "k".into(),
            version: None,
        })
        .unwrap();
    assert_eq!(got.cose_key, CoseKey::from_spki(&public).unwrap());
    client.call(sign("k", b"message")).unwrap();
}

#[test]
fn an_ed25519_key_signs_as_it_did_outside() {
    let daemon = Daemon::start(two());
    let der = openssl::generate_pkcs8(&["-algorithm", "ED25519"]);
    let both = on(&["main", "spare"], pkcs8("k", Purpose::Sign, &der));
    let key = imported(&daemon, both);
    assert_eq!((key.key_type, tokens(&key).len()), (KeyType::Ed25519, 2));
    let [private, public] = ["key.der", "key.pub"].map(|name| daemon.dir().join(name));
    fs::write(&private, &der).unwrap();
    openssl::write_public(&private, &public).unwrap();
    let mut client = daemon.client();
    for locked in ["main", "spare"] {
        let lock = |token: &str| Lock {
            token: Some(token.into()),
        };
        client.call(lock(locked)).unwrap();
        let made = client.call(sign("k", b"message")).unwrap();
        openssl::verify_ed25519(&public, b"message", &made.signature).unwrap();
        let unlock = Unlock {
            token: Some(locked.into()),
            pin: None,
            spend_withheld_try: false,
        };
        client.call(unlock).unwrap();
    }
    let failure = refused(client.call(pkcs8("a", Purpose::Agree, &der)));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
}

#[test]
fn what_is_no_key_is_refused_before_anything_is_made() {
    let daemon = Daemon::start(Setup::new());
    let refuse = |import| -> Failure { refused(daemon.client().call(import)) };
    let failure = refuse(pkcs8("k", Purpose::Sign, b"-----BEGIN PRIVATE KEY-----"));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    let failure = refuse(pkcs8("k", Purpose::Mac, &p256()));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    let failure = refuse(secret("k", Purpose::Mac, KeyType::HmacSha256, &[1; 31]));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    let weak = openssl::generate_pkcs8(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let failure = refuse(pkcs8("k", Purpose::Sign, &weak));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    let failure = refuse(on(&["main", "main"], pkcs8("k", Purpose::Sign, &p256())));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    imported(&daemon, pkcs8("k", Purpose::Sign, &p256()));
    let failure = refuse(pkcs8("k", Purpose::Sign, &p256()));
    assert_eq!(failure.code, ErrorCode::Exists, "{failure}");
    let intents = daemon.audit();
    let intents = intents
        .iter()
        .filter(|r| r["op"] == "import" && r["kind"] == "manage-intent");
    assert_eq!(intents.count(), 1);
}

#[test]
fn a_spare_serves_while_the_first_token_is_away() {
    let daemon = Daemon::start(two());
    let made = on(&["main", "spare"], pkcs8("k", Purpose::Sign, &p256()));
    let key = imported(&daemon, made);
    assert_eq!(tokens(&key), ["main", "spare"]);
    let mut client = daemon.client();
    client.call(sign("k", b"message")).unwrap();
    client
        .call(Lock {
            token: Some("main".into()),
        })
        .unwrap();
    let signature = client.call(sign("k", b"message")).unwrap().signature;
    let verified = client.call(Verify {
        key: "k".into(),
        algorithm: None,
        input: SignInput::Message(b"message".to_vec()),
        signature,
        version: None,
    });
    assert!(verified.unwrap().valid);
    // Neither of them can make a new version for the other.
    let failure = refused(client.call(Rotate { key: "k".into() }));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
}

#[test]
fn a_further_place_gets_only_the_same_key() {
    let daemon = Daemon::start(two());
    let (der, other) = (p256(), p256());
    imported(&daemon, on(&["main"], pkcs8("k", Purpose::Sign, &der)));
    let call = |import| daemon.client().call(import);
    let failure = refused(call(further(
        "k",
        "spare",
        pkcs8("", Purpose::Sign, &other),
    )));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    let failure = refused(call(further("k", "main", pkcs8("", Purpose::Sign, &der))));
    assert_eq!(failure.code, ErrorCode::Exists, "{failure}");
    let failure = refused(call(further("k", "spare", pkcs8("", Purpose::Agree, &der))));
    assert_eq!(failure.code, ErrorCode::WrongPurpose, "{failure}");
    let key = call(further("k", "spare", pkcs8("", Purpose::Sign, &der))).unwrap();
    assert_eq!(tokens(&key), ["main", "spare"]);

    for (name, purpose, key_type) in [
        ("e", Purpose::Encrypt, KeyType::Aes256),
        ("w", Purpose::Wrap, KeyType::Aes128),
        ("m", Purpose::Mac, KeyType::HmacSha384),
    ] {
        let bytes = vec![7; key_type.secret_length().unwrap()];
        let wrong = vec![8; bytes.len()];
        imported(
            &daemon,
            on(&["main"], secret(name, purpose, key_type, &bytes)),
        );
        let failure = refused(call(further(
            name,
            "spare",
            secret("", purpose, key_type, &wrong),
        )));
        assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
        let same = further(name, "spare", secret("", purpose, key_type, &bytes));
        assert_eq!(tokens(&imported(&daemon, same)), ["main", "spare"]);
    }
}

#[test]
fn if_one_token_fails_none_keeps_the_key() {
    let daemon = Daemon::start(two());
    daemon
        .fault("spare")
        .set("C_CreateObject", &Fault::ErrorOnce(0x31));
    let both = on(&["main", "spare"], pkcs8("k", Purpose::Sign, &p256()));
    refused(daemon.client().call(both));
    assert_eq!(keys(&daemon), 0);
    assert!(daemon.fault("main").calls("C_DestroyObject") >= 1);
    // A token whose key does something else than the one that was imported.
    daemon.fault("spare").set("C_Sign", &Fault::Garble);
    let both = on(&["main", "spare"], pkcs8("k", Purpose::Sign, &p256()));
    let failure = refused(daemon.client().call(both));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    assert_eq!(keys(&daemon), 0);
    daemon.fault("spare").clear("C_Sign");
    let both = on(&["main", "spare"], pkcs8("k", Purpose::Sign, &p256()));
    imported(&daemon, both);
    let records = daemon.audit();
    let of = |kind: &str| {
        let matching = records
            .iter()
            .filter(|r| r["op"] == "import" && r["kind"] == kind && r["intent"].is_null());
        matching.count()
    };
    // Each of the six intents has an outcome.
    assert_eq!((of("manage-intent"), of("manage-outcome")), (6, 0));
}

#[test]
fn an_import_that_is_interrupted_is_undone_on_each_of_its_tokens() {
    let daemon = Daemon::start(two());
    daemon.fault("spare").set("C_Sign", &Fault::Crash);
    let both = on(&["main", "spare"], pkcs8("k", Purpose::Sign, &p256()));
    let failure = refused(daemon.client().call(both));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    assert_eq!(keys(&daemon), 0);
    daemon.wait_for_token("spare", LoginState::Unlocked);
    let ended = || {
        let records = daemon.audit();
        let closed: Vec<_> = records
            .iter()
            .filter_map(|r| r["intent"].as_u64())
            .collect();
        records
            .iter()
            .filter(|r| r["op"] == "import" && r["kind"] == "manage-intent")
            .all(|r| closed.contains(&r["seq"].as_u64().unwrap()))
    };
    assert!(wait_for(ended, PATIENCE), "{}", daemon.stderr());
}

#[test]
fn a_key_on_two_tokens_is_destroyed_on_both_also_after_a_crash() {
    let daemon = Daemon::start(two());
    let made = on(&["main", "spare"], pkcs8("k", Purpose::Sign, &p256()));
    let key = imported(&daemon, made);
    daemon.fault("spare").set("C_DestroyObject", &Fault::Crash);
    let destroy = Destroy {
        key: "k".into(),
        now: true,
    };
    let failure = refused(daemon.client().call(destroy));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    let gone = || {
        let key = key.id.clone();
        let described = daemon.client().call(Describe { key }).unwrap();
        described.state == keyward_client::protocol::KeyState::Destroyed
    };
    assert!(wait_for(gone, PATIENCE), "{}", daemon.stderr());
}

#[test]
fn an_object_that_was_there_before_an_import_is_not_destroyed() {
    let daemon = Daemon::start(two());
    let der = p256();
    imported(&daemon, on(&["main"], pkcs8("k", Purpose::Sign, &der)));
    let records = daemon.audit();
    let made = records.iter().find(|r| r["op"] == "import").unwrap();
    let id = VersionId::from(Uuid::parse_str(made["version"].as_str().unwrap()).unwrap());
    let mut worker = Worker::ready(daemon.hsm("spare"), None);
    let outcome = worker.call(Work::Generate(Generate {
        id,
        label: "theirs".to_owned(),
        key_type: KeyType::P256,
        purpose: Purpose::Sign,
        piv: None,
    }));
    assert!(matches!(outcome, Outcome::Key(Some(_))), "{outcome:?}");
    daemon.kill_worker("spare");
    daemon.wait_for_token("spare", LoginState::Unlocked);
    let again = further("k", "spare", pkcs8("", Purpose::Sign, &der));
    let failure = refused(daemon.client().call(again));
    assert_eq!(failure.code, ErrorCode::Exists, "{failure}");
    let records = daemon.audit();
    let intends = |r: &&serde_json::Value| r["op"] == "import" && r["kind"] == "manage-intent";
    let intents: Vec<_> = records.iter().filter(intends).collect();
    assert_eq!(intents.len(), 1, "it is seen before anything is intended");
    assert_eq!(intents[0]["fresh"], true);
    assert_eq!(daemon.fault("spare").calls("C_DestroyObject"), 0);
    assert_eq!(worker.call(Work::Inspect(id)), outcome);
}

#[test]
fn two_names_of_one_token_are_not_two_places() {
    let site = Setup::new().build();
    let config = fs::read_to_string(site.config()).unwrap();
    let table = &config[config.find("[token.main]").unwrap()..];
    let other = table.replace("[token.main", "[token.other");
    fs::write(site.config(), format!("{config}\n{other}")).unwrap();
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token("other", LoginState::Unlocked);
    let der = p256();
    let both = on(&["main", "other"], pkcs8("k", Purpose::Sign, &der));
    let failure = refused(daemon.client().call(both));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    assert!(
        failure.to_string().contains("one and the same"),
        "{failure}"
    );
    imported(&daemon, on(&["main"], pkcs8("k", Purpose::Sign, &der)));
    let again = further("k", "other", pkcs8("", Purpose::Sign, &der));
    let failure = refused(daemon.client().call(again));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    daemon.client().call(sign("k", b"message")).unwrap();
}

#[test]
fn a_wrap_key_proves_itself_on_a_token_that_pads_in_another_way() {
    let daemon = Daemon::start(two());
    for token in ["main", "spare"] {
        daemon.fault(token).set("C_WrapKey", &Fault::Pkcs7);
    }
    for (alias, key_type, length) in [
        ("small", KeyType::Aes128, 16),
        ("large", KeyType::Aes256, 32),
    ] {
        let key = secret(alias, Purpose::Wrap, key_type, &vec![7; length]);
        let key = imported(&daemon, on(&["main", "spare"], key));
        assert_eq!(tokens(&key), ["main", "spare"]);
    }
}
