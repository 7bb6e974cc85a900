//! RSAES-OAEP with SHA-256 and no label (RFC 8017 §7.1, RFC 8230 §3) to a public key.

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use keyward_protocol::{CoseKey, SecretBytes};

use super::SealError;

/// Seeds AWS-LC's generator, which OAEP's own seed comes from.
///
/// The first use in a process takes some 50 ms of processor; whatever thread does it, all others
/// are spared. Without it the first [`seal`] takes as long.
pub fn warm_up() {
    // A generator that gives nothing makes `seal` fail too, and there it can be said.
    let _ = aws_lc_rs::rand::fill(&mut [0]);
}

/// Encrypts to an RSA key of 2048 bits or more; what comes is as long as the modulus.
///
/// # Errors
/// [`SealError::Key`] for another key, [`SealError::TooLong`] for a message longer than the modulus
/// less 66 bytes.
pub fn seal(public: &CoseKey, message: &SecretBytes) -> Result<Vec<u8>, SealError> {
    if !matches!(public, CoseKey::Rsa { .. }) {
        return Err(SealError::Key);
    }
    let der = public.to_spki().map_err(|_| SealError::Key)?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| SealError::Key)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| SealError::Key)?;
    if message.len() > key.max_plaintext_size(&OAEP_SHA256_MGF1SHA256) {
        return Err(SealError::TooLong);
    }
    let mut encrypted = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(
            &OAEP_SHA256_MGF1SHA256,
            message.expose(),
            &mut encrypted,
            None,
        )
        .map_err(|_| SealError::Computation)?
        .len();
    encrypted.truncate(length);
    Ok(encrypted)
}

#[cfg(test)]
pub(super) mod tests;
