//! Keys: that they are there, that they are gone, and that they are the same elsewhere.

use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes};

use super::{
    Fixture, can, generate, import, make, open, possible, quick, ready, software, use_key,
};
use crate::backend::{Backend, Session};
use crate::error::BackendError;
use crate::message::{Derive, Import, SCAN_PAGE, Seal, Unseal, Unwrap, Wrap};
use crate::token::{Destroyed, VersionId};

/// `inspect` shows what `generate` reported; what was destroyed is not found, and destroying it
/// again is done.
///
/// # Panics
/// If it is not so.
pub fn a_key_is_shown_until_it_is_destroyed<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    let (purpose, key_type) = quick(&report);
    let algorithm = purpose.algorithms(key_type)[0];
    let (other, _) = make(&mut session, purpose, key_type);
    let (id, key) = make(&mut session, purpose, key_type);
    use_key(&mut session, id, algorithm).unwrap();
    assert_eq!(session.inspect(id), Ok(Some(key)));
    for _ in 0..2 {
        session.destroy(id).unwrap();
        assert_eq!(session.inspect(id), Ok(None));
        let gone = use_key(&mut session, id, algorithm);
        assert_eq!(gone, Err(BackendError::KeyNotFound));
    }
    use_key(&mut session, other, algorithm).unwrap();
    let never = VersionId::random();
    assert_eq!(session.inspect(never), Ok(None));
    assert_eq!(session.destroy(never), Ok(Destroyed::Removed));
    let gone = use_key(&mut session, never, algorithm);
    assert_eq!(gone, Err(BackendError::KeyNotFound));
}

/// A second key with the id of a first is refused, and the first stays as it is.
///
/// # Panics
/// If it is not so.
pub fn an_id_is_given_once<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    let (purpose, key_type) = quick(&report);
    let generate = generate(key_type, purpose);
    let key = session.generate(&generate).unwrap();
    assert!(session.generate(&generate).is_err());
    let material = software::material(key_type);
    let import = Import {
        generate: generate.clone(),
        material,
    };
    assert!(session.import(&import).is_err());
    assert_eq!(session.inspect(generate.id), Ok(Some(key)));
}

/// A scan finds every key once, in the order of their ids, page by page.
///
/// # Panics
/// If it is not so.
pub fn a_scan_finds_what_is_there<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    assert!(session.scan(None).unwrap().keys.is_empty());
    let mut made: Vec<_> = possible(&report)
        .filter(|(_, key_type)| key_type.rsa_bits().is_none_or(|bits| bits == 2048))
        .map(|(purpose, key_type)| make(&mut session, purpose, key_type).0)
        .collect();
    made.sort_unstable();
    let mut found = Vec::new();
    loop {
        let page = session.scan(found.last().copied()).unwrap();
        assert!(page.keys.len() <= SCAN_PAGE);
        assert!(
            page.keys
                .iter()
                .all(|key| key.label == "keyward conformance")
        );
        found.extend(page.keys.iter().map(|key| key.id));
        if !page.more {
            break;
        }
    }
    assert_eq!(found, made);
    let gone = made.remove(0);
    session.destroy(gone).unwrap();
    let left: Vec<_> = session
        .scan(None)
        .unwrap()
        .keys
        .iter()
        .map(|key| key.id)
        .collect();
    assert!(left.starts_with(&made[..left.len()]) && !left.contains(&gone));
}

