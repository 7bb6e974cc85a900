//! Random bytes.
//!
//! PIV has no command for them, but a challenge of the card for each proof of its management key. They
//! are as good as that challenge must be, so they are mixed with the kernel's: what comes out is no
//! worse than either.

use keyward_backend::{BackendError, Result};
use keyward_protocol::SecretBytes;

use super::session::Session;
use crate::emsa::fill;

/// A challenge has 8 or 16 bytes, and a card takes some milliseconds for it.
const MOST: usize = 4096;

impl Session<'_> {
    pub(super) fn random_bytes(&self, length: u32) -> Result<SecretBytes> {
        let length = usize::try_from(length)
            .ok()
            .filter(|length| (1..=MOST).contains(length))
            .ok_or_else(|| BackendError::Invalid(format!("1 to {MOST} random bytes can be had")))?;
        self.piv.with_card(|card, _| {
            let cipher = card.management_cipher()?;
            let mut bytes = SecretBytes::zeroed(length);
            fill(bytes.expose_mut())?;
            for chunk in bytes.expose_mut().chunks_mut(cipher.block_length()) {
                let challenge = card.challenge(cipher)?;
                for (byte, other) in chunk.iter_mut().zip(challenge.iter()) {
                    *byte ^= other;
                }
            }
            Ok(bytes)
        })
    }
}
