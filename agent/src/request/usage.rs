//! Operations that use a key: what is asked is checked before the token sees it, what the token
//! answers before the caller does.

mod attest;
mod card_certificate;
mod certificate;
mod ecdh;
mod envelope;
mod hpke_open;
mod mac;
mod opening;
mod place;
mod random;
mod seal;
mod sign;
mod unwrap;
mod wrap;

use std::rc::Rc;

use keyward_protocol::ciphertext::Ciphertext;
use keyward_protocol::{Algorithm, ErrorCode, Failure, KeyState, Purpose};

use crate::agent::Agent;
use crate::registry::{Key, Version};
use crate::worker::{Token, failure_of};

pub(in crate::request) use self::sign::digested;

/// What a use does with a key (SP 800-57 Part 1 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It makes something new: a signature, a ciphertext, a code.
    Protect,
    /// It opens or verifies what was made before. That can still be done when nothing new may be
    /// made (SP 800-57 Part 1 §7.4).
    Process,
}

/// The algorithm, if key, purpose and state allow it.
pub(super) fn usable(
    key: &Key,
    purpose: Purpose,
    algorithm: Option<Algorithm>,
    what: Use,
) -> Result<Algorithm, Failure> {
    let algorithm = fitting(key, purpose, algorithm)?;
    check_state(key, key.state, what)?;
    Ok(algorithm)
}

/// Whether the state of the key, or of one of its versions, allows it.
pub(super) fn check_state(key: &Key, state: KeyState, what: Use) -> Result<(), Failure> {
    match state {
        KeyState::Active => Ok(()),
        KeyState::Deactivated if what == Use::Process => Ok(()),
        state => {
            let (what, next) = match state {
                _ if state != key.state => ("this version of the key", "show"),
                KeyState::Suspended => ("the key", "enable"),
                _ => ("the key", "show"),
            };
            Err(
                Failure::new(ErrorCode::WrongState, format!("{what} is {state}"))
                    .hint(format!("keyward key {next} {}", key.id_text)),
            )
        }
    }
}

/// The algorithm, if the key has the purpose and can do it.
pub(super) fn fitting(
    key: &Key,
    purpose: Purpose,
    algorithm: Option<Algorithm>,
) -> Result<Algorithm, Failure> {
    has_purpose(key, purpose)?;
    let offered = purpose.algorithms(key.key_type);
    let fits = match algorithm {
        None => offered.first().copied(),
        Some(algorithm) => offered.iter().copied().find(|other| *other == algorithm),
    };
    fits.ok_or_else(|| {
        let names: Vec<_> = offered.iter().map(|a| a.name()).collect();
        Failure::new(
            ErrorCode::MechanismInvalid,
            format!("a key of type {} does {}", key.key_type, names.join(", ")),
        )
    })
}

/// That the key has the purpose.
fn has_purpose(key: &Key, purpose: Purpose) -> Result<(), Failure> {
    if key.purpose == purpose {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::WrongPurpose,
        format!(
            "the key's purpose is {}, and this needs {purpose}",
            key.purpose
        ),
    )
    .hint("keyward key list"))
}

/// A key of the right purpose and another type than what is asked for needs.
fn does_not(key: &Key, what: &str) -> Failure {
    Failure::new(
        ErrorCode::MechanismInvalid,
        format!("a key of type {} does not {what}", key.key_type),
    )
}

pub(in crate::request) fn current(key: &Key) -> Result<&Version, Failure> {
    key.current()
        .ok_or_else(|| Failure::new(ErrorCode::WrongState, "the key has no version left"))
}

/// The version that makes what is new.
pub(in crate::request) fn protecting(key: &Key) -> Result<&Version, Failure> {
    let version = current(key)?;
    key.protecting().ok_or_else(|| {
        let words = format!(
            "version {}, the newest of the key, is {}: nothing new is made with it, nor with an older one",
            version.number, version.state
        );
        Failure::new(ErrorCode::WrongState, words)
            .hint(format!("keyward key rotate {}", key.id_text))
    })
}

/// The version of a number, or the current one; not one that is destroyed.
pub(in crate::request) fn numbered(key: &Key, number: Option<u32>) -> Result<&Version, Failure> {
    let Some(number) = number else {
        return current(key);
    };
    let hint = format!("keyward key show {}", key.id_text);
    match key.version(number) {
        None => {
            let words = format!("the key has no version {number}");
            Err(Failure::new(ErrorCode::NotFound, words).hint(hint))
        }
        Some(version) if version.state == KeyState::Destroyed => {
            let words = format!("version {number} of the key is destroyed");
            Err(Failure::new(ErrorCode::WrongState, words).hint(hint))
        }
        Some(version) => Ok(version),
    }
}

/// The key that a ciphertext names, if there is one.
pub(in crate::request) fn key_of(agent: &Agent, ciphertext: &[u8]) -> Option<Rc<Key>> {
    let kid = Ciphertext::decode(ciphertext).ok()?.kid();
    agent.registry.borrow().key(&kid.to_string())
}

pub(in crate::request) fn misbehaved(token: &Token) -> Failure {
    tracing::error!(
        token = token.name(),
        "the worker answered what was not asked"
    );
    token.distrust();
    failure_of(
        token.name(),
        keyward_backend::BackendError::DeviceFailed(
            "its answer is not one to this question".into(),
        ),
    )
}
