//! What a token's report lists, and what it does not.

use keyward_protocol::operation::SignInput;
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose, SecretBytes};

use super::{
    Fixture, can, generate, import, make, open, possible, ready, seals_data, software, use_key,
};
use crate::backend::{Backend, Session};
use crate::error::BackendError;
use crate::message::{Derive, Mac, Seal, Sign, Unseal, Unwrap, Wrap};
use crate::token::VersionId;

const MESSAGE: &[u8] = b"a message of no particular length";

macro_rules! purposes {
    ($($name:ident: $purpose:ident, $what:literal;)*) => {
        $(#[doc = $what]
        ///
        /// # Panics
        /// If it is not so.
        pub fn $name<F: Fixture>() {
            each_works::<F>(Purpose::$purpose);
        })*
    };
}

purposes! {
    keys_that_sign_do_what_is_listed: Sign, "Signatures verify.";
    keys_that_agree_do_what_is_listed: Agree, "Both sides have the same secret.";
    keys_that_unwrap_do_what_is_listed: Unwrap, "What others encrypted opens.";
    keys_that_encrypt_do_what_is_listed: Encrypt, "What was sealed opens.";
    keys_that_wrap_do_what_is_listed: Wrap, "What was wrapped unwraps.";
    keys_that_make_macs_do_what_is_listed: Mac, "The same message has the same code.";
}

/// Each algorithm of a purpose works with each of its key types.
fn each_works<F: Fixture>(purpose: Purpose) {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    for (_, key_type) in possible(&report).filter(|(one, _)| *one == purpose) {
        let (id, key) = make(&mut session, purpose, key_type);
        for algorithm in purpose.algorithms(key_type) {
            if report.algorithms.contains(algorithm) {
                works(
                    &mut session,
                    id,
                    *algorithm,
                    key_type,
                    key.public.as_ref(),
                    None,
                );
            }
        }
    }
}

/// Keys that were made elsewhere do the same, and what secret ones make is what another
/// implementation makes of the same key.
///
/// # Panics
/// If it is not so.
pub fn imported_keys_do_what_is_listed<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    for (purpose, key_type) in possible(&report) {
        let material = software::material(key_type);
        let (id, key) = import(&mut session, purpose, key_type, material).unwrap();
        let secret = key_type.secret_length().map(|_| software::secret(key_type));
        for algorithm in purpose.algorithms(key_type) {
            if report.algorithms.contains(algorithm) {
                let (public, secret) = (key.public.as_ref(), secret.as_deref());
                works(&mut session, id, *algorithm, key_type, public, secret);
            }
        }
    }
}

