//! Encodings of what an RSA key signs, for tokens that only do the raw RSA operation.

use keyward_backend::{BackendError, Result};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

/// DigestInfo of SHA-256 before the digest (RFC 8017 §9.2 note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
const DIGEST: usize = 32;
/// The salt that COSE wants (RFC 8230 §2).
const SALT: usize = 32;

/// EMSA-PKCS1-v1_5 of a SHA-256 digest (RFC 8017 §9.2), as long as the modulus.
///
/// # Errors
/// [`BackendError::MechanismInvalid`] for a key that is too short.
pub fn pkcs1_sha256(digest: &[u8], width: usize) -> Result<Vec<u8>> {
    let info = [SHA256_INFO.as_slice(), digest].concat();
    let padding = width
        .checked_sub(info.len().saturating_add(3))
        .filter(|padding| *padding >= 8)
        .ok_or_else(too_short)?;
    let mut encoded = vec![0, 1];
    encoded.extend(std::iter::repeat_n(0xff, padding));
    encoded.push(0);
    encoded.extend(info);
    Ok(encoded)
}

/// EMSA-PSS of a SHA-256 digest (RFC 8017 §9.1.1) with a salt of 32 bytes, as long as the modulus,
/// the highest bit of which is 1.
///
/// # Errors
/// [`BackendError::MechanismInvalid`] for a key that is too short,
/// [`BackendError::DeviceFailed`] where the kernel gives no salt.
pub fn pss_sha256(digest: &[u8], width: usize) -> Result<Vec<u8>> {
    let mut salt = [0; SALT];
    fill(&mut salt)?;
    pss_with_salt(digest, &salt, width)
}

fn pss_with_salt(digest: &[u8], salt: &[u8; SALT], width: usize) -> Result<Vec<u8>> {
    let hash: [u8; DIGEST] = Sha256::new()
        .chain_update([0; 8])
        .chain_update(digest)
        .chain_update(salt)
        .finalize()
        .into();
    let db_length = width.checked_sub(DIGEST + 1).ok_or_else(too_short)?;
    let zeros = db_length.checked_sub(SALT + 1).ok_or_else(too_short)?;
    let mut encoded = vec![0; zeros];
    encoded.push(1);
    encoded.extend(salt);
    for (counter, chunk) in (0u32..).zip(encoded.chunks_mut(DIGEST)) {
        let mask = Sha256::new()
            .chain_update(hash)
            .chain_update(counter.to_be_bytes())
            .finalize();
        for (byte, mask) in chunk.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    // emBits is one less than the bits of the modulus.
    if let Some(first) = encoded.first_mut() {
        *first &= 0x7f;
    }
    encoded.extend(hash);
    encoded.push(0xbc);
    Ok(encoded)
}

/// Fills a buffer from the kernel's generator.
///
/// # Errors
/// [`BackendError::DeviceFailed`].
pub fn fill(mut buffer: &mut [u8]) -> Result<()> {
    while !buffer.is_empty() {
        let done = getrandom(&mut *buffer, GetRandomFlags::empty()).map_err(|error| {
            BackendError::DeviceFailed(format!("the kernel gives no random bytes: {error}"))
        })?;
        buffer = buffer.get_mut(done..).unwrap_or_default();
    }
    Ok(())
}

fn too_short() -> BackendError {
    BackendError::MechanismInvalid("the RSA key is too short for this algorithm".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_digest_is_as_long_as_the_modulus() {
        for width in [256, 384, 512] {
            let pkcs1 = pkcs1_sha256(&[7; 32], width).unwrap();
            assert_eq!(pkcs1.len(), width);
            assert!(pkcs1.starts_with(&[0, 1, 0xff]) && pkcs1.ends_with(&[7; 32]));
            let pss = pss_sha256(&[7; 32], width).unwrap();
            assert_eq!((pss.len(), pss.last()), (width, Some(&0xbc)));
            assert_ne!(
                pss,
                pss_sha256(&[7; 32], width).unwrap(),
                "a salt is random"
            );
        }
    }

    #[test]
    fn a_key_that_is_too_short_is_refused() {
        for width in [0, 32, 61] {
            assert!(pkcs1_sha256(&[7; 32], width).is_err());
        }
        for width in [0, 33, 65] {
            assert!(pss_with_salt(&[7; 32], &[0; SALT], width).is_err());
        }
    }
}
