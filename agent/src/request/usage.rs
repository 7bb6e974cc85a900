//! Operations that use a key: what is asked is checked before the token sees it, what the token
//! answers before the caller does.

mod ecdh;
mod random;
mod sign;
mod unwrap;

use keyward_protocol::{Algorithm, ErrorCode, Failure, KeyState, Purpose};

use super::{Entry, With};
use crate::registry::{Key, Version};
use crate::worker::{Token, failure_of};

impl With<'_> {
    /// The token that serves the version: the first of its placements that can be used.
    pub(in crate::request) fn place(
        &self,
        version: &Version,
        entry: &mut Entry,
    ) -> Result<&Token, Failure> {
        entry.version = Some(version.id);
        let tokens = || {
            let names = version.placements.iter().map(|placement| &placement.token);
            names.filter_map(|name| self.agent.tokens.get(name))
        };
        let token = tokens()
            .find(|token| token.is_ready())
            .or_else(|| tokens().next())
            .ok_or_else(|| {
                let names: Vec<_> = version
                    .placements
                    .iter()
                    .map(|p| p.token.as_str())
                    .collect();
                Failure::new(
                    ErrorCode::TokenAbsent,
                    format!(
                        "the key lives on {}, which the configuration does not have",
                        names.join(", ")
                    ),
                )
                .hint("add the token to keyward.toml again")
            })?;
        entry.token = Some(token.name().to_owned());
        Ok(token)
    }
}

/// The algorithm, if key, purpose and state allow it.
pub(super) fn usable(
    key: &Key,
    purpose: Purpose,
    algorithm: Option<Algorithm>,
) -> Result<Algorithm, Failure> {
    let algorithm = fitting(key, purpose, algorithm)?;
    // What was sealed can still be opened when nothing new may be made (SP 800-57 Part 1 §7.4).
    let opens = purpose == Purpose::Unwrap;
    match key.state {
        KeyState::Active => Ok(algorithm),
        KeyState::Deactivated if opens => Ok(algorithm),
        state => Err(
            Failure::new(ErrorCode::WrongState, format!("the key is {state}"))
                .hint(format!("keyward key show {}", key.id_text)),
        ),
    }
}

/// The algorithm, if the key has the purpose and can do it.
pub(super) fn fitting(
    key: &Key,
    purpose: Purpose,
    algorithm: Option<Algorithm>,
) -> Result<Algorithm, Failure> {
    if key.purpose != purpose {
        return Err(Failure::new(
            ErrorCode::WrongPurpose,
            format!(
                "the key's purpose is {}, and this needs {purpose}",
                key.purpose
            ),
        )
        .hint("keyward key list"));
    }
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

pub(in crate::request) fn current(key: &Key) -> Result<&Version, Failure> {
    key.current()
        .ok_or_else(|| Failure::new(ErrorCode::WrongState, "the key has no version left"))
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
