//! What an ephemeral key is derived from (RFC 9180 §7.1.3, `ikm`).

use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};
use keyward_protocol::SecretBytes;
use rustix::rand::{GetRandomFlags, getrandom};

use super::SealError;

/// As long as the private key (RFC 9180 §7.1.3, Nsk).
const LENGTH: usize = 32;

/// Random bytes that were taken from the kernel before the library asks for them: then it can't
/// fail any more, and a test can choose them.
pub(super) struct Ikm {
    bytes: SecretBytes,
    used: bool,
}

impl Ikm {
    pub(super) fn random() -> Result<Self, SealError> {
        let mut bytes = SecretBytes::zeroed(LENGTH);
        // Up to 256 bytes come whole once the generator is ready (getrandom(2)).
        match getrandom(bytes.expose_mut(), GetRandomFlags::empty()) {
            Ok(LENGTH) => Ok(Self { bytes, used: false }),
            _ => Err(SealError::Computation),
        }
    }

    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: SecretBytes::copy_from(bytes),
            used: false,
        }
    }
}

impl TryRng for Ikm {
    type Error = Infallible;

    fn try_fill_bytes(&mut self, wanted: &mut [u8]) -> Result<(), Infallible> {
        // DeriveKeyPair takes one ikm; whatever else a library did with it would repeat bytes.
        assert!(
            !self.used && wanted.len() == LENGTH,
            "an ephemeral key is made of {LENGTH} bytes, taken once"
        );
        self.used = true;
        wanted.copy_from_slice(self.bytes.expose());
        Ok(())
    }

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("an ephemeral key is made of bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("an ephemeral key is made of bytes")
    }
}

impl TryCryptoRng for Ikm {}
