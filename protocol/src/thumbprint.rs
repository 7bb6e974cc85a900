//! The identity of a public key: its COSE Key Thumbprint (RFC 9679) with SHA-256.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use sha2::{Digest, Sha256};

use crate::cbor;
use crate::cose_key::CoseKey;

/// SHA-256 over the deterministic encoding of the key's required parameters (RFC 9679 §3).
///
/// The encoding of [`CoseKey`] has just those, so the same key has the same thumbprint on every
/// token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint(pub [u8; 32]);

impl Thumbprint {
    /// The thumbprint of a key.
    #[must_use]
    pub fn of(key: &CoseKey) -> Self {
        Self(Sha256::digest(cbor::encode(key)).into())
    }

    /// The thumbprint of its hexadecimal form.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        if hex.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes)).filter(|t| t.to_string() == hex)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

impl<C> Encode<C> for Thumbprint {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Thumbprint {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.bytes()?
            .try_into()
            .map(Self)
            .map_err(|_| decode::Error::message("not 32 bytes"))
    }
}
