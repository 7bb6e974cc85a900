//! Secret keys of a worker, on a real SoftHSM token, checked by another implementation.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_backend::message::{
    Generate, Import, Mac, Outcome, Seal, Sealed, Unseal, Unwrap, Work, Wrap,
};
use keyward_backend::{BackendError, VersionId};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes};
use keyward_tests::{Fault, FaultModule, SoftHsm, Worker};

#[test]
fn a_secret_key_is_made_shown_and_destroyed() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    for (key_type, purpose) in [
        (KeyType::Aes128, Purpose::Encrypt),
        (KeyType::Aes256, Purpose::Encrypt),
        (KeyType::Aes128, Purpose::Wrap),
        (KeyType::Aes256, Purpose::Wrap),
        (KeyType::HmacSha256, Purpose::Mac),
        (KeyType::HmacSha384, Purpose::Mac),
        (KeyType::HmacSha512, Purpose::Mac),
    ] {
        let (id, report) = worker.generate(key_type, purpose).unwrap();
        assert!(report.local && report.always_sensitive && report.never_extractable);
        assert_eq!((report.key_type, &report.public), (Some(key_type), &None));
        assert!(report.locator.ends_with(";type=secret-key"), "{report:?}");
        assert_eq!(worker.call(Work::Inspect(id)), Outcome::Key(Some(report)));
        for _ in 0..2 {
            assert_eq!(worker.call(Work::Destroy(id)), Outcome::Done);
            assert_eq!(worker.call(Work::Inspect(id)), Outcome::Key(None));
        }
        // On every thread, whatever it had looked up.
        for _ in 0..8 {
            let gone = Outcome::Failed(BackendError::KeyNotFound);
            assert_eq!(worker.call(mac(id, Algorithm::HmacSha256, b"")), gone);
        }
    }
}

#[test]
fn a_type_that_does_not_fit_the_purpose_is_refused() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    for (key_type, purpose) in [
        (KeyType::Aes256, Purpose::Sign),
        (KeyType::Aes256, Purpose::Mac),
        (KeyType::HmacSha256, Purpose::Encrypt),
        (KeyType::HmacSha256, Purpose::Sign),
        (KeyType::P256, Purpose::Wrap),
        (KeyType::P384, Purpose::Encrypt),
    ] {
        let refused = worker.generate(key_type, purpose);
        assert!(matches!(refused, Err(BackendError::MechanismInvalid(_))));
    }
}

#[test]
fn what_was_sealed_opens_with_the_same_data_alone() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    for (key_type, algorithm) in [
        (KeyType::Aes128, Algorithm::A128Gcm),
        (KeyType::Aes256, Algorithm::A256Gcm),
    ] {
        let (id, _) = worker.generate(key_type, Purpose::Encrypt).unwrap();
        for (aad, plaintext) in [
            (b"".as_slice(), b"".to_vec()),
            (b"context", b"".to_vec()),
            (b"", b"x".to_vec()),
            (b"context", vec![7; 4096]),
            (&[1; 2048], vec![7; 100_000]),
        ] {
            let sealed = seal(&mut worker, id, algorithm, aad, &plaintext).unwrap();
            assert_eq!(sealed.iv, [9; 12].into());
            let open = |worker: &mut Worker, aad: &[u8], sealed: &Sealed| {
                unseal(worker, id, algorithm, aad, sealed)
            };
            let opened = open(&mut worker, aad, &sealed);
            assert_eq!(opened, Ok(SecretBytes::copy_from(&plaintext)));
            let failed = Err(BackendError::UnwrapFailed);
            assert_eq!(open(&mut worker, b"other", &sealed), failed);
            for at in [0, sealed.ciphertext.len() - 1, sealed.ciphertext.len() / 2] {
                let mut flipped = sealed.clone();
                flipped.ciphertext[at] ^= 1;
                assert_eq!(open(&mut worker, aad, &flipped), failed);
            }
            let mut flipped = sealed.clone();
            flipped.iv[0] ^= 1;
            assert_eq!(open(&mut worker, aad, &flipped), failed);
            for length in [0, 1, 15, 16, 17] {
                let mut cut = sealed.clone();
                cut.ciphertext.truncate(length);
                if cut != sealed {
                    assert_eq!(open(&mut worker, aad, &cut), failed, "{length}");
                }
            }
            assert!(open(&mut worker, aad, &sealed).is_ok());
        }
        let (other, _) = worker.generate(key_type, Purpose::Encrypt).unwrap();
        let sealed = seal(&mut worker, id, algorithm, b"", b"plaintext").unwrap();
        let opened = unseal(&mut worker, other, algorithm, b"", &sealed);
        assert_eq!(opened, Err(BackendError::UnwrapFailed));
    }
}

