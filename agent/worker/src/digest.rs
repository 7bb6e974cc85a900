//! What is signed: a digest, made here of a message, so that every token gets the same.

use keyward_backend::message::Sign;
use keyward_backend::{BackendError, Result};
use keyward_protocol::Algorithm;
use keyward_protocol::operation::SignInput;
use sha2::{Digest, Sha256, Sha384};

/// The digest that is to be signed.
///
/// # Errors
/// [`BackendError::Invalid`] for one of another length than the algorithm's, and for an algorithm
/// that signs messages alone.
pub(crate) fn digest(sign: &Sign) -> Result<Vec<u8>> {
    match (&sign.input, sign.algorithm) {
        (SignInput::Absorbed(_), _) => Err(BackendError::Invalid(
            "a stream is the agent's own; a worker signs a message or a digest".to_owned(),
        )),
        (_, Algorithm::Ed25519) => Err(BackendError::Invalid(
            "Ed25519 signs messages, not digests".to_owned(),
        )),
        (SignInput::Message(message), Algorithm::Esp384) => Ok(Sha384::digest(message).to_vec()),
        (SignInput::Message(message), _) => Ok(Sha256::digest(message).to_vec()),
        (SignInput::Digest(digest), algorithm) => {
            match algorithm.digest_length() == Some(digest.len()) {
                true => Ok(digest.clone()),
                false => Err(BackendError::Invalid(format!(
                    "a digest of {} bytes is not one for {algorithm}",
                    digest.len()
                ))),
            }
        }
    }
}
