//! Versions have states of their own: the newest one makes what is new, or none does.

use keyward_client::protocol::{
    ErrorCode, KeyState, KeyType, Purpose, SecretBytes,
    backup::Content,
    operation::{
        Decrypt, Ecdh, Encrypt, GenerateDataKey, GetPublicKey, Mac, RequestCertificate, Rotate,
        Unwrap, VerifyMac, Wrap,
    },
};
use keyward_tests::{
    Daemon, Setup,
    request::{refused, sign},
};

use crate::backup::{backup, restore};

/// Has a restoration say what became of versions elsewhere; keys are in no other state by it.
#[track_caller]
fn tell(daemon: &Daemon, number: u32, state: KeyState) {
    let mut content = Content::from_document(&backup(&mut daemon.client())).unwrap();
    for version in content.keys.iter_mut().flat_map(|key| &mut key.versions) {
        if version.number == number {
            version.state = state;
        }
    }
    restore(daemon, &content.to_document().unwrap(), false).expect("restored");
}

#[test]
fn a_version_that_is_not_active_makes_nothing_and_no_older_one_does() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    let keys = [
        ("sign", Purpose::Sign, KeyType::P256),
        ("encrypt", Purpose::Encrypt, KeyType::Aes256),
        ("seal", Purpose::Encrypt, KeyType::P256),
        ("wrap", Purpose::Wrap, KeyType::Aes256),
        ("mac", Purpose::Mac, KeyType::HmacSha256),
        ("agree", Purpose::Agree, KeyType::P256),
    ];
    for (name, purpose, kind) in keys {
        daemon.create(name, purpose, kind);
        client.call(Rotate { key: name.into() }).expect("rotated");
    }
    let bytes = || SecretBytes::copy_from(&[7; 16]);
    let encrypt = |key: &str| Encrypt {
        key: key.into(),
        plaintext: bytes(),
        context: None,
        algorithm: None,
    };
    let data_key = |key: &str| GenerateDataKey {
        key: key.into(),
        length: None,
        context: None,
        with_plaintext: false,
    };
    let public = GetPublicKey {
        key: "seal".into(),
        version: None,
    };
    let peer = client.call(public).unwrap().cose_key;
    let ecdh = |version| Ecdh {
        key: "agree".into(),
        peer: peer.clone(),
        kdf: None,
        version,
    };
    let wrap = || Wrap {
        key: "wrap".into(),
        algorithm: None,
        plaintext: bytes(),
    };
    let mac = || Mac {
        key: "mac".into(),
        message: bytes(),
    };
    let certificate = || RequestCertificate {
        key: "sign".into(),
        algorithm: None,
        subject: "CN=a".into(),
        names: Vec::new(),
    };
    let sealed = client.call(encrypt("encrypt")).unwrap().ciphertext;
    let open = || Decrypt {
        ciphertext: sealed.clone(),
        key: None,
        context: None,
    };
    let wrapped = client.call(wrap()).unwrap();
    let unwrap = || Unwrap {
        key: "wrap".into(),
        algorithm: None,
        ciphertext: wrapped.ciphertext.clone(),
        label: None,
        version: Some(2),
    };
    let tag = client.call(mac()).unwrap().tag;
    let verify = || VerifyMac {
        key: "mac".into(),
        message: bytes(),
        tag: tag.clone(),
        version: Some(2),
    };
    for state in [KeyState::Suspended, KeyState::Compromised] {
        tell(&daemon, 2, state);
        for (name, ..) in keys {
            let key = daemon.client().call(GetPublicKey {
                key: name.into(),
                version: None,
            });
            // What it is called by goes on being told.
            match name {
                "encrypt" | "wrap" | "mac" => assert!(key.is_err(), "{name} is secret"),
                _ => assert_eq!(key.unwrap().version, 2, "{name}"),
            }
        }
        let made = [
            refused(client.call(sign("sign", b"message"))),
            refused(client.call(certificate())),
            refused(client.call(encrypt("encrypt"))),
            refused(client.call(encrypt("seal"))),
            refused(client.call(data_key("encrypt"))),
            refused(client.call(wrap())),
            refused(client.call(mac())),
            refused(client.call(ecdh(None))),
        ];
        for failure in made {
            assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
            let words = format!("version 2, the newest of the key, is {state}");
            assert!(failure.message.contains(&words), "{failure}");
        }
        let opened = [
            refused(client.call(ecdh(Some(2)))),
            refused(client.call(open())),
            refused(client.call(unwrap())),
            refused(client.call(verify())),
        ];
        for failure in opened {
            assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
        }
        client.call(ecdh(Some(1))).expect("by the one of before");
    }
    tell(&daemon, 1, KeyState::Suspended);
    client
        .call(ecdh(Some(1)))
        .expect("no state is left for a milder one");
    for (name, ..) in keys {
        let key = client.call(Rotate { key: name.into() }).expect("rotated");
        let states: Vec<_> = key.versions.iter().map(|version| version.state).collect();
        let expected = [
            KeyState::Deactivated,
            KeyState::Compromised,
            KeyState::Active,
        ];
        assert_eq!(states, expected, "{name}");
    }
    let signature = client.call(sign("sign", b"message")).expect("by the third");
    assert_eq!(signature.version, 3);
    client.call(encrypt("encrypt")).expect("by the third");
}