#[test]
fn a_secret_key_does_nothing_but_its_purpose() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (encrypt, _) = worker.generate(KeyType::Aes256, Purpose::Encrypt).unwrap();
    let (wrap, _) = worker.generate(KeyType::Aes256, Purpose::Wrap).unwrap();
    let (hmac, _) = worker.generate(KeyType::HmacSha256, Purpose::Mac).unwrap();
    let sealed = seal(&mut worker, encrypt, Algorithm::A256Gcm, b"", b"text").unwrap();
    for id in [wrap, hmac] {
        let refused = seal(&mut worker, id, Algorithm::A256Gcm, b"", b"text");
        assert!(matches!(refused, Err(BackendError::MechanismInvalid(_))));
        let refused = unseal(&mut worker, id, Algorithm::A256Gcm, b"", &sealed);
        assert!(matches!(refused, Err(BackendError::MechanismInvalid(_))));
    }
    for (id, algorithm) in [
        (encrypt, Algorithm::A128Gcm),
        (encrypt, Algorithm::A256Kw),
        (hmac, Algorithm::HmacSha256),
    ] {
        let refused = seal(&mut worker, id, algorithm, b"", b"text");
        assert!(matches!(refused, Err(BackendError::MechanismInvalid(_))));
    }
    for (id, algorithm) in [
        (encrypt, Algorithm::HmacSha256),
        (wrap, Algorithm::HmacSha256),
        (hmac, Algorithm::HmacSha512),
        (hmac, Algorithm::Esp256),
    ] {
        let refused = worker.call(mac(id, algorithm, b"message"));
        assert!(matches!(
            refused,
            Outcome::Failed(BackendError::MechanismInvalid(_))
        ));
    }
}

/// RFC 3394 §4.1, §4.3, §4.6; RFC 5649 §6 has a key of 192 bits, which keyward does not use: its
/// cases of padding are those of the other implementation's vectors.
#[test]
fn the_vectors_of_rfc_3394_wrap_and_unwrap() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    for (algorithm, key, plain, wrapped) in [
        (
            Algorithm::A128Kw,
            "000102030405060708090a0b0c0d0e0f",
            "00112233445566778899aabbccddeeff",
            "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
        ),
        (
            Algorithm::A256Kw,
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "00112233445566778899aabbccddeeff",
            "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7",
        ),
        (
            Algorithm::A256Kw,
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
            "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21",
        ),
    ] {
        let key_type = match algorithm {
            Algorithm::A128Kw => KeyType::Aes128,
            _ => KeyType::Aes256,
        };
        let id = import(&mut worker, key_type, Purpose::Wrap, &hex(key));
        assert_eq!(
            wrap(&mut worker, id, algorithm, &hex(plain)),
            Ok(hex(wrapped))
        );
        let opened = unwrap(&mut worker, id, algorithm, &hex(wrapped));
        assert_eq!(opened, Ok(SecretBytes::copy_from(&hex(plain))));
    }
}

#[test]
fn bytes_come_back_as_they_were_or_are_refused() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    for (key_type, kw, kwp) in [
        (KeyType::Aes128, Algorithm::A128Kw, Algorithm::A128Kwp),
        (KeyType::Aes256, Algorithm::A256Kw, Algorithm::A256Kwp),
    ] {
        let (id, _) = worker.generate(key_type, Purpose::Wrap).unwrap();
        for length in (0..=40).chain([64, 255, 256, 1216, 4096]) {
            let plain: Vec<u8> = (0..length).map(|at| u8::from(at % 11 == 3)).collect();
            let wrapped = wrap(&mut worker, id, kwp, &plain);
            // SoftHSM 2.6.1 would add zeros to the others.
            if length == 0 || length % 8 != 0 {
                assert!(matches!(wrapped, Err(BackendError::Invalid(_))));
            } else {
                let opened = unwrap(&mut worker, id, kwp, &wrapped.unwrap());
                assert_eq!(opened, Ok(SecretBytes::copy_from(&plain)), "{length}");
            }
            let wrapped = wrap(&mut worker, id, kw, &plain);
            if length < 16 || length % 8 != 0 {
                assert!(matches!(wrapped, Err(BackendError::Invalid(_))), "{length}");
            } else {
                let opened = unwrap(&mut worker, id, kw, &wrapped.unwrap());
                assert_eq!(opened, Ok(SecretBytes::copy_from(&plain)), "{length}");
            }
        }
    }
}

