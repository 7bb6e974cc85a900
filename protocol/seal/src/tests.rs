#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! Sealing against the vectors of `protocol/vectors/hpke.json`; the agent's tests open.

use keyward_protocol::ciphertext::{MAX_CIPHERTEXT, Scheme};
use serde::Deserialize;
use uuid::Uuid;

use super::*;
use read::unhex;

#[path = "../../vectors/read.rs"]
mod read;

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    outcome: String,
    aead: String,
    pk_r: String,
    enc: String,
    info: String,
    aad: String,
    plaintext: Option<String>,
    ikm_e: Option<String>,
}

fn vectors() -> impl Iterator<Item = Vector> {
    let vectors: Vec<Vector> = read::vectors("hpke.json");
    vectors.into_iter().filter(|v| v.outcome == "accept")
}

fn suite(name: &str) -> Suite {
    match name {
        "AES-128-GCM" => Suite::Aes128Gcm,
        "AES-256-GCM" => Suite::Aes256Gcm,
        other => panic!("{other}"),
    }
}

#[test]
fn sealing_gives_the_vectors_of_rfc_9180_and_of_another_implementation() {
    let mut count = 0;
    for vector in vectors() {
        let sealed = seal_with(
            &mut Ikm::of(&unhex(&vector.ikm_e.unwrap())),
            suite(&vector.aead),
            &CoseKey::from_sec1(&unhex(&vector.pk_r)).unwrap(),
            &unhex(&vector.info),
            &unhex(&vector.aad),
            &unhex(&vector.plaintext.unwrap()),
        );
        let sealed = sealed.unwrap();
        assert_eq!(sealed.enc.to_vec(), unhex(&vector.enc), "{}", vector.name);
        assert_eq!(sealed.ciphertext, unhex(&vector.hex), "{}", vector.name);
        count += 1;
    }
    assert!(count >= 9, "{count}");
}

fn public() -> CoseKey {
    let vector = vectors().next().unwrap();
    CoseKey::from_sec1(&unhex(&vector.pk_r)).unwrap()
}

#[test]
fn each_sealing_has_an_ephemeral_key_of_its_own() {
    let one = || seal(Suite::Aes256Gcm, &public(), b"", b"", b"x").unwrap();
    assert_ne!(one().enc, one().enc);
}

#[test]
fn only_points_of_p_256_are_sealed_to() {
    for key in [
        CoseKey::P256 {
            x: [0; 32],
            y: [0; 32],
        },
        CoseKey::P256 {
            x: [0xff; 32],
            y: [1; 32],
        },
        CoseKey::P384 {
            x: [1; 48],
            y: [2; 48],
        },
        CoseKey::Ed25519 { x: [1; 32] },
    ] {
        let sealed = seal(Suite::Aes128Gcm, &key, b"", b"", b"");
        assert_eq!(sealed, Err(SealError::Key), "{key:?}");
    }
}

#[test]
fn what_is_too_long_is_refused() {
    let long = vec![0; MAX_INFO + 1];
    let sealed = seal(Suite::Aes128Gcm, &public(), &long, b"", b"");
    assert_eq!(sealed, Err(SealError::TooLong));
    let sealed = seal(Suite::Aes128Gcm, &public(), &long[1..], b"", b"");
    assert!(sealed.is_ok());
    let header = Header::new(Scheme::Hpke7, Uuid::nil(), 1).unwrap();
    let of = |length| {
        let plaintext = vec![0; length];
        seal_ciphertext(header, &public(), &Context::default(), &plaintext)
    };
    assert_eq!(of(MAX_CIPHERTEXT), Err(SealError::TooLong));
    assert_eq!(of(4096).unwrap().plaintext_length(), 4096);
    let other = Header::new(Scheme::RsaOaep, Uuid::nil(), 1).unwrap();
    let sealed = seal_ciphertext(other, &public(), &Context::default(), b"");
    assert_eq!(sealed, Err(SealError::Key));
}
