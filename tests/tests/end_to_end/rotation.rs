//! New versions of a key.

use keyward_client::protocol::{
    ErrorCode, KeyState, KeyType, Purpose, SecretBytes,
    operation::{
        Decrypt, Describe, Disable, Encrypt, GetPublicKey, KeyDescription, LoginState, Rotate,
        SignInput, Unwrap, Verify,
    },
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Setup, TokenSetup, openssl,
    request::{refused, sign},
    wait_for,
};

fn rotate(daemon: &Daemon, key: &str) -> KeyDescription {
    let key = key.to_owned();
    let rotated = daemon.client().call(Rotate { key });
    rotated.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()))
}

#[test]
fn after_ten_rotations_the_first_version_still_opens() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Unwrap, KeyType::Rsa2048);
    let public = daemon.public_file("k");
    let sealed = openssl::encrypt_oaep_sha256(&public, b"for version 1").unwrap();
    for number in 2..=11 {
        let key = rotate(&daemon, "k");
        let states: Vec<_> = key.versions.iter().map(|v| v.state).collect();
        assert_eq!(states.len(), number);
        let (current, old) = states.split_last().unwrap();
        assert_eq!(*current, KeyState::Active);
        assert!(old.iter().all(|state| *state == KeyState::Deactivated));
    }
    daemon.restart();
    let mut client = daemon.client();
    let mut open = |version| {
        client.call(Unwrap {
            key: "k".into(),
            algorithm: None,
            ciphertext: sealed.clone().into(),
            label: None,
            version,
        })
    };
    assert_eq!(open(Some(1)).unwrap().plaintext.expose(), b"for version 1");
    assert_eq!(refused(open(None)).code, ErrorCode::UnwrapFailed);
    assert_eq!(refused(open(Some(12))).code, ErrorCode::NotFound);
}

#[test]
fn what_each_version_encrypted_is_decrypted_by_it() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Encrypt, KeyType::Aes256);
    let mut client = daemon.client();
    let mut sealed = Vec::new();
    for number in 1..=10 {
        let plaintext = format!("for version {number}");
        let encrypted = client
            .call(Encrypt {
                key: "k".into(),
                plaintext: SecretBytes::copy_from(plaintext.as_bytes()),
                context: None,
                algorithm: None,
            })
            .unwrap();
        assert_eq!(encrypted.version, number);
        sealed.push((plaintext, encrypted.ciphertext));
        rotate(&daemon, "k");
    }
    for (plaintext, ciphertext) in sealed {
        let opened = client.call(Decrypt {
            ciphertext,
            key: None,
            context: None,
        });
        assert_eq!(opened.unwrap().plaintext.expose(), plaintext.as_bytes());
    }
}

#[test]
fn the_new_version_signs_and_each_verifies_its_own() {
    let daemon = Daemon::start(Setup::new());
    let before = daemon.create_signer("k");
    let mut client = daemon.client();
    let old = client.call(sign("k", b"message")).unwrap();
    let after = rotate(&daemon, "k");
    assert_eq!((&before.id, &after.aliases), (&after.id, &before.aliases));
    let new = client.call(sign("k", b"message")).unwrap();
    assert_eq!((old.version, new.version), (1, 2));
    let mut verify = |signature: &[u8], version| {
        let verified = client.call(Verify {
            key: "k".into(),
            algorithm: None,
            input: SignInput::Message(b"message".to_vec()),
            signature: signature.to_vec().into(),
            version,
        });
        verified.unwrap().valid
    };
    assert!(verify(&old.signature, Some(1)) && verify(&new.signature, Some(2)));
    assert!(verify(&new.signature, None) && !verify(&old.signature, None));
    let mut public = |version| {
        let request = GetPublicKey {
            key: "k".into(),
            version,
        };
        client.call(request).unwrap().thumbprint
    };
    assert_eq!(public(None), public(Some(2)));
    assert_ne!(public(None), public(Some(1)));
}

