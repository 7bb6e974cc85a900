//! Messages of any length, for [`Client`](crate::Client) and [`AsyncClient`](crate::AsyncClient)
//! alike.

use keyward_protocol::Algorithm;
use keyward_protocol::operation::{Absorb, Sign, SignInput, Verify};

/// How much of a message goes into one request. What fits into one is sent as it is, so that any
/// key can sign it; Ed25519 can't sign more.
pub(crate) const PART: usize = 60 * 1024;

/// A signature that is asked for, without its message.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// The key's id or one of its aliases.
    pub key: String,
    /// The algorithm; the key's first if absent.
    pub algorithm: Option<Algorithm>,
}

impl Signing {
    /// A signature by a key with its first algorithm.
    #[must_use]
    pub fn by(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            algorithm: None,
        }
    }

    pub(crate) fn of(self, input: SignInput) -> Sign {
        Sign {
            key: self.key,
            algorithm: self.algorithm,
            input,
        }
    }
}

/// A signature that is to be verified, without its message.
#[derive(Clone, Debug, Default)]
pub struct Verifying {
    /// The key's id or one of its aliases.
    pub key: String,
    /// The algorithm; the key's first if absent.
    pub algorithm: Option<Algorithm>,
    /// The signature in COSE's form.
    pub signature: Vec<u8>,
    /// The version of the key; the current one if absent.
    pub version: Option<u32>,
}

impl Verifying {
    pub(crate) fn of(self, input: SignInput) -> Verify {
        Verify {
            key: self.key,
            algorithm: self.algorithm,
            input,
            signature: self.signature.into(),
            version: self.version,
        }
    }
}

/// A part of a message, and where the next one begins.
pub(crate) fn part(stream: u32, offset: &mut u64, bytes: Vec<u8>) -> Absorb {
    let at = *offset;
    *offset = at.saturating_add(bytes.len() as u64);
    Absorb {
        stream,
        offset: at,
        bytes: bytes.into(),
    }
}
