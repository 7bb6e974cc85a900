//! What keys open in the states of their lives, and what versions that are not new any more do.

use keyward_client::{
    Client, Error,
    protocol::{
        ErrorCode, KeyType, Purpose, SecretBytes,
        operation::{
            Decrypt, Decrypted, Disable, Enable, Encrypt, Encrypted, Mac, MarkCompromised,
            ReEncrypt, Rotate, VerifyMac,
        },
    },
};
use keyward_tests::{Daemon, Setup, request::refused};

fn encrypt(client: &mut Client, key: &str) -> Result<Encrypted, Error> {
    client.call(Encrypt {
        key: key.into(),
        plaintext: SecretBytes::copy_from(b"secret"),
        context: None,
        algorithm: None,
    })
}

fn decrypt(client: &mut Client, ciphertext: &[u8]) -> Result<Decrypted, Error> {
    client.call(Decrypt {
        ciphertext: ciphertext.to_vec().into(),
        key: None,
        context: None,
    })
}

fn re_encrypt(ciphertext: &[u8], key: Option<&str>) -> ReEncrypt {
    ReEncrypt {
        ciphertext: ciphertext.to_vec().into(),
        source_key: None,
        source_context: None,
        key: key.map(str::to_owned),
        context: None,
    }
}

#[test]
fn a_suspended_key_opens_nothing_until_it_is_enabled() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    for kind in [KeyType::Aes256, KeyType::P256] {
        let key = kind.name().to_owned();
        daemon.create(&key, Purpose::Encrypt, kind);
        let made = encrypt(&mut client, &key).unwrap().ciphertext;
        client.call(Disable { key: key.clone() }).expect("disabled");
        for failure in [
            refused(encrypt(&mut client, &key)),
            refused(decrypt(&mut client, &made)),
            refused(client.call(re_encrypt(&made, None))),
        ] {
            assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
        }
        client.call(Enable { key }).expect("enabled");
        decrypt(&mut client, &made).expect("it opens again");
    }
}

#[test]
fn what_a_compromised_key_encrypted_is_saved_by_another_key_only() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    daemon.create("k", Purpose::Encrypt, KeyType::Aes256);
    daemon.create("new", Purpose::Encrypt, KeyType::Aes256);
    let made = encrypt(&mut client, "k").unwrap().ciphertext;
    client
        .call(MarkCompromised { key: "k".into() })
        .expect("marked");
    let failure = refused(decrypt(&mut client, &made));
    assert_eq!(failure.code, ErrorCode::WrongState);
    assert!(failure.message.contains("re-encrypted"), "{failure}");
    for key in [None, Some("k")] {
        let failure = refused(client.call(re_encrypt(&made, key)));
        assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
    }
    let saved = client.call(re_encrypt(&made, Some("new"))).expect("saved");
    let opened = decrypt(&mut client, &saved.ciphertext).expect("it opens");
    assert_eq!(opened.plaintext.expose(), b"secret");
}

#[test]
fn old_versions_open_what_they_sealed_and_seal_nothing_more() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    for kind in [KeyType::Aes128, KeyType::P256, KeyType::Rsa2048] {
        let key = kind.name();
        daemon.create(key, Purpose::Encrypt, kind);
        let old = encrypt(&mut client, key).unwrap();
        client.call(Rotate { key: key.into() }).expect("rotated");
        let new = encrypt(&mut client, key).unwrap();
        assert_eq!((old.version, new.version), (1, 2));
        for made in [&old, &new] {
            let opened = decrypt(&mut client, &made.ciphertext).expect("it opens");
            assert_eq!(opened.version, made.version);
        }
        let again = client
            .call(re_encrypt(&old.ciphertext, None))
            .expect("again");
        assert_eq!((again.source_version, again.version), (1, 2));
    }
    daemon.create("mac", Purpose::Mac, KeyType::HmacSha256);
    let message = || SecretBytes::copy_from(b"message");
    let old = client.call(Mac {
        key: "mac".into(),
        message: message(),
    });
    let tag = old.unwrap().tag;
    client.call(Rotate { key: "mac".into() }).expect("rotated");
    for (version, valid) in [(None, false), (Some(1), true), (Some(2), false)] {
        let verified = client.call(VerifyMac {
            key: "mac".into(),
            message: message(),
            tag: tag.clone(),
            version,
        });
        assert_eq!(verified.unwrap().valid, valid, "{version:?}");
    }
}
