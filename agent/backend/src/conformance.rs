//! What every backend must do, as tests that each of them instantiates.
//!
//! A backend's test crate takes this crate with the feature `conformance`, writes a [`Fixture`]
//! for its hardware or an emulation of it, and has one `#[test]` for each requirement:
//!
//! ```ignore
//! struct Tpm { … }
//! impl keyward_backend::conformance::Fixture for Tpm { … }
//! keyward_backend::conformance!(Tpm);
//! ```
//!
//! What the token's report lists must work, and agree with another implementation (aws-lc-rs);
//! what it does not list must be [`MechanismInvalid`](crate::BackendError::MechanismInvalid). A
//! token without a PIN (`login_required` is false) skips what is about PINs; nothing else is
//! skipped but for what the report does not list.
//!
//! The backend may be in this process or behind one: `Fixture::Backend` is whatever implements
//! [`Backend`], also something that sends calls to a real keyward-worker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "these are tests"
)]

mod attested;
mod data;
mod keys;
mod listed;
mod software;
mod token;

use keyward_protocol::operation::{KeyMaterial, SignInput};
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes};

use crate::backend::{Backend, Session};
use crate::error::Result;
use crate::message::{Derive, Generate, Import, Mac, Seal, Sign, Unwrap, Wrap};
use crate::token::{KeyReport, TokenReport, VersionId};

pub use attested::*;
pub use data::*;
pub use keys::*;
pub use listed::*;
pub use token::*;

/// A token to test with.
pub trait Fixture {
    /// What is tested.
    type Backend: Backend;

    /// A fresh token without any key, and a backend for it that is not opened yet. Fixtures share
    /// nothing; several are there at once.
    fn new() -> Self;

    /// The backend of this token.
    fn backend(&self) -> &Self::Backend;

    /// The PIN of this token; empty if it has none.
    fn pin(&self) -> SecretBytes;

    /// How many PINs have been sent to the device, whichever it was.
    fn pins_sent(&self) -> usize;

    /// Takes the token away.
    fn remove(&self);

    /// Puts another token in the place of this one.
    fn replace(&self);

    /// Puts this token back after [`remove`](Self::remove) or [`replace`](Self::replace).
    fn put_back(&self);

    /// Has the device answer nothing to what uses a key until [`resume`](Self::resume).
    fn stall(&self);

    /// Waits until a call hangs in the device.
    fn wait_until_stalled(&self);

    /// Ends a [`stall`](Self::stall).
    fn resume(&self);
}

/// One `#[test]` for each requirement on a backend, with a [`Fixture`].
#[macro_export]
macro_rules! conformance {
    ($fixture:ty) => {
        $crate::conformance!(@each $fixture:
            keys_that_sign_do_what_is_listed,
            keys_that_agree_do_what_is_listed,
            keys_that_unwrap_do_what_is_listed,
            keys_that_encrypt_do_what_is_listed,
            keys_that_wrap_do_what_is_listed,
            keys_that_make_macs_do_what_is_listed,
            imported_keys_do_what_is_listed,
            what_is_not_listed_is_refused,
            a_key_does_nothing_but_its_purpose,
            random_bytes_are_as_many_as_were_asked_for,
            a_key_is_shown_until_it_is_destroyed,
            an_id_is_given_once,
            sealed_data_is_given_back,
            what_is_attested_is_so,
            a_scan_finds_what_is_there,
            material_that_is_no_key_of_the_type_is_refused,
            an_imported_key_is_the_same_on_two_tokens,
            what_does_not_open_gives_the_one_error,
            private_keys_need_a_login,
            a_wrong_pin_breaks_nothing_else,
            a_pin_is_changed_by_who_knows_it,
            an_absent_token_is_said_to_be_so_and_comes_back,
            no_pin_goes_to_another_token,
            a_slow_token_answers_when_it_can,
        );
    };
    (@each $fixture:ty: $($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            $crate::conformance::$name::<$fixture>();
        })*
    };
}

/// A token that is open and logged in.
#[track_caller]
fn ready<F: Fixture>() -> (F, TokenReport) {
    let fixture = F::new();
    let report = fixture.backend().open(None).expect("the token opens");
    if !report.login_required {
        return (fixture, report);
    }
    let report = fixture.backend().login(&fixture.pin()).expect("a login");
    assert!(report.logged_in);
    (fixture, report)
}

/// Whether a token says that it makes keys that then can do something.
fn can(report: &TokenReport, purpose: Purpose, key_type: KeyType) -> bool {
    let algorithms = purpose.algorithms(key_type);
    report.key_types.contains(&key_type)
        && algorithms
            .iter()
            .any(|algorithm| report.algorithms.contains(algorithm))
}