/// The lengths of other plaintexts are the same by PKCS#7 and by RFC 5649.
#[test]
fn a_token_that_pads_by_pkcs7_does_not_do_kwp() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    faults.set("C_WrapKey", &Fault::Pkcs7);
    let mut worker = Worker::ready(&hsm, Some(&faults));
    let (id, _) = worker.generate(KeyType::Aes256, Purpose::Wrap).unwrap();
    for _ in 0..2 {
        for length in [1, 16, 17] {
            let refused = wrap(&mut worker, id, Algorithm::A256Kwp, &vec![7; length]);
            assert!(
                matches!(refused, Err(BackendError::MechanismInvalid(_))),
                "{refused:?}"
            );
            let refused = unwrap(&mut worker, id, Algorithm::A256Kwp, &[7; 32]);
            assert!(
                matches!(refused, Err(BackendError::MechanismInvalid(_))),
                "{refused:?}"
            );
        }
    }
    // Once is enough.
    assert_eq!(faults.calls("C_WrapKey"), 1);
    assert_eq!(faults.calls("C_DestroyObject"), 1);
    assert!(wrap(&mut worker, id, Algorithm::A256Kw, &[7; 16]).is_ok());
    // In another life of the worker the token is another one.
    faults.clear("C_WrapKey");
    let mut worker = Worker::ready(&hsm, Some(&faults));
    let wrapped = wrap(&mut worker, id, Algorithm::A256Kwp, &[7; 16]).unwrap();
    let opened = unwrap(&mut worker, id, Algorithm::A256Kwp, &wrapped);
    assert_eq!(opened, Ok(SecretBytes::copy_from(&[7; 16])));
    assert_eq!(faults.calls("C_WrapKey"), 4, "tried and wrapped");
}

#[test]
fn what_does_not_unwrap_gives_the_one_error() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, _) = worker.generate(KeyType::Aes256, Purpose::Wrap).unwrap();
    let (other, _) = worker.generate(KeyType::Aes256, Purpose::Wrap).unwrap();
    let failed = Err(BackendError::UnwrapFailed);
    for (algorithm, another) in [
        (Algorithm::A256Kw, Algorithm::A256Kwp),
        (Algorithm::A256Kwp, Algorithm::A256Kw),
    ] {
        let right = wrap(&mut worker, id, algorithm, &[7; 32]).unwrap();
        for at in [0, 7, 8, 39] {
            let mut flipped = right.clone();
            flipped[at] ^= 1;
            assert_eq!(unwrap(&mut worker, id, algorithm, &flipped), failed);
        }
        for length in (0..40).chain([41, 48]) {
            let mut cut = right.clone();
            cut.resize(length, 0);
            assert_eq!(unwrap(&mut worker, id, algorithm, &cut), failed, "{length}");
        }
        assert_eq!(unwrap(&mut worker, other, algorithm, &right), failed);
        assert_eq!(unwrap(&mut worker, id, another, &right), failed);
        assert!(unwrap(&mut worker, id, algorithm, &right).is_ok());
    }
}

#[test]
fn nothing_of_what_was_wrapped_stays_in_the_token() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    let mut worker = Worker::ready(&hsm, Some(&faults));
    let (id, _) = worker.generate(KeyType::Aes256, Purpose::Wrap).unwrap();
    let right = wrap(&mut worker, id, Algorithm::A256Kw, &[7; 32]).unwrap();
    let mut wrong = right.clone();
    wrong[0] ^= 1;
    assert!(unwrap(&mut worker, id, Algorithm::A256Kw, &wrong).is_err());
    assert!(unwrap(&mut worker, id, Algorithm::A256Kw, &right).is_ok());
    assert_eq!(faults.calls("C_CreateObject"), 1);
    assert_eq!(faults.calls("C_DestroyObject"), 2);
    // CKR_FUNCTION_FAILED
    for _ in 0..2 {
        faults.set("C_DestroyObject", &Fault::ErrorOnce(6));
        let refused = wrap(&mut worker, id, Algorithm::A256Kw, &[7; 32]);
        assert!(
            matches!(refused, Err(BackendError::DeviceFailed(_))),
            "{refused:?}"
        );
        faults.set("C_DestroyObject", &Fault::ErrorOnce(6));
        let refused = unwrap(&mut worker, id, Algorithm::A256Kw, &right);
        assert!(
            matches!(refused, Err(BackendError::DeviceFailed(_))),
            "{refused:?}"
        );
    }
    // Each of the sessions was ended, and with it the object.
    assert_eq!(faults.calls("C_CloseSession"), 4);
    assert!(wrap(&mut worker, id, Algorithm::A256Kw, &[7; 32]).is_ok());
}

