//! Secret keys of a worker, on a real SoftHSM token, checked by another implementation.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_backend::message::{Mac, Outcome, Seal, Sealed, Unseal, Work};
use keyward_backend::{BackendError, VersionId};
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes};
use keyward_tests::{SoftHsm, Worker};

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
