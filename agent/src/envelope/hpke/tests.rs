#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! HPKE against RFC 9180 A.3.1 and what another implementation made; `keyward_seal` has the
//! other half.

use serde::Deserialize;

use super::super::tests::{secret, unhex, vectors};
use super::*;

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    outcome: String,
    aead: String,
    pk_r: String,
    enc: String,
    z: String,
    info: String,
    aad: String,
    plaintext: Option<String>,
}

fn suite(name: &str) -> Suite {
    match name {
        "AES-128-GCM" => Suite::Aes128Gcm,
        "AES-256-GCM" => Suite::Aes256Gcm,
        other => panic!("{other}"),
    }
}

#[test]
fn vectors_of_rfc_9180_and_of_another_implementation_open_and_all_others_give_the_one_error() {
    let (mut opened, mut refused) = (0, 0);
    for vector in vectors::<Vector>("hpke.json") {
        let enc = unhex(&vector.enc);
        let result = open(
            suite(&vector.aead),
            &secret(&vector.z),
            &enc,
            &CoseKey::from_sec1(&unhex(&vector.pk_r)).unwrap(),
            &unhex(&vector.info),
            &unhex(&vector.aad),
            &unhex(&vector.hex),
        );
        if vector.outcome == "accept" {
            let plaintext = secret(&vector.plaintext.unwrap());
            assert_eq!(result, Ok(plaintext), "{}", vector.name);
            assert_eq!(peer_of(&enc).unwrap().to_sec1(), Some(enc));
            opened += 1;
        } else {
            assert_eq!(result, Err(OpenFailed), "{}", vector.name);
            refused += 1;
        }
    }
    assert!(opened >= 9 && refused >= 45, "{opened} and {refused}");
}

#[test]
fn what_is_no_point_of_the_curve_never_gets_to_a_token() {
    let vector = &vectors::<Vector>("hpke.json")[0];
    let enc = unhex(&vector.enc);
    let mut off = enc.clone();
    off[64] ^= 1;
    let compressed = [&[2 | enc[64] & 1][..], &enc[1..33]].concat();
    let mut hybrid = enc.clone();
    hybrid[0] = 6 | enc[64] & 1;
    let infinity = [[0].as_slice(), &[0; 65], &[&[4][..], &[0; 64]].concat()].map(<[u8]>::to_vec);
    let mut others = vec![
        off,
        compressed,
        hybrid,
        enc[..64].to_vec(),
        enc[1..].to_vec(),
        vec![],
    ];
    others.extend(infinity);
    for other in others {
        assert_eq!(peer_of(&other), None, "{other:02x?}");
    }
    assert!(peer_of(&enc).is_some());
}

#[test]
fn a_recipient_or_an_info_that_can_not_be_gives_the_one_error() {
    let vector = &vectors::<Vector>("hpke.json")[0];
    let (z, enc) = (secret(&vector.z), unhex(&vector.enc));
    let (aad, ciphertext) = (unhex(&vector.aad), unhex(&vector.hex));
    let open =
        |key: &CoseKey, info: &[u8]| open(Suite::Aes128Gcm, &z, &enc, key, info, &aad, &ciphertext);
    let public = CoseKey::from_sec1(&unhex(&vector.pk_r)).unwrap();
    let long = vec![0; 100_000];
    assert_eq!(open(&public, &long), Err(OpenFailed));
    for other in [
        CoseKey::Ed25519 { x: [1; 32] },
        CoseKey::P384 {
            x: [1; 48],
            y: [1; 48],
        },
    ] {
        assert_eq!(open(&other, &unhex(&vector.info)), Err(OpenFailed));
    }
    assert!(open(&public, &unhex(&vector.info)).is_ok());
}