#[test]
fn a_token_whose_plaintext_is_too_short_has_failed() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    let mut worker = Worker::ready(&hsm, Some(&faults));
    let (hmac, _) = worker.generate(KeyType::HmacSha256, Purpose::Mac).unwrap();
    faults.set("C_Sign", &Fault::Short);
    let outcome = worker.call(mac(hmac, Algorithm::HmacSha256, b"message"));
    assert!(
        matches!(outcome, Outcome::Failed(BackendError::DeviceFailed(_))),
        "{outcome:?}"
    );
    faults.clear("C_Sign");
    let (id, _) = worker.generate(KeyType::Aes256, Purpose::Encrypt).unwrap();
    faults.set("C_Encrypt", &Fault::Short);
    let sealed = seal(&mut worker, id, Algorithm::A256Gcm, b"", b"plaintext");
    assert!(
        matches!(sealed, Err(BackendError::DeviceFailed(_))),
        "{sealed:?}"
    );
    faults.clear("C_Encrypt");
    let sealed = seal(&mut worker, id, Algorithm::A256Gcm, b"", b"plaintext").unwrap();
    faults.set("C_Decrypt", &Fault::Short);
    let opened = unseal(&mut worker, id, Algorithm::A256Gcm, b"", &sealed);
    assert!(
        matches!(opened, Err(BackendError::DeviceFailed(_))),
        "{opened:?}"
    );
    faults.clear("C_Decrypt");
    assert!(unseal(&mut worker, id, Algorithm::A256Gcm, b"", &sealed).is_ok());
}

fn import(worker: &mut Worker, key_type: KeyType, purpose: Purpose, key: &[u8]) -> VersionId {
    let id = VersionId::random();
    let generate = Generate {
        id,
        label: "imported".to_owned(),
        key_type,
        purpose,
        piv: None,
    };
    let material = KeyMaterial::Secret(key_type, SecretBytes::copy_from(key));
    let outcome = worker.call(Work::Import(Import { generate, material }));
    assert!(matches!(outcome, Outcome::Key(Some(_))), "{outcome:?}");
    id
}

fn wrap(
    worker: &mut Worker,
    id: VersionId,
    algorithm: Algorithm,
    plaintext: &[u8],
) -> Result<Vec<u8>, BackendError> {
    match worker.call(Work::Wrap(Wrap {
        id,
        algorithm,
        plaintext: SecretBytes::copy_from(plaintext),
    })) {
        Outcome::Wrapped(wrapped) => Ok(wrapped.into()),
        Outcome::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn unwrap(
    worker: &mut Worker,
    id: VersionId,
    algorithm: Algorithm,
    ciphertext: &[u8],
) -> Result<SecretBytes, BackendError> {
    match worker.call(Work::Unwrap(Unwrap {
        id,
        algorithm,
        ciphertext: ciphertext.to_vec().into(),
        label: vec![].into(),
    })) {
        Outcome::Secret(opened) => Ok(opened),
        Outcome::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn seal(
    worker: &mut Worker,
    id: VersionId,
    algorithm: Algorithm,
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, BackendError> {
    match worker.call(Work::Seal(Seal {
        id,
        algorithm,
        iv: [9; 12].into(),
        aad: aad.to_vec().into(),
        plaintext: SecretBytes::copy_from(plaintext),
    })) {
        Outcome::Sealed(sealed) => Ok(sealed),
        Outcome::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn unseal(
    worker: &mut Worker,
    id: VersionId,
    algorithm: Algorithm,
    aad: &[u8],
    sealed: &Sealed,
) -> Result<SecretBytes, BackendError> {
    match worker.call(Work::Unseal(Unseal {
        id,
        algorithm,
        iv: sealed.iv,
        aad: aad.to_vec().into(),
        ciphertext: sealed.ciphertext.clone(),
    })) {
        Outcome::Secret(opened) => Ok(opened),
        Outcome::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn mac(id: VersionId, algorithm: Algorithm, message: &[u8]) -> Work {
    Work::Mac(Mac {
        id,
        algorithm,
        message: SecretBytes::copy_from(message),
    })
}
