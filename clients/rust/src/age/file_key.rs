//! The file key and what is derived from it.

use aws_lc_rs::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{self, HKDF_SHA256};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand;
use keyward_protocol::SecretBytes;

use super::error::NoRandomness;

/// The key of one file: 16 bytes. It must never be used for another file.
#[derive(Debug)]
pub struct FileKey(SecretBytes);

impl FileKey {
    /// How many bytes it has.
    pub const LENGTH: usize = 16;

    /// A new key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = SecretBytes::zeroed(Self::LENGTH);
        rand::fill(bytes.expose_mut()).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// A key of these bytes; absent if they are not as many as a key has.
    #[must_use]
    pub fn from_secret(bytes: SecretBytes) -> Option<Self> {
        (bytes.len() == Self::LENGTH).then_some(Self(bytes))
    }

    /// The bytes, to be wrapped for a recipient.
    #[must_use]
    pub fn secret(&self) -> &SecretBytes {
        &self.0
    }

    /// The key of the header's MAC.
    pub(super) fn mac_key(&self) -> hmac::Key {
        // Expanding to one block can't fail.
        let salt = hkdf::Salt::new(HKDF_SHA256, &[]);
        let prk = salt.extract(self.0.expose());
        match prk.expand(&[b"header"], HMAC_SHA256) {
            Ok(okm) => hmac::Key::from(okm),
            Err(_) => unreachable!("HKDF gives up to 255 blocks"),
        }
    }

    /// The key of the payload's chunks.
    pub(super) fn payload_key(&self, nonce: &[u8]) -> LessSafeKey {
        let prk = hkdf::Salt::new(HKDF_SHA256, nonce).extract(self.0.expose());
        match prk.expand(&[b"payload"], &CHACHA20_POLY1305) {
            Ok(okm) => LessSafeKey::new(UnboundKey::from(okm)),
            Err(_) => unreachable!("HKDF gives up to 255 blocks"),
        }
    }
}
