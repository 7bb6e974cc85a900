//! Requests that many tests make, and what becomes of them.

use keyward_client::protocol::{
    Failure, KeyType, Purpose,
    operation::{Create, Sign, SignInput},
};

/// A request to make a key.
#[must_use]
pub fn create(alias: &str, purpose: Purpose, key_type: KeyType) -> Create {
    Create {
        purpose,
        key_type,
        alias: Some(alias.to_owned()),
        token: None,
        formats: None,
        tags: None,
        bind: None,
        piv: None,
    }
}

/// A request to sign a message.
#[must_use]
pub fn sign(key: &str, message: &[u8]) -> Sign {
    Sign {
        key: key.to_owned(),
        algorithm: None,
        input: SignInput::Message(message.to_vec()),
    }
}

/// The failure of a request that was refused.
///
/// # Panics
/// If it was not.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, keyward_client::Error>) -> Failure {
    match result {
        Err(keyward_client::Error::Refused(failure)) => failure,
        other => panic!("not refused: {other:?}"),
    }
}