#[test]
fn only_an_active_key_is_rotated() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let mut client = daemon.client();
    client.call(Disable { key: "k".into() }).unwrap();
    let failure = refused(client.call(Rotate { key: "k".into() }));
    assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
}

#[test]
fn secret_keys_are_made_and_rotated() {
    let daemon = Daemon::start(Setup::new());
    for (name, purpose, key_type) in [
        ("e128", Purpose::Encrypt, KeyType::Aes128),
        ("e256", Purpose::Encrypt, KeyType::Aes256),
        ("m256", Purpose::Mac, KeyType::HmacSha256),
        ("m384", Purpose::Mac, KeyType::HmacSha384),
        ("m512", Purpose::Mac, KeyType::HmacSha512),
        ("hpke", Purpose::Encrypt, KeyType::P256),
        ("oaep", Purpose::Encrypt, KeyType::Rsa2048),
    ] {
        let made = daemon.create(name, purpose, key_type);
        assert_eq!((made.purpose, made.key_type), (purpose, key_type));
        let secret = key_type.secret_length().is_some();
        assert_eq!(made.versions[0].thumbprint.is_none(), secret, "{name}");
        let rotated = rotate(&daemon, name);
        assert_eq!(rotated.versions.len(), 2);
        assert_ne!(rotated.versions[0].id, rotated.versions[1].id);
    }
    let unfit = refused(daemon.client().call(keyward_tests::request::create(
        "x",
        Purpose::Mac,
        KeyType::Aes256,
    )));
    assert_eq!(unfit.code, ErrorCode::Invalid, "{unfit}");
}

#[test]
fn a_rotation_that_is_interrupted_is_undone_and_the_key_goes_on() {
    let setup = Setup::new().token(TokenSetup::new("main").fault());
    let daemon = Daemon::start(setup);
    daemon.create_signer("k");
    daemon.fault("main").set("C_GenerateKeyPair", &Fault::Crash);
    let failure = refused(daemon.client().call(Rotate { key: "k".into() }));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    daemon.wait_for_token("main", LoginState::Unlocked);
    let undone = || {
        daemon.audit().iter().any(|record| {
            record["op"] == "rotate"
                && record["detail"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("undone"))
        })
    };
    assert!(wait_for(undone, PATIENCE), "{}", daemon.stderr());
    let key = daemon.client().call(Describe { key: "k".into() }).unwrap();
    assert_eq!(key.versions.len(), 1);
    daemon.client().call(sign("k", b"message")).unwrap();
    assert_eq!(rotate(&daemon, "k").versions.len(), 2);
}

#[test]
fn an_agent_that_is_killed_while_it_rotates_leaves_a_key_of_whole_versions() {
    let setup = Setup::new().token(TokenSetup::new("main").fault());
    let mut daemon = Daemon::start(setup);
    daemon.create_signer("k");
    daemon.fault("main").set("C_GenerateKeyPair", &Fault::Hang);
    let endpoint = daemon.endpoint();
    let asked = std::thread::spawn(move || {
        let mut client = keyward_client::Client::connect_to(endpoint).unwrap();
        client.call(Rotate { key: "k".into() })
    });
    let begun = || daemon.fault("main").calls("C_GenerateKeyPair") > 1;
    assert!(wait_for(begun, PATIENCE));
    daemon.signal(rustix::process::Signal::KILL);
    daemon.fault("main").clear("C_GenerateKeyPair");
    daemon.wait();
    assert!(asked.join().unwrap().is_err());
    daemon.start_again();
    daemon.wait_for_token("main", LoginState::Unlocked);
    let finished = || {
        let records = daemon.audit();
        records
            .iter()
            .any(|r| r["op"] == "rotate" && r["kind"] == "manage-outcome")
    };
    assert!(wait_for(finished, PATIENCE), "{}", daemon.stderr());
    assert!(daemon.status().management_refused.is_none());
    let key = rotate(&daemon, "k");
    assert_eq!(key.versions.len(), 2);
    daemon.client().call(sign("k", b"message")).unwrap();
}