/// Has a key do what belongs to an algorithm, and checks the output.
fn works(
    session: &mut impl Session,
    id: VersionId,
    algorithm: Algorithm,
    key_type: KeyType,
    public: Option<&CoseKey>,
    secret: Option<&[u8]>,
) {
    use Algorithm as A;
    match algorithm {
        A::Esp256 | A::Esp384 | A::Ed25519 | A::Ps256 | A::Rs256 => {
            let input = SignInput::Message(MESSAGE.to_vec());
            let signature = session
                .sign(&Sign {
                    id,
                    algorithm,
                    input,
                })
                .unwrap();
            let public = public.unwrap();
            assert!(software::verifies(algorithm, public, MESSAGE, &signature));
            assert!(!software::verifies(algorithm, public, b"other", &signature));
        }
        A::RsaOaepSha256 | A::RsaOaepSha1 => {
            for label in [b"".as_slice(), b"label"] {
                let ciphertext = software::encrypt(algorithm, public.unwrap(), label, MESSAGE);
                let (ciphertext, label) = (ciphertext.into(), label.to_vec().into());
                let unwrap = Unwrap {
                    id,
                    algorithm,
                    ciphertext,
                    label,
                };
                let opened = session.unwrap(&unwrap);
                assert_eq!(opened, Ok(SecretBytes::copy_from(MESSAGE)));
            }
        }
        A::EcdhRaw | A::EcdhHkdfSha256 | A::EcdhHkdfSha384 | A::Hpke0 | A::Hpke7 => {
            let peer = software::Peer::new(key_type);
            let derive = Derive {
                id,
                peer: peer.public.clone(),
            };
            assert_eq!(session.derive(&derive), Ok(peer.secret(public.unwrap())));
        }
        A::A128Gcm | A::A256Gcm => {
            for (aad, plaintext) in [
                (b"".as_slice(), MESSAGE),
                (b"context", b""),
                (b"c", MESSAGE),
            ] {
                seals(session, id, algorithm, aad, plaintext, secret);
            }
        }
        A::A128Kw | A::A256Kw => {
            for length in [16, 24, 32, 64] {
                wraps(session, id, algorithm, &vec![7; length], secret);
            }
            for length in [0, 8, 17, 20] {
                refuses_to_wrap(session, id, algorithm, length);
            }
        }
        A::A128Kwp | A::A256Kwp => {
            for length in [8, 16, 24, 32, 64] {
                wraps(session, id, algorithm, &vec![7; length], secret);
                // Zeros at the end are not padding.
                wraps(session, id, algorithm, &vec![0; length], secret);
            }
            for length in [1, 7, 9, 20, 33] {
                // A token may not be able to, but what it makes must be right.
                let wrap = Wrap {
                    id,
                    algorithm,
                    plaintext: SecretBytes::zeroed(length),
                };
                if !matches!(session.wrap(&wrap), Err(BackendError::Invalid(_))) {
                    wraps(session, id, algorithm, &vec![0; length], secret);
                }
                if let Some(secret) = secret {
                    let wrapped = software::wrap(algorithm, secret, &vec![0; length]);
                    let opened = open(session, id, algorithm, &wrapped);
                    assert_eq!(opened, Ok(SecretBytes::zeroed(length)));
                }
            }
            refuses_to_wrap(session, id, algorithm, 0);
        }
        A::HmacSha256 | A::HmacSha384 | A::HmacSha512 => {
            for message in [MESSAGE, b""] {
                let mut mac = || {
                    let message = SecretBytes::copy_from(message);
                    session
                        .mac(&Mac {
                            id,
                            algorithm,
                            message,
                        })
                        .unwrap()
                };
                let code = mac();
                assert_eq!(code, mac());
                assert_eq!(Some(code.len()), key_type.secret_length());
                let expected = secret.map(|secret| software::mac(algorithm, secret, message));
                assert!(expected.is_none_or(|expected| expected == code));
            }
        }
        other => panic!("{other} has no check in this suite"),
    }
}

fn seals(
    session: &mut impl Session,
    id: VersionId,
    algorithm: Algorithm,
    aad: &[u8],
    plaintext: &[u8],
    secret: Option<&[u8]>,
) {
    let sealed = session
        .seal(&Seal {
            id,
            algorithm,
            iv: [3; 12].into(),
            aad: aad.to_vec().into(),
            plaintext: SecretBytes::copy_from(plaintext),
        })
        .unwrap();
    if let Some(secret) = secret {
        let expected = software::seal(secret, *sealed.iv, aad, plaintext);
        assert_eq!(*sealed.ciphertext, expected);
    }
    let opened = session.unseal(&Unseal {
        id,
        algorithm,
        iv: sealed.iv,
        aad: aad.to_vec().into(),
        ciphertext: sealed.ciphertext,
    });
    assert_eq!(opened, Ok(SecretBytes::copy_from(plaintext)));
}

fn wraps(
    session: &mut impl Session,
    id: VersionId,
    algorithm: Algorithm,
    plaintext: &[u8],
    secret: Option<&[u8]>,
) {
    let wrap = Wrap {
        id,
        algorithm,
        plaintext: SecretBytes::copy_from(plaintext),
    };
    let wrapped = session.wrap(&wrap).unwrap();
    let expected = secret.map(|secret| software::wrap(algorithm, secret, plaintext));
    assert!(expected.is_none_or(|expected| expected == wrapped));
    let opened = open(session, id, algorithm, &wrapped);
    assert_eq!(opened, Ok(SecretBytes::copy_from(plaintext)));
}

