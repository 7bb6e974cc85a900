#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! Opens the ciphertexts of `protocol/vectors/ciphertext.json`, which another implementation made.

use std::collections::BTreeMap;

use keyward_protocol::ciphertext::Header;
use serde::Deserialize;
use uuid::Uuid;

use super::*;

pub(super) use read::{unhex, vectors};

#[path = "../../../protocol/vectors/read.rs"]
mod read;

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    outcome: String,
    #[serde(default)]
    context: BTreeMap<String, String>,
    #[serde(default)]
    plaintext: String,
    #[serde(default)]
    key: Key,
}

#[derive(Deserialize, Default)]
struct Key {
    secret: Option<String>,
    z: Option<String>,
    pk_r: Option<String>,
    cek: Option<String>,
}

pub(super) fn secret(hex: &str) -> SecretBytes {
    SecretBytes::copy_from(&unhex(hex))
}

/// Opens it with the vector's key; `None` for what only a token's AES key opens.
fn open(
    vector: &Vector,
    ciphertext: &Ciphertext,
    context: &Context,
) -> Option<Result<SecretBytes, OpenFailed>> {
    let key = &vector.key;
    Some(match ciphertext.scheme() {
        Scheme::Hpke0 | Scheme::Hpke7 => {
            let public = CoseKey::from_sec1(&unhex(key.pk_r.as_ref()?)).unwrap();
            open_hpke(ciphertext, &secret(key.z.as_ref()?), &public, context)
        }
        Scheme::RsaOaep => open_oaep(ciphertext, &secret(key.cek.as_ref()?), context),
        Scheme::A256Gcm => content::open(
            &secret(key.secret.as_ref()?),
            ciphertext.iv().unwrap(),
            &ciphertext.aad(context),
            ciphertext.content(),
        ),
        _ => return None,
    })
}

#[test]
fn ciphertexts_of_another_implementation_open() {
    let mut count = 0;
    for vector in vectors::<Vector>("ciphertext.json") {
        if vector.outcome != "accept" {
            continue;
        }
        let ciphertext = Ciphertext::decode(&unhex(&vector.hex)).unwrap();
        let context = Context::new(vector.context.clone()).unwrap();
        if let Some(opened) = open(&vector, &ciphertext, &context) {
            assert_eq!(opened, Ok(secret(&vector.plaintext)), "{}", vector.name);
            count += 1;
        }
    }
    assert!(count >= 25, "{count}");
}

#[test]
fn another_context_key_or_version_or_one_flipped_bit_opens_nothing() {
    let wanted = ["A256GCM", "HPKE-0", "HPKE-7", "RSA-OAEP"];
    let all = vectors::<Vector>("ciphertext.json");
    let mut count = 0;
    for vector in all.iter().filter(|v| wanted.contains(&v.name.as_str())) {
        let bytes = unhex(&vector.hex);
        let ciphertext = Ciphertext::decode(&bytes).unwrap();
        let context = Context::new(vector.context.clone()).unwrap();
        let mut other = vector.context.clone();
        other.insert("tenant".into(), "b".into());
        let other = Context::new(other).unwrap();
        for context in [Context::default(), other] {
            let opened = open(vector, &ciphertext, &context);
            assert_eq!(opened, Some(Err(OpenFailed)), "{}", vector.name);
        }
        let encrypted_key = ciphertext.encrypted_key().unwrap_or(b"not there");
        let ignored = bytes.windows(encrypted_key.len());
        let ignored = ignored
            .into_iter()
            .position(|window| window == encrypted_key);
        for bit in 0..bytes.len() * 8 {
            // What the token makes of another encrypted key is the token's.
            if ignored.is_some_and(|at| (at..at + encrypted_key.len()).contains(&(bit / 8))) {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(flipped) = Ciphertext::decode(&flipped) {
                let opened = open(vector, &flipped, &context);
                let failed = opened.is_none_or(|opened| opened == Err(OpenFailed));
                assert!(failed, "{}, bit {bit}", vector.name);
            }
        }
        count += 1;
    }
    assert_eq!(count, wanted.len());
}

#[test]
fn what_is_sealed_to_an_rsa_key_opens_with_the_transported_key_alone() {
    let header = Header::new(Scheme::RsaOaep, Uuid::nil(), 1).unwrap();
    let context = Context::new([("a".into(), "b".into())].into()).unwrap();
    let plaintext = SecretBytes::copy_from(&[7; 4096]);
    let (public, decrypt) = oaep::tests::pair();
    let sealed = seal(header, &public, &context, &plaintext).unwrap();
    let again = Ciphertext::decode(&sealed.encode()).unwrap();
    let key = decrypt(again.encrypted_key().unwrap());
    assert_eq!(key.len(), 32);
    assert_eq!(open_oaep(&again, &key, &context), Ok(plaintext));
    let other = SecretBytes::zeroed(32);
    assert_eq!(open_oaep(&again, &other, &context), Err(OpenFailed));
    let short = SecretBytes::zeroed(16);
    assert_eq!(open_oaep(&again, &short, &context), Err(OpenFailed));
}

#[test]
fn nothing_is_sealed_to_a_key_of_another_scheme() {
    let point = CoseKey::from_sec1(&unhex(
        &vectors::<Vector>("ciphertext.json")
            .into_iter()
            .find_map(|v| v.key.pk_r)
            .unwrap(),
    ));
    let (rsa, point) = (oaep::tests::pair().0, point.unwrap());
    let seal = |scheme, key| {
        let header = Header::new(scheme, Uuid::nil(), 1).unwrap();
        let plaintext = SecretBytes::copy_from(b"x");
        seal(header, key, &Context::default(), &plaintext)
    };
    for (scheme, key) in [
        (Scheme::Hpke7, &rsa),
        (Scheme::RsaOaep, &point),
        (Scheme::A256Gcm, &rsa),
        (Scheme::A128Gcm, &point),
    ] {
        assert_eq!(seal(scheme, key), Err(SealError::Key), "{scheme}");
    }
    let sealed = seal(Scheme::Hpke7, &point).unwrap();
    let key = SecretBytes::zeroed(32);
    assert_eq!(
        open_oaep(&sealed, &key, &Context::default()),
        Err(OpenFailed)
    );
    let sealed = seal(Scheme::RsaOaep, &rsa).unwrap();
    let opened = open_hpke(&sealed, &key, &point, &Context::default());
    assert_eq!(opened, Err(OpenFailed));
}
