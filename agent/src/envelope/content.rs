//! AES-256-GCM (NIST SP 800-38D, RFC 9053 §4.1) by a key that is used once.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use keyward_protocol::SecretBytes;
use keyward_protocol::ciphertext::{IV_LENGTH, TAG_LENGTH};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{OpenFailed, SealError};

/// The key of AES-256, in bytes.
const KEY_LENGTH: usize = 32;

/// What sealing gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The initialisation vector.
    pub iv: [u8; IV_LENGTH],
    /// The ciphertext, its tag behind it.
    pub content: Vec<u8>,
}

/// A random key of 256 bits.
///
/// # Errors
/// [`SealError::Computation`] if the kernel gives no random bytes.
pub fn random_key() -> Result<SecretBytes, SealError> {
    let mut key = SecretBytes::zeroed(KEY_LENGTH);
    fill(key.expose_mut())?;
    Ok(key)
}

/// Seals with a random initialisation vector of 96 bits (SP 800-38D §8.2.2).
///
/// # Errors
/// [`SealError::Key`] for a key of another length.
pub fn seal(key: &SecretBytes, aad: &[u8], plaintext: &[u8]) -> Result<Sealed, SealError> {
    let mut iv = [0; IV_LENGTH];
    fill(&mut iv)?;
    let content = seal_with(key, &iv, aad, plaintext)?;
    Ok(Sealed { iv, content })
}

/// Opens what [`seal`] gave (SP 800-38D §7.2).
///
/// # Errors
/// [`OpenFailed`], also for a key of another length or a content without a whole tag.
pub fn open(
    key: &SecretBytes,
    iv: &[u8; IV_LENGTH],
    aad: &[u8],
    content: &[u8],
) -> Result<SecretBytes, OpenFailed> {
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| OpenFailed)?;
    let length = content.len().checked_sub(TAG_LENGTH).ok_or(OpenFailed)?;
    let (ciphertext, tag) = content.split_at_checked(length).ok_or(OpenFailed)?;
    let mut plaintext = SecretBytes::zeroed(length);
    LessSafeKey::new(key)
        .open_separate_gather(
            Nonce::assume_unique_for_key(*iv),
            Aad::from(aad),
            ciphertext,
            tag,
            plaintext.expose_mut(),
        )
        .map_err(|_| OpenFailed)?;
    Ok(plaintext)
}

fn seal_with(
    key: &SecretBytes,
    iv: &[u8; IV_LENGTH],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| SealError::Key)?;
    let length = plaintext.len();
    let mut content = vec![0; length.checked_add(TAG_LENGTH).ok_or(SealError::TooLong)?];
    let (ciphertext, tag) = content
        .split_at_mut_checked(length)
        .ok_or(SealError::Computation)?;
    let nonce = Nonce::assume_unique_for_key(*iv);
    LessSafeKey::new(key)
        .seal_out_of_place_scatter(nonce, Aad::from(aad), plaintext, ciphertext, &[], tag)
        .map_err(|_| SealError::Computation)?;
    Ok(content)
}

/// Fills `bytes` from the kernel's generator.
fn fill(bytes: &mut [u8]) -> Result<(), SealError> {
    let length = bytes.len();
    // Up to 256 bytes come whole once the generator is ready (getrandom(2)).
    match getrandom(bytes, GetRandomFlags::empty()) {
        Ok(filled) if filled == length => Ok(()),
        _ => Err(SealError::Computation),
    }
}

#[cfg(test)]
mod tests;