/// Material of another type, cut or changed is refused and leaves nothing.
///
/// # Panics
/// If it is not so.
pub fn material_that_is_no_key_of_the_type_is_refused<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    let mut refused = |purpose, key_type, material| {
        let refused = import(&mut session, purpose, key_type, material);
        assert!(
            matches!(refused, Err(BackendError::Invalid(_))),
            "{key_type}: {refused:?}"
        );
    };
    let pkcs8 = |bytes: &[u8]| KeyMaterial::Pkcs8(SecretBytes::copy_from(bytes));
    for (purpose, key_type) in possible(&report) {
        match software::material(key_type) {
            KeyMaterial::Secret(_, bytes) => {
                let other = match key_type {
                    KeyType::Aes256 => KeyType::HmacSha256,
                    _ => KeyType::Aes256,
                };
                let secret = |key_type, bytes: &[u8]| {
                    KeyMaterial::Secret(key_type, SecretBytes::copy_from(bytes))
                };
                refused(purpose, key_type, secret(other, bytes.expose()));
                refused(purpose, key_type, secret(key_type, &bytes.expose()[1..]));
                refused(purpose, key_type, pkcs8(bytes.expose()));
            }
            // What one TPM alone can load is nobody else's to make.
            KeyMaterial::Tss2(_) => {}
            KeyMaterial::Pkcs8(der) => {
                let der = der.expose();
                refused(purpose, key_type, pkcs8(&der[..der.len() - 1]));
                refused(purpose, key_type, pkcs8(b""));
                let other = match key_type {
                    KeyType::P256 => KeyType::P384,
                    _ => KeyType::P256,
                };
                refused(purpose, key_type, software::material(other));
                // What is at its end belongs to a number or a point in all but an Ed25519 key,
                // every seed of which is a key.
                if key_type != KeyType::Ed25519 {
                    let mut changed = der.to_vec();
                    *changed.last_mut().unwrap() ^= 1;
                    refused(purpose, key_type, pkcs8(&changed));
                }
            }
        }
    }
    assert!(session.scan(None).unwrap().keys.is_empty());
}

/// The same key on two tokens has the same public part and opens the same.
///
/// # Panics
/// If it is not so.
pub fn an_imported_key_is_the_same_on_two_tokens<F: Fixture>() {
    let ((one, report), (two, _)) = (ready::<F>(), ready::<F>());
    let mut one = one.backend().session().unwrap();
    let mut two = two.backend().session().unwrap();
    for (purpose, key_type) in possible(&report) {
        let material = software::material(key_type);
        let again = software::again(&material);
        let (first, left) = import(&mut one, purpose, key_type, material).unwrap();
        let (second, right) = import(&mut two, purpose, key_type, again).unwrap();
        assert_eq!(left.public, right.public);
        let algorithm = purpose.algorithms(key_type)[0];
        match (purpose, key_type) {
            (Purpose::Agree | Purpose::Encrypt, KeyType::P256 | KeyType::P384) => {
                let peer = software::Peer::new(key_type).public;
                let (other, id) = (peer.clone(), first);
                let left = one.derive(&Derive { id, peer }).unwrap();
                let right = two
                    .derive(&Derive {
                        id: second,
                        peer: other,
                    })
                    .unwrap();
                assert_eq!(left, right);
            }
            (Purpose::Unwrap | Purpose::Encrypt, _) if key_type.rsa_bits().is_some() => {
                let key = left.public.unwrap();
                let ciphertext = software::encrypt(algorithm, &key, b"", b"secret");
                let opened = open(&mut one, first, algorithm, &ciphertext);
                assert_eq!(opened, open(&mut two, second, algorithm, &ciphertext));
                assert_eq!(opened, Ok(SecretBytes::copy_from(b"secret")));
            }
            (Purpose::Encrypt, _) => {
                let sealed = one.seal(&seal(first, algorithm)).unwrap();
                let opened = two.unseal(&Unseal {
                    id: second,
                    algorithm,
                    iv: sealed.iv,
                    aad: b"context".to_vec().into(),
                    ciphertext: sealed.ciphertext,
                });
                assert_eq!(opened, Ok(SecretBytes::copy_from(b"secret")));
            }
            (Purpose::Wrap, _) => {
                let plaintext = SecretBytes::copy_from(&[7; 32]);
                let wrapped = one
                    .wrap(&Wrap {
                        id: first,
                        algorithm,
                        plaintext,
                    })
                    .unwrap();
                let opened = open(&mut two, second, algorithm, &wrapped);
                assert_eq!(opened, Ok(SecretBytes::copy_from(&[7; 32])));
            }
            // Signatures and codes are checked where the imported key is.
            _ => {}
        }
    }
}

