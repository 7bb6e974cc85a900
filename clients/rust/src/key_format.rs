//! Public keys and signatures in the forms that other programs read.
//!
//! ```
//! use keyward_client::key_format;
//!
//! let pem = "-----BEGIN PUBLIC KEY-----
//! MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
//! -----END PUBLIC KEY-----
//! ";
//! let key = key_format::parse(pem.as_bytes())?;
//! assert_eq!(key_format::to_pem(&key)?, pem);
//! assert!(key_format::to_ssh(&key, "me")?.starts_with("ssh-ed25519 AAAA"));
//! # Ok::<(), key_format::KeyFormatError>(())
//! ```

mod jwk;
mod signature;
mod ssh;

use der::pem::{self, LineEnding};
use keyward_protocol::spki::SpkiError;
use keyward_protocol::{CoseKey, cbor};

pub use jwk::{from_jwk, to_jwk};
pub use signature::{ecdsa_from_der, ecdsa_to_der};
pub use ssh::{from_ssh, to_ssh};

const LABEL: &str = "PUBLIC KEY";

/// Why bytes are no public key, or a key has no such form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFormatError {
    /// None of the forms that are read.
    #[error("neither PEM, DER, SSH, JWK nor COSE")]
    Unrecognised,
    /// PEM of something else, a private key perhaps.
    #[error("PEM of a {label}, not of a PUBLIC KEY")]
    OtherPem {
        /// What the PEM says that it is.
        label: String,
    },
    /// The form is known, what it holds is broken.
    #[error("broken {form}: {problem}")]
    Broken {
        /// The form.
        form: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A kind or curve of key that keyward does not know.
    #[error("a kind or curve of key that keyward does not know")]
    Unknown,
    /// A comment that would be a line of its own.
    #[error("a comment with a control character")]
    Comment,
}

impl From<SpkiError> for KeyFormatError {
    fn from(error: SpkiError) -> Self {
        match error {
            SpkiError::Unknown => Self::Unknown,
            other => broken("DER", other),
        }
    }
}

/// SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7).
///
/// # Errors
/// The numbers don't fit into DER, which no key of this type does.
pub fn to_der(key: &CoseKey) -> Result<Vec<u8>, KeyFormatError> {
    Ok(key.to_spki()?)
}

/// SubjectPublicKeyInfo in PEM (RFC 7468 §13).
///
/// # Errors
/// As [`to_der`].
pub fn to_pem(key: &CoseKey) -> Result<String, KeyFormatError> {
    pem::encode_string(LABEL, LineEnding::LF, &to_der(key)?).map_err(|e| broken("PEM", e))
}

/// COSE_Key (RFC 9052 §7), deterministic.
#[must_use]
pub fn to_cose(key: &CoseKey) -> Vec<u8> {
    cbor::encode(key)
}

/// Reads a public key in any of the forms.
///
/// # Errors
/// It is none of them, or broken.
pub fn parse(bytes: &[u8]) -> Result<CoseKey, KeyFormatError> {
    let text = std::str::from_utf8(bytes).ok().map(str::trim_start);
    match text {
        Some(text) if text.starts_with("-----BEGIN ") => from_pem(text),
        Some(text) if text.starts_with('{') => from_jwk(text),
        Some(text) if text.starts_with("ssh-") || text.starts_with("ecdsa-") => from_ssh(text),
        _ => match bytes.first() {
            // A SEQUENCE, or a map.
            Some(0x30) => Ok(CoseKey::from_spki(bytes)?),
            Some(0xa0..=0xbf) => cbor::decode_exact(bytes).map_err(|e| broken("COSE", e)),
            _ => Err(KeyFormatError::Unrecognised),
        },
    }
}

fn from_pem(text: &str) -> Result<CoseKey, KeyFormatError> {
    let (label, der) = pem::decode_vec(text.trim_end().as_bytes()).map_err(|e| broken("PEM", e))?;
    if label != LABEL {
        return Err(KeyFormatError::OtherPem {
            label: label.to_owned(),
        });
    }
    Ok(CoseKey::from_spki(&der)?)
}

fn broken(form: &'static str, problem: impl std::fmt::Display) -> KeyFormatError {
    KeyFormatError::Broken {
        form,
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests;