/// Whether a token says that it seals data.
fn seals_data(report: &TokenReport) -> bool {
    report.key_types.contains(&KeyType::Data)
}

/// Every purpose and type of key that a token says that it makes.
fn possible(report: &TokenReport) -> impl Iterator<Item = (Purpose, KeyType)> + '_ {
    let types = |purpose: &Purpose| {
        let purpose = *purpose;
        KeyType::ALL
            .into_iter()
            .map(move |key_type| (purpose, key_type))
    };
    Purpose::ALL
        .iter()
        .flat_map(types)
        .filter(|(purpose, key_type)| can(report, *purpose, *key_type))
}

/// A kind of key that is made fast, of those that a token makes.
fn quick(report: &TokenReport) -> (Purpose, KeyType) {
    possible(report)
        .find(|(_, key_type)| key_type.rsa_bits().is_none())
        .or_else(|| possible(report).next())
        .expect("a token that makes no key is of no use")
}

fn generate(key_type: KeyType, purpose: Purpose) -> Generate {
    Generate {
        id: VersionId::random(),
        label: "keyward conformance".to_owned(),
        key_type,
        purpose,
        piv: None,
    }
}

#[track_caller]
fn make(session: &mut impl Session, purpose: Purpose, key_type: KeyType) -> (VersionId, KeyReport) {
    let generate = generate(key_type, purpose);
    let report = session
        .generate(&generate)
        .unwrap_or_else(|error| panic!("{key_type} {purpose}: {error}"));
    assert_eq!(report.key_type, Some(key_type));
    assert_eq!(report.public.is_none(), key_type.is_secret());
    let public_type = report.public.as_ref().and_then(|key| key.key_type());
    assert!(report.public.is_none() || public_type == Some(key_type));
    assert!(
        report.local && report.always_sensitive && report.never_extractable,
        "{key_type} {purpose}: {report:?}"
    );
    (generate.id, report)
}

fn import(
    session: &mut impl Session,
    purpose: Purpose,
    key_type: KeyType,
    material: KeyMaterial,
) -> Result<(VersionId, KeyReport)> {
    let generate = generate(key_type, purpose);
    let id = generate.id;
    let report = session.import(&Import { generate, material })?;
    assert_eq!(report.key_type, Some(key_type));
    assert!(!report.local, "an imported key is not local: {report:?}");
    Ok((id, report))
}

/// Has a key do what belongs to an algorithm, with any input, and forgets the output.
fn use_key(session: &mut impl Session, id: VersionId, algorithm: Algorithm) -> Result<()> {
    use Algorithm as A;
    match algorithm {
        A::Esp256 | A::Esp384 | A::Ed25519 | A::Ps256 | A::Rs256 => {
            let input = SignInput::Message(b"message".to_vec());
            session
                .sign(&Sign {
                    id,
                    algorithm,
                    input,
                })
                .map(|_| ())
        }
        A::RsaOaepSha256 | A::RsaOaepSha1 => open(session, id, algorithm, &[1; 256]).map(|_| ()),
        A::EcdhRaw | A::EcdhHkdfSha256 | A::EcdhHkdfSha384 | A::Hpke0 | A::Hpke7 => {
            let peer = software::Peer::new(KeyType::P256).public;
            session.derive(&Derive { id, peer }).map(|_| ())
        }
        A::A128Gcm | A::A256Gcm => {
            let (aad, plaintext) = (vec![].into(), SecretBytes::copy_from(b"message"));
            let iv = [1; 12].into();
            session
                .seal(&Seal {
                    id,
                    algorithm,
                    iv,
                    aad,
                    plaintext,
                })
                .map(|_| ())
        }
        A::A128Kw | A::A256Kw | A::A128Kwp | A::A256Kwp => {
            let plaintext = SecretBytes::copy_from(&[7; 16]);
            session
                .wrap(&Wrap {
                    id,
                    algorithm,
                    plaintext,
                })
                .map(|_| ())
        }
        A::HmacSha256 | A::HmacSha384 | A::HmacSha512 => {
            let message = SecretBytes::copy_from(b"message");
            session
                .mac(&Mac {
                    id,
                    algorithm,
                    message,
                })
                .map(|_| ())
        }
        other => panic!("{other} has no operation in this suite"),
    }
}

fn open(
    session: &mut impl Session,
    id: VersionId,
    algorithm: Algorithm,
    ciphertext: &[u8],
) -> Result<SecretBytes> {
    session.unwrap(&Unwrap {
        id,
        algorithm,
        ciphertext: ciphertext.to_vec().into(),
        label: vec![].into(),
    })
}