/// A wrong key, context, label, length or bit: always the one error, and the key still opens.
///
/// # Panics
/// If it is not so.
pub fn what_does_not_open_gives_the_one_error<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    let failed = Err(BackendError::UnwrapFailed);
    if can(&report, Purpose::Encrypt, KeyType::Aes256) {
        let algorithm = Algorithm::A256Gcm;
        let (id, _) = make(&mut session, Purpose::Encrypt, KeyType::Aes256);
        let (other, _) = make(&mut session, Purpose::Encrypt, KeyType::Aes256);
        let sealed = session.seal(&seal(id, algorithm)).unwrap();
        let mut unseal = |id, aad: &[u8], ciphertext: &[u8]| {
            session.unseal(&Unseal {
                id,
                algorithm,
                iv: sealed.iv,
                aad: aad.to_vec().into(),
                ciphertext: ciphertext.to_vec().into(),
            })
        };
        let right = sealed.ciphertext.to_vec();
        for wrong in wrong_forms(&right) {
            assert_eq!(unseal(id, b"context", &wrong), failed);
        }
        assert_eq!(unseal(id, b"", &right), failed);
        assert_eq!(unseal(other, b"context", &right), failed);
        assert!(unseal(id, b"context", &right).is_ok());
    }
    for algorithm in [Algorithm::A256Kw, Algorithm::A256Kwp] {
        if !can(&report, Purpose::Wrap, KeyType::Aes256) || !report.algorithms.contains(&algorithm)
        {
            continue;
        }
        let (id, _) = make(&mut session, Purpose::Wrap, KeyType::Aes256);
        let plaintext = SecretBytes::copy_from(&[7; 32]);
        let right = session
            .wrap(&Wrap {
                id,
                algorithm,
                plaintext,
            })
            .unwrap();
        for wrong in wrong_forms(&right) {
            assert_eq!(open(&mut session, id, algorithm, &wrong), failed);
        }
        assert!(open(&mut session, id, algorithm, &right).is_ok());
    }
    for algorithm in [Algorithm::RsaOaepSha256, Algorithm::RsaOaepSha1] {
        if !can(&report, Purpose::Unwrap, KeyType::Rsa2048) {
            continue;
        }
        let (id, key) = make(&mut session, Purpose::Unwrap, KeyType::Rsa2048);
        let key = key.public.unwrap();
        let right = software::encrypt(algorithm, &key, b"label", b"secret");
        let mut unwrap = |label: &[u8], ciphertext: &[u8]| {
            let (ciphertext, label) = (ciphertext.to_vec().into(), label.to_vec().into());
            session.unwrap(&Unwrap {
                id,
                algorithm,
                ciphertext,
                label,
            })
        };
        for wrong in wrong_forms(&right) {
            assert_eq!(unwrap(b"label", &wrong), failed);
        }
        assert_eq!(unwrap(b"", &right), failed);
        assert_eq!(unwrap(b"other", &right), failed);
        assert!(unwrap(b"label", &right).is_ok());
    }
}

fn seal(id: VersionId, algorithm: Algorithm) -> Seal {
    Seal {
        id,
        algorithm,
        iv: [5; 12].into(),
        aad: b"context".to_vec().into(),
        plaintext: SecretBytes::copy_from(b"secret"),
    }
}

/// A ciphertext with a bit flipped at each end and in the middle, and of other lengths.
fn wrong_forms(right: &[u8]) -> Vec<Vec<u8>> {
    let flipped = [0, right.len() / 2, right.len() - 1].map(|at| {
        let mut wrong = right.to_vec();
        wrong[at] ^= 1;
        wrong
    });
    let shorter = [0, 1, 8, 16, right.len() - 1].map(|length| right[..length].to_vec());
    let longer = [right, &[0]].concat();
    flipped.into_iter().chain(shorter).chain([longer]).collect()
}
