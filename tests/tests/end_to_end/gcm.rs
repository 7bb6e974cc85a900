//! IVs and uses of AES-GCM keys (SP 800-38D §8).

use keyward_client::protocol::{
    ErrorCode, KeyType, Purpose, SecretBytes,
    backup::Content,
    ciphertext::Ciphertext,
    operation::{Decrypt, Encrypt, GenerateDataKey, LoginState, ReEncrypt, Rotate},
};
use keyward_client::{Client, Error};
use keyward_tests::{Daemon, Fault, Setup, TokenSetup, request::refused};

use crate::backup::{backup, restore};

/// The most uses of a key with random IVs of 96 bits.
const MOST: u64 = 1 << 32;
/// How many uses the agent reserves at once.
const BLOCK: u64 = 1 << 16;

fn encrypt(client: &mut Client, key: &str) -> Result<Vec<u8>, Error> {
    let made = client.call(Encrypt {
        key: key.into(),
        plaintext: SecretBytes::copy_from(b"secret"),
        context: None,
        algorithm: None,
    });
    made.map(|made| made.ciphertext.to_vec())
}

#[track_caller]
fn opens(client: &mut Client, ciphertext: &[u8]) {
    let opened = client.call(Decrypt {
        ciphertext: ciphertext.to_vec().into(),
        key: None,
        context: None,
    });
    assert_eq!(opened.unwrap().plaintext.expose(), b"secret");
}

#[test]
fn the_iv_of_a_token_that_makes_its_own_is_the_one_that_is_kept() {
    const IV: [u8; 12] = *b"of the token";
    let daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.create("k", Purpose::Encrypt, KeyType::Aes256);
    let mut client = daemon.client();
    daemon.fault("main").set("C_EncryptInit", &Fault::Iv(IV));
    let made = encrypt(&mut client, "k").unwrap();
    assert_eq!(Ciphertext::decode(&made).unwrap().iv(), Some(&IV));
    daemon.fault("main").clear("C_EncryptInit");
    opens(&mut client, &made);
    // Else it is one of the agent's, and never the same.
    let [one, other] = [0; 2].map(|_| encrypt(&mut client, "k").unwrap());
    let iv = |bytes: &[u8]| Ciphertext::decode(bytes).unwrap().iv().copied();
    assert!(iv(&one).is_some() && iv(&one) != iv(&other));
}

#[test]
fn a_key_that_sealed_as_often_as_it_may_only_opens_until_it_is_rotated() {
    let mut daemon = Daemon::start(Setup::new());
    let key = daemon.create("k", Purpose::Encrypt, KeyType::Aes256);
    daemon.create("other", Purpose::Encrypt, KeyType::Aes256);
    let made = encrypt(&mut daemon.client(), "k").unwrap();
    let others = encrypt(&mut daemon.client(), "other").unwrap();
    // A copy that says how often it sealed elsewhere: two blocks more may have been reserved since.
    let document = backup(&mut daemon.client());
    let mut content = Content::from_document(&document).unwrap();
    for copy in &mut content.keys {
        if copy.aliases == ["k"] {
            copy.versions[0].seals = Some(MOST - 3 * BLOCK);
        }
    }
    restore(&daemon, &content.to_document().unwrap(), false).unwrap();
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
    // The last block; a restart loses what is left of it.
    encrypt(&mut daemon.client(), "k").unwrap();
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
    let mut client = daemon.client();
    let data_key = GenerateDataKey {
        key: "k".into(),
        context: None,
        length: None,
        with_plaintext: true,
    };
    let re_encrypt = ReEncrypt {
        ciphertext: others.clone().into(),
        source_key: None,
        source_context: None,
        key: Some("k".into()),
        context: None,
    };
    for failure in [
        refused(encrypt(&mut client, "k")),
        refused(client.call(data_key)),
        refused(client.call(re_encrypt)),
    ] {
        assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
        assert!(failure.message.contains("2^32"), "{failure}");
        let hint = format!("keyward key rotate {}", key.id);
        assert!(failure.hint.unwrap_or_default().starts_with(&hint));
    }
    opens(&mut client, &made);
    encrypt(&mut client, "other").expect("of another key nothing is counted here");
    let rotated = client.call(Rotate { key: key.id }).unwrap();
    assert_eq!(rotated.versions.len(), 2);
    let new = encrypt(&mut client, "k").unwrap();
    assert_eq!(Ciphertext::decode(&new).unwrap().version(), 2);
    opens(&mut client, &new);
    opens(&mut client, &made);
}