fn refuses_to_wrap(session: &mut impl Session, id: VersionId, algorithm: Algorithm, length: usize) {
    let wrap = Wrap {
        id,
        algorithm,
        plaintext: SecretBytes::zeroed(length),
    };
    let refused = session.wrap(&wrap);
    assert!(
        matches!(refused, Err(BackendError::Invalid(_))),
        "{algorithm} {length}"
    );
}

/// Keys that the token does not list, or that have no algorithm for their purpose, can't be had.
///
/// # Panics
/// If it is not so.
pub fn what_is_not_listed_is_refused<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    for purpose in Purpose::ALL {
        for key_type in KeyType::ALL {
            if can(&report, *purpose, key_type) {
                continue;
            }
            let refused = session.generate(&generate(key_type, *purpose));
            let invalid = matches!(refused, Err(BackendError::MechanismInvalid(_)));
            assert!(invalid, "{purpose} {key_type}: {refused:?}");
            if (*purpose, key_type) == (Purpose::Seal, KeyType::Data) && seals_data(&report) {
                continue;
            }
            // One that is quickly made is enough to see that none is taken.
            let (key_type, material) = match key_type.is_secret() {
                true => (key_type, software::material(key_type)),
                false => (key_type, software::material(KeyType::P256)),
            };
            let refused = import(&mut session, *purpose, key_type, material);
            let invalid = matches!(refused, Err(BackendError::MechanismInvalid(_)));
            assert!(invalid, "{purpose} {key_type}: {refused:?}");
        }
    }
    assert!(session.scan(None).unwrap().keys.is_empty());
}

/// A key refuses the algorithms of other purposes and other types.
///
/// # Panics
/// If it is not so.
pub fn a_key_does_nothing_but_its_purpose<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    for (purpose, key_type) in possible(&report) {
        if key_type.rsa_bits().is_some_and(|bits| bits > 2048) {
            continue;
        }
        let (id, _) = make(&mut session, purpose, key_type);
        let own: Vec<_> = purpose
            .algorithms(key_type)
            .iter()
            .map(|one| operation(*one))
            .collect();
        for algorithm in Algorithm::ALL {
            if own.contains(&operation(algorithm)) {
                continue;
            }
            let refused = use_key(&mut session, id, algorithm);
            let refusal = match &refused {
                Err(BackendError::MechanismInvalid(_)) => true,
                // The peer is of a type that the key is not.
                Err(BackendError::Invalid(_)) => operation(algorithm) == Algorithm::EcdhRaw,
                _ => false,
            };
            assert!(refusal, "{purpose} {key_type} {algorithm}: {refused:?}");
        }
    }
}

/// The first of the algorithms that are the same operation of a token, or of the same key.
fn operation(algorithm: Algorithm) -> Algorithm {
    match algorithm {
        Algorithm::EcdhHkdfSha256
        | Algorithm::EcdhHkdfSha384
        | Algorithm::Hpke0
        | Algorithm::Hpke7 => Algorithm::EcdhRaw,
        Algorithm::RsaOaepSha1 => Algorithm::RsaOaepSha256,
        other => other,
    }
}

/// Random bytes come in the length that was asked for, and are never the same.
///
/// # Panics
/// If it is not so.
pub fn random_bytes_are_as_many_as_were_asked_for<F: Fixture>() {
    let (fixture, _) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    for length in [1, 16, 32, 1000] {
        let bytes = session.random(length).unwrap();
        assert_eq!(u32::try_from(bytes.len()), Ok(length));
    }
    assert!(session.random(32).unwrap() != session.random(32).unwrap());
    assert!(matches!(session.random(0), Err(BackendError::Invalid(_))));
}
